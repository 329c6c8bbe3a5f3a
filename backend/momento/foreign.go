package momento

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	sdk "github.com/momentohq/client-sdk-go/momento"
	"google.golang.org/grpc/status"

	"github.com/topicbus/pubsub/internal/clean"
)

const (
	// maxForeign is how many bytes of a text from outside are kept.
	maxForeign = clean.Most
	// minSecret is how long a secret must be for texts to be searched for it.
	// Replacing a shorter one would garble them, and it is none.
	minSecret = 8
	// minPiece is how long a piece of a secret must be to be searched for.
	minPiece = 16
	// maxSecrets is how many of the newest secrets are known.
	maxSecrets = 16
	// redacted stands where a secret was, or a piece of one.
	redacted = "[redacted]"
)

// foreign is where text that others wrote enters this package: the errors of
// the service and of what stands between, and the lines that the SDK logs.
// They are cut to a length, cleaned of what can forge a line of a log or steer
// a terminal, and the credentials are taken out: whole, in pieces of 16 bytes or
// more, URL-encoded, and with anything between that cannot be part of them.
type foreign struct {
	mu    sync.RWMutex
	known known
}

// known are the secrets that texts are searched for. It is never modified.
type known struct {
	secrets []string            // bare, the newest last
	short   []string            // those of them that are shorter than a piece
	pieces  map[string]struct{} // of the others, all of minPiece bytes
	longest int
}

// know makes a secret known.
func (f *foreign) know(secret string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	secret = strip(secret).text
	if len(secret) < minSecret || slices.Contains(f.known.secrets, secret) {
		return
	}
	k := known{secrets: append(slices.Clone(f.known.secrets), secret), pieces: make(map[string]struct{})}
	if len(k.secrets) > maxSecrets {
		k.secrets = k.secrets[1:]
	}
	for _, s := range k.secrets {
		k.longest = max(k.longest, len(s))
		if len(s) < minPiece {
			k.short = append(k.short, s)
		}
		for i := minPiece; i <= len(s); i++ {
			k.pieces[s[i-minPiece:i]] = struct{}{}
		}
	}
	f.known = k // those who search hold on to the one before
}

// text returns s as it may be kept and shown. A text that needs no change is
// returned as it is.
func (f *foreign) text(s string) string {
	f.mu.RLock()
	k := f.known
	f.mu.RUnlock()
	// Look no further than needed, but far enough to see whole every secret that
	// begins in what is kept.
	size := len(s)
	s = s[:min(size, maxForeign+k.longest)]
	window := len(s)
	s = clean.String(k.redact(s, window < size))
	if window == size && len(s) <= maxForeign {
		return s
	}
	return fmt.Sprintf("%s... (%d bytes)", clean.Cut(s, maxForeign), size)
}

// redact returns s without the secrets in it. If more of the text follows, the
// beginning of a secret at the end of s is left out.
func (k *known) redact(s string, more bool) string {
	if len(k.secrets) == 0 {
		return s
	}
	b := strip(s)
	var out strings.Builder
	done, end := 0, len(s) // of s
	for i, to := 0, 0; i < len(b.text); i++ {
		n := k.at(b.text[i:])
		if n == 0 {
			continue
		}
		if i >= to { // else it goes on
			out.WriteString(s[done:b.spans[i].from])
			out.WriteString(redacted)
		}
		to = max(to, i+n)
		done = b.spans[to-1].to
	}
	if more {
		if n := begun(b.text, k.secrets); n > 0 {
			end = max(done, b.spans[len(b.text)-n].from)
		}
	}
	if done == 0 {
		return s[:end]
	}
	out.WriteString(s[done:end])
	return out.String()
}

// at returns how long what s begins with is, if that is secret, and 0 otherwise.
func (k *known) at(s string) int {
	if len(s) >= minPiece {
		if _, ok := k.pieces[s[:minPiece]]; ok {
			return minPiece
		}
	}
	for _, secret := range k.short {
		if strings.HasPrefix(s, secret) {
			return len(secret)
		}
	}
	return 0
}

// begun returns how many bytes at the end of s are the beginning of a secret.
func begun(s string, secrets []string) (n int) {
	for _, secret := range secrets {
		for k := min(len(secret)-1, len(s)); k > n; k-- {
			if strings.HasSuffix(s, secret[:k]) {
				n = k
				break
			}
		}
	}
	return n
}

// bare is a text without what secrets do not contain, and with bytes in place of
// their URL-encoding.
type bare struct {
	text  string
	spans []span // of each byte, in the text as it was
}

type span struct{ from, to int }

// strip returns s bare.
func strip(s string) bare {
	text, spans := make([]byte, 0, len(s)), make([]span, 0, len(s))
	for i := 0; i < len(s); {
		c, n := s[i], 1
		if c == '%' && i+2 < len(s) {
			if hi, lo := unhex(s[i+1]), unhex(s[i+2]); hi >= 0 && lo >= 0 {
				c, n = byte(hi<<4|lo), 3
			}
		}
		if c > ' ' && c <= '~' && c != '\\' {
			text, spans = append(text, c), append(spans, span{i, i + n})
		}
		i += n
	}
	return bare{string(text), spans}
}

// unhex returns what a hexadecimal digit stands for, -1 if it is none.
func unhex(c byte) int {
	if c >= 'A' && c <= 'F' {
		c += 'a' - 'A'
	}
	return strings.IndexByte("0123456789abcdef", c)
}

// error returns err as it may be kept and shown: itself where nothing has to be
// changed. The SDK's code and the gRPC status stay visible to errors.As.
func (f *foreign) error(err error) error {
	err, _ = f.change(err)
	return err
}

// change is error. It tells whether anything had to be changed.
func (f *foreign) change(err error) (_ error, changed bool) {
	if err == nil {
		return nil, false
	}
	var me sdk.MomentoError
	if errors.As(err, &me) {
		message := f.text(me.Message())
		original, changed := f.change(me.OriginalErr())
		if !changed && message == me.Message() {
			return err, false
		}
		return sdk.NewMomentoError(me.Code(), message, original), true
	}
	if st, ok := status.FromError(err); ok {
		message := f.text(st.Message())
		if message == st.Message() && len(st.Proto().GetDetails()) == 0 {
			return err, false
		}
		return status.Error(st.Code(), message), true
	}
	if message := f.text(err.Error()); message != err.Error() {
		return errors.New(message), true
	}
	return err, false
}

// wrap returns err, which stays as it is, with a text that may be shown.
func (f *foreign) wrap(err error) error {
	text := f.text(err.Error())
	if text == err.Error() {
		return err
	}
	return &foreignError{text, err}
}

type foreignError struct {
	text  string
	cause error
}

func (e *foreignError) Error() string { return e.text }
func (e *foreignError) Unwrap() error { return e.cause }

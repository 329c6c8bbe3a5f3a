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
	// maxSecrets is how many of the newest secrets are known.
	maxSecrets = 16
	// redacted stands where a secret was.
	redacted = "[redacted]"
)

// foreign is where text that others wrote enters this package: the errors of
// the service and of what stands between, and the lines that the SDK logs.
// They are cut to a length, cleaned of what can forge a line of a log or steer
// a terminal, and the credentials are taken out.
type foreign struct {
	mu      sync.RWMutex
	secrets []string // the newest last
}

// know makes a secret known.
func (f *foreign) know(secret string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(secret) < minSecret || slices.Contains(f.secrets, secret) {
		return
	}
	// Those who search hold on to the slice.
	f.secrets = append(slices.Clone(f.secrets), secret)
	if len(f.secrets) > maxSecrets {
		f.secrets = f.secrets[1:]
	}
}

// text returns s as it may be kept and shown. A text that needs no change is
// returned as it is.
func (f *foreign) text(s string) string {
	f.mu.RLock()
	secrets := f.secrets
	f.mu.RUnlock()
	size := len(s)
	if longest := maxForeign; size > longest {
		// Look no further than needed, but far enough to see whole every secret
		// that begins in what is kept.
		for _, secret := range secrets {
			longest = max(longest, maxForeign+len(secret))
		}
		s = s[:min(size, longest)]
	}
	window := len(s)
	for _, secret := range secrets {
		s = strings.ReplaceAll(s, secret, redacted)
	}
	if window < size {
		s = s[:len(s)-begun(s, secrets)]
	}
	s = clean.String(s)
	if window == size && len(s) <= maxForeign {
		return s
	}
	return fmt.Sprintf("%s... (%d bytes)", clean.Cut(s, maxForeign), size)
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

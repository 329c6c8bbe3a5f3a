// Package foreign is where text that others wrote enters a backend: it is cut to
// a length, cleaned, and the secrets are taken out. Which parts of an error are
// foreign, each backend knows for its own client library.
package foreign

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

const (
	// maxForeign is how many bytes of a text from outside are kept.
	maxForeign = 512
	// minSecret is how long a secret must be for texts to be searched for it.
	// Replacing a shorter one would garble them, and it is none.
	minSecret = 8
	// maxSecrets is how many of the newest secrets are known.
	maxSecrets = 16
	// redacted stands where a secret was.
	redacted = "[redacted]"
)

// Filter is what foreign text passes through: the errors of a service and of
// what stands between, and the lines that a client library logs. It cuts them to
// a length, cleans them of what can forge a line of a log or steer a terminal,
// and takes the credentials out. The zero value is ready, and knows no secret.
type Filter struct {
	mu      sync.RWMutex
	secrets []string // the newest last
}

// Know makes a secret known.
func (f *Filter) Know(secret string) {
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

// Text returns s as it may be kept and shown. A text that needs no change is
// returned as it is.
func (f *Filter) Text(s string) string {
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
	s = strings.Map(clean, strings.ToValidUTF8(s, "\uFFFD"))
	if window == size && len(s) <= maxForeign {
		return s
	}
	return fmt.Sprintf("%s... (%d bytes)", Cut(s, maxForeign), size)
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

// Cut returns the first n bytes of s, or fewer so as not to split a character.
func Cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// clean replaces what is not to be shown: control characters, line ends, and
// characters that change the direction of a text or cannot be seen.
func clean(r rune) rune {
	switch {
	case unicode.IsControl(r), unicode.In(r, unicode.Zl, unicode.Zp):
		return ' '
	case unicode.In(r, unicode.Cf):
		return '\uFFFD'
	}
	return r
}

// Wrap returns err, which stays as it is, with a text that may be shown.
func (f *Filter) Wrap(err error) error {
	text := f.Text(err.Error())
	if text == err.Error() {
		return err
	}
	return &wrapped{text, err}
}

type wrapped struct {
	text  string
	cause error
}

func (e *wrapped) Error() string { return e.text }
func (e *wrapped) Unwrap() error { return e.cause }

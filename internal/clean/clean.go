// Package clean makes texts that others wrote fit to be kept, logged and shown.
package clean

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Most is how many bytes of a text are kept.
const Most = 512

// Text returns s cut to Most bytes and cleaned. A text that needs no change is
// returned as it is.
func Text(s string) string {
	if len(s) <= Most {
		if c := String(s); len(c) <= Most {
			return c
		}
	}
	return Cut(String(Cut(s, Most)), Most) + fmt.Sprintf("... (%d bytes)", len(s))
}

// String replaces what is not to be shown: what is not UTF-8, control characters,
// line ends, and characters that change the direction of a text or cannot be seen.
func String(s string) string {
	return strings.Map(shown, strings.ToValidUTF8(s, "\uFFFD"))
}

func shown(r rune) rune {
	switch {
	case unicode.IsControl(r), unicode.In(r, unicode.Zl, unicode.Zp):
		return ' '
	case unicode.In(r, unicode.Cf):
		return '\uFFFD'
	}
	return r
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

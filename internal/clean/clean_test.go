package clean

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func TestText(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"", ""},
		{"json: unexpected end", "json: unexpected end"},
		{"a\r\nlevel=ERROR \x1b[31m\u2028\u0085", "a  level=ERROR  [31m  "},
		{"bad \xff\xfe", "bad \uFFFD"},
		{"\u202egnp\u200b", "\uFFFDgnp\uFFFD"},
		{strings.Repeat("x", Most), strings.Repeat("x", Most)},
		{strings.Repeat("x", Most+1), strings.Repeat("x", Most) + "... (513 bytes)"},
		{strings.Repeat("€", 200), strings.Repeat("€", 170) + "... (600 bytes)"},
		{strings.Repeat("a\x00", 1<<19), strings.Repeat("a ", Most/2) + "... (1048576 bytes)"},
		{strings.Repeat("a\xff", Most/2), strings.Repeat("a\uFFFD", Most/4) + "... (512 bytes)"}, // which grew
	} {
		require.Equal(t, c.want, Text(c.in))
	}
}

func FuzzText(f *testing.F) {
	f.Add("plain")
	f.Add("\x1b[31m\r\n\xff\u202e")
	f.Add(strings.Repeat("€\x00", 300))
	f.Fuzz(func(t *testing.T, in string) {
		out := Text(in)
		require.True(t, utf8.ValidString(out))
		require.LessOrEqual(t, len(out), Most+40)
		require.False(t, strings.ContainsFunc(out, unicode.IsControl))
		require.Equal(t, out, String(out))
	})
}

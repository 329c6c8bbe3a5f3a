package foreign

import (
	"fmt"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func TestForeignText(t *testing.T) {
	const secret = "eyJTOPSECRET.token"
	f := &Filter{}
	f.Know(secret)
	f.Know("short")
	long := strings.Repeat("x", 4<<20)
	for _, test := range []struct{ name, in, want string }{
		{"what is fine", `Cache not found: "caché"`, `Cache not found: "caché"`},
		{"empty", "", ""},
		{"line ends", "a\r\nlevel=ERROR msg=forged", "a  level=ERROR msg=forged"},
		{"escape sequences", "\x1b[2Jgone\x07\x9b", " [2Jgone �"},
		{"other line ends", "a\u0085b\u2028c\u2029d", "a b c d"},
		{"what changes the direction, or is not seen", "a\u202eb\u200bc", "a\ufffdb\ufffdc"},
		{"not UTF-8", "a\xffb", "a\ufffdb"},
		{"a secret", "bad token " + secret + "!", "bad token [redacted]!"},
		{"one that is too short to be one", "cut it short", "cut it short"},
		{"long", long, long[:maxForeign] + "..."},
		{"a secret at the cut", long[:maxForeign-3] + secret + long, long[:maxForeign-3] + "[re..."},
		{"a secret at the window's end", secret + secret + long[:maxForeign-21] + secret + long,
			"[redacted][redacted]" + long[:maxForeign-21] + "..."},
		{"a character at the cut", long[:maxForeign-1] + "é" + long, long[:maxForeign-1] + "..."},
	} {
		t.Run(test.name, func(t *testing.T) {
			want := test.want
			if len(test.in) > maxForeign {
				want += fmt.Sprintf(" (%d bytes)", len(test.in))
			}
			require.Equal(t, want, f.Text(test.in))
		})
	}
	for i := range maxSecrets {
		f.Know(fmt.Sprint("another-secret-", i))
	}
	require.Contains(t, f.Text(secret), secret, "it is no longer in use")
}

func FuzzForeignText(f *testing.F) {
	const secret = "secret-secret"
	f.Add("plain", 0)
	f.Add("\x1b[31m\r\n"+secret, 600)
	f.Fuzz(func(t *testing.T, in string, pad int) {
		known := &Filter{}
		known.Know(secret)
		in += strings.Repeat("p", min(max(pad, 0), 2*maxForeign)) + secret
		out := known.Text(in)
		require.NotContains(t, out, secret)
		require.True(t, utf8.ValidString(out))
		require.LessOrEqual(t, len(out), maxForeign+40)
		require.False(t, strings.ContainsFunc(out, unicode.IsControl))
	})
}

package foreign

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func TestForeignText(t *testing.T) {
	const secret = "eyJTOPSECRET.token"
	const pin = "pin-40213"
	f := &Filter{}
	f.Know(secret)
	f.Know(pin)
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
		{"a short secret", "no " + pin + "5, no pin-402", "no [redacted]5, no pin-402"},
		{"two secrets", secret + pin + secret, "[redacted][redacted][redacted]"},
		{"a secret with a NUL inside", "bad eyJTOP\x00SECRET.token!", "bad [redacted]!"},
		{"with a line end inside", "bad eyJTOP\r\n  SECRET.token", "bad [redacted]"},
		{"with what cannot be seen inside", "bad eyJTOPSEC\u200bRET\u202e.token", "bad [redacted]"},
		{"with other characters inside", "bad eyJé\xffTOPSECRET.token", "bad [redacted]"},
		{"without the last character", "bad eyJTOPSECRET.toke!", "bad [redacted]!"},
		{"without the first character", "bad yJTOPSECRET.token!", "bad [redacted]!"},
		{"a piece that is too short to tell", "eyJTOPSECRET.to", "eyJTOPSECRET.to"},
		{"URL-encoded", "token=eyJTOPSECRET%2Etoken&x=%20", "token=[redacted]&x=%20"},
		{"URL-encoded in lower case", "token=eyJTOPSECRET%2etoken", "token=[redacted]"},
		{"URL-encoded throughout", "token=%65%79%4a%54%4f%50%53%45%43%52%45%54%2e%74%6f%6b%65%6e!", "token=[redacted]!"},
		{"escaped", `token eyJTOPSECRET\.token`, "token [redacted]"},
		{"what is no URL-encoding", "100% of %2 and %zz", "100% of %2 and %zz"},
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
	const secret = "secret-secret+0123456789/abcdef=="
	f.Add("plain", 0, "", uint8(0), uint8(0), false)
	f.Add("\x1b[31m\r\n"+secret, 600, "\x00", uint8(7), uint8(1), true)
	f.Fuzz(func(t *testing.T, in string, pad int, inside string, where, cut uint8, encoded bool) {
		known := &Filter{}
		known.Know(secret)
		echo := secret[:len(secret)-int(cut)%8]
		place := int(where) % len(echo)
		first, second := echo[:place], echo[place:]
		if encoded {
			first, second = url.QueryEscape(first), url.PathEscape(second)
		}
		inside = strings.Map(func(r rune) rune {
			if r > ' ' && r <= '~' {
				return -1
			}
			return r
		}, inside)
		in += strings.Repeat("p", min(max(pad, 0), 2*maxForeign)) + first + inside + second
		out := known.Text(in)
		require.NotContains(t, out, secret)
		shown := strip(out).text
		for i := minPiece; i <= len(secret); i++ {
			require.NotContains(t, shown, secret[i-minPiece:i])
		}
		require.True(t, utf8.ValidString(out))
		require.LessOrEqual(t, len(out), maxForeign+40)
		require.False(t, strings.ContainsFunc(out, unicode.IsControl))
	})
}

func BenchmarkForeignText(b *testing.B) {
	f := &Filter{}
	secret := strings.Repeat("0123456789abcdefghij", 30)
	for i := range maxSecrets {
		f.Know(fmt.Sprint(i, secret))
	}
	for name, text := range map[string]string{
		"usual": "the server was unable to handle the request; consider retrying",
		"long":  strings.Repeat("x", 1<<20),
		"echo":  "no: " + secret,
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				f.Text(text)
			}
		})
	}
}

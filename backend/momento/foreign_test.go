package momento

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"unicode"
	"unicode/utf8"

	sdk "github.com/momentohq/client-sdk-go/momento"
	"github.com/stretchr/testify/require"
	"github.com/topicbus/pubsub"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func TestForeignText(t *testing.T) {
	const secret = "eyJTOPSECRET.token"
	const pin = "pin-40213"
	f := &foreign{}
	f.know(secret)
	f.know(pin)
	f.know("short")
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
			require.Equal(t, want, f.text(test.in))
		})
	}
	for i := range maxSecrets {
		f.know(fmt.Sprint("another-secret-", i))
	}
	require.Contains(t, f.text(secret), secret, "it is no longer in use")
}

// Errors keep what errors.As finds in them, and nothing of what was cut.
func TestForeignErrors(t *testing.T) {
	const secret = "eyJTOPSECRET.token"
	f := &foreign{}
	f.know(secret)
	fine := sdk.NewMomentoError(sdk.PermissionError, "no", status.Error(codes.PermissionDenied, "no"))
	require.Same(t, fine, f.error(fine))
	require.NoError(t, f.error(nil))
	require.Equal(t, io.EOF, f.error(io.EOF))

	text := secret + "\r\n" + strings.Repeat("x", 4<<20)
	bad := sdk.NewMomentoError(sdk.PermissionError, text, status.Error(codes.PermissionDenied, text))
	for name, err := range map[string]error{
		"of the SDK":      f.error(bad),
		"translated":      translate(context.Background(), f.error(bad)),
		"in an SDK error": f.error(sdk.NewMomentoError(sdk.ClientSdkError, "no", bad)),
		"of gRPC":         f.error(status.Error(codes.PermissionDenied, text)),
		"any":             f.error(fmt.Errorf("odd: %s", text)),
	} {
		t.Run(name, func(t *testing.T) {
			for _, verb := range []string{"%v", "%+v", "%#v", "%q"} {
				require.NotContains(t, fmt.Sprintf(verb, err), secret)
			}
			require.Less(t, len(err.Error()), 3*maxForeign)
			require.NotContains(t, err.Error(), "\r")
			if name == "any" {
				return
			}
			var grpc interface{ GRPCStatus() *status.Status }
			if name == "of gRPC" {
				require.ErrorAs(t, err, &grpc)
				require.Equal(t, codes.PermissionDenied, grpc.GRPCStatus().Code())
				return
			}
			var me sdk.MomentoError
			require.ErrorAs(t, err, &me)
			require.Less(t, len(me.Message()), 2*maxForeign)
			require.NotContains(t, me.OriginalErr().Error(), secret)
		})
	}
}

func FuzzForeignText(f *testing.F) {
	const secret = "secret-secret+0123456789/abcdef=="
	f.Add("plain", 0, "", uint8(0), uint8(0), false)
	f.Add("\x1b[31m\r\n"+secret, 600, "\x00", uint8(7), uint8(1), true)
	f.Fuzz(func(t *testing.T, in string, pad int, inside string, where, cut uint8, encoded bool) {
		known := &foreign{}
		known.know(secret)
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
		out := known.text(in)
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
	f := &foreign{}
	secret := strings.Repeat("0123456789abcdefghij", 30)
	for i := range maxSecrets {
		f.know(fmt.Sprint(i, secret))
	}
	for name, text := range map[string]string{
		"usual": "the server was unable to handle the request; consider retrying",
		"long":  strings.Repeat("x", 1<<20),
		"echo":  "no: " + secret,
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				f.text(text)
			}
		})
	}
}

// What the SDK logs of a peer's text is foreign too.
func TestForeignLines(t *testing.T) {
	var out bytes.Buffer
	f := &foreign{}
	f.know("eyJTOPSECRET.token")
	l := newSDKLogger(slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug})), f)
	l.Error("Stream disconnected due to error: %s", "eyJTOPSECRET.token\x1b"+strings.Repeat("x", 1<<20))
	require.NotContains(t, out.String(), "TOPSECRET")
	require.NotContains(t, out.String(), "x1b")
	require.Less(t, out.Len(), 2*maxForeign)
}

// Whichever way a peer's text comes, it is cleaned: of Publish, of Subscribe and
// of a stream that breaks.
func TestHostilePeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const secret = "eyJTOPSECRET.token"
		echo := sdk.NewMomentoError(sdk.InternalServerError, "no: "+secret+"\x1b\r"+strings.Repeat("x", 1<<20), nil)
		s := newService(t)
		s.onPublish = func(context.Context, *fakeClient, *sdk.TopicPublishRequest) error { return echo }
		s.onTry = func(n int, _ *sdk.TopicSubscribeRequest) ([]any, error) {
			if n == 2 {
				return nil, echo
			}
			return []any{text(7, 1, "a"), echo}, nil
		}
		b := s.newBackend(WithCredentials(fakeCredentials(secret)))
		check := func(err error) {
			t.Helper()
			require.ErrorContains(t, err, "no: [redacted]")
			require.NotContains(t, fmt.Sprintf("%+v", err), secret)
			require.False(t, strings.ContainsFunc(err.Error(), unicode.IsControl))
			require.Less(t, len(err.Error()), 2*maxForeign)
		}
		check(b.Publish(t.Context(), "topic", pubsub.Payload{}))
		r := receive(t, b, t.Context(), pubsub.Position{})
		_, err := b.Subscribe(t.Context(), "another", pubsub.Start{})
		check(err)
		check(r.state(t, pubsub.Reconnecting).Err)
	})
}

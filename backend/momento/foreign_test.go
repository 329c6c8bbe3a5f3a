package momento

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
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
	f := &foreign{}
	f.know(secret)
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
	const secret = "secret-secret"
	f.Add("plain", 0)
	f.Add("\x1b[31m\r\n"+secret, 600)
	f.Fuzz(func(t *testing.T, in string, pad int) {
		known := &foreign{}
		known.know(secret)
		in += strings.Repeat("p", min(max(pad, 0), 2*maxForeign)) + secret
		out := known.text(in)
		require.NotContains(t, out, secret)
		require.True(t, utf8.ValidString(out))
		require.LessOrEqual(t, len(out), maxForeign+40)
		require.False(t, strings.ContainsFunc(out, unicode.IsControl))
	})
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

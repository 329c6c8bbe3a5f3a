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

	sdk "github.com/momentohq/client-sdk-go/momento"
	"github.com/stretchr/testify/require"
	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/internal/foreign"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// maxForeign is what is kept of a foreign text, at least.
const maxForeign = 512

// Errors keep what errors.As finds in them, and nothing of what was cut.
func TestForeignErrors(t *testing.T) {
	const secret = "eyJTOPSECRET.token"
	f := &foreign.Filter{}
	f.Know(secret)
	fine := sdk.NewMomentoError(sdk.PermissionError, "no", status.Error(codes.PermissionDenied, "no"))
	require.Same(t, fine, shown(f, fine))
	require.NoError(t, shown(f, nil))
	require.Equal(t, io.EOF, shown(f, io.EOF))

	text := secret + "\r\n" + strings.Repeat("x", 4<<20)
	bad := sdk.NewMomentoError(sdk.PermissionError, text, status.Error(codes.PermissionDenied, text))
	for name, err := range map[string]error{
		"of the SDK":      shown(f, bad),
		"translated":      translate(context.Background(), shown(f, bad)),
		"in an SDK error": shown(f, sdk.NewMomentoError(sdk.ClientSdkError, "no", bad)),
		"of gRPC":         shown(f, status.Error(codes.PermissionDenied, text)),
		"any":             shown(f, fmt.Errorf("odd: %s", text)),
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

// What the SDK logs of a peer's text is foreign too.
func TestForeignLines(t *testing.T) {
	var out bytes.Buffer
	f := &foreign.Filter{}
	f.Know("eyJTOPSECRET.token")
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

package faults_test

import (
	"context"
	"log/slog"
	"net/http"
	"testing"
	"time"

	"github.com/momentohq/client-sdk-go/auth"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/momento"
	"github.com/topicbus/pubsub/backend/momento/faults/internal/matrix"
	"github.com/topicbus/pubsub/backend/momento/momentotest"
)

// TestPermanence has the service, or something before it, refuse calls. Each row
// says what that amounts to, and whether it ends a subscription that was
// accepted before: only what may be the service's own word does, if it lasts.
func TestPermanence(t *testing.T) {
	status := func(code codes.Code, message string) http.HandlerFunc { return matrix.Status(int(code), message) }
	for _, row := range []struct {
		name     string
		answer   http.HandlerFunc
		sentinel error
		ends     bool // if it lasts; it must not if it passes
		outcome  pubsub.Outcome
	}{
		{"the service: unauthenticated", status(codes.Unauthenticated, "Invalid key"), pubsub.ErrUnauthenticated, true, pubsub.NotAccepted},
		{"the service: permission denied", status(codes.PermissionDenied, "No permission"), pubsub.ErrPermissionDenied, true, pubsub.NotAccepted},
		{"the service: no such cache", status(codes.NotFound, "Cache not found"), pubsub.ErrNotFound, true, pubsub.NotAccepted},
		{"the service: invalid argument", status(codes.InvalidArgument, "Bad topic"), pubsub.ErrInvalidArgument, true, pubsub.NotAccepted},
		{"the service: a limit", status(codes.ResourceExhausted, "Too many operations"), pubsub.ErrLimitExceeded, false, pubsub.NotAccepted},
		{"a gateway: denied by ext_authz", status(codes.PermissionDenied, "denied by ext_authz"), pubsub.ErrPermissionDenied, true, pubsub.NotAccepted},
		{"a gateway: Forbidden", status(codes.PermissionDenied, "Forbidden"), pubsub.ErrPermissionDenied, true, pubsub.NotAccepted},
		{"a gateway: HTTP 403", status(codes.PermissionDenied, "HTTP 403"), pubsub.ErrPermissionDenied, true, pubsub.NotAccepted},
		{"a gateway: API blocked", status(codes.PermissionDenied, "PERMISSION_DENIED: API blocked"), pubsub.ErrPermissionDenied, true, pubsub.NotAccepted},
		{"a gateway: unauthorized", status(codes.Unauthenticated, "unauthorized."), pubsub.ErrUnauthenticated, true, pubsub.NotAccepted},
		{"unimplemented", status(codes.Unimplemented, "unknown service"), pubsub.ErrUnavailable, false, pubsub.OutcomeUnknown},
		{"out of range", status(codes.OutOfRange, "too far"), pubsub.ErrUnavailable, false, pubsub.OutcomeUnknown},
		{"failed precondition", status(codes.FailedPrecondition, "not now"), pubsub.ErrUnavailable, false, pubsub.OutcomeUnknown},
		{"already exists", status(codes.AlreadyExists, "what?"), pubsub.ErrUnavailable, false, pubsub.OutcomeUnknown},
		{"a code that there is not", status(99, "what?"), pubsub.ErrUnavailable, false, pubsub.OutcomeUnknown},
		{"a refusal without a word", status(codes.PermissionDenied, ""), pubsub.ErrUnavailable, false, pubsub.OutcomeUnknown},
		{"a mesh: access denied", status(codes.PermissionDenied, "RBAC: access denied"), pubsub.ErrUnavailable, false, pubsub.OutcomeUnknown},
		{"a mesh: no token", status(codes.Unauthenticated, "Jwt is missing"), pubsub.ErrUnavailable, false, pubsub.OutcomeUnknown},
		{"a mesh: nobody there", status(codes.Unavailable, "no healthy upstream"), pubsub.ErrUnavailable, false, pubsub.OutcomeUnknown},
		{"an error page: 400", matrix.Page(400), pubsub.ErrUnavailable, false, pubsub.OutcomeUnknown},
		{"an error page: 401", matrix.Page(401), pubsub.ErrUnavailable, false, pubsub.OutcomeUnknown},
		{"an error page: 403", matrix.Page(403), pubsub.ErrUnavailable, false, pubsub.OutcomeUnknown},
		{"an error page: 404", matrix.Page(404), pubsub.ErrUnavailable, false, pubsub.OutcomeUnknown},
		{"an error page: 407", matrix.Page(407), pubsub.ErrUnavailable, false, pubsub.OutcomeUnknown},
		{"an error page: 429", matrix.Page(429), pubsub.ErrUnavailable, false, pubsub.OutcomeUnknown},
		{"an error page: 503", matrix.Page(503), pubsub.ErrUnavailable, false, pubsub.OutcomeUnknown},
		{"a page that says all is well", matrix.Page(200), pubsub.ErrUnavailable, false, pubsub.OutcomeUnknown},
		{"a redirect", matrix.Page(302), pubsub.ErrUnavailable, false, pubsub.OutcomeUnknown},
		{"a compression that is not known", matrix.Message("br", []byte("xx")), pubsub.ErrUnavailable, false, pubsub.OutcomeUnknown},
		{"a message that cannot be read", matrix.Message("", []byte{0xff}), pubsub.ErrUnavailable, false, pubsub.OutcomeUnknown},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			srv, err := momentotest.NewServer(momentotest.WithCaches("cache"))
			require.NoError(t, err)
			defer srv.Close()
			between, err := matrix.NewBetween(srv.Addr())
			require.NoError(t, err)
			defer between.Close()
			e := auth.Endpoint{Endpoint: between.Addr(), InsecureConnection: true}
			p, err := srv.Credentials().WithEndpoints(auth.AllEndpoints{ControlEndpoint: e, CacheEndpoint: e, TokenEndpoint: e, StorageEndpoint: e})
			require.NoError(t, err)
			b, err := momento.New("cache", momento.WithCredentials(p), momento.WithLogger(slog.New(slog.DiscardHandler)),
				momento.WithSubscribeTimeout(30*time.Second), momento.WithPublishTimeout(30*time.Second))
			require.NoError(t, err)
			defer b.Close()

			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			s, err := b.Subscribe(ctx, "topic", pubsub.Start{})
			require.NoError(t, err)
			var ended error
			done, resumed := make(chan struct{}), make(chan struct{})
			go func() {
				defer close(done)
				ended = s.Receive(func(_ context.Context, f pubsub.Frame) error {
					if f.Kind == pubsub.KindState && f.State.State == pubsub.Resumed {
						close(resumed)
					}
					return nil
				})
			}()

			between.Answer(row.answer)
			err = b.Publish(ctx, "topic", pubsub.Payload{Data: []byte("x")})
			require.ErrorIs(t, err, row.sentinel)
			require.Equal(t, row.outcome, pubsub.OutcomeOf(err), "%v", err)
			_, err = b.Subscribe(ctx, "another", pubsub.Start{})
			require.ErrorIs(t, err, row.sentinel)

			answered := between.Answered()
			srv.EndStreams(momentotest.Fail(codes.Unavailable, "scripted"))
			require.Eventually(t, func() bool { return between.Answered() >= answered+2 }, time.Minute, time.Millisecond,
				"it does not try again")
			between.Answer(nil)
			select {
			case <-resumed:
			case <-done:
				require.Fail(t, "the subscription ended", "%v", ended)
			case <-time.After(time.Minute):
				require.Fail(t, "the subscription does not come back")
			}
			if row.ends {
				between.Answer(row.answer)
				srv.EndStreams(momentotest.Fail(codes.Unavailable, "scripted"))
				<-done
				require.ErrorIs(t, ended, row.sentinel)
				return
			}
			cancel()
			<-done
			require.NoError(t, ended)
		})
	}
}

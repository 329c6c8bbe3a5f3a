package momento_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/momentohq/client-sdk-go/auth"
	sdk "github.com/momentohq/client-sdk-go/momento"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/momento"
	"github.com/topicbus/pubsub/backend/momento/momentotest"
)

// TestOutcomeOfEveryCode has the service answer a Publish with every gRPC code.
func TestOutcomeOfEveryCode(t *testing.T) {
	srv := newServer(t)
	b := open(t, srv)
	for code, want := range map[codes.Code]pubsub.Outcome{
		codes.Canceled:           pubsub.OutcomeUnknown,
		codes.Unknown:            pubsub.OutcomeUnknown,
		codes.InvalidArgument:    pubsub.NotAccepted,
		codes.DeadlineExceeded:   pubsub.OutcomeUnknown,
		codes.NotFound:           pubsub.NotAccepted,
		codes.AlreadyExists:      pubsub.OutcomeUnknown,
		codes.PermissionDenied:   pubsub.NotAccepted,
		codes.ResourceExhausted:  pubsub.NotAccepted,
		codes.FailedPrecondition: pubsub.OutcomeUnknown,
		codes.Aborted:            pubsub.OutcomeUnknown,
		codes.OutOfRange:         pubsub.OutcomeUnknown,
		codes.Unimplemented:      pubsub.OutcomeUnknown,
		codes.Internal:           pubsub.OutcomeUnknown,
		codes.Unavailable:        pubsub.OutcomeUnknown,
		codes.DataLoss:           pubsub.OutcomeUnknown,
		codes.Unauthenticated:    pubsub.NotAccepted,
		codes.Code(99):           pubsub.OutcomeUnknown,
	} {
		t.Run(code.String(), func(t *testing.T) {
			srv.FailNext(momentotest.Publish, 1, momentotest.Fail(code, "scripted"))
			err := b.Publish(t.Context(), "topic", text("x"))
			require.Error(t, err)
			require.Equal(t, want.String(), pubsub.OutcomeOf(err).String(), "%v", err)
		})
	}
	require.Equal(t, pubsub.Accepted, pubsub.OutcomeOf(b.Publish(t.Context(), "topic", text("x"))))
}

// TestOutcomeOfOtherErrors fails a Publish in all other ways. Each row says
// whether the service took the message all the same.
func TestOutcomeOfOtherErrors(t *testing.T) {
	broken := errors.New("vault is sealed")
	for _, test := range []struct {
		name    string
		want    pubsub.Outcome
		is      error
		options []momento.Option
		play    func(t *testing.T, srv *momentotest.Server, b *momento.Backend) error
	}{
		{"a format that there is not", pubsub.NotAccepted, pubsub.ErrInvalidPayload, nil, func(t *testing.T, _ *momentotest.Server, b *momento.Backend) error {
			return b.Publish(t.Context(), "topic", pubsub.ValuePayload(1))
		}},
		{"larger than gRPC sends", pubsub.NotAccepted, pubsub.ErrPayloadTooLarge, nil, func(t *testing.T, _ *momentotest.Server, b *momento.Backend) error {
			return b.Publish(t.Context(), "topic", pubsub.Payload{Data: make([]byte, 6<<20)})
		}},
		{"a topic that cannot be sent", pubsub.NotAccepted, pubsub.ErrUnavailable, nil, func(t *testing.T, _ *momentotest.Server, b *momento.Backend) error {
			return b.Publish(t.Context(), "caf\xff", text("x"))
		}},
		{"a topic that the SDK refuses", pubsub.NotAccepted, pubsub.ErrInvalidArgument, nil, func(t *testing.T, _ *momentotest.Server, b *momento.Backend) error {
			return b.Publish(t.Context(), " ", text("x"))
		}},
		{"a ctx that has ended", pubsub.NotAccepted, context.Canceled, nil, func(t *testing.T, _ *momentotest.Server, b *momento.Backend) error {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			return b.Publish(ctx, "topic", text("x"))
		}},
		{"a ctx that ends on the way", pubsub.OutcomeUnknown, context.Canceled, nil, func(t *testing.T, srv *momentotest.Server, b *momento.Backend) error {
			ctx, cancel := context.WithCancel(t.Context())
			return during(t, srv, cancel, func() error { return b.Publish(ctx, "topic", text("x")) })
		}},
		{"a deadline that passes on the way", pubsub.OutcomeUnknown, context.DeadlineExceeded, nil, func(t *testing.T, srv *momentotest.Server, b *momento.Backend) error {
			srv.DelayNext(momentotest.Publish, 1, time.Hour)
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			return b.Publish(ctx, "topic", text("x"))
		}},
		{"the publish timeout", pubsub.OutcomeUnknown, pubsub.ErrUnavailable, []momento.Option{momento.WithPublishTimeout(time.Second)},
			func(t *testing.T, srv *momentotest.Server, b *momento.Backend) error {
				srv.DelayNext(momentotest.Publish, 1, time.Hour)
				return b.Publish(t.Context(), "topic", text("x"))
			}},
		{"closed before", pubsub.NotAccepted, pubsub.ErrClosed, nil, func(t *testing.T, _ *momentotest.Server, b *momento.Backend) error {
			require.NoError(t, b.Close())
			return b.Publish(t.Context(), "topic", text("x"))
		}},
		{"closed on the way", pubsub.OutcomeUnknown, pubsub.ErrClosed, nil, func(t *testing.T, srv *momentotest.Server, b *momento.Backend) error {
			return during(t, srv, func() { b.Close() }, func() error { return b.Publish(t.Context(), "topic", text("x")) })
		}},
		{"nobody listens", pubsub.NotAccepted, pubsub.ErrUnavailable, nil, func(t *testing.T, srv *momentotest.Server, b *momento.Backend) error {
			srv.Stop()
			return b.Publish(t.Context(), "topic", text("x"))
		}},
		{"the connection breaks on the way", pubsub.OutcomeUnknown, pubsub.ErrUnavailable, nil, func(t *testing.T, srv *momentotest.Server, b *momento.Backend) error {
			return during(t, srv, srv.ResetConnections, func() error { return b.Publish(t.Context(), "topic", text("x")) })
		}},
		{"the server stops on the way", pubsub.OutcomeUnknown, pubsub.ErrUnavailable, nil, func(t *testing.T, srv *momentotest.Server, b *momento.Backend) error {
			return during(t, srv, srv.Stop, func() error { return b.Publish(t.Context(), "topic", text("x")) })
		}},
		{"no credentials", pubsub.NotAccepted, broken, []momento.Option{
			momento.WithCredentialsFunc(func(context.Context) (auth.CredentialProvider, error) { return nil, broken }),
		}, func(t *testing.T, _ *momentotest.Server, b *momento.Backend) error {
			return b.Publish(t.Context(), "topic", text("x"))
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			srv := newServer(t)
			b := open(t, srv, test.options...)
			err := test.play(t, srv, b)
			require.ErrorIs(t, err, test.is)
			require.Equal(t, test.want.String(), pubsub.OutcomeOf(err).String(), "%v", err)
			if test.want == pubsub.NotAccepted {
				require.Zero(t, srv.Topic("cache", "topic").Position().Sequence)
			}
		})
	}
}

// during calls end while the call waits at the server.
func during(t *testing.T, srv *momentotest.Server, end func(), call func() error) error {
	srv.DelayNext(momentotest.Publish, 1, time.Hour)
	done := make(chan error, 1)
	go func() { done <- call() }()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	require.NoError(t, srv.Wait(ctx, func() bool { return srv.Stats().Publishes > 0 }))
	end()
	return <-done
}

// The size that the service takes is a refusal like others.
func TestOutcomeOfServiceLimits(t *testing.T) {
	srv := newServer(t, momentotest.WithMaxPayload(10))
	err := open(t, srv).Publish(t.Context(), "topic", text("more than ten bytes"))
	require.ErrorIs(t, err, pubsub.ErrPayloadTooLarge)
	require.Equal(t, pubsub.NotAccepted, pubsub.OutcomeOf(err))
	var me sdk.MomentoError
	require.ErrorAs(t, err, &me)
}

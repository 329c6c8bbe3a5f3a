package momento_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	sdk "github.com/momentohq/client-sdk-go/momento"
	"github.com/stretchr/testify/require"
	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/momento"
	"github.com/topicbus/pubsub/backend/momento/momentotest"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// TestErrorOfEveryCode fails calls and streams with every gRPC code, over TCP
// and through the SDK.
func TestErrorOfEveryCode(t *testing.T) {
	srv := newServer(t)
	b := open(t, srv, momento.WithRefusalPatience(0))
	for _, test := range []struct {
		code      codes.Code
		sentinel  error
		permanent bool
	}{
		{codes.OK, pubsub.ErrUnavailable, false}, // a stream that ends without an error
		{codes.Canceled, pubsub.ErrUnavailable, false},
		{codes.Unknown, pubsub.ErrUnavailable, false},
		{codes.InvalidArgument, pubsub.ErrInvalidArgument, true},
		{codes.DeadlineExceeded, pubsub.ErrUnavailable, false},
		{codes.NotFound, pubsub.ErrNotFound, true},
		{codes.AlreadyExists, pubsub.ErrUnavailable, false},
		{codes.PermissionDenied, pubsub.ErrPermissionDenied, true},
		{codes.ResourceExhausted, pubsub.ErrLimitExceeded, false},
		{codes.FailedPrecondition, pubsub.ErrUnavailable, false},
		{codes.Aborted, pubsub.ErrUnavailable, false},
		{codes.OutOfRange, pubsub.ErrUnavailable, false},
		{codes.Unimplemented, pubsub.ErrUnavailable, false},
		{codes.Internal, pubsub.ErrUnavailable, false},
		{codes.Unavailable, pubsub.ErrUnavailable, false},
		{codes.DataLoss, pubsub.ErrUnavailable, false},
		{codes.Unauthenticated, pubsub.ErrUnauthenticated, true},
	} {
		t.Run(test.code.String(), func(t *testing.T) {
			check := func(err error) {
				t.Helper()
				require.ErrorIs(t, err, test.sentinel)
				require.NotErrorIs(t, err, context.Canceled)
				require.NotErrorIs(t, err, context.DeadlineExceeded)
				var me sdk.MomentoError
				require.ErrorAs(t, err, &me)
				var grpc interface{ GRPCStatus() *status.Status }
				if test.code != codes.OK {
					require.ErrorAs(t, err, &grpc)
					require.Equal(t, test.code, grpc.GRPCStatus().Code())
					require.ErrorContains(t, err, "scripted")
				}
				require.NotContains(t, err.Error(), "\n")
			}
			failure := momentotest.Fail(test.code, "scripted")
			if test.code != codes.OK {
				srv.FailNext(momentotest.Publish, 1, failure)
				check(b.Publish(t.Context(), "topic", text("x")))
			}
			srv.FailNext(momentotest.Subscribe, 1, failure)
			_, err := b.Subscribe(t.Context(), "topic", pubsub.Start{})
			if test.code != codes.Unavailable || err != nil { // where a new client helps at once
				check(err)
			}
			srv.ClearFaults()

			l := listen(t, b, "topic")
			srv.EndStreams(failure)
			if test.permanent {
				<-l.done
				check(l.err)
				return
			}
			check(l.next(t, pubsub.KindState).State.Err)
		})
	}
}

func TestErrorsOfSizeAndOfLimits(t *testing.T) {
	srv := newServer(t)
	b := open(t, srv)
	for reason, want := range map[string]error{
		momentotest.ReasonItemSize:       pubsub.ErrPayloadTooLarge,
		momentotest.ReasonRequestSize:    pubsub.ErrPayloadTooLarge,
		momentotest.ReasonElementSize:    pubsub.ErrPayloadTooLarge,
		momentotest.ReasonOperationsRate: pubsub.ErrLimitExceeded,
		momentotest.ReasonThroughputRate: pubsub.ErrLimitExceeded,
		momentotest.ReasonSubscriptions:  pubsub.ErrLimitExceeded,
	} {
		srv.FailNext(momentotest.Publish, 1, momentotest.Failure{Code: codes.ResourceExhausted, Message: "no", Reason: reason})
		err := b.Publish(t.Context(), "topic", text("x"))
		require.ErrorIs(t, err, want, reason)
		require.Equal(t, want == pubsub.ErrLimitExceeded, errors.Is(err, pubsub.ErrLimitExceeded), reason)
	}
}

func TestCtxErrors(t *testing.T) {
	srv := newServer(t)
	b := open(t, srv)
	srv.DelayNext(momentotest.Publish, momentotest.Always, time.Minute)
	srv.DelayNext(momentotest.Subscribe, momentotest.Always, time.Minute)
	for _, want := range []error{context.Canceled, context.DeadlineExceeded} {
		for name, call := range map[string]func(context.Context) error{
			"publish":   func(ctx context.Context) error { return b.Publish(ctx, "topic", text("x")) },
			"subscribe": func(ctx context.Context) error { _, err := b.Subscribe(ctx, "topic", pubsub.Start{}); return err },
		} {
			t.Run(fmt.Sprint(name, " ", want), func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
				defer cancel()
				if want == context.Canceled {
					ctx, cancel = context.WithCancel(t.Context())
					time.AfterFunc(50*time.Millisecond, cancel)
				}
				start := time.Now()
				require.ErrorIs(t, call(ctx), want)
				require.Less(t, time.Since(start), patience/4, "without regard to ctx it takes patience/2")
			})
		}
	}
}

package consume_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/consume"
)

func TestRecover(t *testing.T) {
	h := consume.Recover(func(_ context.Context, m message) error {
		if m.Value.N == 1 {
			explode()
		}
		return errOut
	})
	err := h(t.Context(), message{Value: order{"a", 1}})
	var p *consume.PanicError
	require.ErrorAs(t, err, &p)
	require.ErrorIs(t, err, errHandler)
	require.Contains(t, string(p.Stack), "explode")
	require.Equal(t, errOut, h(t.Context(), message{}))
	require.Nil(t, (&consume.PanicError{Value: "x"}).Unwrap())
}

func TestTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := consume.Timeout[order](time.Second)(func(ctx context.Context, m message) error {
			if m.Value.N == 1 {
				<-ctx.Done()
				return context.Cause(ctx)
			}
			return nil
		})
		began := time.Now()
		err := h(t.Context(), message{Value: order{"a", 1}})
		require.Equal(t, time.Second, time.Since(began))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.EqualError(t, err, "handler took longer than 1s: context deadline exceeded")
		require.NoError(t, h(t.Context(), message{}))
	})
	h := consume.Timeout[order](0)(func(context.Context, message) error { return nil })
	var permanent *backoff.PermanentError
	err := h(t.Context(), message{})
	require.ErrorIs(t, err, pubsub.ErrInvalidArgument)
	require.ErrorAs(t, err, &permanent)
}

//go:build !race

package memory

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub"
)

// Publishers that meet take the slow way, message after message. What it makes
// for the others to take the short way is made once.
func TestContendedPublishDoesNotAllocate(t *testing.T) {
	b := New()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for range 3 {
		s, err := b.Subscribe(ctx, "t", pubsub.Start{})
		require.NoError(t, err)
		go s.Receive(func(context.Context, pubsub.Frame) error { return nil })
	}
	tp, err := b.engine.topic("t")
	require.NoError(t, err)
	for tp.word.Load()&slow != 0 {
		require.NoError(t, b.Publish(ctx, "t", pubsub.Payload{}))
	}
	require.Zero(t, testing.AllocsPerRun(1000, func() { _ = tp.publishSlow(ctx, pubsub.Payload{}, nil) }))
}

// Publishers go back to the short way when the last fault has come.
func TestFaultsEnd(t *testing.T) {
	b := New()
	ask := func() bool { return b.engine.publishing.Load() != nil }
	for range 2 {
		b.FailPublishes(1, nil, "t")
		require.Error(t, b.Publish(t.Context(), "t", pubsub.Payload{}))
		require.False(t, ask())
		b.FailAcceptedPublishes(1, nil)
		require.True(t, ask())
		require.Error(t, b.Publish(t.Context(), "t", pubsub.Payload{}))
		require.False(t, ask())
		b.DelayPublishes(1, "t")
		require.NoError(t, b.Publish(t.Context(), "t", pubsub.Payload{}))
		require.True(t, ask())
		b.DelayPublishes(0, "t")
		require.False(t, ask())
		b.FailPublishes(1, nil, "t")
		b.FailPublishes(0, nil, "t")
		require.False(t, ask())
	}
}

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

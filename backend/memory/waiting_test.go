package memory_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/memory"
	"github.com/topicbus/pubsub/codec"
)

// A publisher that gives up under Block says which subscription it waited for:
// by name, through a handle, in a batch, with one stream and beside another.
func TestWhoGivesUpSaysWhomItWaitedFor(t *testing.T) {
	type publish func(context.Context, pubsub.Bus[int]) error
	for name, publish := range map[string]publish{
		"by name": func(ctx context.Context, bus pubsub.Bus[int]) error { return bus.Publish(ctx, "a", 3) },
		"handle":  func(ctx context.Context, bus pubsub.Bus[int]) error { return bus.Topic("a").Publish(ctx, 3) },
		"batch": func(ctx context.Context, bus pubsub.Bus[int]) error {
			_, err := bus.Topic("a").PublishAll(ctx, []int{3, 4})
			return err
		},
	} {
		for _, streams := range []int{1, 2} {
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					bus := pubsub.New(memory.New(), codec.Value[int](), pubsub.WithBuffer(2))
					defer bus.Close()
					if streams == 2 {
						_, err := bus.Subscribe(t.Context(), "a")
						require.NoError(t, err)
					}
					_, err := bus.Subscribe(t.Context(), "a", pubsub.Overflow(pubsub.Block), pubsub.Named("sleeper"))
					require.NoError(t, err)
					for i := range 2 {
						require.NoError(t, bus.Publish(t.Context(), "a", i))
					}
					ctx, cancel := context.WithTimeout(t.Context(), time.Second)
					defer cancel()
					err = publish(ctx, bus)
					require.ErrorIs(t, err, context.DeadlineExceeded)
					require.ErrorContains(t, err, `waiting for subscription "sleeper"`)
					require.Equal(t, pubsub.Accepted, pubsub.OutcomeOf(err))
				})
			})
		}
	}
}

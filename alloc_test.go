//go:build !race

package pubsub_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/memory"
	"github.com/topicbus/pubsub/codec"
)

// The race detector allocates, so these guards are built without it.

func TestNoAllocationPerMessage(t *testing.T) {
	payload := make([]byte, 128)
	for name, subscribers := range map[string]int{"nobody": 0, "one stalled": 1, "a hundred stalled": 100} {
		t.Run("publish to "+name, func(t *testing.T) {
			allocsOfPublish(t, codec.Bytes(), payload, subscribers)
			allocsOfPublish(t, codec.String(), string(payload), subscribers)
		})
	}
	for _, form := range []string{"All", "Next", "C", "Events"} {
		t.Run(form, func(t *testing.T) {
			bus := pubsub.New(memory.New(), codec.Bytes())
			defer bus.Close()
			s, err := bus.Subscribe(context.Background(), "t")
			require.NoError(t, err)
			ctx := context.Background()
			const batch = 100
			require.Zero(t, testing.AllocsPerRun(100, func() {
				for range batch {
					_ = bus.Publish(ctx, "t", payload)
				}
				switch form {
				case "All":
					n := 0
					for range s.All() {
						if n++; n == batch {
							break
						}
					}
				case "Next":
					for range batch {
						_, _ = s.Next(ctx)
					}
				case "C":
					for range batch {
						<-s.C()
					}
				case "Events":
					for range batch {
						<-s.Events()
					}
				}
			})/batch, form)
		})
	}
}

func TestNoAllocationPerBatch(t *testing.T) {
	for _, subscribers := range []int{0, 1, 100} {
		bus := pubsub.New(memory.New(), codec.Bytes())
		topic := bus.Topic("t")
		for range subscribers {
			_, err := topic.Subscribe(context.Background())
			require.NoError(t, err)
		}
		values := make([][]byte, 64)
		ctx := context.Background()
		for range 20 { // warm
			_, _ = topic.PublishAll(ctx, values)
		}
		require.Zero(t, testing.AllocsPerRun(100, func() { _, _ = topic.PublishAll(ctx, values) }))
		require.Zero(t, testing.AllocsPerRun(100, func() { _ = topic.Publish(ctx, values[0]) }))
		require.NoError(t, bus.Close())
	}
}

func allocsOfPublish[T any](t *testing.T, c pubsub.Codec[T], value T, subscribers int) {
	bus := pubsub.New(memory.New(), c)
	defer bus.Close()
	ctx := context.Background()
	for range subscribers {
		_, err := bus.Subscribe(ctx, "t")
		require.NoError(t, err)
	}
	for range 2 * pubsub.DefaultBuffer { // warm: the ring has its segments
		require.NoError(t, bus.Publish(ctx, "t", value))
	}
	require.Zero(t, testing.AllocsPerRun(1000, func() { _ = bus.Publish(ctx, "t", value) }))
}

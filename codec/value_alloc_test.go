//go:build !race

package codec_test

// The race detector changes what is allocated, so this is not built with it.

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/memory"
	"github.com/topicbus/pubsub/codec"
)

// The whole way, from Publish to Next.
func TestValueAllocationsOverMemory(t *testing.T) {
	t.Run("pointer", onTheWay(codec.Value[*account](), &account{}, 0))
	t.Run("struct", onTheWay(codec.Value[account](), account{balance: 7}, 1))
	t.Run("interface", onTheWay[error](codec.Value[error](), context.Canceled, 1))
}

func onTheWay[T any](c pubsub.Codec[T], v T, atMost float64) func(*testing.T) {
	return func(t *testing.T) {
		bus, sub := subscribed(t, memory.New(), c)
		ctx := context.Background()
		var err error
		n := testing.AllocsPerRun(1000, func() {
			if err == nil {
				err = bus.Publish(ctx, "a", v)
			}
			if err == nil {
				_, err = sub.Next(ctx)
			}
		})
		require.NoError(t, err)
		require.LessOrEqual(t, n, atMost)
	}
}

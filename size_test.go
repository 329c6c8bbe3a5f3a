//go:build !race

package pubsub_test

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/memory"
	"github.com/topicbus/pubsub/codec"
)

// What a subscription and an idle topic take, and that a large buffer takes
// nothing until it is filled.
func TestBytesOfEach(t *testing.T) {
	ctx := context.Background()
	t.Run("subscription, by All and Next", func(t *testing.T) {
		bus := pubsub.New(memory.New(), codec.Bytes())
		topic := bus.Topic("t")
		_, err := topic.Subscribe(ctx)
		require.NoError(t, err)
		const n = 20_000
		before := memoryInUse()
		for range n {
			s, err := topic.Subscribe(ctx)
			require.NoError(t, err)
			read, cancel := context.WithCancel(ctx)
			cancel()
			_, err = s.Next(read)
			require.ErrorIs(t, err, context.Canceled)
		}
		got := perItem(before, n)
		t.Logf("%d bytes", got)
		require.LessOrEqual(t, got, int64(1024))
		start := time.Now()
		require.NoError(t, bus.Close())
		t.Logf("closed in %v each", time.Since(start)/n)
	})
	t.Run("subscription, by C", func(t *testing.T) {
		bus := pubsub.New(memory.New(), codec.Bytes())
		defer bus.Close()
		topic := bus.Topic("t")
		const n = 5_000
		before := memoryInUse()
		for range n {
			s, err := topic.Subscribe(ctx)
			require.NoError(t, err)
			s.C()
		}
		require.Eventually(t, func() bool { // when all of them sleep
			t.Logf("%d bytes", perItem(before, n))
			return perItem(before, n) <= 7*1024
		}, 20*time.Second, 50*time.Millisecond)
	})
	t.Run("idle topic", func(t *testing.T) {
		bus := pubsub.New(memory.New(), codec.Bytes(), pubsub.WithBuffer(1<<28))
		defer bus.Close()
		const n = 5_000
		before := memoryInUse()
		for i := range n {
			_, err := bus.Subscribe(ctx, strconv.Itoa(i))
			require.NoError(t, err)
		}
		got := perItem(before, n)
		t.Logf("%d bytes", got)
		require.LessOrEqual(t, got, int64(6*1024+512), "its only subscription and the least stack there is included")
	})
}

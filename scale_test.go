package pubsub_test

import (
	"context"
	"errors"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/memory"
	"github.com/topicbus/pubsub/codec"
)

// memoryInUse is the heap and the stacks.
func memoryInUse() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}

func perItem(before uint64, n int) int64 { return (int64(memoryInUse()) - int64(before)) / int64(n) }

// Close of a subscription takes as long among many as among few.
func TestCloseDoesNotSearch(t *testing.T) {
	cost := func(n int) time.Duration {
		bus := pubsub.New(memory.New(), codec.Bytes())
		defer bus.Close()
		topic := bus.Topic("t")
		subs := make([]*pubsub.Subscription[[]byte], n)
		for i := range subs {
			subs[i], _ = topic.Subscribe(context.Background())
		}
		best := time.Hour
		for i := range 50 {
			start := time.Now()
			subs[i].Close()
			best = min(best, time.Since(start))
		}
		return best
	}
	few, many := cost(100), cost(100_000)
	require.Less(t, many, 20*few+100*time.Microsecond, "%v among 100", few)
}

// What all have read is let go of, on a quiet topic as well.
func TestWithBufferBytes(t *testing.T) {
	backend := memory.New()
	bus := pubsub.New(backend, codec.Bytes(), pubsub.WithBufferBytes(1<<20))
	defer bus.Close()
	const topics, messages, size = 2, 100, 256 << 10
	before := memoryInUse()
	read := make(chan struct{})
	for i := range topics {
		s, err := bus.Subscribe(t.Context(), strconv.Itoa(i))
		require.NoError(t, err)
		go func() {
			n := 0
			for range s.Messages() {
				if n++; n == messages {
					read <- struct{}{}
				}
			}
		}()
	}
	for range messages {
		for i := range topics {
			require.NoError(t, bus.Publish(t.Context(), strconv.Itoa(i), make([]byte, size)))
		}
	}
	for range topics {
		<-read
	}
	require.Eventually(t, func() bool { return memoryInUse()-before < topics*(2<<20) }, 10*time.Second, 10*time.Millisecond,
		"a loop that comes back for more lets go of what it has read")

	slow, err := bus.Subscribe(t.Context(), "0")
	require.NoError(t, err)
	for n := range 50 {
		require.NoError(t, bus.Publish(t.Context(), "0", append(make([]byte, size), byte(n))))
	}
	for n := range 50 {
		e, err := slow.Next(t.Context())
		require.NoError(t, err)
		require.Equal(t, pubsub.KindMessage, e.Kind)
		require.Equal(t, byte(n), e.Message.Value[size], "what is to be read stays")
	}
	_, err = pubsub.New(backend, codec.Bytes(), pubsub.WithBufferBytes(-1)).Subscribe(t.Context(), "t")
	require.True(t, errors.Is(err, pubsub.ErrInvalidArgument))
}

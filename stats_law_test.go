package pubsub_test

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/memory"
	"github.com/topicbus/pubsub/codec"
)

// Subscriptions come and go while Stats is at work. None is missed, and none is
// counted twice: the sums of the bus never fall, they are never below what those
// had counted that were gone before, and in the end they are exact.
func TestStatsBesideWhoComesAndGoes(t *testing.T) {
	bus := pubsub.New(memory.New(), codec.Value[int](), pubsub.WithBuffer(8))
	defer bus.Close()
	const topics, rounds = 3, 200
	var delivered, lost, dropped atomic.Uint64 // of those that are gone
	churning, over := new(sync.WaitGroup), make(chan struct{})
	for i := range 2 * topics {
		topic := bus.Topic(strconv.Itoa(i % topics))
		churning.Go(func() {
			for round := range rounds {
				sub, err := topic.Subscribe(context.Background())
				if err != nil {
					panic(err)
				}
				for n := range 20 {
					if err := topic.Publish(context.Background(), n); err != nil {
						panic(err)
					}
				}
				for range round % 5 {
					if _, err := sub.Next(context.Background()); err != nil {
						panic(err)
					}
				}
				sub.Close()
				st := sub.Stats()
				delivered.Add(st.Delivered)
				lost.Add(st.Lost.Total())
				dropped.Add(st.Dropped)
			}
		})
	}
	go func() {
		churning.Wait()
		close(over)
	}()
	var last pubsub.Stats
	for looking := true; looking; {
		select {
		case <-over:
			looking = false
		default:
		}
		d, l, x := delivered.Load(), lost.Load(), dropped.Load()
		st := bus.Stats()
		require.GreaterOrEqual(t, st.Delivered, max(d, last.Delivered))
		require.GreaterOrEqual(t, st.Lost.Total(), max(l, last.Lost.Total()))
		require.GreaterOrEqual(t, st.Dropped, max(x, last.Dropped))
		last = st
	}
	require.Equal(t, delivered.Load(), last.Delivered)
	require.Equal(t, lost.Load(), last.Lost.Total())
	require.Equal(t, dropped.Load(), last.Dropped)
	require.Zero(t, last.Subscriptions)
	require.NotZero(t, last.Delivered)
	require.NotZero(t, last.Lost.Total())
	require.NotZero(t, last.Dropped)
}

//go:build !race

package consume_test

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/memory"
	"github.com/topicbus/pubsub/codec"
	"github.com/topicbus/pubsub/consume"
)

// The race detector allocates, so these guards are built without it.

// Handling a message that does not fail allocates nothing, whatever the options
// and however many keys there are.
func TestNoAllocationPerMessage(t *testing.T) {
	keys := make([]string, 1000)
	for i := range keys {
		keys[i] = strconv.Itoa(i)
	}
	next := func(s string) string { return s }
	for name, o := range map[string]consume.Options[string]{
		"one goroutine":      {},
		"with Retry":         {Retry: constant(time.Second)},
		"with a Monitor":     {Monitor: new(consume.Monitor)},
		"workers":            {Workers: 4},
		"workers in order":   {Workers: 4, OrderBy: next},
		"workers, monitored": {Workers: 4, OrderBy: next, Monitor: new(consume.Monitor)},
	} {
		t.Run(name, func(t *testing.T) {
			bus := pubsub.New(memory.New(), codec.String())
			defer bus.Close()
			sub, err := bus.Subscribe(context.Background(), "t", pubsub.Overflow(pubsub.Block))
			require.NoError(t, err)
			ctx := context.Background()
			const batch = 1000
			handled := make(chan struct{}, batch)
			done := start(func() error {
				return consume.Each(ctx, sub, func(context.Context, pubsub.Message[string]) error {
					handled <- struct{}{}
					return nil
				}, o)
			})
			round := func() {
				for i := range batch {
					_ = bus.Publish(ctx, "t", keys[i])
				}
				for range batch {
					<-handled
				}
			}
			round() // warm: as many tasks and goroutines as there will be
			require.Zero(t, testing.AllocsPerRun(20, round)/batch)
			require.NoError(t, sub.Drain(ctx))
			require.NoError(t, <-done)
		})
	}
}

//go:build !race

package memory_test

import (
	"context"
	"fmt"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/memory"
)

func TestPublishDoesNotAllocate(t *testing.T) {
	p := pubsub.Payload{Data: make([]byte, 128)}
	for _, c := range []struct {
		name    string
		streams int
		opts    []memory.Option
	}{
		{"no streams", 0, nil},
		{"one stream", 1, nil},
		{"many streams", 100, nil},
		{"full history", 1, []memory.Option{memory.WithHistory(10)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := memory.New(c.opts...)
			attach(t, b, "a", c.streams)
			publish := func() {
				if err := b.Publish(context.Background(), "a", p); err != nil {
					t.Error(err)
				}
			}
			for range 20 {
				publish()
			}
			require.Zero(t, testing.AllocsPerRun(1000, publish))
			h := b.Topic(b, "a")
			require.Zero(t, testing.AllocsPerRun(1000, func() { _ = h.Publish(context.Background(), p) }))
			batch := make([]pubsub.Payload, 64)
			for _, ctx := range []context.Context{context.Background(), t.Context()} {
				require.Zero(t, testing.AllocsPerRun(100, func() { _, _ = h.(pubsub.BatchPublisher).PublishBatch(ctx, batch) }))
			}
		})
	}
}

// Handles of topics that nobody listens to are all that is kept of them.
func TestHandlesOfSilentTopicsAreCheap(t *testing.T) {
	b := memory.New()
	defer b.Close()
	const n = 100_000
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprint("orders.", i)
	}
	handles := make([]pubsub.TopicPublisher, n)
	before := heap()
	for i, name := range names {
		handles[i] = b.Topic(b, name)
		if err := handles[i].Publish(t.Context(), pubsub.Payload{}); err != nil {
			t.Fatal(err)
		}
	}
	each := (float64(heap()) - float64(before)) / n
	require.Less(t, each, 100.0, "bytes a handle")
	for _, h := range handles {
		require.NoError(t, h.Publish(t.Context(), pubsub.Payload{}))
	}
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

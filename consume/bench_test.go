package consume_test

import (
	"context"
	"fmt"
	"hash/maphash"
	"strconv"
	"sync"
	"testing"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/memory"
	"github.com/topicbus/pubsub/codec"
	"github.com/topicbus/pubsub/consume"
)

type text = pubsub.Message[string]

// byHand is what an application writes in place of Each: the subscription's
// channel, and a channel for each worker if there are several. It has no
// retries, no grace and no accounts.
func byHand(ctx context.Context, sub *pubsub.Subscription[string], h consume.Handler[string], workers int, key func(string) string) error {
	if workers == 1 {
		for {
			select {
			case m, ok := <-sub.C():
				if !ok {
					return sub.Err()
				}
				if err := h(ctx, m); err != nil {
					return err
				}
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var working sync.WaitGroup
	queues := make([]chan text, workers)
	for i := range queues {
		if queues[i] = make(chan text, 16); key == nil {
			queues[i] = queues[0]
		}
		working.Go(func() {
			for m := range queues[i] {
				if ctx.Err() != nil {
					continue
				}
				if err := h(ctx, m); err != nil {
					cancel(err)
				}
			}
		})
	}
	err := func() error {
		seed := maphash.MakeSeed()
		for {
			select {
			case m, ok := <-sub.C():
				if !ok {
					return sub.Err()
				}
				queue := queues[0]
				if key != nil {
					queue = queues[maphash.String(seed, key(m.Value))%uint64(workers)]
				}
				select {
				case queue <- m:
				case <-ctx.Done():
					return context.Cause(ctx)
				}
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
	}()
	for i, q := range queues {
		if i == 0 || key != nil {
			close(q)
		}
	}
	working.Wait()
	return err
}

// One publisher that waits for the handlers when the buffer is full.
func BenchmarkEach(b *testing.B) {
	keys := make([]string, 64)
	for i := range keys {
		keys[i] = "key-" + strconv.Itoa(i)
	}
	own := func(s string) string { return s }
	for _, load := range []struct {
		name    string
		workers int
		key     func(string) string
		work    int // spins of a handler
	}{
		{"workers=1", 1, nil, 0},
		{"workers=8", 8, nil, 0},
		{"workers=8/keys=64", 8, own, 0},
		{"workers=8/keys=64/work=1us", 8, own, 1000},
	} {
		handler := func(context.Context, text) error {
			if spin(load.work) < 0 {
				return errOut
			}
			return nil
		}
		contenders := []struct {
			name string
			run  func(context.Context, *pubsub.Subscription[string]) error
		}{
			{"hand", func(ctx context.Context, s *pubsub.Subscription[string]) error {
				return byHand(ctx, s, handler, load.workers, load.key)
			}},
			{"Each", func(ctx context.Context, s *pubsub.Subscription[string]) error {
				return consume.Each(ctx, s, handler, consume.Options[string]{Workers: load.workers, OrderBy: load.key})
			}},
			{"monitored", func(ctx context.Context, s *pubsub.Subscription[string]) error {
				return consume.Each(ctx, s, handler, consume.Options[string]{Workers: load.workers, OrderBy: load.key, Monitor: new(consume.Monitor)})
			}},
		}
		for _, c := range contenders {
			b.Run(fmt.Sprintf("%s/%s", load.name, c.name), func(b *testing.B) {
				bus := pubsub.New(memory.New(), codec.String())
				defer bus.Close()
				ctx := context.Background()
				sub, err := bus.Subscribe(ctx, "t", pubsub.Overflow(pubsub.Block))
				if err != nil {
					b.Fatal(err)
				}
				done := start(func() error { return c.run(ctx, sub) })
				b.ReportAllocs()
				b.ResetTimer()
				for i := range b.N {
					if err := bus.Publish(ctx, "t", keys[i%len(keys)]); err != nil {
						b.Fatal(err)
					}
				}
				if err := sub.Drain(ctx); err != nil {
					b.Fatal(err)
				}
				if err := <-done; err != nil {
					b.Fatal(err)
				}
			})
		}
	}
}

//go:noinline
func spin(n int) (sum int) {
	for i := range n {
		sum += i
	}
	return sum
}

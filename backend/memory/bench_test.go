package memory_test

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/memory"
)

// attach opens n streams of a topic that discard everything, and returns when
// they are live.
func attach(tb testing.TB, b *memory.Backend, topic string, n int) {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, n)
	first := make(chan struct{}, n)
	for range n {
		s, err := b.Subscribe(ctx, topic, pubsub.Start{})
		if err != nil {
			tb.Fatal(err)
		}
		go func() {
			seen := false
			done <- s.Receive(func(context.Context, pubsub.Frame) error {
				if !seen {
					seen = true
					first <- struct{}{}
				}
				return nil
			})
		}()
	}
	if err := b.Publish(ctx, topic, pubsub.Payload{}); err != nil {
		tb.Fatal(err)
	}
	for range n {
		<-first
	}
	tb.Cleanup(func() {
		cancel()
		for range n {
			<-done
		}
	})
}

func BenchmarkPublish(b *testing.B) {
	p := pubsub.Payload{Data: make([]byte, 128)}
	ctx := context.Background()
	for _, c := range []struct {
		name    string
		streams int
		opts    []memory.Option
	}{
		{"streams=0", 0, nil},
		{"streams=1", 1, nil},
		{"streams=10", 10, nil},
		{"streams=1000", 1000, nil},
		{"streams=1/history=1000", 1, []memory.Option{memory.WithHistory(1000)}},
	} {
		b.Run(c.name, func(b *testing.B) {
			m := memory.New(c.opts...)
			attach(b, m, "orders.created", c.streams)
			b.Run("name", func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if err := m.Publish(ctx, "orders.created", p); err != nil {
						b.Fatal(err)
					}
				}
			})
			h := m.Topic(m, "orders.created")
			b.Run("handle", func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if err := h.Publish(ctx, p); err != nil {
						b.Fatal(err)
					}
				}
			})
			batch := slices.Repeat([]pubsub.Payload{p}, 64)
			live, cancel := context.WithCancel(ctx)
			defer cancel()
			for _, c := range []struct {
				name string
				ctx  context.Context
			}{{"batch", ctx}, {"batch/cancel", live}} {
				b.Run(c.name, func(b *testing.B) {
					b.ReportAllocs()
					for b.Loop() {
						if _, err := h.(pubsub.BatchPublisher).PublishBatch(c.ctx, batch); err != nil {
							b.Fatal(err)
						}
					}
					b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/64, "ns/msg")
				})
			}
		})
	}
}

func BenchmarkPublishOneTopicParallel(b *testing.B) {
	m := memory.New()
	attach(b, m, "orders.created", 1)
	p := pubsub.Payload{Data: make([]byte, 128)}
	b.SetParallelism(4)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := m.Publish(context.Background(), "orders.created", p); err != nil {
				b.Error(err)
			}
		}
	})
}

func BenchmarkPublishManyTopicsParallel(b *testing.B) {
	m := memory.New()
	var names [1000]string
	for i := range names {
		names[i] = fmt.Sprintf("orders.%d", i)
		attach(b, m, names[i], 1)
	}
	p := pubsub.Payload{Data: make([]byte, 128)}
	var start atomic.Int64
	b.SetParallelism(4)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for i := int(start.Add(131)); pb.Next(); i++ {
			if err := m.Publish(context.Background(), names[i%len(names)], p); err != nil {
				b.Error(err)
			}
		}
	})
}

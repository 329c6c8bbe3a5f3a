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
	var handles [len(names)]pubsub.TopicPublisher
	for i := range names {
		names[i] = fmt.Sprintf("orders.%d", i)
		handles[i] = m.Topic(m, names[i])
		attach(b, m, names[i], 1)
	}
	p := pubsub.Payload{Data: make([]byte, 128)}
	run := func(name string, publish func(i int) error) {
		b.Run(name, func(b *testing.B) {
			var start atomic.Int64
			b.SetParallelism(4)
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for i := int(start.Add(131)); pb.Next(); i++ {
					if err := publish(i % len(names)); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
	run("name", func(i int) error { return m.Publish(context.Background(), names[i], p) })
	run("handle", func(i int) error { return handles[i].Publish(context.Background(), p) })
}

// What a stream costs that comes and goes while so many others are there.
func BenchmarkStreams(b *testing.B) {
	for _, others := range []int{1, 1000, 100_000} {
		b.Run(fmt.Sprint("others=", others), func(b *testing.B) {
			m := memory.New()
			defer m.Close()
			for range others {
				if _, err := m.Subscribe(b.Context(), "orders.created", pubsub.Start{}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportAllocs()
			for b.Loop() {
				ctx, cancel := context.WithCancel(context.Background())
				s, err := m.Subscribe(ctx, "orders.created", pubsub.Start{})
				if err != nil {
					b.Fatal(err)
				}
				cancel()
				_ = s.Receive(nil)
			}
		})
	}
}

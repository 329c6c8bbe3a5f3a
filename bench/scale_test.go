package bench

import (
	"context"
	"fmt"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/memory"
	"github.com/topicbus/pubsub/codec"
)

// A hundred thousand topics of one subscription each. Memory is as in Idle.
func BenchmarkManyTopics(b *testing.B) {
	const n = 100_000
	b.Run(fmt.Sprintf("topics=%d", n), func(b *testing.B) {
		ctx := context.Background()
		var bytes uint64
		var closing time.Duration
		for range b.N {
			b.StopTimer()
			before, _ := inUse()
			backend := memory.New()
			bus := pubsub.New(backend, codec.Bytes())
			b.StartTimer()
			for i := range n {
				if _, err := bus.Subscribe(ctx, strconv.Itoa(i)); err != nil {
					b.Fatal(err)
				}
			}
			b.StopTimer()
			now, _ := inUse()
			bytes += now - min(now, before)
			start := time.Now()
			bus.Close()
			closing += time.Since(start)
			backend.Close()
			b.StartTimer()
		}
		each := float64(b.N) * n
		b.ReportMetric(float64(bytes)/each, "bytes/each")
		b.ReportMetric(float64(b.Elapsed())/each, "ns/each")
		b.ReportMetric(float64(closing)/float64(b.N), "close-ns")
	})
}

// All subscriptions of a topic are closed: one by one, or by the end of the bus.
// The time for each must not grow with their number.
func BenchmarkClose(b *testing.B) {
	for _, n := range []int{1_000, 100_000, 1_000_000} {
		if n > 100_000 && testing.Short() {
			continue // it takes a gigabyte
		}
		for _, end := range []string{"each", "bus"} {
			b.Run(fmt.Sprintf("subs=%d/%s", n, end), func(b *testing.B) {
				ctx := context.Background()
				for range b.N {
					b.StopTimer()
					backend := memory.New()
					bus := pubsub.New(backend, codec.Bytes())
					topic := bus.Topic("orders")
					subs := make([]*pubsub.Subscription[[]byte], n)
					for i := range subs {
						var err error
						if subs[i], err = topic.Subscribe(ctx); err != nil {
							b.Fatal(err)
						}
					}
					runtime.GC() // what Subscribe left
					b.StartTimer()
					if end == "each" {
						for _, s := range subs {
							s.Close()
						}
					}
					bus.Close()
					b.StopTimer()
					backend.Close()
					b.StartTimer()
				}
				b.ReportMetric(float64(b.Elapsed())/float64(b.N), "close-ns")
				b.ReportMetric(float64(b.Elapsed())/float64(b.N*n), "ns/each")
			})
		}
	}
}

// Close of a subscription while Stats is at work, which must not make it wait.
func BenchmarkCloseBesideStats(b *testing.B) {
	for _, n := range []int{100_000, 1_000_000} {
		if n > 100_000 && testing.Short() {
			continue
		}
		b.Run(fmt.Sprintf("subs=%d", n), func(b *testing.B) {
			backend := memory.New()
			defer backend.Close()
			bus := pubsub.New(backend, codec.Bytes())
			defer bus.Close()
			topic := bus.Topic("orders")
			for range n {
				if _, err := topic.Subscribe(context.Background()); err != nil {
					b.Fatal(err)
				}
			}
			var stats, worst time.Duration
			b.ResetTimer()
			for range b.N {
				began := time.Now()
				done := make(chan time.Duration)
				go func() {
					bus.Stats()
					done <- time.Since(began)
				}()
				for going := true; going; {
					b.StopTimer()
					sub, err := topic.Subscribe(context.Background())
					if err != nil {
						b.Fatal(err)
					}
					b.StartTimer()
					began := time.Now()
					sub.Close()
					worst = max(worst, time.Since(began))
					select {
					case d := <-done:
						stats, going = stats+d, false
					default:
					}
				}
			}
			b.ReportMetric(float64(stats)/float64(b.N), "stats-ns")
			b.ReportMetric(float64(worst), "max-ns")
		})
	}
}

package bench

import (
	"context"
	"fmt"
	"runtime"
	"testing"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/memory"
	"github.com/topicbus/pubsub/codec"
)

// What 10,000 of something cost that does nothing: memory, stacks included,
// and goroutines.
const idleCount = 10_000

func BenchmarkIdle(b *testing.B) {
	ctx := context.Background()
	type bus = pubsub.Bus[[]byte]
	subscribe := func(b *testing.B, bus bus, topic string) *pubsub.Subscription[[]byte] {
		sub, err := bus.Subscribe(ctx, topic)
		if err != nil {
			b.Fatal(err)
		}
		return sub
	}
	for _, row := range []struct {
		name string
		make func(b *testing.B, bus bus, i int)
	}{
		// Subscriptions of one topic. For All and Next the library has
		// nothing but the subscription itself.
		{"subscription/All", func(b *testing.B, bus bus, _ int) { subscribe(b, bus, "orders") }},
		{"subscription/C", func(b *testing.B, bus bus, _ int) { subscribe(b, bus, "orders").C() }},
		// Topics of one subscription each, before and after the first message.
		{"topic/new", func(b *testing.B, bus bus, i int) { subscribe(b, bus, fmt.Sprint(i)) }},
		{"topic/used", func(b *testing.B, bus bus, i int) {
			sub := subscribe(b, bus, fmt.Sprint(i))
			if err := bus.Publish(ctx, fmt.Sprint(i), nil); err != nil {
				b.Fatal(err)
			}
			if _, err := sub.Next(ctx); err != nil {
				b.Fatal(err)
			}
		}},
	} {
		b.Run(row.name, func(b *testing.B) {
			var bytes, goroutines uint64
			for range b.N {
				backend := memory.New()
				bus := pubsub.New(backend, codec.Bytes())
				bytesBefore, goroutinesBefore := inUse()
				for i := range idleCount {
					row.make(b, bus, i)
				}
				bytesNow, goroutinesNow := inUse()
				bytes += bytesNow - min(bytesNow, bytesBefore)
				goroutines += goroutinesNow - goroutinesBefore
				bus.Close()
				backend.Close()
			}
			b.ReportMetric(float64(bytes)/float64(b.N)/idleCount, "bytes/each")
			b.ReportMetric(float64(goroutines)/float64(b.N)/idleCount, "goroutines/each")
			b.ReportMetric(float64(b.Elapsed())/float64(b.N)/idleCount, "ns/op")
		})
	}
	b.Run("chan256-bare", func(b *testing.B) {
		var bytes uint64
		for range b.N {
			channels := make([]chan []byte, 0, idleCount)
			before, _ := inUse()
			for range idleCount {
				channels = append(channels, make(chan []byte, 256))
			}
			now, _ := inUse()
			runtime.KeepAlive(channels)
			bytes += now - min(now, before)
		}
		b.ReportMetric(float64(bytes)/float64(b.N)/idleCount, "bytes/each")
	})
}

// inUse returns the memory in use, garbage excluded, and the goroutines.
func inUse() (bytes, goroutines uint64) {
	runtime.GC()
	runtime.GC() // what finalizers and pools let go of
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse, uint64(runtime.NumGoroutine())
}

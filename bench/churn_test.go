package bench

import (
	"context"
	"testing"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/memory"
	"github.com/topicbus/pubsub/codec"
)

// Subscribe, receive a message that was published behind it, close. Alone the
// subscription opens and ends the topic's stream; beside another it shares.
func BenchmarkChurn(b *testing.B) {
	for _, beside := range []int{0, 1, 1000} {
		name := map[int]string{0: "alone", 1: "beside=1", 1000: "beside=1000"}[beside]
		b.Run(name, func(b *testing.B) {
			ctx := context.Background()
			backend := memory.New()
			defer backend.Close()
			bus := pubsub.New(backend, codec.String())
			defer bus.Close()
			for range beside {
				if _, err := bus.Subscribe(ctx, "orders"); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportAllocs()
			for b.Loop() {
				sub, err := bus.Subscribe(ctx, "orders")
				if err != nil {
					b.Fatal(err)
				}
				if err := bus.Publish(ctx, "orders", "tea"); err != nil {
					b.Fatal(err)
				}
				if e, err := sub.Next(ctx); err != nil || e.Message.Value != "tea" {
					b.Fatalf("received %v, %v", e, err)
				}
				sub.Close()
			}
		})
	}
}

package pubsubtest_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/memory"
	"github.com/topicbus/pubsub/codec"
	"github.com/topicbus/pubsub/pubsubtest"
)

// Example of a backend's test of conformance. It is all that is needed.
func ExampleRun() {
	_ = func(t *testing.T) {
		pubsubtest.Run(t, pubsubtest.Harness{
			New: func(testing.TB) pubsubtest.Target {
				b := memory.New(memory.WithHistory(100), memory.WithMaxPayload(4096))
				return pubsubtest.Target{
					Backend:    b,
					Numbered:   true,
					History:    100,
					MaxPayload: 4096,
					Disconnect: func() { b.Disconnect(nil) },
					Reconnect:  func() { b.Reconnect() },
					Publish: func(topic string, p pubsub.Payload) error {
						return b.Publish(context.Background(), topic, p)
					},
					Streams: b.Streams,
				}
			},
			// This backend could do more; a run without it says so.
			Without: []string{"EndStreams", "FailPublish", "FailSubscribe", "Heartbeat", "Lose", "Reset"},
		})
	}
}

// A test of how an application learns of a loss.
func ExampleExpectDiscontinuity() {
	t := new(testing.T) // yours is an argument of the test

	ctx := context.Background()
	b := memory.New()
	bus := pubsub.New(b, codec.String())
	defer bus.Close()
	sub, err := bus.Subscribe(ctx, "orders")
	if err != nil {
		t.Fatal(err)
	}
	_ = bus.Publish(ctx, "orders", "tea")
	b.Lose(2, "orders")
	_ = bus.Publish(ctx, "orders", "coffee")

	pubsubtest.Expect(t, sub, "tea")
	hole := pubsubtest.ExpectDiscontinuity(t, sub, pubsub.CauseBackend)
	pubsubtest.Expect(t, sub, "coffee")
	fmt.Println("lost:", hole.Lost)
	// Output: lost: 2
}

// A test of what comes through an outage.
func ExampleRecord() {
	t := new(testing.T) // yours is an argument of the test

	ctx := context.Background()
	b := memory.New(memory.WithHistory(10))
	bus := pubsub.New(b, codec.String())
	defer bus.Close()
	sub, err := bus.Subscribe(ctx, "orders")
	if err != nil {
		t.Fatal(err)
	}
	rec := pubsubtest.Record(t, sub)

	_ = bus.Publish(ctx, "orders", "tea")
	b.Disconnect(nil)
	_ = bus.Publish(ctx, "orders", "coffee")
	b.Reconnect()

	rec.Wait(pubsub.KindMessage, 2)
	fmt.Println(rec.Values(), "lost:", len(rec.Discontinuities()))
	// Output: [tea coffee] lost: 0
}

func ExampleCollect() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	bus := pubsub.New(memory.New(memory.WithPage(1)), codec.String())
	defer bus.Close()
	sub, err := bus.Subscribe(ctx, "orders")
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, order := range []string{"tea", "coffee", "cocoa"} {
		_ = bus.Publish(ctx, "orders", order)
	}
	msgs, err := pubsubtest.Collect(ctx, sub, 3)
	for _, m := range msgs {
		fmt.Println(m.Position, m.Value)
	}
	fmt.Println(err)
	// Output:
	// 1/1 tea
	// 1/2 coffee
	// 1/3 cocoa
	// <nil>
}

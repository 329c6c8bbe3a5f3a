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

// A test of what an application gets: each value, and each hole in its place.
func Example() {
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
	_ = bus.Publish(ctx, "orders", "coffee")
	b.ResetPage("orders") // the service loses the topic, and makes it anew
	_ = bus.Publish(ctx, "orders", "cocoa")

	pubsubtest.Expect(t, sub, "tea", "coffee") // these, and no hole among them
	pubsubtest.ExpectDiscontinuity(t, sub, pubsub.CauseReset)
	pubsubtest.Expect(t, sub, "cocoa")
	fmt.Println("failed:", t.Failed())
	// Output: failed: false
}

// Expect returns the messages, for what a test wants to know besides the values.
func ExampleExpect() {
	t := new(testing.T)

	ctx := context.Background()
	bus := pubsub.New(memory.New(memory.WithPage(1)), codec.String())
	defer bus.Close()
	sub, err := bus.Subscribe(ctx, "orders")
	if err != nil {
		t.Fatal(err)
	}
	_ = bus.Publish(ctx, "orders", "tea")
	_ = bus.Publish(ctx, "orders", "coffee")

	msgs := pubsubtest.Expect(t, sub, "tea", "coffee")
	fmt.Println(msgs[1].Topic, msgs[1].Position)
	// Output: orders 1/2
}

// A test that nothing comes. It takes the whole time: have it in a bubble of
// testing/synctest, where that costs nothing.
func ExampleExpectNone() {
	t := new(testing.T)

	ctx := context.Background()
	bus := pubsub.New(memory.New(), codec.String())
	defer bus.Close()
	sub, err := bus.Subscribe(ctx, "orders")
	if err != nil {
		t.Fatal(err)
	}
	_ = bus.Publish(ctx, "invoices", "tea")

	pubsubtest.ExpectNone(t, sub, time.Millisecond)
	fmt.Println("failed:", t.Failed())
	// Output: failed: false
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

// Collect is for code that is no test, or that wants the error: a hole is one.
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

package pubsub_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/memory"
	"github.com/topicbus/pubsub/codec"
)

// mustPublish and mustSubscribe keep the handling of errors out of examples
// that are about something else.
func mustPublish(bus pubsub.Bus[string], topic string, values ...string) {
	for _, v := range values {
		if err := bus.Publish(context.Background(), topic, v); err != nil {
			panic(err)
		}
	}
}

func mustSubscribe(bus pubsub.Bus[string], topic string, opts ...pubsub.SubscribeOption) *pubsub.Subscription[string] {
	sub, err := bus.Subscribe(context.Background(), topic, opts...)
	if err != nil {
		panic(err)
	}
	return sub
}

// C is the form to select on. Who reads it learns of holes by OnDiscontinuity.
func ExampleSubscription_C() {
	bus := pubsub.New(memory.New(memory.WithPage(1)), codec.String())
	defer bus.Close()
	sub := mustSubscribe(bus, "orders", pubsub.OnDiscontinuity(func(d *pubsub.Discontinuity) {
		fmt.Println("hole:", d.Lost)
	}))
	mustPublish(bus, "orders", "tea", "coffee")

	timeout := time.After(10 * time.Second)
	for range 2 {
		select {
		case m, ok := <-sub.C():
			if !ok {
				fmt.Println("ended:", sub.Err())
				return
			}
			fmt.Println(m.Position, m.Value)
		case <-timeout:
			fmt.Println("nothing came")
			return
		}
	}
	// Output:
	// 1/1 tea
	// 1/2 coffee
}

// Events carries everything in order: messages, holes, changes of the stream's
// state and heartbeats.
func ExampleSubscription_Events() {
	bus := pubsub.New(memory.New(), codec.String(), pubsub.WithBuffer(2))
	defer bus.Close()
	sub := mustSubscribe(bus, "orders")
	mustPublish(bus, "orders", "tea", "coffee", "juice")

	for range 3 {
		switch e := <-sub.Events(); e.Kind {
		case pubsub.KindMessage:
			fmt.Println(e.Message.Value)
		case pubsub.KindDiscontinuity:
			fmt.Println(e.Discontinuity.Lost, "missing")
		case pubsub.KindState:
			fmt.Println(e.State.State)
		}
	}
	// Output:
	// 1 missing
	// coffee
	// juice
}

// All is the fastest form. A hole is yielded in its place as a *Discontinuity,
// and the loop goes on; any other error is the last thing that is yielded.
func ExampleSubscription_All() {
	bus := pubsub.New(memory.New(memory.WithPage(1)), codec.String(), pubsub.WithBuffer(2))
	defer bus.Close()
	sub := mustSubscribe(bus, "orders")
	mustPublish(bus, "orders", "tea", "coffee", "juice")

	for m, err := range sub.All() {
		if hole, ok := err.(*pubsub.Discontinuity); ok {
			fmt.Println(hole.Lost, "missing, resuming at", hole.Resume)
			continue
		}
		if err != nil {
			fmt.Println("ended:", err)
			break
		}
		fmt.Println(m.Position, m.Value)
		if m.Value == "juice" {
			break // the subscription stays; another loop goes on behind this message
		}
	}
	// Output:
	// 1 missing, resuming at 1/2
	// 1/2 coffee
	// 1/3 juice
}

// Next returns one event. Its ctx ends the wait, not the subscription.
func ExampleSubscription_Next() {
	bus := pubsub.New(memory.New(), codec.String())
	defer bus.Close()
	sub := mustSubscribe(bus, "orders")

	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	_, err := sub.Next(ctx)
	fmt.Println(errors.Is(err, context.DeadlineExceeded))

	mustPublish(bus, "orders", "tea")
	e, err := sub.Next(context.Background())
	fmt.Println(e.Kind, e.Message.Value, err)
	// Output:
	// true
	// message tea <nil>
}

// Drain ends a subscription behind what is queued, while its reader goes on.
func ExampleSubscription_Drain() {
	bus := pubsub.New(memory.New(), codec.String())
	defer bus.Close()
	sub := mustSubscribe(bus, "orders")
	mustPublish(bus, "orders", "tea", "coffee", "juice")

	read := make(chan struct{})
	go func() {
		defer close(read)
		for m := range sub.C() {
			fmt.Println(m.Value)
		}
	}()

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	fmt.Println("drained:", sub.Drain(ctx) == nil)
	<-read // the channel may have held a few
	fmt.Println(sub.Err())
	// Unordered output:
	// tea
	// coffee
	// juice
	// drained: true
	// <nil>
}

// Close ends a subscription at once. What is queued is dropped.
func ExampleSubscription_Close() {
	bus := pubsub.New(memory.New(), codec.String())
	defer bus.Close()
	sub := mustSubscribe(bus, "orders")
	mustPublish(bus, "orders", "tea")

	sub.Close()
	_, err := sub.Next(context.Background())
	fmt.Println(errors.Is(err, pubsub.ErrClosed), sub.Err())
	// Output: true <nil>
}

// Err tells why a subscription ended.
func ExampleSubscription_Err() {
	backend := memory.New()
	bus := pubsub.New(backend, codec.String())
	defer bus.Close()
	sub := mustSubscribe(bus, "orders")

	backend.Close()
	for range sub.C() {
		// ends with the subscription
	}
	fmt.Println(errors.Is(sub.Err(), pubsub.ErrClosed), sub.Err())
	// Output: true pubsub: receive "orders": memory: backend closed
}

// Stats counts what a subscription got and lost, and how far it is behind.
func ExampleSubscription_Stats() {
	bus := pubsub.New(memory.New(), codec.String(), pubsub.WithBuffer(2))
	defer bus.Close()
	sub := mustSubscribe(bus, "orders")
	mustPublish(bus, "orders", "tea", "coffee", "juice")

	for range 3 { // a hole and two messages
		if _, err := sub.Next(context.Background()); err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println("lag", sub.Stats().Lag)
	}
	st := sub.Stats()
	fmt.Println("delivered", st.Delivered, "lost", st.Lost.Overflow, "at worst", st.MaxLag)
	// Output:
	// lag 2
	// lag 1
	// lag 0
	// delivered 2 lost 1 at worst 3
}

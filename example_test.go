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

// Quote is what the examples publish. It holds no pointers, so a bus decodes
// each message once, however many subscribe.
type Quote struct {
	Symbol string
	Price  float64
}

func Example() {
	ctx := context.Background()
	backend := memory.New(memory.WithPage(1))
	defer backend.Close()
	bus := pubsub.New(backend, codec.JSON[Quote]())
	defer bus.Close()

	sub, err := bus.Subscribe(ctx, "quotes")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer sub.Close()

	if err := bus.Publish(ctx, "quotes", Quote{"GOOG", 560.19}); err != nil {
		fmt.Println(err)
		return
	}
	m := <-sub.C()
	fmt.Println(m.Topic, m.Position, m.Value.Symbol, m.Value.Price)
	// Output: quotes 1/1 GOOG 560.19
}

// Buses of several types may share a backend, and a topic where their codecs
// agree on what is on the wire.
func ExampleNew() {
	ctx := context.Background()
	backend := memory.New()
	defer backend.Close()
	quotes := pubsub.New(backend, codec.JSON[Quote](), pubsub.WithBuffer(1024))
	defer quotes.Close()
	raw := pubsub.New(backend, codec.String())
	defer raw.Close()

	sub, err := raw.Subscribe(ctx, "quotes")
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := quotes.Publish(ctx, "quotes", Quote{"IBM", 125.55}); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println((<-sub.C()).Value)
	// Output: {"Symbol":"IBM","Price":125.55}
}

// What cannot work is refused with an error that says why; errors.Is tells
// the kinds apart.
func ExampleBus_publish() {
	ctx := context.Background()
	bus := pubsub.New(memory.New(memory.WithMaxPayload(4096)), codec.Bytes())

	err := bus.Publish(ctx, " ", nil)
	fmt.Println(errors.Is(err, pubsub.ErrInvalidTopic), err)

	err = bus.Publish(ctx, "blobs", make([]byte, 5000))
	fmt.Println(errors.Is(err, pubsub.ErrPayloadTooLarge), err)

	bus.Close()
	err = bus.Publish(ctx, "blobs", nil)
	fmt.Println(errors.Is(err, pubsub.ErrClosed), err)
	// Output:
	// true pubsub: publish " ": invalid topic: " " is blank
	// true pubsub: publish "blobs": memory: payload too large: 5000 bytes, the limit is 4096
	// true pubsub: publish "blobs": bus closed
}

// The ctx of Subscribe governs the life of the subscription.
func ExampleBus_subscribe() {
	bus := pubsub.New(memory.New(), codec.String())
	defer bus.Close()

	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	sub, err := bus.Subscribe(ctx, "orders")
	if err != nil {
		fmt.Println(err)
		return
	}
	time.AfterFunc(10*time.Millisecond, cancel)
	for range sub.C() {
		// ends with the subscription
	}
	fmt.Println(sub.Err())
	// Output: pubsub: receive "orders": context canceled
}

// Pipe publishes what a channel carries, in its order.
func ExampleBus_pipe() {
	ctx := context.Background()
	bus := pubsub.New(memory.New(), codec.JSON[int]())
	defer bus.Close()
	sub, err := bus.Subscribe(ctx, "squares")
	if err != nil {
		fmt.Println(err)
		return
	}

	squares := make(chan int)
	go func() {
		defer close(squares)
		for i := range 4 {
			squares <- i * i
		}
	}()
	if err := bus.Pipe(ctx, "squares", squares); err != nil { // returns when squares is closed
		fmt.Println(err)
		return
	}

	for range 4 {
		fmt.Print((<-sub.C()).Value, " ")
	}
	// Output: 0 1 4 9
}

// Stats tells what the bus has done and, by topic and subscription, what it is
// doing.
func ExampleBus_stats() {
	bus := pubsub.New(memory.New(), codec.String(), pubsub.WithBuffer(2))
	defer bus.Close()
	sub := mustSubscribe(bus, "log")
	mustPublish(bus, "log", "a", "b", "c")
	for range 2 { // the hole where "a" was, and "b"
		if _, err := sub.Next(context.Background()); err != nil {
			fmt.Println(err)
			return
		}
	}
	st := bus.Stats()
	fmt.Println("published", st.Published, "delivered", st.Delivered, "lost", st.Lost.Total(), "streams", st.Streams)
	fmt.Println(st.Topics[0].Topic, "received", st.Topics[0].Received, "lag", st.Topics[0].Subscriptions[0].Lag)
	// Output:
	// published 3 delivered 1 lost 1 streams 1
	// log received 3 lag 1
}

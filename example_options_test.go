package pubsub_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/memory"
	"github.com/topicbus/pubsub/codec"
)

// With OnDiscontinuity the reader of a channel learns what it does not get,
// before the message that follows.
func ExampleOnDiscontinuity() {
	bus := pubsub.New(memory.New(memory.WithPage(1)), codec.String(), pubsub.WithBuffer(2))
	defer bus.Close()
	sub := mustSubscribe(bus, "orders", pubsub.OnDiscontinuity(func(d *pubsub.Discontinuity) {
		fmt.Println(d.Cause, "lost", d.Lost, "exact", d.Exact, "resuming at", d.Resume)
	}))
	mustPublish(bus, "orders", "tea", "coffee", "juice", "water", "wine")

	for range 2 {
		fmt.Println((<-sub.C()).Value)
	}
	// Output:
	// overflow lost 3 exact true resuming at 1/4
	// water
	// wine
}

// OnState tells a program that it works with old data, and since when. Here a
// test breaks the connection.
func ExampleOnState() {
	backend := memory.New(memory.WithHistory(10))
	bus := pubsub.New(backend, codec.String())
	defer bus.Close()
	sub := mustSubscribe(bus, "orders", pubsub.OnState(func(s pubsub.StateChange) {
		fmt.Println(s.State, s.Err)
	}))

	backend.Disconnect(errors.New("cable cut"))
	mustPublish(bus, "orders", "tea") // accepted: others still reach the service
	backend.Reconnect()
	fmt.Println((<-sub.C()).Value)
	// Output:
	// reconnecting cable cut
	// resumed <nil>
	// tea
}

// OnHeartbeat shows that a quiet stream is alive.
func ExampleOnHeartbeat() {
	backend := memory.New()
	bus := pubsub.New(backend, codec.String())
	defer bus.Close()
	sub := mustSubscribe(bus, "orders", pubsub.OnHeartbeat(func() { fmt.Println("alive") }))

	backend.Heartbeat()
	mustPublish(bus, "orders", "tea")
	fmt.Println((<-sub.C()).Value)
	// Output:
	// alive
	// tea
}

// A message that the codec cannot decode is a discontinuity that carries the
// payload. The stream goes on.
func ExampleDiscontinuity() {
	ctx := context.Background()
	backend := memory.New()
	quotes := pubsub.New(backend, codec.JSON[Quote]())
	defer quotes.Close()
	raw := pubsub.New(backend, codec.String())
	defer raw.Close()
	sub, err := quotes.Subscribe(ctx, "quotes")
	if err != nil {
		fmt.Println(err)
		return
	}
	mustPublish(raw, "quotes", `not JSON`, `{"Symbol":"IBM","Price":125.55}`)

	for range 2 {
		e, err := sub.Next(ctx)
		if err != nil {
			fmt.Println(err)
			return
		}
		if d := e.Discontinuity; d != nil {
			fmt.Printf("%v: %q %v\n", d.Cause, d.Payload.Data, errors.Is(d, pubsub.ErrCodec))
			continue
		}
		fmt.Println(e.Message.Value.Symbol)
	}
	// Output:
	// decode: "not JSON" true
	// IBM
}

// Fail suits those who must not go on with a hole: the subscription ends.
func ExampleOverflow() {
	bus := pubsub.New(memory.New(), codec.String(), pubsub.WithBuffer(2))
	defer bus.Close()
	sub := mustSubscribe(bus, "ledger", pubsub.Overflow(pubsub.Fail))
	mustPublish(bus, "ledger", "+1", "+2", "+3")

	for m, err := range sub.All() {
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println(m.Value)
	}
	fmt.Println(errors.Is(sub.Err(), pubsub.ErrOverflow))
	// Output:
	// pubsub: topic "ledger": 3 messages lost (overflow)
	// pubsub: receive "ledger": overflow: more than 2 messages behind
	// true
}

// With Block nothing is dropped: the publisher waits, until its ctx ends.
func ExampleOverflow_block() {
	bus := pubsub.New(memory.New(), codec.String(), pubsub.WithBuffer(1))
	defer bus.Close()
	sub := mustSubscribe(bus, "ledger", pubsub.Overflow(pubsub.Block))

	go func() {
		mustPublish(bus, "ledger", "+1", "+2", "+3") // waits for the reader
	}()
	for range 3 {
		e, err := sub.Next(context.Background())
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(e.Message.Value)
	}
	// Output:
	// +1
	// +2
	// +3
}

// ResumeAfter goes on behind a position that was stored, with what the
// backend's history (or an open stream's buffer) still has.
func ExampleResumeAfter() {
	bus := pubsub.New(memory.New(memory.WithPage(1), memory.WithHistory(100)), codec.String())
	defer bus.Close()
	mustPublish(bus, "orders", "tea", "coffee", "juice")

	stored := pubsub.Position{Page: 1, Sequence: 1} // of the last message that was dealt with
	sub := mustSubscribe(bus, "orders", pubsub.ResumeAfter(stored))
	for range 2 {
		m := <-sub.C()
		fmt.Println(m.Position, m.Value)
	}
	// Output:
	// 1/2 coffee
	// 1/3 juice
}

// A Private subscription has its own upstream stream. Others share one.
func ExamplePrivate() {
	bus := pubsub.New(memory.New(), codec.String())
	defer bus.Close()
	mustSubscribe(bus, "orders")
	mustSubscribe(bus, "orders")
	fmt.Println(bus.Stats().Streams)
	mustSubscribe(bus, "orders", pubsub.Private())
	fmt.Println(bus.Stats().Streams)
	// Output:
	// 1
	// 2
}

// A viewer who was away for longer than the buffer reaches is told what it
// missed, and shares the stream of the others.
func ExampleShared() {
	bus := pubsub.New(memory.New(memory.WithPage(1)), codec.String(), pubsub.WithBuffer(3))
	defer bus.Close()
	others := mustSubscribe(bus, "orders") // keeps the stream open
	mustPublish(bus, "orders", "tea", "coffee", "juice", "water", "milk")
	<-others.Events() // they have come

	seen := pubsub.Position{Page: 1, Sequence: 1}
	sub := mustSubscribe(bus, "orders", pubsub.ResumeAfter(seen), pubsub.Shared())
	for range 2 {
		e := <-sub.Events()
		if d := e.Discontinuity; d != nil {
			fmt.Println(d.Lost, "missed, going on at", d.Resume)
			continue
		}
		fmt.Println(e.Message.Position, e.Message.Value)
	}
	fmt.Println(bus.Stats().Streams, "stream")
	// Output:
	// 1 missed, going on at 1/3
	// 1/3 juice
	// 1 stream
}

// The buffer is how far a subscription may fall behind.
func ExampleWithBuffer() {
	bus := pubsub.New(memory.New(), codec.String(), pubsub.WithBuffer(3))
	defer bus.Close()
	sub := mustSubscribe(bus, "orders")
	mustPublish(bus, "orders", "tea", "coffee", "juice")
	fmt.Println((<-sub.C()).Value)
	// Output: tea
}

// With a linger the stream outlives the last subscription for a while, so that
// the next one need not wait for a new stream.
func ExampleWithLinger() {
	bus := pubsub.New(memory.New(), codec.String(), pubsub.WithLinger(time.Minute))
	defer bus.Close()

	mustSubscribe(bus, "orders").Close()
	fmt.Println(bus.Stats().Streams)
	// Output: 1
}

// Catalogue has a map: subscribers could modify what others see, so by default
// each gets a value of its own.
type Catalogue struct{ Prices map[string]float64 }

// WithSharedDecode promises that received values are only read, and saves decoding
// each message once per subscription.
func ExampleWithSharedDecode() {
	ctx := context.Background()
	decoded := 0
	counting := codec.Func(codec.JSON[Catalogue]().Encode, func(p pubsub.Payload) (Catalogue, error) {
		decoded++
		return codec.JSON[Catalogue]().Decode(p)
	})
	bus := pubsub.New(memory.New(), counting, pubsub.WithSharedDecode())
	defer bus.Close()
	var subs []*pubsub.Subscription[Catalogue]
	for range 3 {
		sub, err := bus.Subscribe(ctx, "catalogue")
		if err != nil {
			fmt.Println(err)
			return
		}
		subs = append(subs, sub)
	}
	if err := bus.Publish(ctx, "catalogue", Catalogue{map[string]float64{"tea": 1.20}}); err != nil {
		fmt.Println(err)
		return
	}
	for _, sub := range subs {
		fmt.Println((<-sub.C()).Value.Prices["tea"])
	}
	fmt.Println("decoded", decoded)
	// Output:
	// 1.2
	// 1.2
	// 1.2
	// decoded 1
}

// A hole that nobody is told of is logged, once per episode.
func ExampleWithLogger() {
	logger := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	}))
	bus := pubsub.New(memory.New(memory.WithPage(1)), codec.String(), pubsub.WithBuffer(1), pubsub.WithLogger(logger))
	defer bus.Close()
	sub := mustSubscribe(bus, "orders", pubsub.Named("cook"))
	mustPublish(bus, "orders", "tea", "coffee")
	fmt.Println((<-sub.C()).Value)
	// Output:
	// level=WARN msg="pubsub: messages lost, and no OnDiscontinuity to tell" topic=orders subscription=cook cause=overflow lost=1 exact=true after=- resume=1/2 err=overflow
	// coffee
}

// An Observer sees what happens on all topics of a bus.
func ExampleObserver() {
	bus := pubsub.New(memory.New(memory.WithPage(1)), codec.String(), pubsub.WithBuffer(2), pubsub.WithObserver(pubsub.Observer{
		Published: func(_ context.Context, topic string, _ time.Duration, err error) {
			fmt.Println("published to", topic, err)
		},
		Received:      func(topic string, p pubsub.Position) { fmt.Println("received", topic, p) },
		Discontinuity: func(d *pubsub.Discontinuity) { fmt.Println("lost", d.Topic, d.Lost) },
	}))
	defer bus.Close()
	sub := mustSubscribe(bus, "orders")
	mustPublish(bus, "orders", "tea", "coffee", "juice")
	for range 3 { // a hole and two messages
		if _, err := sub.Next(context.Background()); err != nil {
			fmt.Println(err)
			return
		}
	}
	// Output:
	// published to orders <nil>
	// published to orders <nil>
	// published to orders <nil>
	// lost orders 1
	// received orders 1/2
	// received orders 1/3
}

// A Codec is two methods; codec.Func makes one of two functions.
func ExampleCodec() {
	ctx := context.Background()
	durations := codec.Func(
		func(d time.Duration) (pubsub.Payload, error) {
			return pubsub.Payload{Format: pubsub.Text, Data: []byte(d.String())}, nil
		},
		func(p pubsub.Payload) (time.Duration, error) { return time.ParseDuration(string(p.Data)) },
	)
	bus := pubsub.New(memory.New(), durations)
	defer bus.Close()
	sub, err := bus.Subscribe(ctx, "latency")
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := bus.Publish(ctx, "latency", 1500*time.Microsecond); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println((<-sub.C()).Value)
	// Output: 1.5ms
}

// Errors carry the operation and the topic.
func ExampleError() {
	bus := pubsub.New(memory.New(), codec.String())
	defer bus.Close()
	err := bus.Publish(context.Background(), "orders", "\xff")

	var e *pubsub.Error
	fmt.Println(errors.As(err, &e), e.Op, e.Topic, errors.Is(err, pubsub.ErrInvalidPayload))
	// Output: true publish orders true
}

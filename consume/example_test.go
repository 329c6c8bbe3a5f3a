package consume_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/memory"
	"github.com/topicbus/pubsub/codec"
	"github.com/topicbus/pubsub/consume"
)

// subscribed returns a subscription with messages queued, and has it end behind
// them.
func subscribed(values ...string) *pubsub.Subscription[string] {
	ctx := context.Background()
	bus := pubsub.New(memory.New(memory.WithPage(1)), codec.String())
	sub, err := bus.Subscribe(ctx, "orders")
	if err != nil {
		panic(err)
	}
	for _, v := range values {
		if err := bus.Publish(ctx, "orders", v); err != nil {
			panic(err)
		}
	}
	go sub.Drain(ctx) // a program does it when it is told to end
	return sub
}

func ExampleEach() {
	ctx := context.Background()
	sub := subscribed("tea", "coffee", "milk")
	defer sub.Close()
	err := consume.Each(ctx, sub, func(ctx context.Context, m pubsub.Message[string]) error {
		fmt.Println("brewing", m.Value)
		return nil
	}, consume.Options[string]{})
	fmt.Println(err)
	// Output:
	// brewing tea
	// brewing coffee
	// brewing milk
	// <nil>
}

// A message that fails is tried again, and then goes to a dead-letter topic.
func ExampleEach_retry() {
	ctx := context.Background()
	sub := subscribed("tea", "coffee", "milk")
	defer sub.Close()
	var down = errors.New("kitchen: connection refused")
	err := consume.Each(ctx, sub, func(ctx context.Context, m pubsub.Message[string]) error {
		switch {
		case m.Value == "tea" && consume.Try(ctx) < 3:
			return down
		case m.Value == "coffee":
			return backoff.Permanent(errors.New("no coffee"))
		}
		fmt.Println("brewed", m.Value, "at try", consume.Try(ctx))
		return nil
	}, consume.Options[string]{
		Retry: func() backoff.BackOff {
			return backoff.WithMaxRetries(backoff.NewExponentialBackOff(backoff.WithInitialInterval(time.Millisecond)), 5)
		},
		GiveUp: func(ctx context.Context, m pubsub.Message[string], err error) error {
			fmt.Println("gave up", m.Value+":", err) // or publish it to another topic
			return nil
		},
	})
	fmt.Println(err)
	// Output:
	// brewed tea at try 3
	// gave up coffee: no coffee
	// brewed milk at try 1
	// <nil>
}

// Without Retry and GiveUp the first error ends Each, which says what became of
// the message.
func ExampleUnhandledError() {
	ctx := context.Background()
	sub := subscribed("tea", "coffee", "milk")
	defer sub.Close()
	err := consume.Each(ctx, sub, func(ctx context.Context, m pubsub.Message[string]) error {
		if m.Value == "coffee" {
			return errors.New("no coffee")
		}
		return nil
	}, consume.Options[string]{})
	fmt.Println(err)
	var unhandled *consume.UnhandledError[string]
	if errors.As(err, &unhandled) {
		for _, u := range unhandled.Unhandled {
			fmt.Println(u.Message.Value, u.Message.Position, u.Tries)
		}
	}
	// Output:
	// consume: 1 message was taken and not handled (topic "orders", from 1/2): no coffee
	// coffee 1/2 1
}

// Middleware is put around a handler by calling it.
func ExampleTimeout() {
	ctx := context.Background()
	sub := subscribed("tea")
	defer sub.Close()
	brew := func(ctx context.Context, m pubsub.Message[string]) error {
		<-ctx.Done() // the kitchen does not answer
		return context.Cause(ctx)
	}
	err := consume.Each(ctx, sub, consume.Timeout[string](time.Millisecond)(brew), consume.Options[string]{})
	fmt.Println(errors.Is(err, context.DeadlineExceeded))
	// Output: true
}

func ExampleBatches() {
	sub := subscribed("tea", "coffee", "milk", "water", "juice")
	defer sub.Close()
	for batch, err := range consume.Batches(sub, 2, time.Minute) {
		if err != nil {
			fmt.Println(err) // a hole, or the end
			continue
		}
		fmt.Println(len(batch), "from", batch[0].Value)
	}
	// Output:
	// 2 from tea
	// 2 from milk
	// 1 from juice
}

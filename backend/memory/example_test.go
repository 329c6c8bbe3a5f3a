package memory_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/memory"
)

// A test breaks the connection, and sees what its program is going to see
// when the service breaks it.
func ExampleBackend_Disconnect() {
	b := memory.New(memory.WithPage(1), memory.WithHistory(1))
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	stream, err := b.Subscribe(ctx, "orders", pubsub.Start{})
	if err != nil {
		fmt.Println(err)
		return
	}
	publish := func(s string) {
		if err := b.Publish(ctx, "orders", pubsub.Payload{Format: pubsub.Text, Data: []byte(s)}); err != nil {
			fmt.Println(err)
		}
	}
	publish("one")
	b.Disconnect(errors.New("cable cut"), "orders")
	publish("two")
	publish("three") // the history holds one message
	b.Reconnect("orders")
	publish("four")

	err = stream.Receive(func(_ context.Context, f pubsub.Frame) error {
		switch f.Kind {
		case pubsub.KindMessage:
			fmt.Printf("%v %s\n", f.Position, f.Payload.Data)
			if string(f.Payload.Data) == "four" {
				cancel()
			}
		case pubsub.KindDiscontinuity:
			fmt.Println(f.Discontinuity.Lost, "lost,", f.Discontinuity.Cause)
		case pubsub.KindState:
			fmt.Println(f.State.State)
		}
		return nil
	})
	fmt.Println("ended:", err)
	// Output:
	// 1/1 one
	// reconnecting
	// resumed
	// 1 lost, reconnect
	// 1/3 three
	// 1/4 four
	// ended: <nil>
}

func ExampleBackend_FailPublishes() {
	b := memory.New()
	b.FailPublishes(1, pubsub.ErrLimitExceeded)
	p := pubsub.Payload{Format: pubsub.Text, Data: []byte("hello")}
	fmt.Println(b.Publish(context.Background(), "greetings", p))
	fmt.Println(b.Publish(context.Background(), "greetings", p))
	// Output:
	// limit exceeded
	// <nil>
}

// The answer of the service is lost: whoever publishes again may duplicate the
// message.
func ExampleBackend_FailAcceptedPublishes() {
	b := memory.New(memory.WithPage(1), memory.WithHistory(10))
	b.FailAcceptedPublishes(1, pubsub.ErrUnavailable, "orders")
	p := pubsub.Payload{Format: pubsub.Text, Data: []byte("one")}
	err := b.Publish(context.Background(), "orders", p)
	fmt.Println(err, "/", pubsub.OutcomeOf(err))
	fmt.Println(len(b.Published("orders")), "accepted")
	// Output:
	// unavailable / outcome unknown
	// 1 accepted
}

func ExampleBackend_Published() {
	b := memory.New(memory.WithPage(1), memory.WithHistory(10))
	_ = b.Publish(context.Background(), "greetings", pubsub.Payload{Format: pubsub.Text, Data: []byte("hello")})
	for _, m := range b.Published("greetings") {
		fmt.Printf("%v %s\n", m.Position, m.Value.Data)
	}
	// Output:
	// 1/1 hello
}

package nats_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/nats"
	"github.com/topicbus/pubsub/backend/nats/natstest"
	"github.com/topicbus/pubsub/codec"
)

type Order struct{ ID int }

// The server runs in the test's own process.
func Example() {
	server, err := natstest.NewServer()
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()

	backend, err := nats.New(server.URL())
	if err != nil {
		log.Fatal(err)
	}
	defer backend.Close()
	bus := pubsub.New(backend, codec.JSON[Order]())
	defer bus.Close()

	ctx := context.Background()
	for id := range 3 {
		if err := bus.Publish(ctx, "orders.eu", Order{ID: id + 1}); err != nil {
			log.Fatal(err)
		}
	}
	sub, err := bus.Subscribe(ctx, "orders.eu", pubsub.FromLast(2))
	if err != nil {
		log.Fatal(err)
	}
	for m, err := range sub.All() {
		var hole *pubsub.Discontinuity
		if errors.As(err, &hole) {
			log.Print(hole) // the stream's limits removed some
			continue
		}
		fmt.Println(m.Position.Sequence, m.Value.ID)
		if m.Value.ID == 3 {
			break
		}
	}
	// Output:
	// 2 2
	// 3 3
}

// publishBefore and the functions below stand in docs/nats.md.
func publishBefore(ctx context.Context, js jetstream.JetStream, data []byte) error {
	_, err := js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name:     "ORDERS",
		Subjects: []string{"orders.eu"},
		MaxAge:   24 * time.Hour,
	})
	if err != nil {
		return err
	}
	_, err = js.Publish(ctx, "orders.eu", data)
	return err
}

func publishAfter(ctx context.Context, bus pubsub.Bus[Order], o Order) error {
	return bus.Publish(ctx, "orders.eu", o)
}

func readBefore(ctx context.Context, js jetstream.JetStream, handle func([]byte)) error {
	consumer, err := js.OrderedConsumer(ctx, "ORDERS", jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverNewPolicy,
	})
	if err != nil {
		return err
	}
	consuming, err := consumer.Consume(func(m jetstream.Msg) { handle(m.Data()) })
	if err != nil {
		return err
	}
	<-ctx.Done()
	consuming.Stop()
	return nil
}

func readAfter(ctx context.Context, bus pubsub.Bus[Order], handle func(Order)) error {
	sub, err := bus.Subscribe(ctx, "orders.eu")
	if err != nil {
		return err
	}
	for m, err := range sub.All() {
		if err != nil {
			log.Print(err) // what is missing here, and how much
			continue
		}
		handle(m.Value)
	}
	return sub.Err()
}

// An existing connection, with whatever it needs, can be used.
func ExampleNewFromConn() {
	server, err := natstest.NewServer()
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	nc, err := natsgo.Connect(server.URL(),
		natsgo.MaxReconnects(-1),    // come back after any outage
		natsgo.ReconnectBufSize(-1)) // never store later what Publish said failed
	if err != nil {
		log.Fatal(err)
	}
	defer nc.Close()
	backend, err := nats.NewFromConn(nc, nats.WithPrefix("shop"), nats.WithMaxAge(time.Hour))
	if err != nil {
		log.Fatal(err)
	}
	defer backend.Close()
	fmt.Println(backend.Publish(context.Background(), "orders.eu", pubsub.Payload{Data: []byte("hello")}))
	// Output: <nil>
}

var _ = []any{publishBefore, publishAfter, readBefore, readAfter}

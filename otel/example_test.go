package pubsubotel_test

import (
	"context"
	"fmt"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/memory"
	"github.com/topicbus/pubsub/codec"
	pubsubotel "github.com/topicbus/pubsub/otel"
)

func Example() {
	ctx := context.Background()
	telemetry, err := pubsubotel.New(pubsubotel.WithSystem("memory"))
	if err != nil {
		panic(err)
	}
	bus := pubsub.New(memory.New(), codec.String(), pubsub.WithObserver(telemetry.Observer()))
	defer bus.Close()
	registration, err := telemetry.Register("orders", bus)
	if err != nil {
		panic(err)
	}
	defer registration.Unregister()

	sub, err := bus.Subscribe(ctx, "orders")
	if err != nil {
		panic(err)
	}
	if err := bus.Publish(ctx, "orders", "tea"); err != nil {
		panic(err)
	}
	for m, err := range sub.All() {
		if err != nil {
			fmt.Println(err) // a hole, or the end
			continue
		}
		err = pubsubotel.Process(ctx, telemetry, m, func(_ context.Context, m pubsub.Message[string]) error {
			fmt.Println(m.Value)
			return nil
		})
		if err != nil {
			fmt.Println(err)
		}
		break
	}
	// Output: tea
}

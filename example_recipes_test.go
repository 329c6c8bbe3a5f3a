package pubsub_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/memory"
	"github.com/topicbus/pubsub/codec"
	"github.com/topicbus/pubsub/consume"
)

// account is a row of a table, and what is published when it changes. Version
// grows by one with each change.
type account struct{ Version, Balance int }

type table struct {
	mu  sync.Mutex
	row account
}

// add changes the row, as a transaction would.
func (t *table) add(amount int) account {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.row = account{t.row.Version + 1, t.row.Balance + amount}
	return t.row
}

func (t *table) load() account {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.row
}

// A snapshot and what follows it, without a gap. Whoever changes the table does
// so first and publishes then. A reader subscribes first and loads then, so it
// may be sent what it has loaded: it skips that by the version. After a hole it
// loads again. What is missing was in the table before it was published.
func Example_snapshot() {
	ctx := context.Background()
	backend := memory.New()
	bus := pubsub.New(backend, codec.JSON[account]())
	defer bus.Close()
	var db table
	deposit := func(amount int) {
		if err := bus.Publish(ctx, "account", db.add(amount)); err != nil {
			panic(err)
		}
	}
	deposit(100)

	sub, err := bus.Subscribe(ctx, "account")
	if err != nil {
		fmt.Println(err)
		return
	}
	deposit(20) // by another, just now
	row := db.load()
	fmt.Println("loaded:", row.Balance)

	deposit(3)
	db.add(4)
	backend.Lose(1, "account") // the service loses that one
	deposit(5)
	for m, err := range sub.All() {
		switch {
		case errors.As(err, new(*pubsub.Discontinuity)):
			row = db.load()
			fmt.Println("loaded again:", row.Balance)
		case err != nil:
			fmt.Println(err)
		case m.Value.Version <= row.Version: // the snapshot has it
		default:
			row = m.Value
			fmt.Println("changed:", row.Balance)
		}
		if row.Balance == 132 {
			break
		}
	}
	// Output:
	// loaded: 120
	// changed: 123
	// loaded again: 132
}

// A position is what to store together with the state that it belongs to. Before
// the first message it is the one that Start returns: with ResumeAfter of a zero
// Position, what came meanwhile would be missing.
func ExampleSubscription_Start() {
	backend := memory.New(memory.WithPage(1), memory.WithHistory(100))
	bus := pubsub.New(backend, codec.String())
	sub := mustSubscribe(bus, "orders")
	stored := sub.Start()
	bus.Close() // the process ends before a message has come
	fmt.Println(stored)

	bus = pubsub.New(backend, codec.String())
	defer bus.Close()
	mustPublish(bus, "orders", "tea", "coffee")
	sub = mustSubscribe(bus, "orders", pubsub.ResumeAfter(stored))
	for m := range sub.Messages() {
		stored = m.Position
		fmt.Println(stored, m.Value)
		if m.Value == "coffee" {
			break
		}
	}
	// Output:
	// 1/0
	// 1/1 tea
	// 1/2 coffee
}

// A pipeline whose stages end in order, so that nothing is lost. When Drain
// returns nil, the loop that reads is done with its last message. So the stage
// has published all it will, and the next one can be drained.
func Example_pipeline() {
	bus := pubsub.New(memory.New(), codec.String())
	beans := mustSubscribe(bus, "beans", pubsub.Overflow(pubsub.Block))
	powder := mustSubscribe(bus, "powder", pubsub.Overflow(pubsub.Block))
	cups := mustSubscribe(bus, "cups", pubsub.Overflow(pubsub.Block))

	var stages sync.WaitGroup
	stages.Go(func() {
		for m := range beans.Messages() {
			mustPublish(bus, "powder", "ground "+m.Value)
		}
	})
	stages.Go(func() {
		for m := range powder.Messages() {
			mustPublish(bus, "cups", "cup of "+m.Value)
		}
	})
	stages.Go(func() {
		for m := range cups.Messages() {
			fmt.Println(m.Value)
		}
	})
	mustPublish(bus, "beans", "arabica", "robusta")

	limit, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for _, sub := range []*pubsub.Subscription[string]{beans, powder} {
		if err := sub.Drain(limit); err != nil {
			fmt.Println(err)
		}
	}
	fmt.Println(bus.Drain(limit)) // the last stage, and the bus
	stages.Wait()
	// Output:
	// cup of ground arabica
	// cup of ground robusta
	// <nil>
}

// The last value for those who come late: the backend keeps one, FromLast asks
// for it.
func ExampleFromLast() {
	bus := pubsub.New(memory.New(memory.WithHistory(1)), codec.String())
	defer bus.Close()
	mustPublish(bus, "price", "560.19", "560.22", "561.05")

	sub := mustSubscribe(bus, "price", pubsub.FromLast(1))
	mustPublish(bus, "price", "561.50")
	for range 2 {
		fmt.Println((<-sub.C()).Value)
	}
	// Output:
	// 561.05
	// 561.50
}

// FromOldest begins with all that the backend still has.
func ExampleFromOldest() {
	bus := pubsub.New(memory.New(memory.WithHistory(2)), codec.String())
	defer bus.Close()
	mustPublish(bus, "price", "560.19", "560.22", "561.05")

	sub := mustSubscribe(bus, "price", pubsub.FromOldest())
	for range 2 {
		fmt.Println((<-sub.C()).Value)
	}
	// Output:
	// 560.22
	// 561.05
}

// What happens in a shop. codec.Value hands the Go values on as they are, so a
// topic may carry several types, in one order.
type shopEvent interface{ shopEvent() }

type ordered struct{ what string }

type paid struct{ cents int }

func (*ordered) shopEvent() {}
func (*paid) shopEvent()    {}

// Several types in one process. A bus has one type; buses share the backend. For
// types that must keep their order, the type is an interface.
func Example_severalTypes() {
	ctx := context.Background()
	backend := memory.New()
	defer backend.Close()
	events := pubsub.New(backend, codec.Value[shopEvent]())
	defer events.Close()
	temperatures := pubsub.New(backend, codec.Value[float64]())
	defer temperatures.Close()

	shop, err := events.Subscribe(ctx, "shop")
	if err != nil {
		fmt.Println(err)
		return
	}
	oven, err := temperatures.Subscribe(ctx, "oven")
	if err != nil {
		fmt.Println(err)
		return
	}
	err = errors.Join(
		events.Publish(ctx, "shop", &ordered{"tea"}),
		events.Publish(ctx, "shop", &paid{120}),
		temperatures.Publish(ctx, "oven", 180.5),
	)
	if err != nil {
		fmt.Println(err)
		return
	}
	for range 2 {
		switch e := (<-shop.C()).Value.(type) {
		case *ordered:
			fmt.Println("ordered:", e.what)
		case *paid:
			fmt.Println("paid:", e.cents)
		}
	}
	fmt.Println("oven:", (<-oven.C()).Value)
	// Output:
	// ordered: tea
	// paid: 120
	// oven: 180.5
}

// Workers that keep the order of each customer, and are as many as there is work
// for.
func Example_orderedWorkers() {
	ctx := context.Background()
	bus := pubsub.New(memory.New(), codec.JSON[[2]string]())
	defer bus.Close()
	sub, err := bus.Subscribe(ctx, "orders", pubsub.Overflow(pubsub.Block))
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, order := range [][2]string{{"ada", "tea"}, {"bob", "milk"}, {"ada", "scones"}, {"ada", "the bill"}} {
		if err := bus.Publish(ctx, "orders", order); err != nil {
			fmt.Println(err)
			return
		}
	}

	var mu sync.Mutex
	served := map[string][]string{}
	serve := func(_ context.Context, m pubsub.Message[[2]string]) error {
		mu.Lock()
		defer mu.Unlock()
		customer, what := m.Value[0], m.Value[1]
		served[customer] = append(served[customer], what)
		return nil
	}
	go bus.Drain(ctx) // a program does that when it is told to end
	err = consume.Each(ctx, sub, serve, consume.Options[[2]string]{
		Workers: 4,
		OrderBy: func(order [2]string) string { return order[0] },
	})
	fmt.Println(err)
	fmt.Println("ada:", served["ada"])
	fmt.Println("bob:", served["bob"])
	// Output:
	// <nil>
	// ada: [tea scones the bill]
	// bob: [milk]
}

// A retry that cannot duplicate: only what was not accepted is published again,
// and only if that can help.
func ExampleOutcomeOf() {
	backend := memory.New()
	bus := pubsub.New(backend, codec.String())
	defer bus.Close()
	publish := func(ctx context.Context, value string) error {
		wait := time.Millisecond
		for {
			err := bus.Publish(ctx, "orders", value)
			switch pubsub.OutcomeOf(err) {
			case pubsub.Accepted:
				return nil
			case pubsub.OutcomeUnknown:
				return err // it may have been accepted
			}
			if !errors.Is(err, pubsub.ErrUnavailable) && !errors.Is(err, pubsub.ErrLimitExceeded) {
				return err // it will not pass
			}
			select {
			case <-time.After(wait):
				wait = min(2*wait, time.Second)
			case <-ctx.Done():
				return err
			}
		}
	}

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	backend.FailPublishes(2, nil)
	fmt.Println(publish(ctx, "tea"))

	backend.FailAcceptedPublishes(1, nil) // the answer of the service is lost
	err := publish(ctx, "coffee")
	fmt.Println(pubsub.OutcomeOf(err), err)
	fmt.Println(bus.Stats().PublishErrors, "attempts failed")
	// Output:
	// <nil>
	// outcome unknown pubsub: publish "orders": memory: made to fail: unavailable
	// 3 attempts failed
}

// An end that loses nothing: the bus refuses what is new, the readers finish what
// is queued, and the bus is closed.
func ExampleBus_drain() {
	bus := pubsub.New(memory.New(), codec.String())
	sub := mustSubscribe(bus, "orders")
	mustPublish(bus, "orders", "tea", "coffee")
	var readers sync.WaitGroup
	readers.Go(func() {
		for m := range sub.Messages() {
			fmt.Println(m.Value)
		}
	})

	limit, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	err := bus.Drain(limit)
	readers.Wait()
	var dropped *pubsub.DroppedError
	if errors.As(err, &dropped) {
		fmt.Println(dropped.Dropped, "were not read in time")
	}
	fmt.Println(err)
	// Output:
	// tea
	// coffee
	// <nil>
}

// Eventually lets a program start while the service is down.
func ExampleEventually() {
	backend := memory.New()
	bus := pubsub.New(backend, codec.String())
	defer bus.Close()
	backend.Disconnect(errors.New("cable cut"))
	_, err := bus.Subscribe(context.Background(), "orders")
	fmt.Println(errors.Is(err, pubsub.ErrUnavailable))

	sub := mustSubscribe(bus, "orders", pubsub.Eventually())
	e, err := sub.Next(context.Background())
	fmt.Println(e.State.State, err)
	backend.Reconnect()
	for {
		e, err := sub.Next(context.Background())
		if err != nil {
			fmt.Println(err)
			return
		}
		if e.State.State == pubsub.Resumed {
			fmt.Println(e.State.State)
			return
		}
	}
	// Output:
	// true
	// reconnecting <nil>
	// resumed
}

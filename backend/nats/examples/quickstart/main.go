// Command quickstart publishes quotes as typed messages over NATS and reads
// them with several subscribers, one of them too slow on purpose.
//
//	go run ./examples/quickstart
//	go run ./examples/quickstart -url nats://127.0.0.1:4222
//
// Without -url it runs a NATS server of its own, stops it half-way and starts it
// again: the subscribers come back and miss nothing.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"time"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/nats"
	"github.com/topicbus/pubsub/backend/nats/natstest"
	"github.com/topicbus/pubsub/codec"
)

// Quote is the price of a stock at a time.
type Quote struct {
	Symbol string
	Number int
	Price  float64
}

var symbols = []string{"AMBER", "BASALT", "COBALT"}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("quickstart", flag.ContinueOnError)
	flags.SetOutput(stderr)
	url := flags.String("url", "", "the NATS server's `URL`, which must have JetStream (default: a server of its own)")
	n := flags.Int("n", 300, "how many quotes of each stock to publish")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return nil
	} else if err != nil {
		return err
	}
	var own *natstest.Server
	if *url == "" {
		var err error
		if own, err = natstest.NewServer(); err != nil {
			return err
		}
		defer own.Close()
		*url = own.URL()
	}
	backend, err := nats.New(*url,
		nats.WithName("quickstart"),
		nats.WithPrefix("quickstart"),
		nats.WithMaxAge(time.Hour), // how long a stream keeps a message
		nats.WithLogger(slog.New(slog.NewTextHandler(stderr, nil))))
	if err != nil {
		return err
	}
	defer backend.Close()
	bus := pubsub.New(backend, codec.JSON[Quote](), pubsub.WithBuffer(64)) // small, to see an overflow
	defer bus.Close()

	var readers []*reader
	for _, symbol := range symbols {
		readers = append(readers, &reader{name: "highest", topic: symbol})
	}
	readers = append(readers, &reader{name: "slow", topic: symbols[0], pause: 20 * time.Millisecond})
	for _, r := range readers {
		r.sub, err = bus.Subscribe(context.WithoutCancel(ctx), r.topic, pubsub.OnState(func(c pubsub.StateChange) {
			if r.topic == symbols[0] && c.State == pubsub.Resumed {
				fmt.Fprintf(stdout, "%s: the server is back after %v\n", r.name, c.Downtime.Round(time.Millisecond))
			}
		}))
		if err != nil {
			return err
		}
	}
	var reading sync.WaitGroup
	for _, r := range readers {
		reading.Go(r.read)
	}
	published, err := publish(ctx, bus, *n, func(i int) {
		if own != nil && i == *n/2 {
			own.Stop()
			own.Start()
		}
	})
	if err != nil {
		return err
	}
	for _, r := range readers {
		r.finish(published[r.topic])
	}
	reading.Wait()
	return summary(stdout, readers, published)
}

// publish publishes n quotes of each symbol, and counts what was accepted.
// meanwhile is called before each round.
func publish(ctx context.Context, bus pubsub.Bus[Quote], n int, meanwhile func(int)) (map[string]uint64, error) {
	accepted := make(map[string]uint64)
	for i := range n {
		meanwhile(i)
		for k, symbol := range symbols {
			q := Quote{Symbol: symbol, Number: i, Price: float64(100*(k+1)) + float64(i*i%97)}
			err := bus.Publish(ctx, symbol, q)
			for pubsub.OutcomeOf(err) == pubsub.NotAccepted && ctx.Err() == nil {
				time.Sleep(10 * time.Millisecond) // the server is down; trying again cannot duplicate it
				err = bus.Publish(ctx, symbol, q)
			}
			if ctx.Err() != nil {
				return accepted, nil
			}
			if err != nil {
				return nil, err
			}
			accepted[symbol]++
		}
		time.Sleep(time.Millisecond)
	}
	return accepted, nil
}

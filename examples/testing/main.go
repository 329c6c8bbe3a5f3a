// Command testing keeps a table of prices up to date over a bus, through an
// outage in the middle. What it is about are its tests: table_test.go tests
// the application's recovery with the memory backend, its faults and fake
// time; momento_test.go with a Momento server on the loopback interface.
//
//	go test -v ./examples/testing
//	go run ./examples/testing
//	go run ./examples/testing -backend momento -local
//	MOMENTO_API_KEY=... go run ./examples/testing -backend momento -cache NAME
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/codec"
	"github.com/topicbus/pubsub/examples/internal/backends"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "testing:", err)
		os.Exit(1)
	}
}

const (
	topic = "prices"
	// grace is how long the last change may take to reach the table.
	grace = 15 * time.Second
)

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	cfg, err := parseFlags(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(stderr, nil))
	backend, err := cfg.backend.Open(log)
	if err != nil {
		return err
	}
	defer backend.Close()
	bus := pubsub.New(backend, codec.JSON[Price](), pubsub.WithLogger(log))
	defer bus.Close()

	exchange := NewExchange(bus, topic, log)
	table := NewTable(bus, topic, exchange, log)
	ctx, done := context.WithCancel(ctx)
	defer done()
	work, ctx := errgroup.WithContext(ctx)
	work.Go(func() error { return table.Run(ctx) })
	work.Go(func() error { return exchange.Run(ctx) })
	work.Go(func() error {
		defer done() // ends the others
		version, err := trade(ctx, exchange, backend, cfg)
		if err != nil || ctx.Err() != nil {
			return err
		}
		limit, cancel := context.WithTimeout(ctx, grace)
		defer cancel()
		if err := table.Await(limit, version); err != nil {
			return fmt.Errorf("the table did not come to the newest change: %w", err)
		}
		report(stdout, table)
		return nil
	})
	return work.Wait()
}

// trade makes up changes, and an outage in the middle third.
func trade(ctx context.Context, exchange *Exchange, service *backends.Service, cfg config) (version uint64, err error) {
	symbols := []string{"AAPL", "AMZN", "GOOG", "IBM", "MSFT"}
	for i := range cfg.changes {
		select {
		case <-time.After(cfg.every):
		case <-ctx.Done():
			return version, nil
		}
		if service.Fail != nil {
			switch i {
			case cfg.changes / 3:
				service.Fail()
			case cfg.changes * 2 / 3:
				if err := service.Mend(); err != nil {
					return version, err
				}
			}
		}
		version = exchange.Set(symbols[rand.IntN(len(symbols))], float64(100+rand.IntN(100)))
	}
	return version, nil
}

func report(w io.Writer, table *Table) {
	prices := table.Prices()
	for _, symbol := range slices.Sorted(maps.Keys(prices)) {
		fmt.Fprintf(w, "%-5s %6.2f  since change %d\n", symbol, prices[symbol].Price, prices[symbol].Version)
	}
	s := table.Status()
	fmt.Fprintf(w, "up to date, with %d snapshots loaded and %d changes missed on the way\n", s.Reloads, s.Lost)
}

type config struct {
	backend backends.Choice
	changes int
	every   time.Duration
}

func parseFlags(args []string, stderr io.Writer) (config, error) {
	var cfg config
	flags := flag.NewFlagSet("testing", flag.ContinueOnError)
	flags.SetOutput(stderr)
	cfg.backend.Flags(flags)
	flags.IntVar(&cfg.changes, "changes", 300, "how many changes to make up")
	flags.DurationVar(&cfg.every, "every", 0, "pause between two changes (default 5ms, with -cache 250ms: accounts start with 10 operations a second)")
	if err := flags.Parse(args); err != nil {
		return config{}, err
	}
	switch {
	case flags.NArg() > 0:
		return config{}, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case cfg.changes < 3:
		return config{}, fmt.Errorf("-changes %d: must be at least 3, for an outage in the middle", cfg.changes)
	case cfg.every < 0:
		return config{}, fmt.Errorf("-every %v is negative", cfg.every)
	case cfg.every == 0 && cfg.backend.Cache != "":
		cfg.every = 250 * time.Millisecond
	case cfg.every == 0:
		cfg.every = 5 * time.Millisecond
	}
	return cfg, cfg.backend.Check()
}

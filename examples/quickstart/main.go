// Command quickstart publishes ten years of stock quotes as typed messages and
// reads them with several subscribers, one of them too slow on purpose.
//
//	go run ./examples/quickstart
//	go run ./examples/quickstart -backend momento -local
//	MOMENTO_API_KEY=... go run ./examples/quickstart -backend momento -cache NAME
//
// Ctrl-C stops publishing, drains and prints the summary; a second one ends
// the program at once.
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
	"syscall"
	"time"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/codec"
	"github.com/topicbus/pubsub/examples/internal/backends"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // from here on Ctrl-C does what it always does
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
}

// grace is how long the end may take: for what is still on its way to arrive,
// and for the readers to finish what is queued.
const grace = 5 * time.Second

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	cfg, err := parseFlags(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	quotes, err := readQuotes()
	if err != nil {
		return err
	}
	backend, err := cfg.backend.Open(slog.Default())
	if err != nil {
		return err
	}
	defer backend.Close()

	screen := newScreen(stdout, stderr)
	published := newTally(len(quotes), screen)
	bus := pubsub.New(backend, codec.JSON[Quote](),
		pubsub.WithBuffer(16), // small, to see an overflow in a second
		pubsub.WithObserver(pubsub.Observer{Published: published.add}))
	defer bus.Close()

	// Not ctx: Ctrl-C ends the publishing, and the readers by Drain.
	readers, err := subscribe(context.WithoutCancel(ctx), bus, topicsOf(quotes))
	if err != nil {
		return err
	}
	slowest := readers[len(readers)-1]
	slowest.stall, slowest.hurry = 150*cfg.every, make(chan struct{})
	slowest.say = screen.line

	start := time.Now()
	var reading sync.WaitGroup
	for _, r := range readers {
		reading.Go(func() { r.read(r) })
	}
	publishErr := publish(ctx, bus, quotes, cfg.every)
	took := time.Since(start)

	close(slowest.hurry)
	waitForArrival(readers, published)
	drain(readers)
	reading.Wait()
	screen.clear()
	printSummary(stdout, readers, published, took)
	return publishErr
}

type config struct {
	backend backends.Choice
	every   time.Duration
}

func parseFlags(args []string, stderr io.Writer) (config, error) {
	var cfg config
	flags := flag.NewFlagSet("quickstart", flag.ContinueOnError)
	flags.SetOutput(stderr)
	cfg.backend.Flags(flags)
	flags.DurationVar(&cfg.every, "every", 0, "pause between two quotes (default 2ms, with -cache 250ms: accounts start with 10 operations a second)")
	if err := flags.Parse(args); err != nil {
		return config{}, err
	}
	switch {
	case flags.NArg() > 0:
		return config{}, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case cfg.every < 0:
		return config{}, fmt.Errorf("-every %v is negative", cfg.every)
	case cfg.every == 0 && cfg.backend.Cache != "":
		cfg.every = 250 * time.Millisecond
	case cfg.every == 0:
		cfg.every = 2 * time.Millisecond
	}
	return cfg, cfg.backend.Check()
}

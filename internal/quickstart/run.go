// Package quickstart is the program that examples/quickstart runs over memory
// and other commands over other backends: it publishes ten years of stock
// quotes as typed messages and reads them with several subscribers, one of them
// too slow on purpose.
package quickstart

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/topicbus/pubsub"
)

// Main runs a command and ends the process if it fails. Ctrl-C stops
// publishing, drains and prints the summary; a second one ends the program at
// once.
func Main(run func(ctx context.Context, args []string, stdout, stderr io.Writer) error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // from here on Ctrl-C does what it always does
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
}

// Flags are the command line of all the commands.
type Flags struct {
	*flag.FlagSet
	Every time.Duration // the pause between two quotes; 0 if none was given
}

// NewFlags returns flags that the caller may add its own to. The usage says what
// the pause is if none is given.
func NewFlags(stderr io.Writer, pause string) *Flags {
	f := &Flags{FlagSet: flag.NewFlagSet("quickstart", flag.ContinueOnError)}
	f.SetOutput(stderr)
	f.DurationVar(&f.Every, "every", 0, "pause between two quotes (default "+pause+")")
	return f
}

// Parse parses the command line. It reports false if that asked for help.
func (f *Flags) Parse(args []string) (bool, error) {
	err := f.FlagSet.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return false, nil
	case err != nil:
		return false, err
	case f.NArg() > 0:
		return false, fmt.Errorf("unexpected argument %q", f.Arg(0))
	case f.Every < 0:
		return false, fmt.Errorf("-every %v is negative", f.Every)
	}
	return true, nil
}

// grace is how long the end may take: for what is still on its way to arrive,
// and for the readers to finish what is queued.
const grace = 5 * time.Second

// Run runs the program over a backend, with a pause between two quotes. The codec
// is codec.Value where quotes stay in the process, else one that encodes.
func Run(ctx context.Context, backend pubsub.Backend, codec pubsub.Codec[Quote], every time.Duration, stdout, stderr io.Writer) error {
	quotes, err := readQuotes()
	if err != nil {
		return err
	}
	screen := newScreen(stdout, stderr)
	published := newTally(len(quotes), screen)
	bus := pubsub.New(backend, codec,
		pubsub.WithBuffer(16), // small, to see an overflow in a second
		pubsub.WithObserver(pubsub.Observer{Published: published.add}))
	defer bus.Close()

	// Not ctx: Ctrl-C ends the publishing, and the readers by Drain.
	readers, err := subscribe(context.WithoutCancel(ctx), bus, topicsOf(quotes))
	if err != nil {
		return err
	}
	slowest := readers[len(readers)-1]
	slowest.stall, slowest.hurry = 150*every, make(chan struct{})
	slowest.say = screen.line

	start := time.Now()
	var reading sync.WaitGroup
	for _, r := range readers {
		reading.Go(func() { r.read(r) })
	}
	publishErr := publish(ctx, bus, quotes, every)
	took := time.Since(start)

	close(slowest.hurry)
	waitForArrival(readers, published)
	drain(readers)
	reading.Wait()
	screen.clear()
	printSummary(stdout, readers, published, took)
	return publishErr
}

// Command orders places orders with a broker that fails for a while: eight
// workers, the orders of a stock in order, retries, a dead-letter topic, and an
// end that loses nothing.
//
//	go run ./examples/orders
//	go run ./examples/orders -outage 10s   # longer than orders are tried again
//	go run ./examples/orders -backend momento -local
//
// Ctrl-C or SIGTERM stops taking orders, places what is queued and prints the
// summary; a second one ends the program at once.
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
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cenkalti/backoff/v4"
	"golang.org/x/sync/errgroup"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/codec"
	"github.com/topicbus/pubsub/consume"
	"github.com/topicbus/pubsub/examples/internal/backends"
)

const (
	workers  = 8
	patience = 2 * time.Second        // how long an order is tried again
	haste    = 200 * time.Millisecond // the same at the end, so that all have a turn within the limit
	limit    = 20 * time.Second       // how long the end may take
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // from here on Ctrl-C does what it always does
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "orders:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	cfg, err := parseFlags(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	orders, err := readOrders()
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(stderr, nil))
	backend, err := cfg.backend.Open(log)
	if err != nil {
		return err
	}
	defer backend.Close()
	bus := pubsub.New(backend, codec.JSON[Order](), pubsub.WithLogger(log))
	defer bus.Close()

	shop := &shop{
		orders: bus.Topic("orders"),
		dead:   bus.Topic("orders/dead"),
		broker: &broker{outage: cfg.outage, after: len(orders) / 3, say: func(s string) { fmt.Fprintln(stdout, s) }},
	}
	if err := shop.open(); err != nil {
		return err
	}
	start := time.Now()
	var all errgroup.Group
	all.Go(shop.place)
	all.Go(shop.bury)
	all.Go(func() error { return shop.publish(ctx, orders, cfg.every) })
	err = all.Wait()
	shop.summary(stdout, time.Since(start))
	return err
}

// shop is the pipeline: orders, the workers that place them, dead letters.
type shop struct {
	orders, dead *pubsub.Topic[Order]
	broker       *broker

	queue, graves *pubsub.Subscription[Order]
	work          consume.Monitor
	ending        atomic.Bool
	published     uint64
	letters       []Order
}

// open subscribes, before anything is published. The ctx of the program is not
// theirs: its end stops the publishing, and the rest is drained.
func (s *shop) open() (err error) {
	ctx := context.Background()
	// With Block, publishers wait for the workers instead of losing orders.
	if s.queue, err = s.orders.Subscribe(ctx, pubsub.Overflow(pubsub.Block), pubsub.Named("workers")); err != nil {
		return err
	}
	s.graves, err = s.dead.Subscribe(ctx, pubsub.Overflow(pubsub.Block), pubsub.Named("dead letters"))
	return err
}

// publish publishes the orders, one every so often, until ctx ends, and then
// lets the pipeline run dry from its beginning to its end.
func (s *shop) publish(ctx context.Context, orders []Order, every time.Duration) error {
	publishing, cancel := context.WithCancel(context.WithoutCancel(ctx)) // an order that is under way is finished
	defer cancel()
	var err error
	for _, o := range orders {
		select {
		case <-time.After(every):
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			break
		}
		if err = s.orders.Publish(publishing, o); err != nil {
			break
		}
		s.published++
	}
	s.ending.Store(true)
	end, cancelEnd := context.WithTimeout(context.WithoutCancel(ctx), limit)
	defer cancelEnd()
	s.arrive(end)
	return errors.Join(err, s.queue.Drain(end))
}

// arrive waits until what was published has reached this process. Over memory
// that is so at once; a service takes a moment.
func (s *shop) arrive(ctx context.Context) {
	for ctx.Err() == nil {
		if st := s.queue.Stats(); st.Delivered+st.Lost.Total()+st.Lag >= s.published || s.queue.Err() != nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// place has the workers place the orders, until the queue is drained. Then
// nothing is published to the dead letters any more, and they are drained, too.
func (s *shop) place() error {
	defer s.queue.Close() // if it fails, nobody is to wait for the workers
	err := consume.Each(context.Background(), s.queue, consume.Timeout[Order](time.Second)(s.broker.place), consume.Options[Order]{
		Workers: workers,
		OrderBy: func(o Order) string { return o.Symbol },
		Retry: func() backoff.BackOff {
			until := patience
			if s.ending.Load() {
				until = haste
			}
			return backoff.NewExponentialBackOff(
				backoff.WithInitialInterval(10*time.Millisecond), backoff.WithMaxInterval(200*time.Millisecond),
				backoff.WithMaxElapsedTime(until))
		},
		GiveUp: func(ctx context.Context, m pubsub.Message[Order], err error) error {
			o := m.Value
			o.Problem = err.Error()
			return s.dead.Publish(ctx, o)
		},
		Monitor: &s.work,
	})
	end, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	s.await(end)
	return errors.Join(err, s.graves.Drain(end))
}

// await waits until the dead letters have reached this process.
func (s *shop) await(ctx context.Context) {
	for ctx.Err() == nil {
		if st := s.graves.Stats(); st.Delivered+st.Lost.Total()+st.Lag >= s.work.Stats().GivenUp || s.graves.Err() != nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// bury collects the dead letters. A program would show them to somebody who can
// mend them and publish them again.
func (s *shop) bury() error {
	defer s.graves.Close()
	return consume.Each(context.Background(), s.graves, func(_ context.Context, m pubsub.Message[Order]) error {
		s.letters = append(s.letters, m.Value)
		return nil
	}, consume.Options[Order]{})
}

func (s *shop) summary(w io.Writer, took time.Duration) {
	st := s.work.Stats()
	for i, o := range s.letters {
		if i == 5 {
			fmt.Fprintf(w, "and %d more dead letters\n", len(s.letters)-i)
			break
		}
		fmt.Fprintf(w, "dead letter: order %d, %d of %s: %s\n", o.ID, o.Shares, o.Symbol, o.Problem)
	}
	fmt.Fprintf(w, "\n%d tries failed, %d were tries again; %d orders out of order\n", st.Failed, st.Retried, s.broker.disorder)
	placed, dead := uint64(s.broker.placed), uint64(len(s.letters))
	accounted := placed + dead + st.Lost + st.Dropped
	fmt.Fprintf(w, "%d orders published in %v: %d placed, %d dead letters, %d reported lost, %d unaccounted for\n",
		s.published, took.Round(time.Millisecond), placed, dead, st.Lost+st.Dropped, max(s.published, accounted)-accounted)
}

type config struct {
	backend backends.Choice
	every   time.Duration
	outage  time.Duration
}

func parseFlags(args []string, stderr io.Writer) (config, error) {
	var cfg config
	flags := flag.NewFlagSet("orders", flag.ContinueOnError)
	flags.SetOutput(stderr)
	cfg.backend.Flags(flags)
	flags.DurationVar(&cfg.every, "every", time.Millisecond, "pause between two orders")
	flags.DurationVar(&cfg.outage, "outage", 300*time.Millisecond, "how long the broker is down")
	if err := flags.Parse(args); err != nil {
		return config{}, err
	}
	switch {
	case flags.NArg() > 0:
		return config{}, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case cfg.every < 0, cfg.outage < 0:
		return config{}, errors.New("-every and -outage must not be negative")
	}
	return cfg, cfg.backend.Check()
}

package faults_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/nats"
	"github.com/topicbus/pubsub/backend/nats/natstest"
	"github.com/topicbus/pubsub/codec"
)

var seed = flag.Uint64("faults.seed", 0, "repeat one interleaving")

const patience = time.Minute

// TestInterleavings ends a subscription in one of five ways, at a random moment
// while it connects, streams, is cut off or comes back. It ends promptly, what
// it got is in order and once, and nothing is left behind.
func TestInterleavings(t *testing.T) {
	n := 100
	if *full {
		n = 1000
	}
	server, err := natstest.NewServer()
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, server.Close()) })
	relay, err := natstest.NewRelay(server.URL())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, relay.Close()) })
	for i := range n {
		s := rand.Uint64()
		if *seed != 0 {
			s = *seed
		}
		if err := interleave(server, relay, s, fmt.Sprint("topic", i)); err != nil {
			t.Fatalf("%v\nrepeat with -faults.seed %d", err, s)
		}
	}
	require.Eventually(t, func() bool { return relay.Conns() == 0 }, patience, time.Millisecond)
}

// interleave plays one.
func interleave(server *natstest.Server, relay *natstest.Relay, seed uint64, topic string) error {
	rng := rand.New(rand.NewPCG(seed, 0))
	b, err := nats.New(relay.URL(), nats.WithLogger(slog.New(slog.DiscardHandler)), nats.WithStorage(jetstream.MemoryStorage))
	if err != nil {
		return err
	}
	bus := pubsub.New(b, codec.JSON[int](), pubsub.WithLogger(slog.New(slog.DiscardHandler)))
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	own, stop := context.WithCancel(ctx)
	defer stop()
	pause := func() { time.Sleep(time.Duration(rng.IntN(3000)) * time.Microsecond) }
	ends := []func(*pubsub.Subscription[int]) error{
		func(*pubsub.Subscription[int]) error { stop(); return nil },
		func(s *pubsub.Subscription[int]) error { return s.Close() },
		func(s *pubsub.Subscription[int]) error {
			drain, done := context.WithTimeout(ctx, 50*time.Millisecond)
			defer done()
			if err := s.Drain(drain); err != nil && !errors.Is(err, context.DeadlineExceeded) {
				return err
			}
			return nil
		},
		func(*pubsub.Subscription[int]) error { return bus.Close() },
		func(*pubsub.Subscription[int]) error { return b.Close() },
	}
	var work sync.WaitGroup
	work.Go(func() { // breaks
		fault := rand.New(rand.NewPCG(seed, 1))
		for range fault.IntN(3) {
			time.Sleep(time.Duration(fault.IntN(3000)) * time.Microsecond)
			relay.Cut()
		}
	})
	work.Go(func() { // messages
		for i := range 20 {
			_ = bus.Publish(own, topic, i)
		}
	})
	s, err := bus.Subscribe(own, topic)
	if err == nil {
		read := make(chan error, 1)
		go func() {
			last := pubsub.Position{}
			for m, err := range s.All() {
				if err == nil && m.Position.Compare(last) <= 0 {
					read <- fmt.Errorf("the message at %v came after the one at %v", m.Position, last)
					return
				}
				last = m.Position
			}
			read <- nil
		}()
		pause()
		if err := ends[rng.IntN(len(ends))](s); err != nil {
			return fmt.Errorf("the end: %w", err)
		}
		select {
		case err := <-read:
			if err != nil {
				return err
			}
		case <-ctx.Done():
			return errors.New("the subscription has not ended")
		}
	} else if !errors.Is(err, pubsub.ErrUnavailable) {
		return fmt.Errorf("Subscribe: %w", err)
	}
	work.Wait()
	return errors.Join(bus.Close(), b.Close())
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

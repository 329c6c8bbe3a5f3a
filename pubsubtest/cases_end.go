package pubsubtest

import (
	"context"
	"errors"
	"time"

	"github.com/topicbus/pubsub"
)

func endCases() []testCase {
	return []testCase{{
		name:   "Ends/account",
		clause: "However a subscription ends: delivered + reported lost + dropped at the end = accepted.",
		run: func(e *env) {
			for _, end := range []struct {
				name string
				end  func(ctx context.Context, b pubsub.Bus[id], s *pubsub.Subscription[id], cancel func()) error
			}{
				{"Close", func(_ context.Context, _ pubsub.Bus[id], s *pubsub.Subscription[id], _ func()) error {
					return s.Close()
				}},
				{"the end of ctx", func(_ context.Context, _ pubsub.Bus[id], _ *pubsub.Subscription[id], cancel func()) error {
					cancel()
					return nil
				}},
				{"Drain that runs out of time", func(_ context.Context, _ pubsub.Bus[id], s *pubsub.Subscription[id], _ func()) error {
					over, cancel := context.WithCancel(context.Background())
					cancel()
					err := s.Drain(over)
					var dropped *pubsub.DroppedError
					if !errors.As(err, &dropped) || dropped.Dropped != s.Stats().Dropped {
						return errors.New("its error does not tell how many were dropped")
					}
					return nil
				}},
				{"Bus.Close", func(_ context.Context, b pubsub.Bus[id], _ *pubsub.Subscription[id], _ func()) error {
					return b.Close()
				}},
			} {
				for _, buffer := range []int{32, 128} { // some are lost, none
					e.accounts(end.name, buffer, end.end)
				}
			}
		},
	}, {
		name:   "Ends/drain",
		clause: "Drain and Bus.Drain return nil when everything that had arrived was handed out; Bus.Drain refuses what is published later.",
		run: func(e *env) {
			const n = 60
			for _, whole := range []bool{false, true} {
				b, topic := e.bus(pubsub.WithBuffer(128)), e.topic("drain")
				witness := e.join(b, topic)
				r := e.open(b, topic)
				e.send(b, topic, 1, 1, n)
				witness.awaitMessage(id{1, n})
				r.read(readNext)
				ctx, cancel := e.deadline()
				defer cancel()
				drain := func() error { return r.sub.Drain(ctx) }
				if whole {
					drain = func() error { return b.Drain(ctx) }
				}
				if err := e.promptly("Drain", drain); err != nil {
					e.Errorf("Drain: %v", err)
				}
				r.ends("Drain")
				if breach := r.law(r.entries(), n, n); breach != "" {
					e.Errorf("after Drain: %s", breach)
				}
				if st := r.sub.Stats(); st.Delivered != uint64(n) || st.Dropped != 0 {
					e.Errorf("after Drain: %d delivered and %d dropped, want %d and 0", st.Delivered, st.Dropped, n)
				}
				if !whole {
					continue
				}
				if err := e.call("Publish", func(ctx context.Context) error { return b.Publish(ctx, topic, id{1, n + 1}) }); !errors.Is(err, pubsub.ErrClosed) || pubsub.OutcomeOf(err) != pubsub.NotAccepted {
					e.Errorf("Publish after Bus.Drain: want ErrClosed and not accepted, got %v: %v", pubsub.OutcomeOf(err), err)
				}
			}
		},
	}, {
		name:   "Ends/drain-held",
		clause: "Drain waits for what the backend still holds for the stream, too.",
		needs:  []capability{flusher, numbered, history},
		run: func(e *env) {
			r, n := e.resuming()
			ctx, cancel := e.deadline()
			defer cancel()
			drained := make(chan error, 1)
			go func() { drained <- r.sub.Drain(ctx) }()
			time.Sleep(5 * time.Millisecond) // Drain begins while most is held
			r.read(readNext)
			if err := e.promptly("Drain", func() error { return <-drained }); err != nil {
				e.Errorf("Drain: %v", err)
			}
			r.ends("Drain")
			if breach := r.entries().law(n, n); breach != "" {
				e.Errorf("after Drain of a subscription that resumed: %s", breach)
			}
		},
	}, {
		name:   "Ends/dropped-held",
		clause: "What the backend still holds for the stream when a subscription ends counts as dropped.",
		needs:  []capability{flusher, holder, numbered, history},
		run: func(e *env) {
			r, n := e.resuming()
			over, cancel := context.WithCancel(context.Background())
			cancel()
			_ = e.promptly("Drain", func() error { return r.sub.Drain(over) })
			e.accounted("Drain that ran out of time", r.sub.Stats(), n)
		},
	}}
}

// accounts has a subscription be ended that has read a few of many messages.
func (e *env) accounts(name string, buffer int, end func(context.Context, pubsub.Bus[id], *pubsub.Subscription[id], func()) error) {
	e.Helper()
	const n = 60
	b, topic := e.bus(pubsub.WithBuffer(buffer)), e.topic("ends")
	witness := e.join(b, topic) // whoever joins its stream now gets what comes
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	r := e.openCtx(ctx, b, topic)
	e.send(b, topic, 1, 1, n)
	witness.awaitMessage(id{1, n})
	for range 5 {
		if err := e.call("Next", func(ctx context.Context) error { _, err := r.sub.Next(ctx); return err }); err != nil {
			e.Fatalf("Next: %v", err)
		}
	}
	if err := e.promptly(name, func() error { return end(ctx, b, r.sub, cancel) }); err != nil {
		e.Errorf("%s: %v", name, err)
	}
	if err := e.call("Wait", r.sub.Wait); err != nil {
		e.Errorf("%s: %v", name, err)
	}
	e.accounted(name, r.sub.Stats(), n)
}

// accounted checks that a subscription that has ended accounts for n messages.
func (e *env) accounted(name string, st pubsub.SubscriptionStats, n int) {
	e.Helper()
	if sum := st.Delivered + st.Lost.Total() + st.Dropped; sum != uint64(n) {
		e.Errorf("after %s: %d delivered + %d reported lost + %d dropped = %d, but %d were accepted", name, st.Delivered, st.Lost.Total(), st.Dropped, sum, n)
	}
}

// resuming opens a subscription to which n messages are replayed, most of which
// the backend still holds, because nobody reads.
func (e *env) resuming() (r *reader, n int) {
	e.Helper()
	n = min(e.History, 12)
	topic := e.topic("resume")
	first := e.tap(topic)
	e.publishAll(topic, 1, 1, n+1)
	after := first.awaitMessage(id{1, n + 1}).unique()[0].pos
	b := e.bus(pubsub.WithBuffer(4))
	r = e.open(b, topic, pubsub.ResumeAfter(after), pubsub.Overflow(pubsub.Block), pubsub.Private())
	if !e.poll(func() bool { return r.sub.Stats().Lag >= 4 }) {
		e.Fatalf("%d messages are to be replayed, and %d have come; the buffer holds 4", n, r.sub.Stats().Lag)
	}
	return r, n
}

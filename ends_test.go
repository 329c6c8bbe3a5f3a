package pubsub_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/memory"
)

// TestLawOfEnds: whatever ends a subscription in whatever state, what was
// delivered, reported lost and dropped add up to what was accepted for it.
func TestLawOfEnds(t *testing.T) {
	if *lawSeed != 0 {
		synctest.Test(t, func(t *testing.T) { lawOfEnds(t, *lawSeed) })
		return
	}
	end := time.Now().Add(*lawTime)
	for n := 0; n == 0 || time.Now().Before(end); n++ {
		seed := rand.Uint64()
		if !t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { lawOfEnds(t, seed) })
		}) {
			t.Fatalf("reproduce with: go test -run TestLawOfEnds -law.seed %d", seed)
		}
	}
}

// ending is a subscription of lawOfEnds and what its reader saw.
type ending struct {
	*pubsub.Subscription[any]
	cancel context.CancelFunc
	form   string
	after  uint64 // what was accepted up to here is none of its business

	ended           bool
	atEnd           uint64 // accepted when it ended
	reading         sync.WaitGroup
	steps           chan struct{} // the reader takes one event for each
	free            func()        // it goes on without
	delivered, lost atomic.Uint64
}

var readingForms = []string{"All", "Messages", "C", "Events", "Next"}

func (e *ending) message() { e.delivered.Add(1); <-e.steps }

// read is the reader. It goes on for as long as steps come, or without them when
// free was called.
func (e *ending) read() {
	<-e.steps
	switch e.form {
	case "All":
		for _, err := range e.All() {
			var d *pubsub.Discontinuity
			if !errors.As(err, &d) && err == nil {
				e.message()
			}
		}
	case "Messages":
		for range e.Messages() {
			e.message()
		}
	case "C":
		for range e.C() {
			e.message()
		}
	case "Events":
		for ev := range e.Events() {
			if ev.Kind == pubsub.KindMessage {
				e.message()
			}
		}
	case "Next":
		for {
			ev, err := e.Next(context.Background())
			if err != nil {
				return
			}
			if ev.Kind == pubsub.KindMessage {
				e.message()
			}
		}
	}
}

func (e *ending) step(n int) {
	for range n {
		select {
		case e.steps <- struct{}{}:
		default:
			return
		}
	}
}

func lawOfEnds(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 1))
	var logged bytes.Buffer
	backend := memory.New(memory.WithPage(1), memory.WithHistory(r.IntN(2)*(1+r.IntN(1000))))
	opts := []pubsub.Option{
		pubsub.WithBuffer(1 + r.IntN(70)),
		pubsub.WithLogger(slog.New(slog.NewTextHandler(&logged, nil))),
	}
	if r.IntN(2) == 0 {
		opts = append(opts, pubsub.WithSharedDecode())
	}
	if r.IntN(3) == 0 {
		opts = append(opts, pubsub.WithLinger(time.Second))
	}
	bus := pubsub.New(backend, anything{}, opts...)
	accepted := func() uint64 { synctest.Wait(); return backend.Stats("t").Accepted }
	publishSome := func(n int) {
		for range n {
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			_ = bus.Publish(ctx, "t", r.IntN(20)) // refused for want of room, if Block is in it
			cancel()
		}
	}
	subscribe(t, bus, "t").Close() // now the backend knows the topic
	publishSome(r.IntN(500))

	var subs []*ending
	down, late := false, false
	join := func() {
		e := &ending{form: readingForms[r.IntN(len(readingForms))], steps: make(chan struct{}, 10_000), after: accepted()}
		ctx, cancel := context.WithCancel(context.Background())
		e.cancel = cancel
		e.free = sync.OnceFunc(func() { close(e.steps) })
		o := []pubsub.SubscribeOption{
			pubsub.Overflow(pubsub.OverflowPolicy(r.IntN(3))),
			pubsub.OnDiscontinuity(func(d *pubsub.Discontinuity) { e.lost.Add(d.Lost) }),
		}
		if late && e.after == 0 {
			return
		}
		if (r.IntN(2) == 0 || late) && e.after > 0 { // an ordinary one gets what its stream is behind with
			e.after = 1 + r.Uint64N(e.after)
			o = append(o, pubsub.ResumeAfter(pubsub.Position{Page: 1, Sequence: e.after}))
		}
		if r.IntN(4) == 0 {
			o = append(o, pubsub.Private())
		}
		s, err := bus.Subscribe(ctx, "t", o...)
		if err != nil { // during an outage
			cancel()
			return
		}
		e.Subscription = s
		e.reading.Go(e.read)
		subs = append(subs, e)
	}
	defer func() { // after a failure, too
		bus.Close()
		for _, e := range subs {
			e.free()
			e.cancel()
		}
	}()
	for range 1 + r.IntN(4) {
		join()
		if r.IntN(2) == 0 {
			publishSome(r.IntN(10))
			late = true
		}
	}
	late = true
	for range r.IntN(12) {
		switch r.IntN(8) {
		case 0:
			publishSome(r.IntN(200))
		case 1, 2:
			publishSome(r.IntN(10))
		case 3:
			backend.Lose(r.Uint64N(5), "t")
		case 4:
			if down = !down; down {
				backend.Disconnect(nil, "t")
			} else {
				backend.Reconnect("t")
			}
		case 5:
			join()
		default:
			if len(subs) > 0 {
				subs[r.IntN(len(subs))].step(1 + r.IntN(40))
			}
		}
		if r.IntN(2) == 0 {
			synctest.Wait()
		}
	}

	// Ends of single subscriptions, then of all that are left.
	var drains sync.WaitGroup
	finish := func(e *ending) {
		accepted := accepted()
		if e.ended || e.Err() != nil {
			return
		}
		e.ended, e.atEnd = true, accepted
		before := e.Stats().Dropped
		require.Zero(t, before)
		switch r.IntN(4) {
		case 0:
			require.NoError(t, e.Close())
			require.NoError(t, e.Err())
		case 1:
			e.cancel()
			synctest.Wait()
			require.ErrorIs(t, e.Err(), context.Canceled)
		case 2:
			ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
			err := e.Drain(ctx)
			cancel()
			var d *pubsub.DroppedError
			if errors.As(err, &d) {
				synctest.Wait()
				require.Equal(t, e.Stats().Dropped, d.Dropped)
			} else {
				require.NoError(t, err)
				require.Zero(t, e.Stats().Dropped)
			}
		case 3:
			if down { // or it waits for the end of the outage
				backend.Reconnect("t")
				down = false
			}
			e.free()
			drains.Go(func() {
				ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
				defer cancel()
				err := e.Drain(ctx)
				if e.Stats().Policy == pubsub.DropOldest { // others may hold Block up, and Fail ends by itself
					assert.NoError(t, err, "a Drain that has a reader")
				}
			})
			drains.Wait()
		}
	}
	for _, e := range subs {
		if r.IntN(2) == 0 {
			finish(e)
		}
	}
	total := accepted()
	switch r.IntN(5) {
	case 0:
		require.NoError(t, bus.Close())
	case 1:
		ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
		_ = bus.Drain(ctx)
		cancel()
	case 2:
		for _, e := range subs {
			if !e.ended {
				e.ended, e.atEnd = true, total
				e.free()
			}
		}
		if down {
			backend.Reconnect("t")
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
		err := bus.Drain(ctx)
		cancel()
		if err != nil && !errors.Is(err, pubsub.ErrOverflow) {
			require.NoError(t, err)
		}
	case 3:
		backend.Close()
	}
	for _, e := range subs {
		if !e.ended {
			e.atEnd = total
		}
		e.free()
	}
	if down {
		backend.Reconnect("t")
	}
	synctest.Wait()
	bus.Close()
	for _, e := range subs {
		e.reading.Wait()
		e.cancel()
	}
	synctest.Wait()
	var dropped uint64
	for i, e := range subs {
		st := e.Stats()
		dropped += st.Dropped
		what := fmt.Sprintf("subscription %d, %s, %v, Err %v", i, e.form, st.Policy, e.Err())
		require.Equal(t, e.delivered.Load(), st.Delivered, "delivered: %s", what)
		require.Equal(t, e.lost.Load(), st.Lost.Total(), "lost: %s", what)
		if errors.Is(e.Err(), pubsub.ErrOverflow) { // it ended by itself, while more was published perhaps
			// One message may be on its way from the backend just then, and be
			// counted with what either has.
			require.LessOrEqual(t, st.Delivered+st.Lost.Total()+st.Dropped, e.atEnd-e.after+1, what)
			continue
		}
		require.Equal(t, e.atEnd-e.after, st.Delivered+st.Lost.Total()+st.Dropped, "%d delivered, %d lost, %d dropped: %s", st.Delivered, st.Lost.Total(), st.Dropped, what)
	}
	require.Equal(t, dropped, bus.Stats().Dropped)
}

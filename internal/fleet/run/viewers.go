package run

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/codec"
)

// viewer is where somebody who watches a topic is, and what he got so far. It
// outlives the process, as what a browser keeps does. The numbers are the
// publisher's, and not those of the library.
type viewer struct {
	Topic     int
	At        pubsub.Position // of the last message, or where it began
	Knows     uint64          // the number of the last message that was delivered or reported lost
	Delivered uint64
	Lost      uint64 // as reported
	Vague     int    // reports without an exact count
	Open      bool   // such a report came last, and Knows may be more
	Wrong     int    // messages that came twice, out of order, or behind a hole of which nothing, or something else, was said
}

// take takes a message.
func (v *viewer) take(number uint64, at pubsub.Position) {
	if number != v.Knows+1 && !(v.Open && number > v.Knows) {
		v.Wrong++
	}
	v.Delivered++
	v.Knows, v.At, v.Open = number, at, false
}

// miss takes the report of a hole.
func (v *viewer) miss(hole *pubsub.Discontinuity) {
	v.Lost += hole.Lost
	v.Knows += hole.Lost
	if !hole.Exact {
		v.Vague++
		v.Open = true
	}
}

// watching is a viewer with a subscription.
type watching struct {
	viewer
	since time.Time     // when it was there
	knows atomic.Uint64 // Knows, for others to see
	err   error         // why it ended, if it was not told to
}

// audience is a process of viewers.
type audience struct {
	backend Backend
	bus     pubsub.Bus[[]byte]
	viewers []*watching
	reading sync.WaitGroup
	latency []*histogram
	refused atomic.Int64 // attempts to subscribe
}

// runViewers is the life of a process of viewers.
func runViewers(e Engine, address string, in io.Reader, out io.Writer) error {
	backend, err := e.Open(address)
	if err != nil {
		return err
	}
	defer backend.Close()
	a := &audience{backend: backend, bus: pubsub.New(backend, codec.Bytes()), latency: newLatency()}
	defer a.reading.Wait()
	defer a.bus.Close()
	return answerOrders(in, out, a.do)
}

func newLatency() []*histogram {
	list := make([]*histogram, latencies)
	for i := range list {
		list[i] = new(histogram)
	}
	return list
}

func (a *audience) do(o order, reply *answer) error {
	ctx, cancel := context.WithTimeout(context.Background(), o.Timeout)
	defer cancel()
	reply.Latency, reply.Refused = a.latency, a.refused.Load()
	switch {
	case o.Memory:
		reply.Memory = memoryNow()
	case o.Open != nil:
		return a.open(ctx, o)
	case o.Await != nil:
		return a.await(ctx, o.Await)
	case o.Stop:
		if o.Abrupt {
			a.bus.Close()
		} else if err := a.bus.Drain(ctx); err != nil {
			return err
		}
		a.reading.Wait()
		for _, w := range a.viewers {
			if w.err != nil {
				return w.err
			}
			reply.Viewers = append(reply.Viewers, w.viewer)
		}
	}
	return nil
}

// open has all viewers subscribe, each by itself, as those do who come back after
// a restart. It returns when all have.
func (a *audience) open(ctx context.Context, o order) error {
	errs := make(chan error, len(o.Open))
	for _, v := range o.Open {
		w := &watching{viewer: v}
		a.viewers = append(a.viewers, w)
		a.reading.Go(func() {
			sub, err := a.subscribe(ctx, w, o.Shared)
			errs <- err
			if err == nil {
				a.watch(w, sub)
			}
		})
	}
	for range o.Open {
		select {
		case err := <-errs:
			if err != nil {
				return err
			}
		case <-ctx.Done():
			return fmt.Errorf("not all viewers could subscribe in time: %w", ctx.Err())
		}
	}
	return nil
}

func topicName(i int) string { return "match-" + strconv.Itoa(i) }

func (a *audience) subscribe(ctx context.Context, w *watching, shared bool) (*pubsub.Subscription[[]byte], error) {
	opts := []pubsub.SubscribeOption{pubsub.ResumeAfter(w.At)}
	if shared && !w.At.IsZero() {
		opts = append(opts, pubsub.Shared())
	}
	var sub *pubsub.Subscription[[]byte]
	for {
		var err error
		if sub, err = a.bus.Subscribe(context.Background(), topicName(w.Topic), opts...); err == nil {
			break
		} else if !errors.Is(err, pubsub.ErrUnavailable) {
			return nil, err
		}
		a.refused.Add(1) // and comes again, as a browser does
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return nil, err
		}
	}
	if w.At.IsZero() {
		w.At = sub.Start()
	}
	w.since = time.Now()
	w.knows.Store(w.Knows)
	return sub, nil
}

func (a *audience) watch(w *watching, sub *pubsub.Subscription[[]byte]) {
	for m, err := range sub.All() {
		if hole := (*pubsub.Discontinuity)(nil); errors.As(err, &hole) {
			w.miss(hole)
		} else if err != nil {
			w.err = err
		} else if h, ok := parse(m.Value); !ok {
			w.Wrong++
		} else {
			w.take(h.number, m.Position)
			kind := int(h.phase)
			if h.at.Before(w.since) {
				kind = replayed
			}
			a.latency[kind].add(time.Since(h.at))
		}
		w.knows.Store(w.Knows)
	}
}

// await returns when each viewer knows of so many messages of its topic.
func (a *audience) await(ctx context.Context, accepted []uint64) error {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for _, w := range a.viewers {
		for w.knows.Load() < accepted[w.Topic] {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return fmt.Errorf("a viewer of %s knows of %d of %d messages: %w", topicName(w.Topic), w.knows.Load(), accepted[w.Topic], ctx.Err())
			}
		}
	}
	return nil
}

package pubsubtest

import (
	"context"
	"testing"

	"github.com/topicbus/pubsub"
)

// Recorder keeps all events of a subscription, in order. All its methods but
// Wait may be called from any goroutine.
type Recorder[T any] struct {
	t       testing.TB
	journal journal[pubsub.Event[T]]
}

// Record reads sub from now on, in a goroutine of its own, until it ends;
// nobody else should read it. When the test ends, Record closes sub and waits
// for the goroutine.
func Record[T any](t testing.TB, sub *pubsub.Subscription[T]) *Recorder[T] {
	t.Helper()
	r := &Recorder[T]{t: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			ev, err := sub.Next(context.Background())
			if err != nil {
				r.journal.end(err)
				return
			}
			r.journal.add(ev)
		}
	}()
	t.Cleanup(func() {
		_ = sub.Close()
		<-done
	})
	return r
}

// Events returns all events so far. The slice is the caller's.
func (r *Recorder[T]) Events() []pubsub.Event[T] { return r.journal.snapshot() }

// Messages returns the messages so far.
func (r *Recorder[T]) Messages() []pubsub.Message[T] {
	var list []pubsub.Message[T]
	for _, ev := range r.journal.snapshot() {
		if ev.Kind == pubsub.KindMessage {
			list = append(list, ev.Message)
		}
	}
	return list
}

// Values returns the values of the messages so far.
func (r *Recorder[T]) Values() []T {
	var list []T
	for _, m := range r.Messages() {
		list = append(list, m.Value)
	}
	return list
}

// Discontinuities returns the discontinuities so far.
func (r *Recorder[T]) Discontinuities() []*pubsub.Discontinuity {
	var list []*pubsub.Discontinuity
	for _, ev := range r.journal.snapshot() {
		if ev.Kind == pubsub.KindDiscontinuity {
			list = append(list, ev.Discontinuity)
		}
	}
	return list
}

// Wait waits until n events of the given kind have been recorded since Record,
// and fails the test if they have not come within [Deadline] or the
// subscription ended before. It must be called from the goroutine of the test.
func (r *Recorder[T]) Wait(kind pubsub.Kind, n int) {
	r.t.Helper()
	count := func(events []pubsub.Event[T]) (have int) {
		for _, ev := range events {
			if ev.Kind == kind {
				have++
			}
		}
		return have
	}
	if r.journal.await(Deadline, func(events []pubsub.Event[T]) bool { return count(events) >= n }) {
		return
	}
	have := count(r.journal.snapshot())
	if err, ended := r.journal.awaitEnd(0); ended {
		r.t.Fatalf("pubsubtest: %d events of kind %v have been recorded, want %d; the subscription ended: %v", have, kind, n, err)
	}
	r.t.Fatalf("pubsubtest: %d events of kind %v have been recorded within %v, want %d", have, kind, Deadline, n)
}

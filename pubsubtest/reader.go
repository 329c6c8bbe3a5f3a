package pubsubtest

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/topicbus/pubsub"
)

// idCodec carries ids. Its values are plain, so that the Bus decodes them
// while deliver is called, whatever becomes of the payload's memory later.
type idCodec struct{}

func (idCodec) Encode(i id) (pubsub.Payload, error) { return i.payload(), nil }
func (idCodec) Decode(p pubsub.Payload) (id, error) { return parseID(p) }

// bus returns a bus over the backend.
func (e *env) bus(opts ...pubsub.Option) pubsub.Bus[id] {
	opts = append(opts, pubsub.WithLogger(slog.New(slog.DiscardHandler))) // cases look at every loss
	b := pubsub.New(careful{e}, pubsub.Codec[id](idCodec{}), opts...)
	e.Cleanup(func() { e.within("", func() { _ = b.Close() }) })
	return b
}

// reader reads one Subscription and keeps what it delivers.
type reader struct {
	stream
	sub  *pubsub.Subscription[id]
	hook func() // called before each read
}

// join subscribes and returns when the subscription flows.
func (e *env) join(b pubsub.Bus[id], topic string, opts ...pubsub.SubscribeOption) *reader {
	e.Helper()
	r := e.open(b, topic, opts...)
	r.read(readNext)
	r.begin()
	return r
}

// open subscribes, and does not read yet.
func (e *env) open(b pubsub.Bus[id], topic string, opts ...pubsub.SubscribeOption) *reader {
	e.Helper()
	return e.openCtx(context.Background(), b, topic, opts...)
}

func (e *env) openCtx(ctx context.Context, b pubsub.Bus[id], topic string, opts ...pubsub.SubscribeOption) *reader {
	e.Helper()
	r := &reader{stream: stream{e: e, topic: topic, probes: len(e.probes)}}
	var err error
	if !e.within("Subscribe", func() { r.sub, err = b.Subscribe(ctx, topic, opts...) }) {
		e.FailNow()
	}
	if err != nil {
		e.Fatalf("Subscribe: %v", err)
	}
	return r
}

// read starts to read in one of the ways there are.
func (r *reader) read(how func(*reader)) {
	r.e.goroutine(func() {
		how(r)
		r.end(r.sub.Err())
	})
}

func readNext(r *reader) {
	for {
		r.pause()
		ev, err := r.sub.Next(context.Background())
		if err != nil {
			return
		}
		r.keep(ev)
	}
}

func readEvents(r *reader) {
	for ev := range r.sub.Events() {
		r.keep(ev)
		r.pause()
	}
}

func readAll(r *reader) {
	for m, err := range r.sub.All() {
		var hole *pubsub.Discontinuity
		switch {
		case err == nil:
			r.keep(pubsub.Event[id]{Kind: pubsub.KindMessage, Message: m})
		case errors.As(err, &hole):
			r.keep(pubsub.Event[id]{Kind: pubsub.KindDiscontinuity, Discontinuity: hole})
		}
		r.pause()
	}
}

func (r *reader) pause() {
	if r.hook != nil {
		r.hook()
	}
}

func (r *reader) keep(ev pubsub.Event[id]) {
	r.add(entry{kind: ev.Kind, id: ev.Message.Value, pos: ev.Message.Position, hole: ev.Discontinuity, state: &ev.State})
}

// send publishes through the bus, or fails the test.
func (e *env) send(b pubsub.Bus[id], topic string, publisher, first, last int) {
	e.Helper()
	for n := first; n <= last; n++ {
		if err := e.call("Publish", func(ctx context.Context) error { return b.Publish(ctx, topic, id{publisher, n}) }); err != nil {
			e.Fatalf("Publish: %v", err)
		}
	}
}

// promptly runs f, which must return soon, with the error that want accepts.
func (e *env) promptly(what string, f func() error) error {
	e.Helper()
	var err error
	start := time.Now()
	if !e.within(what, func() { err = f() }) {
		e.Fatalf("%s is still under way after %v", what, time.Since(start))
	}
	return err
}

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/momento"
	"github.com/topicbus/pubsub/backend/momento/momentotest"
	"github.com/topicbus/pubsub/codec"
)

const (
	cache = "cache"
	topic = "topic"
)

// world is a server with a client of each kind. Its methods do nothing once one
// of them has failed.
type world struct {
	ctx     context.Context
	server  *momentotest.Server
	js      *client
	backend *momento.Backend
	raw     pubsub.Bus[pubsub.Payload]
	err     error // the first failure
}

// fail notes a failure, unless err is nil or another came first.
func (w *world) fail(err error) {
	if w.err == nil {
		w.err = err
	}
}

// expect fails unless got is what it should be.
func (w *world) expect(what string, got, want any) {
	if !reflect.DeepEqual(got, want) {
		w.fail(fmt.Errorf("%s: got %+v, want %+v", what, got, want))
	}
}

// expectIs is expect of an error.
func (w *world) expectIs(what string, got, want error) {
	if !errors.Is(got, want) {
		w.fail(fmt.Errorf("%s: got %w, want %w", what, got, want))
	}
}

// payloads is a codec that leaves a payload as it is, so that checks see what
// has arrived.
func payloads() pubsub.Codec[pubsub.Payload] {
	return codec.Func(
		func(p pubsub.Payload) (pubsub.Payload, error) { return p, nil },
		func(p pubsub.Payload) (pubsub.Payload, error) { return p, nil },
	)
}

// check is one thing that must work.
type check struct {
	name string
	do   func(*world)
}

// play does a check in a world of its own, and sees that nothing is left of it.
func (c check) play(ctx context.Context, dir string) (err error) {
	server, err := momentotest.NewServer(momentotest.WithCaches(cache))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Close()) }()
	js, err := start(ctx, dir, server.Addr())
	if err != nil {
		return err
	}
	quiet := slog.New(slog.DiscardHandler)
	backend, err := momento.New(cache, momento.WithCredentials(server.Credentials()), momento.WithLogger(quiet))
	if err != nil {
		return errors.Join(err, js.close())
	}
	bus := pubsub.New(backend, payloads(), pubsub.WithLogger(quiet), pubsub.WithBuffer(1000)) // more than any check sends
	w := &world{ctx: ctx, server: server, js: js, backend: backend, raw: bus}
	c.do(w)
	if err := errors.Join(w.err, bus.Close(), backend.Close(), js.close()); err != nil {
		return err
	}
	return server.Wait(ctx, func() bool { st := server.Stats(); return st.Streams+st.Connections == 0 })
}

// text is the payload of a string.
func text(s string) pubsub.Payload { return pubsub.Payload{Format: pubsub.Text, Data: []byte(s)} }

// binary is the payload of bytes.
func binary(b ...byte) pubsub.Payload { return pubsub.Payload{Format: pubsub.Binary, Data: b} }

// same reports whether two payloads are the same.
func same(a, b pubsub.Payload) bool { return a.Format == b.Format && string(a.Data) == string(b.Data) }

// jsCall has the JavaScript client do something that must work.
func (w *world) jsCall(do command) { w.jsRefused(do, "") }

// jsRefused has the JavaScript client do something that must fail with a code.
func (w *world) jsRefused(do command, want string) {
	if w.err != nil {
		return
	}
	code, err := w.js.call(w.ctx, do)
	w.fail(err)
	w.expect(do.Do+" from JavaScript, its error code", code, want)
}

// jsPublish publishes from JavaScript.
func jsPublish(p pubsub.Payload) command {
	do := command{Do: "publish", Cache: cache, Topic: topic}
	if p.Format == pubsub.Text {
		s := string(p.Data)
		do.Text = &s
	} else {
		do.Bytes = p.Data
	}
	return do
}

func jsSubscribe() command { return command{Do: "subscribe", Cache: cache, Topic: topic} }

// jsNext returns the next event of the JavaScript subscription. What the SDK
// tells of connections is left out.
func (w *world) jsNext() (e event) {
	if w.err != nil {
		return e
	}
	e, err := w.js.take(w.ctx, func(e event) bool { return e.Topic == topic && e.Event != "lost" })
	if err != nil {
		w.fail(fmt.Errorf("in JavaScript: %w", err))
	}
	return e
}

// jsReceives waits for a message in JavaScript, the next event there is.
func (w *world) jsReceives(want pubsub.Payload, sequence uint64) {
	e := w.jsNext()
	got := text(e.Text)
	if e.Bytes != nil {
		got = binary(e.Bytes...)
	}
	if e.Event != "item" || !same(got, want) || e.Sequence != sequence {
		w.fail(fmt.Errorf("in JavaScript: got %+v, want %v %q with number %d", e, want.Format, want.Data, sequence))
	}
}

// publish publishes in Go.
func (w *world) publish(p pubsub.Payload) {
	if w.err == nil {
		w.fail(w.raw.Publish(w.ctx, topic, p))
	}
}

// subscription is one in Go.
type subscription = *pubsub.Subscription[pubsub.Payload]

// subscribe subscribes in Go.
func (w *world) subscribe() subscription {
	s, err := w.raw.Subscribe(w.ctx, topic)
	w.fail(err)
	return s
}

// next returns the next event in Go, or why there is none. Heartbeats and states
// are left out.
func next[T any](w *world, s *pubsub.Subscription[T]) (e pubsub.Event[T], err error) {
	if w.err != nil {
		return e, w.err
	}
	for {
		e, err = s.Next(w.ctx)
		if err != nil || e.Kind == pubsub.KindMessage || e.Kind == pubsub.KindDiscontinuity {
			return e, err
		}
	}
}

// message waits for a message in Go, the next event there is.
func (w *world) message(s subscription) (m pubsub.Message[pubsub.Payload]) {
	e, err := next(w, s)
	w.fail(err)
	if e.Kind != pubsub.KindMessage {
		w.fail(fmt.Errorf("in Go: got %+v, want a message", e))
	}
	return e.Message
}

// receives waits for that message in Go, the next event there is.
func (w *world) receives(s subscription, want pubsub.Payload, sequence uint64) {
	m := w.message(s)
	if !same(m.Value, want) || m.Position.Sequence != sequence {
		w.fail(fmt.Errorf("in Go: got %+v, want %v %q with number %d", m, want.Format, want.Data, sequence))
	}
}

// hole waits for the report of a hole in Go, the next event there is.
func (w *world) hole(s subscription) *pubsub.Discontinuity {
	e, err := next(w, s)
	w.fail(err)
	if e.Kind != pubsub.KindDiscontinuity {
		w.fail(fmt.Errorf("in Go: got %+v, want a discontinuity", e))
		return &pubsub.Discontinuity{}
	}
	return e.Discontinuity
}

package pubsubtest

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/topicbus/pubsub"
)

// tap reads one Stream of the backend and keeps what it delivers.
type tap struct {
	stream
	opened pubsub.Stream
	ctx    context.Context
	cancel context.CancelFunc // ends the stream

	// hook is called with every frame, before it is kept. If it returns an
	// error the frame is refused. Set it before receive.
	hook func(ctx context.Context, f pubsub.Frame) error

	inside   atomic.Int32
	overlaps atomic.Int32 // calls of deliver that began during another
}

// tap opens a stream and returns when it flows.
func (e *env) tap(topic string) *tap {
	e.Helper()
	s := e.subscribe(topic, pubsub.Position{}).receive()
	s.begin()
	return s
}

// subscribe opens a stream, and does not read it yet.
func (e *env) subscribe(topic string, after pubsub.Position) *tap {
	e.Helper()
	return e.subscribeFrom(topic, pubsub.Start{After: after})
}

func (e *env) subscribeFrom(topic string, from pubsub.Start) *tap {
	e.Helper()
	s, err := e.trySubscribeFrom(topic, from)
	if err != nil {
		e.Fatalf("Subscribe from %+v: %v", from, err)
	}
	return s
}

func (e *env) trySubscribe(topic string, after pubsub.Position) (*tap, error) {
	e.Helper()
	return e.trySubscribeFrom(topic, pubsub.Start{After: after})
}

func (e *env) trySubscribeFrom(topic string, from pubsub.Start) (*tap, error) {
	e.Helper()
	s := &tap{stream: stream{e: e, topic: topic, probes: len(e.probes)}}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	e.Cleanup(s.cancel)
	var err error
	if !e.within("Subscribe", func() { s.opened, err = e.Backend.Subscribe(s.ctx, topic, from) }) {
		e.FailNow()
	}
	if err == nil && s.opened == nil {
		e.Fatalf("%v", errNoStream)
	}
	return s, err
}

const nilContext = "deliver was called with a nil ctx"

var (
	errNoStream = errors.New("Subscribe returned neither a Stream nor an error")
	errEarly    = errors.New("Receive returned nil, and its ctx had not ended")
)

// receive starts to read the stream.
func (s *tap) receive() *tap {
	s.e.goroutine(func() { s.end(s.opened.Receive(s.deliver)) })
	return s
}

func (s *tap) deliver(ctx context.Context, f pubsub.Frame) error {
	if ctx == nil {
		s.e.note(nilContext)
		ctx = s.ctx
	}
	if s.inside.Add(1) > 1 {
		s.overlaps.Add(1)
	}
	defer s.inside.Add(-1)
	if s.hook != nil {
		if err := s.hook(ctx, f); err != nil {
			return err
		}
	}
	n := entry{frame: f, kind: f.Kind, pos: f.Position, hole: f.Discontinuity, state: f.State, payload: f.Payload, data: string(f.Payload.Data)}
	switch f.Kind {
	case pubsub.KindMessage:
		n.id, _ = parseID(f.Payload)
	case pubsub.KindDiscontinuity:
		if n.hole == nil {
			n.hole = &pubsub.Discontinuity{Cause: pubsub.CauseBackend} // as the Bus reads it
		}
	case pubsub.KindState:
		if n.state == nil {
			n.state = new(pubsub.StateChange)
		}
	}
	s.add(n)
	return nil
}

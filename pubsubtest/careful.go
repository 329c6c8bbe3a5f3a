package pubsubtest

import (
	"context"

	"github.com/topicbus/pubsub"
)

// careful is the backend as a Bus gets it. A Bus relies on the contract, and
// may crash, and the test binary with it, where a backend returns no stream,
// delivers concurrently or without a ctx. The cases of the backend itself
// report this.
type careful struct{ e *env }

func (c careful) Publish(ctx context.Context, topic string, p pubsub.Payload) error {
	return c.e.Backend.Publish(ctx, topic, p)
}

func (c careful) Subscribe(ctx context.Context, topic string, from pubsub.Start) (pubsub.Stream, error) {
	s, err := c.e.Backend.Subscribe(ctx, topic, from)
	switch {
	case err != nil:
		return nil, err
	case s == nil:
		return nil, errNoStream
	}
	cs := carefulStream{c.e, s, ctx}
	f, flushes := s.(pubsub.Flusher)
	h, holds := s.(pubsub.Holder)
	switch {
	case flushes && holds:
		return struct {
			carefulStream
			pubsub.Flusher
			pubsub.Holder
		}{cs, f, h}, nil
	case flushes:
		return struct {
			carefulStream
			pubsub.Flusher
		}{cs, f}, nil
	case holds:
		return struct {
			carefulStream
			pubsub.Holder
		}{cs, h}, nil
	}
	return cs, nil
}

type carefulStream struct {
	e      *env
	stream pubsub.Stream
	ctx    context.Context
}

func (s carefulStream) Start() pubsub.Position { return s.stream.Start() }

func (s carefulStream) Receive(deliver func(context.Context, pubsub.Frame) error) error {
	inside := make(chan struct{}, 1)
	return s.stream.Receive(func(ctx context.Context, f pubsub.Frame) error {
		if ctx == nil {
			s.e.note(nilContext)
			ctx = s.ctx
		}
		select {
		case inside <- struct{}{}: // whatever became of ctx
		default:
			select {
			case inside <- struct{}{}:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		defer func() { <-inside }()
		return deliver(ctx, f)
	})
}

package pubsub_test

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub"
)

// script is a Backend whose only stream per topic the test plays by hand.
type script struct {
	mu      sync.Mutex
	streams []*scriptStream
	after   []pubsub.Position
	refuse  error
	opening chan struct{} // if set, Subscribe waits for it
}

type scriptStream struct {
	ctx    context.Context
	frames chan pubsub.Frame
	end    chan error
	rets   chan error
}

func (b *script) Publish(context.Context, string, pubsub.Payload) error { return nil }

func (b *script) Subscribe(ctx context.Context, _ string, from pubsub.Start) (pubsub.Stream, error) {
	if b.opening != nil {
		select {
		case <-b.opening:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.after = append(b.after, from.After)
	if b.refuse != nil {
		return nil, b.refuse
	}
	s := &scriptStream{ctx: ctx, frames: make(chan pubsub.Frame), end: make(chan error), rets: make(chan error, 1000)}
	b.streams = append(b.streams, s)
	return s, nil
}

func (b *script) stream(i int) *scriptStream {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.streams[i]
}

func (b *script) opened() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.streams)
}

func (s *scriptStream) Start() pubsub.Position { return pubsub.Position{} }

func (s *scriptStream) Receive(deliver func(context.Context, pubsub.Frame) error) error {
	for {
		select {
		case f := <-s.frames:
			s.rets <- deliver(s.ctx, f)
		case err := <-s.end:
			return err
		case <-s.ctx.Done():
			return nil
		}
	}
}

// play delivers frames, and returns when they are delivered.
func (s *scriptStream) play(frames ...pubsub.Frame) {
	for _, f := range frames {
		s.frames <- f
		<-s.rets
	}
}

func msg(n int) pubsub.Frame {
	return pubsub.Frame{
		Kind:     pubsub.KindMessage,
		Payload:  pubsub.Payload{Format: pubsub.Text, Data: []byte(strconv.Itoa(n))},
		Position: pubsub.Position{Page: 1, Sequence: uint64(n)},
	}
}

func gap(lost int, exact bool) pubsub.Frame {
	return pubsub.Frame{Kind: pubsub.KindDiscontinuity, Discontinuity: &pubsub.Discontinuity{
		Cause: pubsub.CauseBackend, Lost: uint64(lost), Exact: exact}}
}

func heartbeat() pubsub.Frame { return pubsub.Frame{Kind: pubsub.KindHeartbeat} }

func state(st pubsub.State) pubsub.Frame {
	return pubsub.Frame{Kind: pubsub.KindState, State: &pubsub.StateChange{State: st}}
}

// ints is a codec of decimal numbers; "bad" does not decode, "panic" panics.
type ints struct{}

func (ints) Encode(n int) (pubsub.Payload, error) {
	switch n {
	case -1:
		return pubsub.Payload{}, fmt.Errorf("minus one")
	case -2:
		panic("minus two")
	case -3:
		return pubsub.Payload{Format: pubsub.Text, Data: []byte{0xff}}, nil
	case -4:
		return pubsub.Payload{Format: 9}, nil
	}
	return pubsub.Payload{Format: pubsub.Text, Data: []byte(strconv.Itoa(n))}, nil
}

func (ints) Decode(p pubsub.Payload) (int, error) {
	if string(p.Data) == "panic" {
		panic("told to")
	}
	return strconv.Atoi(string(p.Data))
}

// boxed is ints for a T that cannot be shared, so each subscription decodes.
type boxed struct{}

func (boxed) Encode(n *int) (pubsub.Payload, error) { return ints{}.Encode(*n) }

func (boxed) Decode(p pubsub.Payload) (*int, error) {
	n, err := ints{}.Decode(p)
	return &n, err
}

func text(s string) pubsub.Frame {
	return pubsub.Frame{Kind: pubsub.KindMessage, Payload: pubsub.Payload{Format: pubsub.Text, Data: []byte(s)}}
}

// show renders events for comparison: "7", "lost 3 overflow exact", "heartbeat".
func show[T any](e pubsub.Event[T]) string {
	switch e.Kind {
	case pubsub.KindMessage:
		return fmt.Sprint(e.Message.Value)
	case pubsub.KindDiscontinuity:
		d := e.Discontinuity
		s := fmt.Sprintf("lost %d %v", d.Lost, d.Cause)
		if d.Exact {
			s += " exact"
		}
		return s
	case pubsub.KindState:
		return e.State.State.String()
	default:
		return e.Kind.String()
	}
}

// next reads n events with Next.
func next[T any](t *testing.T, s *pubsub.Subscription[T], n int) []string {
	t.Helper()
	var got []string
	for range n {
		e, err := s.Next(t.Context())
		require.NoError(t, err)
		got = append(got, show(e))
	}
	return got
}

func subscribe[T any](t *testing.T, b pubsub.Bus[T], topic string, opts ...pubsub.SubscribeOption) *pubsub.Subscription[T] {
	t.Helper()
	s, err := b.Subscribe(t.Context(), topic, opts...)
	require.NoError(t, err)
	return s
}

// holes reads n discontinuities: after, lost, resume.
func holes[T any](t *testing.T, s *pubsub.Subscription[T], n int) []string {
	t.Helper()
	var got []string
	for range n {
		e, err := s.Next(t.Context())
		require.NoError(t, err)
		require.Equal(t, pubsub.KindDiscontinuity, e.Kind)
		d := e.Discontinuity
		require.True(t, d.Exact)
		got = append(got, fmt.Sprintf("%v %d %v", d.After, d.Lost, d.Resume))
	}
	return got
}

func publish[T any](t *testing.T, b pubsub.Bus[T], topic string, values ...T) {
	t.Helper()
	for _, v := range values {
		require.NoError(t, b.Publish(t.Context(), topic, v))
	}
}

// drain drains s. It returns when that has begun, in a bubble.
func drain[T any](s *pubsub.Subscription[T]) <-chan error {
	drained := make(chan error, 1)
	go func() { drained <- s.Drain(context.Background()) }()
	synctest.Wait()
	return drained
}

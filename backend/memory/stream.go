package memory

import (
	"context"
	"fmt"
	"time"

	"github.com/topicbus/pubsub"
)

// state tells who may call a stream's deliver.
type state uint8

const (
	// fresh: nobody, Receive was not called yet. Frames are queued.
	fresh state = iota
	// draining: the goroutine in Receive, until the queue is empty.
	// Publishers wait for that, as they would wait in deliver.
	draining
	// live: who has the topic's turn.
	live
	// over: nobody.
	over
)

// deliver is what a pubsub.Stream is given to deliver by.
type deliver func(context.Context, pubsub.Frame) error

// stream implements pubsub.Stream. The topic's mu guards its fields; deliver
// is set before it becomes live and stays.
type stream struct {
	topic   *topic
	ctx     context.Context
	start   pubsub.Position
	deliver deliver
	wake    chan struct{} // there is something to do for Receive
	begun   chan struct{} // closed when Receive is called

	awaited bool // a publisher has waited for begun; his who has the turn
	state   state
	queue   []pubsub.Frame
	settled chan struct{} // closed when draining ends, nil if nobody waits
	ending  bool          // behind the queue
	err     error         // then why
}

// Start implements pubsub.Stream.
func (s *stream) Start() pubsub.Position { return s.start }

// Receive implements pubsub.Stream.
func (s *stream) Receive(deliver func(context.Context, pubsub.Frame) error) error {
	t := s.topic
	t.mu.Lock()
	if s.deliver != nil {
		t.mu.Unlock()
		return fmt.Errorf("memory: Receive called twice on a stream of %q: %w", t.name, pubsub.ErrInvalidArgument)
	}
	s.deliver = deliver
	close(s.begun)
	for s.ctx.Err() == nil {
		if len(s.queue) > 0 {
			s.drain()
			continue
		}
		if s.ending {
			break
		}
		s.enter(live)
		t.mu.Unlock()
		select {
		case <-s.wake:
		case <-s.ctx.Done():
		}
		t.mu.Lock()
	}
	err := s.err
	if s.ctx.Err() != nil {
		err = nil
	}
	s.enter(over)
	s.queue = nil
	t.remove(s)
	idle := len(t.streams) == 0 && t.log.limit == 0
	t.mu.Unlock()
	if idle {
		t.backend.retire(t)
	}
	return err
}

// drain delivers the queue. mu is held, but not meanwhile.
func (s *stream) drain() {
	queue := s.queue
	s.queue = nil
	s.enter(draining)
	s.topic.mu.Unlock()
	for _, f := range queue {
		if s.ctx.Err() != nil {
			break
		}
		_ = s.deliver(s.ctx, f) // refused: the taker marked the place
	}
	s.topic.mu.Lock()
}

// enter changes the state. mu is held.
func (s *stream) enter(to state) {
	s.state = to
	if to != draining && s.settled != nil {
		close(s.settled)
		s.settled = nil
	}
}

// take delivers or queues a message for who has the turn. It fails if the
// stream was not ready before ctx ended.
func (s *stream) take(ctx context.Context, f pubsub.Frame) error {
	t := s.topic
	s.awaitReceive(ctx)
	t.mu.Lock()
	for s.state == draining && !s.ending {
		if s.settled == nil {
			s.settled = make(chan struct{})
		}
		settled := s.settled
		t.mu.Unlock()
		select {
		case <-settled:
		case <-s.ctx.Done():
			return nil
		case <-t.backend.done:
			return nil
		case <-ctx.Done():
			return s.refuse(ctx, f.Position)
		}
		t.mu.Lock()
	}
	switch {
	case s.ending:
	case s.state == live:
		t.mu.Unlock()
		return s.deliver(ctx, f)
	case s.state == fresh && s.ctx.Err() != nil:
		t.remove(s) // Receive need not come to end it
	case s.state == fresh:
		s.queue = append(s.queue, f)
	}
	t.mu.Unlock()
	return nil
}

// patience is how long a publisher waits for a stream's Receive.
const patience = 10 * time.Millisecond

// awaitReceive gives the subscriber's goroutine time to call Receive, which it
// is about to. Publish then returns with the message delivered even right
// after Subscribe, as a test expects that publishes, and goes on to look. The
// first publisher waits once; if Receive does not come, frames are queued.
func (s *stream) awaitReceive(ctx context.Context) {
	select {
	case <-s.begun:
		return
	default:
	}
	if s.awaited { // only who has the turn comes here
		return
	}
	s.awaited = true
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	select {
	case <-s.begun:
	case <-timeout.C:
	case <-s.ctx.Done():
	case <-s.topic.backend.done:
	case <-ctx.Done():
	}
}

// refuse marks the message at p as lost, because the publisher's ctx ended.
func (s *stream) refuse(ctx context.Context, p pubsub.Position) error {
	s.topic.mu.Lock()
	defer s.topic.mu.Unlock()
	if s.state == over || s.ending {
		return nil
	}
	d := &pubsub.Discontinuity{
		Cause: pubsub.CauseOverflow, After: before(p), Resume: behind(p, 1),
		Lost: 1, Exact: true, Err: pubsub.ErrOverflow,
	}
	if n := len(s.queue); n > 0 {
		// Not delivered yet, so holes next to each other become one.
		if last := s.queue[n-1].Discontinuity; last != nil && last.Cause == d.Cause && last.Resume == p {
			d.After, d.Lost = last.After, last.Lost+1
			s.queue = s.queue[:n-1]
		}
	}
	s.push(pubsub.Frame{Kind: pubsub.KindDiscontinuity, Discontinuity: d})
	return cause(ctx)
}

// push queues a frame for Receive to deliver. mu is held, and a live stream's
// topic has nobody in it or its turn is the caller's.
func (s *stream) push(frames ...pubsub.Frame) {
	s.queue = append(s.queue, frames...)
	if s.state == live && len(s.queue) > 0 {
		s.enter(draining)
		s.rouse()
	}
}

// end ends the stream behind what is queued. mu is held.
func (s *stream) end(err error) {
	s.ending, s.err = true, err
	s.rouse()
	if s.settled != nil {
		close(s.settled)
		s.settled = nil
	}
}

func (s *stream) rouse() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

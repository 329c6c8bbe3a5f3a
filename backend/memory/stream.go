package memory

import (
	"context"
	"fmt"
	"math"
	"sync/atomic"
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

// deliver and run are what a pubsub.Stream is given to deliver by.
type (
	deliver func(context.Context, pubsub.Frame) error
	run     func(ctx context.Context, at pubsub.Position, ps []pubsub.Payload) (taken int, err error)
)

// item is what a stream queues: a frame, or what Flush was given.
type item struct {
	frame pubsub.Frame
	mark  func()
}

// stream implements pubsub.Stream. The topic's mu guards its fields; deliver
// is set before it becomes live and stays.
type stream struct {
	topic   *topic
	ctx     context.Context
	start   pubsub.Position
	deliver deliver
	run     run           // nil if the taker takes no runs
	wake    chan struct{} // there is something to do for Receive, which makes it

	index   int  // in topic.streams, negative if it is not there
	awaited bool // a publisher has waited for Receive
	state   state
	changed chan struct{} // closed when state changes, nil if nobody waits
	ending  bool          // behind the queue
	err     error         // then why

	queue    []item
	batch    []item       // taken out of queue by drain, which has
	done     atomic.Int64 // delivered so many of it
	waiting  uint64       // messages whose publishers wait for drain
	left     uint64       // what was held at the end
	onResume []func()
}

// Start implements pubsub.Stream.
func (s *stream) Start() pubsub.Position { return s.start }

// Receive implements pubsub.Stream.
func (s *stream) Receive(deliver func(context.Context, pubsub.Frame) error) error {
	return s.ReceiveRuns(deliver, nil)
}

// ReceiveRuns implements pubsub.RunStream.
func (s *stream) ReceiveRuns(deliver func(context.Context, pubsub.Frame) error, run func(context.Context, pubsub.Position, []pubsub.Payload) (int, error)) error {
	t := s.topic
	t.mu.Lock()
	if s.deliver != nil {
		t.mu.Unlock()
		return fmt.Errorf("memory: Receive called twice on a stream of %.100q: %w", t.name, pubsub.ErrInvalidArgument)
	}
	s.deliver, s.run = deliver, run
	s.wake = make(chan struct{}, 1)
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
	s.left = s.held()
	s.enter(over)
	s.queue, s.batch, s.onResume = nil, nil, nil
	t.remove(s)
	idle := len(t.streams) == 0 && t.log.limits.messages == 0
	t.mu.Unlock()
	if idle {
		t.engine.retire(t)
	}
	return err
}

// drain delivers the queue. mu is held, but not meanwhile.
func (s *stream) drain() {
	s.batch, s.queue = s.queue, nil
	s.done.Store(0)
	s.enter(draining)
	batch := s.batch
	s.topic.mu.Unlock()
	more := false // promised
	for i := range batch {
		ended := s.ctx.Err() != nil
		if ended && !more {
			break
		}
		if batch[i].mark != nil {
			batch[i].mark()
		} else {
			f := batch[i].frame
			more = !ended && i+1 < len(batch) && f.Kind == pubsub.KindMessage && batch[i+1].frame.Kind == pubsub.KindMessage
			f.More = more
			_ = s.deliver(s.ctx, f) // refused: the taker marked the place
		}
		s.done.Add(1)
	}
	s.topic.mu.Lock()
	if int(s.done.Load()) == len(s.batch) {
		s.batch = nil // otherwise it is what held counts at the end
	}
}

// enter changes the state. mu is held.
func (s *stream) enter(to state) {
	if s.state != to {
		s.state = to
		s.announce()
	}
}

// announce has those look again who wait for a change. mu is held.
func (s *stream) announce() {
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
}

// changes is closed with the next announcement. mu is held.
func (s *stream) changes() <-chan struct{} {
	if s.changed == nil {
		s.changed = make(chan struct{})
	}
	return s.changed
}

// take delivers or queues a message for who has the turn. It fails if the
// stream was not ready before ctx ended.
func (s *stream) take(ctx context.Context, f pubsub.Frame) error {
	t := s.topic
	t.mu.Lock()
	if s.state == fresh && !s.ending {
		s.awaitReceive(ctx)
	}
	waits := s.state == draining && !s.ending
	if waits && insideDelivery() {
		// Perhaps of drain, which then comes to it.
		s.queue = append(s.queue, item{frame: f})
		t.mu.Unlock()
		return nil
	}
	if waits {
		s.waiting++
	}
	for s.state == draining && !s.ending {
		changes := s.changes()
		t.mu.Unlock()
		select {
		case <-changes:
		case <-s.ctx.Done():
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
		err := s.deliver(ctx, f)
		if waits {
			t.mu.Lock()
			s.waiting--
			t.mu.Unlock()
		}
		return err
	case s.state == fresh && s.ctx.Err() != nil:
		t.remove(s) // Receive need not come to end it
	case s.state == fresh:
		s.queue = append(s.queue, item{frame: f})
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
// mu is held, but not meanwhile.
func (s *stream) awaitReceive(ctx context.Context) {
	if s.awaited {
		return
	}
	s.awaited = true
	changes := s.changes()
	s.topic.mu.Unlock()
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	select {
	case <-changes:
	case <-timeout.C:
	case <-s.ctx.Done():
	case <-ctx.Done():
	}
	s.topic.mu.Lock()
}

// refuse marks the message at p as lost, because the publisher's ctx ended
// while it waited.
func (s *stream) refuse(ctx context.Context, p pubsub.Position) error {
	s.topic.mu.Lock()
	defer s.topic.mu.Unlock()
	if s.state == over || s.ending {
		return nil
	}
	s.waiting--
	d := &pubsub.Discontinuity{
		Cause: pubsub.CauseOverflow, After: before(p), Resume: behind(p, 1),
		Lost: 1, Exact: true, Err: pubsub.ErrOverflow,
	}
	if n := len(s.queue); n > 0 {
		// Not delivered yet, so holes next to each other become one.
		if last := s.queue[n-1].frame.Discontinuity; last != nil && last.Cause == d.Cause && last.Resume == p {
			d.After, d.Lost = last.After, last.Lost+1
			s.queue = s.queue[:n-1]
		}
	}
	s.push(pubsub.Frame{Kind: pubsub.KindDiscontinuity, Discontinuity: d})
	return cause(ctx)
}

// push queues frames for Receive to deliver. mu is held, and a live stream's
// topic has nobody in it or its turn is the caller's.
func (s *stream) push(frames ...pubsub.Frame) {
	for _, f := range frames {
		s.queue = append(s.queue, item{frame: f})
	}
	s.stir()
}

func (s *stream) stir() {
	if s.state == live && len(s.queue) > 0 {
		s.enter(draining)
		s.rouse()
	}
}

// end ends the stream behind what is queued. mu is held.
func (s *stream) end(err error) {
	s.left = s.topic.missed() // nobody will replay it
	s.ending, s.err = true, err
	s.rouse()
	s.announce()
}

func (s *stream) rouse() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Flush implements pubsub.Flusher. done must not publish to the topic.
func (s *stream) Flush(done func()) {
	t := s.topic
	t.mu.Lock()
	if s.state == live && t.missed() == 0 && t.take() {
		t.mu.Unlock()
		done()
		t.leave()
		return
	}
	defer t.mu.Unlock()
	t.doLocked(func() {
		switch {
		case s.state == over:
		case !s.ending && t.missed() > 0:
			s.onResume = append(s.onResume, done)
		default:
			s.pushMark(done)
		}
	})
}

// pushMark has done called behind what is queued. mu is held.
func (s *stream) pushMark(done func()) {
	s.queue = append(s.queue, item{mark: done})
	s.stir()
}

// Held implements pubsub.Holder. It stays what it was when the stream ended.
func (s *stream) Held() uint64 {
	s.topic.mu.Lock()
	defer s.topic.mu.Unlock()
	return s.held()
}

func (s *stream) held() uint64 {
	if s.state == over {
		return s.left
	}
	n := sum(s.waiting, s.left)
	if !s.ending {
		n = sum(n, s.topic.missed())
	}
	for _, it := range s.queue {
		n = sum(n, weight(it.frame))
	}
	if s.batch != nil {
		for _, it := range s.batch[s.done.Load():] {
			n = sum(n, weight(it.frame))
		}
	}
	return n
}

// weight is how many messages f accounts for.
func weight(f pubsub.Frame) uint64 {
	switch f.Kind {
	case pubsub.KindMessage:
		return 1
	case pubsub.KindDiscontinuity:
		return f.Discontinuity.Lost
	default:
		return 0
	}
}

// sum is a+b, or the greatest number if that is less.
func sum(a, b uint64) uint64 {
	if a > math.MaxUint64-b {
		return math.MaxUint64
	}
	return a + b
}

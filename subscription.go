package pubsub

import (
	"context"
	"iter"
	"slices"
	"sync"
	"sync/atomic"
)

// Subscription receives the messages of one topic. It is made by
// [Bus].Subscribe and must be ended by Close, Drain, the ctx of Subscribe, or
// Bus.Close; otherwise it keeps its topic's stream open.
//
// There are four ways to read it: the channels [Subscription.C] and
// [Subscription.Events], the iterator [Subscription.All] and the call
// [Subscription.Next]. All four read through one cursor, so each event is
// handed out once, to whichever asks first. Use one form; to read in several
// independent ways, subscribe several times. All methods may be called from
// many goroutines at once; readers that run in parallel share the events out
// among themselves.
//
// A subscription starts no goroutine, except one for C and one for Events,
// at their first call.
type Subscription[T any] struct {
	topic *topic[T]
	cfg   subscribeConfig

	cursor   atomic.Uint64 // index of the next message to hand out
	notifyAt atomic.Uint64 // the writer waits for the cursor to get here
	ended    atomic.Bool   // reading is over
	limited  atomic.Bool   // limit is set
	waiting  atomic.Int32  // readers asleep
	waiter   waiter

	nexting atomic.Bool // a call of Next has next
	next    view[T]     // what it left to the following one

	done   chan struct{} // closed when the subscription ended, whyever
	killed chan struct{} // closed when it ended and nothing more may be handed out

	mu        sync.Mutex // guards what follows; nothing foreign is called under it
	err       error
	read      mark     // how far the notes were read
	pending   []note   // made by an overflow, to be handed out before anything else
	limit     uint64   // reading ends at this index ...
	limitRead mark     // ... with the notes read up to here, ...
	limitErr  error    // ... with this error
	last      Position // of the message before index lastAt
	lastAt    uint64
	start     uint64 // the cursor when it joined, plus the messages it jumped over since
	maxLag    uint64
	counts    counts // without taken, which follows from the cursor
	settled   bool   // they are in bus.past
	episode   bool   // an unobserved discontinuity was logged, and no end of it seen
	channel   chan Message[T]
	events    chan Event[T]
	pumps     []*pump
	running   int         // pumps that run
	stopWatch func() bool // stops watching the ctx of Subscribe
}

const noLimit = ^uint64(0)

func newSubscription[T any](cfg subscribeConfig) *Subscription[T] {
	return &Subscription[T]{
		cfg:       cfg,
		waiter:    waiter{bell: make(chan struct{}, 1)},
		done:      make(chan struct{}),
		killed:    make(chan struct{}),
		limit:     noLimit,
		limitRead: mark{seq: noLimit},
	}
}

// C returns a channel of the subscription's messages. It is closed when the
// subscription ends; [Subscription.Err] then says why. What is not a message
// goes to the callbacks ([OnDiscontinuity], [OnState], [OnHeartbeat]); a
// discontinuity that has no callback is logged.
//
// The first call starts a goroutine that moves messages from the topic's ring
// into the channel. The channel holds up to 32 messages, never more than the
// buffer: a callback may run while earlier messages are still in the channel,
// but never after a later one was put there. After Close the channel may still
// yield what it holds.
func (s *Subscription[T]) C() <-chan Message[T] {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.channel == nil {
		s.channel = make(chan Message[T], min(channelSize, s.topic.bus.cfg.buffer))
		ch := s.channel
		startPump(s, ch, true, sink[T]{
			message: func(m Message[T], _ error) bool { return send(s, ch, &m) },
			event:   func(*note) bool { return true },
		})
	}
	return s.channel
}

// Events returns a channel of everything that happens on the subscription, in
// order: messages, discontinuities, states and heartbeats. Otherwise it is
// like [Subscription.C].
func (s *Subscription[T]) Events() <-chan Event[T] {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.events == nil {
		s.events = make(chan Event[T], min(channelSize, s.topic.bus.cfg.buffer))
		ch := s.events
		startPump(s, ch, false, sink[T]{
			message: func(m Message[T], _ error) bool { return send(s, ch, &Event[T]{Kind: KindMessage, Message: m}) },
			event: func(n *note) bool {
				e := eventOf[T](n)
				return send(s, ch, &e)
			},
		})
	}
	return s.events
}

// All returns an iterator over the subscription's messages, the fastest way to
// read it. A hole is yielded in its place, as a zero Message (but for its Topic)
// with a *[Discontinuity] for an error; the loop goes on after it. States and
// heartbeats go to the callbacks only.
//
// The loop ends when the subscription does. If its stream failed or the Fail
// policy ended it, that error is yielded last; if the application ended it
// (Close, Drain, ctx, Bus.Close) the loop just ends. [Subscription.Err] tells
// in any case. Leaving the loop early leaves the subscription as it is: another
// All, or any other form, goes on with the next message.
func (s *Subscription[T]) All() iter.Seq2[Message[T], error] {
	return func(yield func(Message[T], error) bool) {
		failed := func(err error) bool { return yield(Message[T]{Topic: s.topic.name}, err) }
		to := sink[T]{yield, func(n *note) bool { return n.discontinuity == nil || failed(n.discontinuity) }}
		if err := s.readInto(to, &view[T]{batch: s.batch()}, nil); err == nil {
			return
		}
		if err := s.Err(); err != nil && !s.isKilled() {
			failed(err)
		}
	}
}

// Next returns the next event. It blocks until there is one, ctx ends or the
// subscription ends. The end of ctx ends this call only, and loses nothing.
// After the end of the subscription Next returns what [Subscription.Err]
// returns, or [ErrClosed] where that is nil.
func (s *Subscription[T]) Next(ctx context.Context) (e Event[T], err error) {
	if ctx == nil {
		return e, s.fail("receive", errNilContext)
	}
	if ctx.Err() != nil {
		return e, s.fail("receive", contextError(ctx))
	}
	// A view of its own for every call would cost two locks and a pin each:
	// 65 ns instead of 40. Of parallel calls one has this one.
	v := &view[T]{batch: 1}
	if s.nexting.CompareAndSwap(false, true) {
		defer s.nexting.Store(false)
		v = &s.next
		s.renew(v)
	}
	to := sink[T]{
		func(m Message[T], _ error) bool { e.Kind, e.Message = KindMessage, m; return false },
		func(n *note) bool { e = eventOf[T](n); return false },
	}
	err = s.readInto(to, v, ctx)
	return e, err
}

// eventOf makes the Event of a note.
func eventOf[T any](n *note) Event[T] {
	e := Event[T]{Kind: n.kind, Discontinuity: n.discontinuity}
	if n.state != nil {
		e.State = *n.state
	}
	return e
}

// Drain ends the subscription gracefully: it accepts no new messages, waits
// until those already queued have been handed to the reader, and ends. Queued is
// what has reached this process: over a network, messages that a Publish has
// returned nil for may still be on their way, and are not waited for. Messages
// in the channels of C and Events count as handed out; the channels stay
// readable until they are empty. Somebody must go on reading meanwhile: called
// by the only reader, or without one, Drain can only wait for ctx. When ctx
// ends first, the subscription is closed, what was queued is dropped, and Drain
// returns ctx's error.
func (s *Subscription[T]) Drain(ctx context.Context) error {
	if ctx == nil {
		return s.fail("drain", errNilContext)
	}
	if s.limitNow() {
		s.finish(nil)
	}
	s.waiter.ring()
	select {
	case <-s.done:
		return nil
	default:
	}
	select {
	case <-s.done:
		return nil
	case <-ctx.Done():
		s.Close()
		return s.fail("drain", contextError(ctx))
	}
}

// Close ends the subscription now; what is queued is dropped. It is idempotent
// and may be called from any goroutine, callbacks included. When it returns the
// subscription's goroutines are gone, except for one that is inside a
// callback: that one goes when the callback returns. It always returns nil.
func (s *Subscription[T]) Close() error {
	s.kill(nil)
	<-s.done // another may have ended it, and still be at it
	s.waitPumps()
	s.topic.awaitEnd()
	return nil
}

// Err tells why the subscription ended: nil while it is live and after Close
// or Drain, ctx's error after the end of Subscribe's ctx, [ErrClosed] after
// Bus.Close, [ErrOverflow] under the Fail policy, the panic of a callback, and
// otherwise the permanent error that ended its stream.
func (s *Subscription[T]) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// limitNow has reading end at the newest message. It reports whether there is
// nothing left to read, and nobody who would notice the end.
func (s *Subscription[T]) limitNow() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := &s.topic.ring; s.limit == noLimit {
		r.mu.Lock() // no note of a later message slips in
		s.limit, s.limitRead = r.head.Load(), r.notes.newest
		s.limited.Store(true)
		r.mu.Unlock()
	}
	return s.exhausted()
}

// exhausted reports whether reading has come to its limit, and there is no pump
// to find out. States and heartbeats need not be waited for. s.mu is held.
func (s *Subscription[T]) exhausted() bool {
	return len(s.pumps) == 0 && s.cursor.Load() >= s.limit &&
		!s.read.misses(s.limitRead) &&
		!slices.ContainsFunc(s.pending, func(n note) bool { return n.discontinuity != nil })
}

// finish ends reading: what has been handed out may still be on its way.
func (s *Subscription[T]) finish(err error) { s.stop(err, false) }

// kill ends the subscription at once: nothing more is handed out.
func (s *Subscription[T]) kill(err error) { s.stop(err, true) }

func (s *Subscription[T]) stop(err error, now bool) {
	s.mu.Lock()
	if now && !s.isKilled() {
		close(s.killed) // before a reader can see that s ended: All then keeps err to itself
	}
	if s.ended.Load() {
		s.mu.Unlock()
		return
	}
	if err != nil {
		s.err = s.fail("receive", err)
	}
	s.ended.Store(true)
	s.mu.Unlock()
	s.waiter.ring()
	s.topic.bus.detach(s)
	close(s.done)
	s.unwatch()
}

// join places s in t. It fails if t does not have the place.
//
// The place is looked up in the step that makes s a reader. Before it, the
// writer might go on meanwhile, and s would stand behind notes that it has not
// read, or further back than a blocking ring has room for.
func (s *Subscription[T]) join(t *topic[T]) bool {
	t.ring.mu.Lock()
	defer t.ring.mu.Unlock()
	notes := &t.ring.notes
	p := t.place(s.cfg)
	if p.unknown {
		return false
	}
	switch {
	case p.present:
		p.at, s.read = t.ring.head.Load(), notes.newest
	case p.counted:
		s.read = notes.before(p.at + 1)
	default:
		s.read = notes.before(p.at)
	}
	if p.gap != nil {
		s.pending = append(s.pending, note{kind: KindDiscontinuity, discontinuity: p.gap})
	}
	s.topic = t
	s.next.batch = s.batch()
	s.cursor.Store(p.at)
	s.start = p.at
	s.last, s.lastAt = p.last, p.at
	if st := notes.lastState(0, notes.newest.seq); p.present && st != nil && st.State == Reconnecting {
		// What it joins is an outage; the next it hears may be its end.
		s.pending = append(s.pending, note{kind: KindState, state: st})
	}
	t.ring.readers = append(t.ring.readers, s)
	return true
}

// watch ends s when ctx ends.
func (s *Subscription[T]) watch(ctx context.Context) {
	if ctx.Done() == nil {
		return
	}
	stop := context.AfterFunc(ctx, func() { s.kill(contextError(ctx)) })
	s.mu.Lock()
	s.stopWatch = stop
	s.mu.Unlock()
	s.unwatch() // if s has ended meanwhile
}

// unwatch stops what watch began, when the subscription has ended and no
// goroutine of it is left that the end of ctx would have to stop.
func (s *Subscription[T]) unwatch() {
	s.mu.Lock()
	stop := s.stopWatch
	if !s.ended.Load() || s.running > 0 {
		stop = nil
	}
	s.mu.Unlock()
	if stop != nil {
		stop() // may call into a Context that is not ours
	}
}

func (s *Subscription[T]) isKilled() bool {
	select {
	case <-s.killed:
		return true
	default:
		return false
	}
}

func (s *Subscription[T]) fail(op string, err error) error {
	return wrap(op, s.topic.name, err)
}

package pubsub

import (
	"context"
	"iter"
	"path"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/topicbus/pubsub/internal/ring"
)

// Subscription receives the messages of one topic. It is made by Subscribe of a
// [Bus] or [Topic]. It must be ended by Close, Drain, the ctx of Subscribe, or
// the end of the bus; otherwise it keeps its topic's stream open.
//
// There are five ways to read it: the iterators [Subscription.Messages] and
// [Subscription.All], the channels [Subscription.C] and [Subscription.Events],
// and the call [Subscription.Next]. All of them share one place in the stream,
// so each event is handed out once, to whichever asks first. Use one form; to
// read in several independent ways, subscribe several times. All methods may be
// called from many goroutines at once; readers that run in parallel share the
// events out among themselves.
//
// A subscription starts no goroutine, except one for C and one for Events, at
// their first call.
type Subscription[T any] struct {
	name   string // of the topic
	cfg    subscribeConfig
	caller uintptr // where it was made
	stream *stream[T]
	cursor *ring.Cursor[T, side]

	killed  atomic.Bool  // nothing more may be handed out
	loops   atomic.Int32 // of All, Messages and pumps
	episode atomic.Bool  // an unobserved discontinuity was logged, and no end of it seen
	lossy   atomic.Bool  // there was one
	stepped atomic.Bool  // Next was called

	mu        sync.Mutex // guards what follows; nothing foreign is called under it
	ended     bool
	unseen    bool // Subscribe did not return it: it does not count
	err       error
	ends      chan struct{} // closed when it has ended; nil until somebody waits for that
	kills     chan struct{} // closed when killed; nil until a pump is there
	idle      chan struct{} // closed when calls becomes 0; nil unless somebody waits for that
	calls     int           // callbacks that run
	counts    counts        // without messages taken, until settled
	settled   uint64        // counts is complete and in bus.past, which has so many; 0: not yet
	maxLag    uint64        // once settled
	stuckAt   uint64        // where it was logged as not read, ...
	holdsAt   uint64        // ... and as holding up its topic
	channel   chan Message[T]
	events    chan Event[T]
	pumps     []*pump
	running   int         // pumps that run
	stopWatch func() bool // stops watching the ctx of Subscribe
}

func newSubscription[T any](topic string, cfg subscribeConfig) *Subscription[T] {
	s := &Subscription[T]{name: topic, cfg: cfg, cursor: ring.NewCursor[T, side](cfg.policy == Fail)}
	s.cursor.Owner = s
	return s
}

// C returns a channel of the subscription's messages, for select. It is closed
// when the subscription ends; [Subscription.Err] then says why. What is not a
// message goes to the callbacks ([OnDiscontinuity], [OnState], [OnHeartbeat]). A
// discontinuity that has no callback is logged.
//
// The first call starts a goroutine that moves messages into the channel. The
// channel holds up to 32 messages, never more than the buffer: a callback may
// run while earlier messages are still in the channel, but never after a later
// one was put there. After Close the channel may still yield what it holds.
func (s *Subscription[T]) C() <-chan Message[T] {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.channel == nil {
		s.channel = make(chan Message[T], min(channelSize, s.stream.bus.cfg.buffer))
		ch := s.channel
		startPump(s, ch, true, sink[T]{
			message: func(m Message[T], _ error) bool { return send(s, ch, &m) || s.undelivered() },
			event:   func(*note) bool { return true },
		})
	}
	return s.channel
}

// Events returns a channel of messages, discontinuities, states and heartbeats,
// in order. A subscription that is overtaken skips heartbeats, and all states but
// the newest, with the messages. Otherwise Events is like [Subscription.C].
func (s *Subscription[T]) Events() <-chan Event[T] {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.events == nil {
		s.events = make(chan Event[T], min(channelSize, s.stream.bus.cfg.buffer))
		ch := s.events
		startPump(s, ch, false, sink[T]{
			message: func(m Message[T], _ error) bool {
				return send(s, ch, &Event[T]{Kind: KindMessage, Message: m}) || s.undelivered()
			},
			event: func(n *note) bool {
				e := eventOf[T](n)
				return send(s, ch, &e) || s.untold(n)
			},
		})
	}
	return s.events
}

// Messages returns an iterator over the subscription's messages. It is the loop
// to start with: like C, but without a goroutine. What is not a message goes to
// the callbacks ([OnDiscontinuity], [OnState], [OnHeartbeat]). A discontinuity
// that has no callback is logged.
//
// The loop ends when the subscription does; [Subscription.Err] tells why. Leaving
// the loop early leaves the subscription as it is: another loop, or any other
// form, goes on with the next message.
func (s *Subscription[T]) Messages() iter.Seq[Message[T]] {
	return func(yield func(Message[T]) bool) {
		_ = s.loop(sink[T]{
			message: func(m Message[T], _ error) bool { return yield(m) },
			event:   func(*note) bool { return true },
		}, true)
	}
}

// All returns an iterator over the subscription's messages and holes. A hole is
// yielded in its place, as a zero Message (but for its Topic) with a
// *[Discontinuity] for an error; the loop goes on after it. So look at the error
// before the message: a loop that does not ask for it takes holes for messages
// and wants [Subscription.Messages]. States and heartbeats go to the callbacks
// only.
//
// The loop ends when the subscription does. If its stream failed or the Fail
// policy ended it, that error is yielded last; if the application ended it
// (Close, Drain, ctx, the end of the bus) the loop just ends.
// [Subscription.Err] tells in any case. Leaving the loop early leaves the
// subscription as it is, like in Messages.
func (s *Subscription[T]) All() iter.Seq2[Message[T], error] {
	return func(yield func(Message[T], error) bool) {
		failed := func(err error) bool { return yield(Message[T]{Topic: s.name}, err) }
		to := sink[T]{yield, func(n *note) bool { return n.discontinuity == nil || failed(n.discontinuity) }}
		if err := s.loop(to, false); err == nil {
			return
		}
		if err := s.Err(); err != nil && !s.killed.Load() {
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
	if !s.stepped.Load() { // a load costs less than a store
		s.stepped.Store(true)
	}
	v := s.cursor.Borrow()
	to := sink[T]{
		func(m Message[T], _ error) bool { e.Kind, e.Message = KindMessage, m; return false },
		func(n *note) bool { e = eventOf[T](n); return false },
	}
	err = s.read(to, &reader[T]{view: v}, ctx)
	if end := s.cursor.Return(v); end == ring.Overflowed {
		s.end(end) // Drain waits until the reader is back, but this ends by itself
	}
	return e, err
}

// Drain ends the subscription gracefully: it takes no new messages, waits until
// those already queued have been handed to the reader, and ends. Somebody must go
// on reading meanwhile.
//
// Queued is what was accepted before, as far as it has reached this process or
// the backend knows of it: what a replay has still to bring counts, too. Over a
// network, messages that a Publish has returned nil for may still be on their
// way. They are not waited for.
//
// When Drain returns nil, loops of Messages and All have come back for more: they
// are done with the last message. So has Next, unless everything had been handed
// out before Drain was called, or Next has not been called for five seconds. C
// and Events may still hold what fits into their channels, which stay readable.
//
// A Drain whose ctx has no deadline waits for a loop that is at work, however
// long it takes. If nothing is read for five seconds, or for a minute where C,
// Events or Next are in use, it returns an error that says so, and the
// subscription goes on draining. So Drain must not be called from the loop that
// reads, which would wait for itself.
//
// When ctx ends first, the subscription is closed and what was left is dropped.
// The error then wraps ctx's error and a *[DroppedError], which tells how many
// messages. So does the error if something else ended the subscription meanwhile
// and messages were dropped: Close, or the end of its stream before that had
// brought what it held.
func (s *Subscription[T]) Drain(ctx context.Context) error {
	if ctx == nil {
		return s.fail("drain", errNilContext)
	}
	d := s.drainFrom(time.Now(), insideRead())
	s.stream.flush(s.limit)
	return s.awaitDrained(ctx, d)
}

// limit has reading end at the newest message.
func (s *Subscription[T]) limit() {
	if end := s.cursor.Limit(); end != ring.NotEnded && !s.busy() {
		s.end(end) // nobody would notice
	}
	s.cursor.Wake()
}

// busy reports whether a loop is at a message, or about to look for one.
func (s *Subscription[T]) busy() bool { return int(s.loops.Load()) > s.cursor.Asleep() }

// atWork reports whether a loop or a callback of the application is at work. A
// pump that is not asleep waits for room in its channel, and proves nothing.
func (s *Subscription[T]) atWork() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls > 0 || int(s.loops.Load())-s.cursor.Asleep() > s.running
}

// draining is what a Drain that waits has seen of its subscription.
type draining struct {
	began  time.Time
	taken  uint64        // messages, when last looked at
	waits  bool          // something was there to be read, or it was known that nothing comes
	quiet  time.Duration // since when nobody is seen to read
	inside bool          // Drain was called by a reader, maybe the one it waits for
}

func (s *Subscription[T]) drainFrom(began time.Time, inside bool) *draining {
	now := s.cursor.Stats()
	return &draining{began: began, taken: now.Taken, waits: s.readable(now), inside: inside}
}

// readable reports whether there is something to be read, or known that nothing
// comes. Otherwise it is the backend that a Drain waits for.
func (s *Subscription[T]) readable(now ring.Stats) bool { return now.Lag > 0 || s.cursor.Limited() }

// patienceForChannels is how long a Drain without a deadline waits where nothing
// is taken, and somebody may be at work on what C, Events or Next have given.
const patienceForChannels = time.Minute

// look is called every so often, patience apart. It reports whether nobody reads
// and nobody is likely to. What has come since the last look may not have found
// its reader yet.
func (d *draining) look(taken uint64, waits, atWork, channels bool) (unread bool) {
	waited := d.waits
	d.waits = waits
	if taken != d.taken || !waited || atWork && !d.inside {
		d.taken, d.quiet = taken, 0
		return false
	}
	d.quiet += patience
	return !channels || d.quiet >= patienceForChannels
}

// awaitDrained waits for the end of what limit began.
func (s *Subscription[T]) awaitDrained(ctx context.Context, d *draining) error {
	ended := s.ending()
	select {
	case <-ended: // first, though ctx may have ended, too
		return s.drained()
	default:
	}
	timer := time.NewTimer(time.Until(d.began.Add(patience)))
	defer timer.Stop()
	_, patient := ctx.Deadline()
	over := s.stream.done
	for {
		select {
		case <-ended:
			return s.drained()
		case <-over:
			s.streamOver()
			over = nil
		case <-ctx.Done():
			err := contextError(ctx)
			if !s.stop(err, "drain", true) {
				<-ended
				return s.drained()
			}
			s.waitPumps()
			s.logDropped(err)
			return s.fail("drain", &DroppedError{Dropped: s.dropped(), Err: err})
		case <-timer.C:
			if over == nil {
				s.streamOver()
			}
			now := s.cursor.Stats()
			unread := d.look(now.Taken, s.readable(now), s.atWork(), s.byChannels())
			switch {
			case d.quiet == 0:
			case s.cursor.Exhausted() != ring.NotEnded && !s.busy():
				s.end(s.cursor.Exhausted()) // who took the last message with Next has no need of more
			case unread && !patient && d.waits:
				return s.fail("drain", errNotRead)
			}
			timer.Reset(patience)
		}
	}
}

// byChannels reports whether C, Events or Next are in use, whose callers cannot
// be seen at work.
func (s *Subscription[T]) byChannels() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.channel != nil || s.events != nil || s.stepped.Load()
}

// insideRead reports whether the caller runs inside a subscription's read: in
// the body of a loop, a callback, an observer or a codec. Nobody can be asked, so
// it looks through its own stack, which takes microseconds.
func insideRead() bool {
	var pcs [256]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(1, pcs[:])])
	frame, more := frames.Next() // this function
	read := strings.TrimSuffix(frame.Function, "insideRead") + "(*Subscription[...]).read"
	for more {
		if frame, more = frames.Next(); frame.Function == read {
			return true
		}
	}
	return false
}

// streamOver does what flush did not come to before the stream ended.
func (s *Subscription[T]) streamOver() {
	switch {
	case s.cursor.Limited():
	case s.stream.held() == 0:
		s.limit()
	case s.cursor.Stats().Lag == 0 && !s.busy():
		s.finish(s.stream.log.Reason()) // nobody would notice
	}
}

// drained is what Drain returns of a subscription that has ended.
func (s *Subscription[T]) drained() error {
	if s.killed.Load() {
		s.waitPumps()
	}
	dropped := s.dropped()
	if dropped == 0 {
		return nil
	}
	err := s.Err()
	if err == nil {
		err = errSubscriptionEnded
	}
	return s.fail("drain", &DroppedError{Dropped: dropped, Err: err})
}

// Close ends the subscription now. What is queued is dropped, and counted in
// Stats, with what the backend still held for it. It is idempotent and may be
// called from any goroutine, callbacks included. When it returns the
// subscription's goroutines are gone, except for one that is inside a callback,
// which goes when the callback returns: before you free what a callback uses, call
// [Subscription.Wait]. It always returns nil.
func (s *Subscription[T]) Close() error {
	last := s.stop(nil, "receive", true)
	<-s.ending() // another may have ended it, and still be at it
	s.waitPumps()
	s.stream.awaitEnd()
	if dropped := s.dropped(); last && dropped > 0 {
		s.noteDropped(dropped, nil)
	}
	return nil
}

// Wait returns when the subscription has ended and none of its callbacks and
// goroutines is at work any more, or with ctx's error. It must not be called from
// a callback, which would wait for itself.
func (s *Subscription[T]) Wait(ctx context.Context) error {
	if ctx == nil {
		return s.fail("wait", errNilContext)
	}
	waits := []<-chan struct{}{s.ending()}
	s.mu.Lock()
	for _, p := range s.pumps {
		waits = append(waits, p.done)
	}
	s.mu.Unlock()
	for _, w := range waits {
		select {
		case <-w:
		case <-ctx.Done():
			return s.fail("wait", contextError(ctx))
		}
	}
	s.mu.Lock()
	if s.calls == 0 {
		s.mu.Unlock()
		return nil
	}
	if s.idle == nil {
		s.idle = make(chan struct{})
	}
	idle := s.idle
	s.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return s.fail("wait", contextError(ctx))
	}
}

// Err tells why the subscription ended: nil while it is live and after Close or
// a Drain that came to its end, ctx's error after the end of Subscribe's ctx or
// of Drain's, [ErrClosed] after the end of the bus, [ErrOverflow] under the Fail
// policy, the panic of a callback, and otherwise the permanent error that ended
// its stream.
func (s *Subscription[T]) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Start is the position that the subscription begins behind. Keep it until the
// first message has come, whose own position takes its place: with [ResumeAfter]
// another subscription gets what this one gets. On a topic without messages it
// has the topic's page and Sequence 0. It is zero if the backend cannot tell.
func (s *Subscription[T]) Start() Position {
	if p := s.cursor.Start(); !p.IsZero() {
		return Position(p)
	}
	if s.cursor.Whole() {
		select {
		case <-s.stream.opened:
			return s.stream.start
		default:
		}
	}
	return Position{}
}

// Name tells this subscription from others: what [Named] gave it, or the file
// and line of the call of Subscribe.
func (s *Subscription[T]) Name() string {
	if s.cfg.name != "" || s.caller == 0 {
		return s.cfg.name
	}
	f, _ := runtime.CallersFrames([]uintptr{s.caller}).Next()
	return path.Base(f.File) + ":" + strconv.Itoa(f.Line)
}

// ending returns a channel that is closed when the subscription has ended.
func (s *Subscription[T]) ending() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ends == nil {
		s.ends = make(chan struct{})
		if s.ended {
			close(s.ends)
		}
	}
	return s.ends
}

// finish ends reading: what has been handed out may still be on its way.
func (s *Subscription[T]) finish(err error) { s.stop(err, "receive", false) }

// kill ends the subscription at once: nothing more is handed out.
func (s *Subscription[T]) kill(err error) { s.stop(err, "receive", true) }

// stop ends the subscription. It reports whether it was this call that ended it.
// If so, and with an error and now, logDropped must follow.
func (s *Subscription[T]) stop(err error, op string, now bool) bool {
	if !s.halt(err, op, now) {
		return false
	}
	if err != nil && now {
		s.stream.losses.expect()
	}
	s.depart()
	return true
}

// halt is the first half of stop: nobody reads any more.
func (s *Subscription[T]) halt(err error, op string, now bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now && !s.killed.Swap(true) && s.kills != nil { // before a reader can see that s ended: All then keeps err to itself
		close(s.kills)
	}
	if s.cursor.IsStopped() {
		return false
	}
	if err != nil {
		s.err = s.fail(op, err)
	}
	s.cursor.Stop()
	return true
}

// depart is the second half of stop: the books are closed.
func (s *Subscription[T]) depart() {
	over := s.stream.bus.detach(s)
	s.mu.Lock()
	s.ended = true
	if s.ends != nil {
		close(s.ends)
	}
	s.mu.Unlock()
	s.unwatch()
	s.caughtUp(true)
	if over {
		s.stream.lossesOver()
	}
}

// discard ends a subscription that nobody has seen.
func (s *Subscription[T]) discard() {
	s.mu.Lock()
	s.unseen = true
	s.mu.Unlock()
	s.kill(nil)
}

// leave undoes join, for a subscription that nobody has seen yet.
func (s *Subscription[T]) leave() {
	s.cursor.Stop()
	s.cursor.Leave()
}

// watch ends s when ctx ends.
func (s *Subscription[T]) watch(ctx context.Context) {
	if ctx.Done() == nil {
		return
	}
	stop := context.AfterFunc(ctx, func() {
		err := contextError(ctx)
		if s.stop(err, "receive", true) {
			s.waitPumps()
			s.logDropped(err)
		}
	})
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
	if !s.ended || s.running > 0 {
		stop = nil
	}
	s.mu.Unlock()
	if stop != nil {
		stop() // may call into a Context that is not ours
	}
}

func (s *Subscription[T]) fail(op string, err error) error { return wrap(op, s.name, err) }

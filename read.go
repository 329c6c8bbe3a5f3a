package pubsub

import (
	"context"
	"fmt"
	"runtime"
)

// view is a stretch of a pinned segment that one reader may read: the messages
// with indexes from up to, not including, to.
type view[T any] struct {
	seg      *segment[T]
	from, to uint64
	batch    uint64 // the longest stretch
	burst    uint64 // messages read since the reader last slept
	pump     *pump  // the goroutine that reads, if it is ours

	// What look saw, to tell whether anything happened since.
	head, noted uint64
	over        bool
}

// batch is how many messages an uninterrupted reader takes before it looks
// whether it has fallen behind. It may so be handed up to an eighth of the
// buffer more than the buffer. Next may not, see renew.
func (s *Subscription[T]) batch() uint64 {
	return min(segmentSize, max(1, s.topic.ring.capacity/8))
}

// sink takes what a reader reads. Both functions return false to stop. The
// error given to message is always nil: it is there so that All can pass its
// yield as it is.
type sink[T any] struct {
	message func(Message[T], error) bool
	event   func(*note) bool
}

// readInto hands events to the sink until it stops, ctx ends or the
// subscription ends; the error says which of the latter two. ctx may be nil.
// It is what all ways to read a subscription have in common.
func (s *Subscription[T]) readInto(to sink[T], v *view[T], ctx context.Context) error {
	defer s.release(v)
	for {
		if v.from < v.to {
			if again, err := s.readOn(to, v); !again {
				return err
			}
		}
		if again, err := s.advance(to, v, ctx); !again {
			return err
		}
	}
}

// readOn hands the messages of v to the sink. It returns true when there are no
// more, and after the codec panicked, which it is there to catch: a defer around
// each Decode would cost as much as all else here.
//
// Claiming a message is a compare-and-swap of the cursor, so readers in
// parallel need no lock between them.
func (s *Subscription[T]) readOn(to sink[T], v *view[T]) (again bool, err error) {
	decoding := noLimit // the index of the message that the codec is at
	defer func() {
		if decoding != noLimit {
			again, err = s.undecodable(to, v, decoding, fmt.Errorf("%w: Decode panicked: %v", ErrCodec, recover()))
		}
	}()
	ring, codec, decodeOnce := &s.topic.ring, s.topic.bus.codec, s.topic.bus.decodeOnce
	received := s.topic.bus.cfg.observer.Received
	m := Message[T]{Topic: s.topic.name}
	for {
		c := s.cursor.Load()
		if c < v.from || c >= v.to || s.ended.Load() {
			return true, nil
		}
		// Before it is claimed: passing m on right behind the stores that make
		// it waits for them, which the compare-and-swap does anyway.
		e := &v.seg.entries[c%segmentSize]
		m.Publisher, m.Position = v.seg.publisher(c), e.at
		if decodeOnce {
			m.Value = e.value
		}
		if !s.cursor.CompareAndSwap(c, c+1) {
			continue
		}
		v.burst++
		if s.notifyAt.Load() == c+1 {
			ring.notifyFreed()
		}
		if !decodeOnce {
			decoding = c
			m.Value, err = codec.Decode(v.seg.payloads[c%segmentSize])
			decoding = noLimit
			if err != nil {
				return s.undecodable(to, v, c, codecError("decode", err))
			}
		}
		if received != nil {
			received(m.Topic, m.Position)
		}
		if !to.message(m, nil) {
			return false, nil
		}
	}
}

// advance is what a reader does between two stretches: it renews v, hands out
// the note that stands there, or sleeps.
func (s *Subscription[T]) advance(to sink[T], v *view[T], ctx context.Context) (again bool, err error) {
	n, err := s.look(v)
	switch {
	case err != nil:
		return false, err
	case n != nil:
		return s.handOut(to, v, n)
	case v.from == v.to:
		err := s.sleep(v, ctx)
		return err == nil, err
	}
	return true, nil
}

func (s *Subscription[T]) handOut(to sink[T], v *view[T], n *note) (again bool, err error) {
	if !s.observe(v, n) {
		return false, s.ending()
	}
	return to.event(n), nil
}

// undecodable hands out the report that the message with index i, which is in
// v, cannot be decoded.
func (s *Subscription[T]) undecodable(to sink[T], v *view[T], i uint64, err error) (again bool, _ error) {
	s.recount(func(c *counts) { c.undecodable++ })
	d := undecodable(s.topic.name, v.seg.payloads[i%segmentSize], v.seg.position(i), err)
	s.topic.bus.incidents.discontinuity(d)
	return s.handOut(to, v, &note{kind: KindDiscontinuity, discontinuity: d})
}

// look renews v. It returns a note if one stands at the cursor; v is empty if
// there is nothing to read for now; the error is that of the subscription's
// end.
func (s *Subscription[T]) look(v *view[T]) (*note, error) {
	s.mu.Lock()
	s.unpin(v)
	n, end := s.lookLocked(v)
	s.mu.Unlock()
	if end != nil {
		s.finish(end.err)
		if s.waiting.Load() > 0 {
			s.waiter.ring()
		}
		return nil, s.ending()
	}
	if s.waiting.Load() > 0 && (n != nil || v.from < v.to) {
		s.waiter.ring() // a reader in parallel may find more
	}
	return n, nil
}

// ending is what Next returns after the end.
func (s *Subscription[T]) ending() error {
	if err := s.Err(); err != nil {
		return err
	}
	return s.fail("receive", ErrClosed)
}

// ending is the end of a subscription, with its error.
type ending struct{ err error }

func (s *Subscription[T]) lookLocked(v *view[T]) (*note, *ending) {
	r := &s.topic.ring
	for {
		if s.ended.Load() {
			return nil, &ending{}
		}
		if len(s.pending) > 0 {
			n := s.pending[0]
			s.pending = s.pending[1:]
			return &n, nil
		}
		// In this order. A head that was read after over is final; a note
		// stands before a message only if noted, read after head, says so.
		c := s.cursor.Load()
		v.over = r.over.Load()
		v.head = r.head.Load()
		v.noted = r.noted.Load()
		if lag := min(v.head, s.limit) - c; lag > s.maxLag {
			s.maxLag = lag
		}
		if c < min(r.oldest(v.head), s.limit) {
			s.overflow(c)
			continue
		}
		to := min(v.head, s.limit)
		if s.read.seq < v.noted && s.unread() {
			n, dropped := s.nextNote()
			switch {
			case dropped:
				s.overflow(c)
				continue
			case n != nil && n.at <= c:
				s.take(n, c)
				return n, nil
			case n != nil:
				to = min(to, n.at)
			}
		}
		if c < to {
			if v.seg = r.pin(c); v.seg == nil {
				continue // overtaken since head was read
			}
			v.from, v.to = c, min(to, c-c%segmentSize+segmentSize, c+v.batch)
			s.passed(v.seg, v.to)
			return nil, nil
		}
		s.episode = false
		if c == s.limit {
			return nil, &ending{s.limitErr}
		}
		if v.over && c == v.head {
			return nil, &ending{r.reason()}
		}
		return nil, nil
	}
}

// unread reports whether there may be notes to read up to the limit. Its last
// note may have been read before a hole that became one with a later hole.
func (s *Subscription[T]) unread() bool {
	return s.read.seq < s.limitRead.seq || s.read.misses(s.limitRead)
}

// nextNote returns a copy of the next note to read, or nil, or that it was
// dropped. It then stands before a message that the ring no longer owes.
func (s *Subscription[T]) nextNote() (next *note, dropped bool) {
	r := &s.topic.ring
	r.mu.Lock()
	defer r.mu.Unlock()
	if s.read.seq < r.notes.dropped.seq && s.unread() {
		return nil, true
	}
	n := r.notes.after(s.read.seq)
	if n == nil {
		return nil, false
	}
	c := *n
	if n.seq > s.limitRead.seq {
		// The holes up to the limit may have become one with later ones.
		if n = r.notes.hole(s.read.seq, s.limit); n == nil || !s.read.misses(s.limitRead) {
			return nil, false
		}
		c = *n
		d := *n.discontinuity
		d.Resume = Position{}
		c.discontinuity, c.seq, c.lost, c.inexact = &d, s.limitRead.seq, s.limitRead.lost, s.limitRead.inexact
	}
	return &c, false
}

// take has n, which stands at cursor c, read. If it is made of several holes
// it becomes what is left of them.
func (s *Subscription[T]) take(n *note, c uint64) {
	if n.discontinuity == nil {
		s.read.seq = n.seq // n's totals may count holes that are now in a later one
		return
	}
	d := *n.discontinuity
	d.Lost, d.Exact = n.lost-s.read.lost, n.inexact == s.read.inexact
	if s.read.seq >= n.from {
		d.After = s.lastBefore(c)
	}
	n.discontinuity = &d
	s.read = n.mark()
	s.last, s.lastAt = before(d.Resume), c
}

// overflow moves the cursor from c past what the ring no longer owes, and makes
// the report of it pending: of the messages, and of the holes between them.
func (s *Subscription[T]) overflow(c uint64) {
	r, after := &s.topic.ring, s.lastBefore(c)
	r.mu.Lock() // no note is dropped that stands behind what the head says
	head := r.head.Load()
	end := min(head, s.limit)
	to := min(r.oldest(head), end)
	if s.cfg.policy == Fail {
		to = end
	}
	d := Discontinuity{Topic: s.topic.name, Cause: CauseOverflow, After: after, Lost: to - c, Exact: true, Err: ErrOverflow}
	if !s.cursor.CompareAndSwap(c, to) {
		r.mu.Unlock()
		return
	}
	s.start += to - c // it did not take these
	if to < end {
		d.Resume, _ = r.position(to)
	}
	read, state := r.notes.skip(s.read, to)
	if n := r.notes.hole(read.seq, to); n != nil {
		d.Resume = behind(n.discontinuity.After) // that hole will be told apart
	}
	r.mu.Unlock()
	if read.seq > s.limitRead.seq {
		read, state = s.limitRead, nil // which may be from behind the limit
	}
	if to > c {
		s.topic.bus.incidents.discontinuity(&d)
	}
	d.Lost += read.lost - s.read.lost
	d.Exact = read.inexact == s.read.inexact
	s.read = read
	s.last, s.lastAt = before(d.Resume), to // for another overflow right behind
	if d.Lost > 0 || !d.Exact {
		s.pending = append(s.pending, note{kind: KindDiscontinuity, discontinuity: &d})
	}
	if state != nil {
		s.pending = append(s.pending, note{kind: KindState, state: state})
	}
	if s.cfg.policy == Fail && to > c {
		s.limit, s.limitRead = to, read
		s.limited.Store(true)
		s.limitErr = fmt.Errorf("%w: more than %d messages behind", ErrOverflow, r.capacity)
	}
}

// passed notes the position of the message before index i, which is in seg.
func (s *Subscription[T]) passed(seg *segment[T], i uint64) {
	s.last, s.lastAt = seg.position(i-1), i
}

// unpin gives v's segment back. s.mu is held.
func (s *Subscription[T]) unpin(v *view[T]) {
	if v.seg == nil {
		return
	}
	if c := s.cursor.Load(); v.from < c && c < v.to {
		s.passed(v.seg, c) // left in the middle
	}
	v.drop()
}

// drop gives the segment of a view that has one back.
func (v *view[T]) drop() {
	v.seg.pins.Add(-1)
	v.seg, v.from, v.to = nil, 0, 0
}

// renew gives up what Next kept of its last call, if the ring has moved on from
// it. To ask again right behind look would forget what the hole is behind: nothing
// of the new view was passed yet, and the one before it is gone.
func (s *Subscription[T]) renew(v *view[T]) {
	if r := &s.topic.ring; s.cursor.Load() < r.oldest(r.head.Load()) {
		s.mu.Lock()
		s.unpin(v)
		s.mu.Unlock()
	}
}

// lastBefore returns the position of the message before index c, zero if it is
// not known. s.mu is held.
func (s *Subscription[T]) lastBefore(c uint64) Position {
	if s.lastAt != c && s.nexting.CompareAndSwap(false, true) {
		s.unpin(&s.next) // Next may have left it in the middle
		s.nexting.Store(false)
	}
	if s.lastAt != c {
		return Position{}
	}
	return s.last
}

// release is unpin for a reader that leaves. If it took the last event that
// was left to read nobody else may come to notice.
func (s *Subscription[T]) release(v *view[T]) {
	if v == &s.next && !s.limited.Load() {
		if v.seg != nil && s.cursor.Load() >= v.to {
			v.drop() // nothing to come back to, and unpin has nothing to note
		}
		return
	}
	s.mu.Lock()
	s.unpin(v)
	exhausted, err := s.exhausted(), s.limitErr
	s.mu.Unlock()
	if exhausted {
		s.finish(err)
	}
}

// sleep waits until there may be something to read. The error is ctx's.
func (s *Subscription[T]) sleep(v *view[T], ctx context.Context) error {
	// In a busy stream the next message is nanoseconds away, a sleep and a
	// wake-up cost both sides hundreds of them. A reader of single messages
	// does not linger: a thousand of them would only burn the processor.
	if v.burst > 1 {
		v.burst = 0
		runtime.Gosched()
		if s.stirred(v) {
			return nil
		}
	}
	v.burst = 0
	s.topic.ring.sleep(&s.waiter)
	s.waiting.Add(1)
	var err error
	switch {
	case s.stirred(v):
	case ctx == nil:
		<-s.waiter.bell
	default:
		err = s.wait(ctx)
	}
	s.waiting.Add(-1)
	return err
}

// stirred reports whether anything has happened since v was made.
func (s *Subscription[T]) stirred(v *view[T]) bool {
	r := &s.topic.ring
	return r.head.Load() != v.head || r.noted.Load() != v.noted || r.over.Load() != v.over || s.ended.Load()
}

// wait waits for the bell, or the end of ctx. Apart from sleep, because a
// select takes stack that a pump has no need of: see startPump.
func (s *Subscription[T]) wait(ctx context.Context) error {
	select {
	case <-s.waiter.bell:
		return nil
	case <-ctx.Done():
		return s.fail("receive", contextError(ctx))
	}
}

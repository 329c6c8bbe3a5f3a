package pubsub

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"runtime/debug"

	"github.com/topicbus/pubsub/internal/ring"
)

// reader is a goroutine that reads a subscription.
type reader[T any] struct {
	view   *ring.View[T, side]
	pump   *pump // if the goroutine is ours
	silent bool  // it is not handed discontinuities
}

// note is what is not a message, as it is handed out.
type note struct {
	kind          Kind
	discontinuity *Discontinuity
	state         *StateChange
}

// sink takes what a reader reads. Both functions return false to stop. The
// error given to message is always nil: it is there so that All can pass its
// yield as it is.
type sink[T any] struct {
	message func(Message[T], error) bool
	event   func(*note) bool
}

// loop reads until the sink stops or the subscription ends, which is the error.
func (s *Subscription[T]) loop(to sink[T], silent bool) error {
	v := new(ring.View[T, side])
	s.loops.Add(1)
	defer func() {
		end := s.cursor.Release(v)
		if s.loops.Add(-1); !s.busy() && end != ring.NotEnded {
			s.end(end) // nobody else would notice
		}
	}()
	return s.read(to, &reader[T]{view: v, silent: silent}, nil)
}

// read hands events to the sink until it stops, ctx ends or the subscription
// ends; the error says which of the latter two. ctx may be nil. It is what all
// ways to read a subscription have in common.
func (s *Subscription[T]) read(to sink[T], r *reader[T], ctx context.Context) error {
	for {
		if !r.view.Empty() {
			if again, err := s.readOn(to, r); !again {
				return err
			}
		}
		if again, err := s.advance(to, r, ctx); !again {
			return err
		}
	}
}

// readOn hands the messages of the view to the sink. It returns true when there
// are no more, and after the codec panicked, which it is there to catch: a defer
// around each Decode would cost as much as all else here.
//
// Claiming a message is a compare-and-swap of the cursor, so readers in
// parallel need no lock between them.
func (s *Subscription[T]) readOn(to sink[T], r *reader[T]) (again bool, err error) {
	var (
		v, cursor  = r.view, s.cursor
		seg        = v.Segment()
		sides      = seg.Sides()
		codec      = s.stream.bus.codec
		decodeOnce = s.stream.bus.decodeOnce
		received   = s.stream.bus.cfg.observer.Received
		m          = Message[T]{Topic: s.name}
		decoding   = noSlot // the slot of the message that the codec is at
	)
	defer func() {
		if decoding != noSlot {
			again, err = s.undecodable(to, r, seg, decoding, decodePanicked(recover()))
		}
	}()
	for {
		i, ok := cursor.At(v)
		if !ok {
			return true, nil
		}
		// Before it is claimed: passing m on right behind the stores that make
		// it waits for them, which the compare-and-swap does anyway.
		slot := ring.Slot(i)
		e := &seg.Entries[slot]
		m.Position = Position(e.At)
		if sides != nil {
			m.Publisher = sides[slot].publisher
		}
		if decodeOnce {
			m.Value = e.Value
		}
		if !cursor.Take(i) {
			continue
		}
		if !decodeOnce {
			decoding = slot
			m.Value, err = codec.Decode(sides[slot].payload)
			decoding = noSlot
			if err != nil {
				return s.undecodable(to, r, seg, slot, codecError("decode", err))
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

// noSlot is a slot that no message has.
const noSlot = ^uint64(0)

// advance is what a reader does between two stretches: it renews its view,
// hands out the note that stands there, or sleeps.
func (s *Subscription[T]) advance(to sink[T], r *reader[T], ctx context.Context) (again bool, err error) {
	n, end := s.cursor.Look(r.view)
	switch {
	case end != ring.NotEnded:
		s.end(end)
		return false, s.endErr()
	case n != nil:
		return s.handOut(to, r, s.noteOf(n))
	case r.view.Empty():
		s.caughtUp(false)
		err := s.sleep(r.view, ctx)
		return err == nil, err
	}
	return true, nil
}

// sleep waits until there may be something to read. The error is ctx's.
func (s *Subscription[T]) sleep(v *ring.View[T, side], ctx context.Context) error {
	// In a busy stream the next message is nanoseconds away, a sleep and a
	// wake-up cost both sides hundreds of them. A reader of single messages
	// does not linger: a thousand of them would only burn the processor.
	if s.cursor.Busy(v) {
		runtime.Gosched()
		if s.cursor.Stirred(v) {
			return nil
		}
	}
	if !s.cursor.Sleep(v, ctx) {
		return s.fail("receive", contextError(ctx))
	}
	return nil
}

// end ends the subscription where reading has ended.
func (s *Subscription[T]) end(end ring.End) {
	switch end {
	case ring.Drained:
		s.finish(nil)
	case ring.Overflowed:
		s.finish(fmt.Errorf("%w: more than %d messages behind", ErrOverflow, s.stream.log.Capacity()))
	case ring.Over:
		s.finish(s.stream.log.Reason())
	}
}

// endErr is what Next returns after the end.
func (s *Subscription[T]) endErr() error {
	if err := s.Err(); err != nil {
		return err
	}
	return s.fail("receive", errSubscriptionEnded)
}

// noteOf makes what is handed out of what the log has noted.
func (s *Subscription[T]) noteOf(n *ring.Note) *note {
	switch n.Kind {
	case ring.Gap:
		return &note{kind: KindDiscontinuity, discontinuity: s.discontinuity(&n.Hole)}
	case ring.Beat:
		return &note{kind: KindHeartbeat}
	default:
		return &note{kind: KindState, state: n.Info.(*StateChange)}
	}
}

func (s *Subscription[T]) discontinuity(h *ring.Hole) *Discontinuity {
	d := &Discontinuity{
		Topic: s.name, Cause: Cause(h.Cause), After: Position(h.After), Resume: Position(h.Resume), Lost: h.Lost, Exact: h.Exact,
	}
	switch noted, _ := h.Info.(*Discontinuity); {
	case h.Overflow:
		d.Cause, d.Err = CauseOverflow, ErrOverflow
		if h.Skipped > 0 {
			told := *d
			told.Lost, told.Exact = h.Skipped, true // without the holes, which are incidents of their own
			s.stream.bus.incidents.discontinuity(&told)
		}
	case h.Reset:
		d.Cause = CauseReset
	case noted == nil:
		d.Cause = CauseReconnect // of a subscription that resumes
	default:
		d.Err = noted.Err
		if !h.Joined {
			d.Payload = noted.Payload
		}
		if h.Cause == 0 {
			d.Cause = CauseBackend
		}
	}
	return d
}

// eventOf makes the Event of a note.
func eventOf[T any](n *note) Event[T] {
	e := Event[T]{Kind: n.kind, Discontinuity: n.discontinuity}
	if n.state != nil {
		e.State = *n.state
	}
	return e
}

// undecodable hands out the report that the message in a slot cannot be decoded.
func (s *Subscription[T]) undecodable(to sink[T], r *reader[T], seg *ring.Segment[T, side], slot uint64, err error) (again bool, _ error) {
	s.recount(func(c *counts) { c.undelivered++ })
	d := undecodable(s.name, seg.Sides()[slot].payload, Position(seg.Entries[slot].At), err)
	s.stream.bus.incidents.discontinuity(d)
	return s.handOut(to, r, &note{kind: KindDiscontinuity, discontinuity: d})
}

// handOut accounts for a note, calls who wants to know of it and gives it to
// the sink.
func (s *Subscription[T]) handOut(to sink[T], r *reader[T], n *note) (again bool, err error) {
	if s.killed.Load() {
		s.dropNote(n)
		return false, s.endErr()
	}
	switch {
	case n.discontinuity != nil:
		s.account(r, n.discontinuity)
	case n.state != nil:
		if f := s.stream.bus.cfg.observer.State; f != nil {
			f(s.name, *n.state)
		}
	}
	if s.cfg.hasCallback(n) && !s.call(r, func() { s.cfg.callBack(n) }) {
		return false, s.endErr()
	}
	return to.event(n), nil
}

// account counts what d reports lost, and tells the observer, or the log if
// nobody else is there to be told.
func (s *Subscription[T]) account(r *reader[T], d *Discontinuity) {
	s.recount(func(c *counts) { c.lost.add(d) })
	if f := s.stream.bus.cfg.observer.Discontinuity; f != nil {
		f(d)
	}
	if r.silent && len(s.cfg.onDiscontinuity) == 0 {
		s.unobserved(d)
	}
}

func (c *subscribeConfig) hasCallback(n *note) bool {
	switch {
	case n.discontinuity != nil:
		return len(c.onDiscontinuity) > 0
	case n.state != nil:
		return len(c.onState) > 0
	default:
		return len(c.onHeartbeat) > 0
	}
}

func (c *subscribeConfig) callBack(n *note) {
	switch {
	case n.discontinuity != nil:
		for _, f := range c.onDiscontinuity {
			f(n.discontinuity)
		}
	case n.state != nil:
		for _, f := range c.onState {
			f(*n.state)
		}
	default:
		for _, f := range c.onHeartbeat {
			f()
		}
	}
}

// call runs f, which calls the application. A panic there ends the
// subscription, and harms nobody else.
func (s *Subscription[T]) call(r *reader[T], f func()) (ok bool) {
	if p := r.pump; p != nil {
		// Close looks at busy after killing: either it sees us here, and does
		// not wait for a callback that may be its own caller, or we see that
		// it killed.
		p.busy.Store(true)
		defer p.busy.Store(false)
	}
	s.calling(+1)
	defer s.calling(-1)
	if s.killed.Load() {
		return false
	}
	defer func() {
		if p := recover(); p != nil {
			s.stream.bus.log().LogAttrs(context.Background(), slog.LevelError, "pubsub: callback panicked; subscription ended",
				slog.String("topic", s.name), slog.String("subscription", s.Name()), slog.Any("panic", p), slog.String("stack", string(debug.Stack())))
			s.finish(fmt.Errorf("callback panicked: %v", p))
			ok = false
		}
	}()
	f()
	return true
}

// calling counts the callbacks that run, for Wait.
func (s *Subscription[T]) calling(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.calls += n; s.calls == 0 && s.idle != nil {
		close(s.idle)
		s.idle = nil
	}
}

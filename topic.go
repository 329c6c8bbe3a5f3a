package pubsub

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"
)

// topicKey tells apart the shared streams of a bus. Those who asked for
// back-pressure have one of their own, so that they never stall the others.
type topicKey struct {
	name  string
	block bool
}

// topic is one upstream stream and its local subscribers. Its goroutine runs
// from the first subscription until the stream has ended.
//
// What deliver needs for a message stands first, the beginning of the ring
// included, on two cache lines: with many topics, the lines that a message
// touches are most of its cost.
type topic[T any] struct {
	bus     *bus[T]
	block   bool        // a full ring makes the stream wait
	private bool        // not in bus.topics
	ended   atomic.Bool // Receive has returned
	ring    ring[T]

	name    string
	ctx     context.Context // the stream's life
	cancel  context.CancelFunc
	opened  chan struct{} // closed when the backend's Subscribe returned; then
	openErr error         // tells how
	done    chan struct{} // closed when the goroutine is gone

	stats streamStats

	// Guarded by bus.mu.
	finished    bool // the goroutine is done
	subscribers int
	linger      *time.Timer
}

// attach joins s to its topic, which it opens if need be.
func (b *bus[T]) attach(s *Subscription[T], name string) error {
	key := topicKey{name, s.cfg.policy == Block}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed.Load() {
		return errBusClosed
	}
	t := b.topics[key]
	if s.cfg.private {
		t = nil
	}
	if t == nil || !s.join(t) {
		t = b.open(key, s.cfg)
		after := s.cfg.after
		if !t.private {
			after = Position{} // others would get what was before their time
		}
		s.join(t)
		go t.run(after) // not before s is there to read
	}
	t.subscribers++
	t.stopLinger()
	return nil
}

// place is where in a topic a subscription starts.
type place struct {
	unknown bool // the topic's ring does not have it
	present bool // otherwise before the message with index at
	at      uint64
	last    Position       // of the message before it, where known
	counted bool           // gap says what is missing before it, notes need not
	gap     *Discontinuity // or nil
}

// place finds where a subscription of that configuration starts in t. ring.mu is
// held: no note that it needs is dropped meanwhile.
func (t *topic[T]) place(cfg subscribeConfig) place {
	if !cfg.resume || t.private { // the stream resumes
		return place{present: true}
	}
	i, next, held := t.ring.locate(cfg.after)
	switch {
	case held && !t.block:
		return place{at: i, last: cfg.after}
	case !cfg.shared:
		// A hole that cfg.after stands in would be reported as a whole, though
		// who was there misses only a part of it.
		return place{unknown: true}
	}
	gap := &Discontinuity{Topic: t.name, Cause: CauseReconnect, After: cfg.after}
	if next.IsZero() || t.block { // which has no room for who starts further back
		return place{present: true, gap: gap}
	}
	gap.Resume = next
	if next.Page == cfg.after.Page { // otherwise nobody can count
		gap.Lost, gap.Exact = next.Sequence-cfg.after.Sequence-1, true
	}
	if gap.Exact && gap.Lost == 0 {
		gap = nil
	}
	return place{at: i, last: before(next), counted: true, gap: gap}
}

// open makes a topic, for the caller to run. b.mu is held.
func (b *bus[T]) open(key topicKey, cfg subscribeConfig) *topic[T] {
	t := &topic[T]{
		bus:     b,
		name:    key.name,
		block:   key.block,
		private: cfg.private || cfg.resume && !cfg.shared,
		opened:  make(chan struct{}),
		done:    make(chan struct{}),
	}
	t.ring.init(b.cfg.buffer, !b.decodeOnce, key.block)
	t.ctx, t.cancel = context.WithCancel(context.Background())
	b.listed[t] = struct{}{}
	if !t.private {
		b.topics[key] = t
	}
	return t
}

// run is the topic's goroutine.
func (t *topic[T]) run(after Position) {
	defer close(t.done)
	defer t.bus.finished(t)
	defer t.cancel()
	open, err := false, errExited // unless both calls return
	defer func() { t.over(open, err) }()
	stream, err := t.bus.backend.Subscribe(t.ctx, t.name, Start{After: after})
	if err == nil && isNil(stream) {
		err = fmt.Errorf("%w: the backend's Subscribe returned no Stream", ErrUnavailable)
	}
	if err != nil {
		return
	}
	open, err = true, errExited
	close(t.opened)
	err = stream.Receive(t.deliver)
}

// over tells the subscriptions that the stream has ended, or was not opened.
func (t *topic[T]) over(open bool, err error) {
	t.ended.Store(true)
	t.bus.close(t) // before anybody hears of the end and subscribes anew
	if !open {
		t.openErr = err
		close(t.opened)
		return
	}
	switch {
	case t.ctx.Err() != nil:
		err = nil // as asked for, whatever the backend calls it
	case err == nil:
		err = fmt.Errorf("%w: the backend ended the stream without a reason", ErrUnavailable)
	}
	if err != nil {
		t.bus.incidents.add(Incident{Topic: t.name, Err: err})
	}
	t.ring.end(err)
}

// close has later subscriptions open a stream of their own.
func (b *bus[T]) close(t *topic[T]) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.unshare(t)
}

// finished is told that a topic's goroutine is done.
func (b *bus[T]) finished(t *topic[T]) {
	b.mu.Lock()
	defer b.mu.Unlock()
	t.finished = true
	b.unlist(t)
}

// unlist takes a topic out of the books that has neither a stream nor a
// subscription that still reads what is queued. b.mu is held.
func (b *bus[T]) unlist(t *topic[T]) {
	if t.finished && t.subscribers == 0 {
		delete(b.listed, t)
		b.gone.add(t.stats.snapshot())
	}
}

// unshare keeps later subscriptions from joining t. b.mu is held.
func (b *bus[T]) unshare(t *topic[T]) {
	key := topicKey{t.name, t.block}
	if b.topics[key] == t {
		delete(b.topics, key)
	}
	t.stopLinger()
}

// stopLinger is for a topic that is needed again, or no more. bus.mu is held.
func (t *topic[T]) stopLinger() {
	if t.linger != nil {
		t.linger.Stop()
		t.linger = nil
	}
}

// detach takes s out of its topic, and ends the topic with its last one.
func (b *bus[T]) detach(s *Subscription[T]) {
	t := s.topic
	b.mu.Lock()
	defer b.mu.Unlock()
	t.ring.leave(s)
	s.settle() // in one step with leave, or a counter of Stats would dip
	t.subscribers--
	switch {
	case t.subscribers > 0:
	case t.finished:
		b.unlist(t)
	case t.private, t.ended.Load(), b.cfg.linger == 0, b.closed.Load():
		b.unshare(t)
		t.cancel()
	default:
		var timer *time.Timer
		timer = time.AfterFunc(b.cfg.linger, func() { b.expire(t, &timer) })
		t.linger = timer
	}
}

// expire ends a topic that nobody joined while it lingered. A timer that fired
// while it was being stopped is not the topic's any more.
func (b *bus[T]) expire(t *topic[T], timer **time.Timer) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if t.linger == *timer {
		b.unshare(t)
		t.cancel()
	}
}

// awaitEnd waits for the topic's goroutine, if the topic is ending.
func (t *topic[T]) awaitEnd() {
	if t.ctx.Err() != nil {
		<-t.done
	}
}

// deliver takes the next frame of the stream; see Stream.
func (t *topic[T]) deliver(ctx context.Context, f Frame) error {
	if t.ended.Load() {
		return nil
	}
	switch f.Kind {
	case KindMessage:
		return t.message(ctx, &f)
	case KindDiscontinuity:
		d := Discontinuity{Cause: CauseBackend}
		if f.Discontinuity != nil {
			d = *f.Discontinuity
		}
		d.Topic = t.name
		t.lose(&d)
	case KindState:
		if f.State != nil {
			t.stats.changed(*f.State)
			t.bus.incidents.add(Incident{Topic: t.name, State: f.State})
			t.ring.note(note{kind: f.Kind, state: f.State})
		}
	case KindHeartbeat:
		t.ring.note(note{kind: f.Kind})
	}
	return nil
}

func (t *topic[T]) message(ctx context.Context, f *Frame) error {
	if t.block && t.ring.crowded() {
		if err := t.waitForRoom(ctx); err != nil {
			t.lose(&Discontinuity{
				Topic: t.name, Cause: CauseOverflow, After: before(f.Position), Resume: behind(f.Position), Lost: 1, Exact: true,
				Err: fmt.Errorf("%w: %w", ErrOverflow, err)})
			return err
		}
	}
	var value T
	if t.bus.decodeOnce {
		var err error
		if value, err = t.bus.decode(f.Payload); err != nil {
			t.lose(undecodable(t.name, f.Payload, f.Position, err))
			return nil
		}
	}
	seg, i := t.ring.tailSegment()
	e := &seg.entries[i%segmentSize]
	e.at = f.Position
	if t.bus.decodeOnce {
		e.value = value
	} else {
		seg.payloads[i%segmentSize] = f.Payload
	}
	if f.Publisher != "" {
		seg.setPublisher(i, f.Publisher)
	}
	t.ring.append()
	return nil
}

// lose adds a hole to the stream.
func (t *topic[T]) lose(d *Discontinuity) {
	t.bus.incidents.discontinuity(d)
	t.ring.note(note{kind: KindDiscontinuity, discontinuity: d})
}

func undecodable(topic string, p Payload, at Position, err error) *Discontinuity {
	return &Discontinuity{
		Topic: topic, Cause: CauseDecode, After: before(at), Resume: behind(at), Lost: 1, Exact: true,
		Payload: &p, Err: err,
	}
}

// before and behind are the neighbours of a numbered message.
func before(p Position) Position {
	if p.Sequence <= 1 {
		return Position{} // nothing came before on that page
	}
	p.Sequence--
	return p
}

func behind(p Position) Position {
	if !p.IsZero() {
		p.Sequence++
	}
	return p
}

// waitForRoom blocks the stream until all subscriptions are less than a full
// ring behind.
func (t *topic[T]) waitForRoom(ctx context.Context) error {
	r := &t.ring
	// Readers are likely at it. Some patience buys room for many messages;
	// going on as soon as there is room for one means looking at every reader
	// for every message.
	for range 4 {
		if r.laggard(max(1, r.capacity/4)) == nil {
			return nil
		}
		runtime.Gosched()
	}
	for {
		s := r.laggard(1)
		if s == nil {
			return nil
		}
		enough := r.head.Load() - r.capacity + 1
		s.notifyAt.Store(enough)
		if s.cursor.Load() >= enough {
			continue // it got there before it could see notifyAt
		}
		select {
		case <-r.freed:
		case <-t.ctx.Done():
			return errors.Join(ErrClosed, t.ctx.Err())
		case <-ctx.Done():
			return contextError(ctx)
		}
	}
}

package pubsub

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"runtime"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/topicbus/pubsub/internal/clean"
	"github.com/topicbus/pubsub/internal/ring"
)

// stream is one upstream stream of a topic and the subscriptions that read it.
// Its goroutine runs from the first subscription until the stream has ended.
//
// What deliver needs for a message stands first, the beginning of the log
// included, on two cache lines. With many topics, the lines that a message
// touches are most of its cost.
type stream[T any] struct {
	bus     *bus[T]
	block   bool        // a full log makes the stream wait
	private bool        // nobody else may join
	ended   atomic.Bool // Receive has returned
	watched atomic.Bool // somebody is going to look for readers that stay away
	due     atomic.Bool // deliver is to look at census first
	log     ring.Log[T, side]

	name   string
	from   Start // where it was opened
	ctx    context.Context
	cancel context.CancelFunc
	opened chan struct{} // closed when the first attempt to open it is over, ...
	done   chan struct{} // ... and when the goroutine is gone
	crowd  chan struct{} // of Block: holds a token while deliver waits for room

	upstream atomic.Pointer[Stream] // of the backend, once it is open
	start    Position               // of upstream; set before opened is closed

	stats   streamStats
	losses  lossLog
	census  census
	mark    uint64      // what was there when watched was set; for who set it, then look
	bubbled bool        // it was made in a synctest bubble
	stray   atomic.Bool // nobody waits for Receive any more, and the log says so

	// Guarded by bus.mu.
	openErr     error     // the last attempt to open it failed; nil once one succeeded
	finished    bool      // the goroutine is done
	waitUntil   time.Time // for the goroutine to end
	subscribers int
	dropped     uint64 // by ends of its subscriptions
	linger      *time.Timer
	lookout     *time.Timer // while watched
}

// side is what few messages have.
type side struct {
	payload   Payload // where each subscription decodes for itself
	publisher string
}

// streamKey tells apart the streams of a bus that may be shared. Those who asked
// for back-pressure have their own, so that they never stall the others.
type streamKey struct {
	name  string
	block bool
}

// attach joins s to a stream of its topic, and opens one if need be.
func (b *bus[T]) attach(s *Subscription[T]) error {
	key := streamKey{s.name, s.cfg.policy == Block}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed.Load() {
		return errBusClosed
	}
	if !s.cfg.private {
		for _, st := range b.streams[key] {
			if s.join(st) {
				if st.openErr != nil && !s.cfg.eventually {
					s.leave()
					return st.openErr
				}
				st.subscribers++
				st.stopLinger()
				return nil
			}
		}
	}
	st := b.open(key, s.cfg)
	s.enter(st)
	st.subscribers++
	go st.run() // not before s is there to read
	return nil
}

// join makes s a reader of st, if what s asks for is to be had there. b.mu is
// held.
func (s *Subscription[T]) join(st *stream[T]) bool {
	log, present := &st.log, st.from == Start{}
	switch from := s.cfg.from; {
	case !from.After.IsZero() && s.cfg.shared:
		if !present {
			return false
		}
		log.JoinNearest(s.cursor, ring.Place(from.After))
	case !from.After.IsZero():
		if !log.JoinBehind(s.cursor, ring.Place(from.After)) {
			return false
		}
	case from.Last > 0:
		if !log.JoinNewest(s.cursor, from.Last) && !(st.from.Last == from.Last && log.JoinOldest(s.cursor, true)) {
			return false
		}
	case from.Oldest:
		if !st.from.Oldest || !log.JoinOldest(s.cursor, true) {
			return false
		}
	case !present: // it may still be at what was before s
		return false
	default:
		log.Join(s.cursor)
	}
	s.stream = st
	return true
}

// atHand returns a subscription in place of s, if the buffer of an open stream
// holds more of what s asks for than the stream that was opened for s began with.
// That is so with a backend that keeps no messages.
func (b *bus[T]) atHand(s *Subscription[T]) *Subscription[T] {
	n, own := s.cfg.from.Last, s.stream
	if s.cfg.from.Oldest {
		n = math.MaxUint64
	}
	if n == 0 || s.cfg.private || own.upstream.Load() == nil || own.start.IsZero() {
		return nil
	}
	other := newSubscription[T](s.name, s.cfg)
	other.caller = s.caller
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, st := range b.streams[streamKey{s.name, own.block}] {
		if st != own && st.openErr == nil && st.log.JoinAtHand(other.cursor, n, ring.Place(own.start)) {
			other.stream = st
			st.subscribers++
			st.stopLinger()
			return other
		}
	}
	return nil
}

// enter makes s the first reader of st.
func (s *Subscription[T]) enter(st *stream[T]) {
	s.stream = st
	if s.cfg.shared && !s.cfg.from.After.IsZero() {
		st.log.JoinNearest(s.cursor, ring.Place(s.cfg.from.After))
		return
	}
	st.log.Join(s.cursor)
}

// open makes a stream, for the caller to run. b.mu is held.
func (b *bus[T]) open(key streamKey, cfg subscribeConfig) *stream[T] {
	st := &stream[T]{
		bus:     b,
		name:    key.name,
		block:   key.block,
		private: cfg.private,
		from:    cfg.from,
		bubbled: inBubble(),
		opened:  make(chan struct{}),
		done:    make(chan struct{}),
	}
	if cfg.shared {
		st.from = Start{} // others would get what was before their time
	}
	st.log.Init(b.cfg.buffer, key.block)
	st.census.due = &st.due
	st.due.Store(true) // to hear of the first frame
	if st.block {
		st.crowd = make(chan struct{}, 1)
	}
	if begin := st.from.After; !begin.IsZero() {
		st.log.Fill(ring.Place(begin), true) // now, for those who come before it is open
	}
	if b.cfg.bufferBytes > 0 {
		st.log.Bound(b.cfg.bufferBytes)
	}
	st.ctx, st.cancel = context.WithCancel(context.Background())
	b.listed[st] = struct{}{}
	if !st.private {
		b.streams[key] = append(b.streams[key], st)
	}
	return st
}

// run opens the stream. That takes a deeper stack than waiting for messages does,
// so what then lives as long as the stream is another goroutine.
func (st *stream[T]) run() {
	var upstream Stream
	err := errExited // unless connect returns
	defer func() {
		if err != nil {
			st.gone(err)
			return
		}
		go st.receive(upstream)
	}()
	upstream, err = st.connect()
}

// receive is the stream's goroutine.
func (st *stream[T]) receive(upstream Stream) {
	err := errExited // unless the call returns
	defer func() { st.gone(err) }()
	if runs, ok := upstream.(RunStream); ok {
		err = runs.ReceiveRuns(st.deliver, st.deliverRun)
	} else {
		err = upstream.Receive(st.deliver)
	}
}

// gone is called when nothing is to come any more.
func (st *stream[T]) gone(err error) {
	defer close(st.done)
	defer func() {
		if st.bus.finished(st) {
			st.lossesOver()
		}
	}()
	defer st.cancel()
	st.over(err)
}

// connect opens the upstream stream. After a failure that passes it tries again
// for as long as a subscription is there that waits for it; see Eventually.
func (st *stream[T]) connect() (Stream, error) {
	began := time.Now()
	for attempt := 1; ; attempt++ {
		upstream, err := st.subscribe()
		if err == nil {
			st.connected(upstream, attempt, time.Since(began))
			return upstream, nil
		}
		if !passes(err) || st.ctx.Err() != nil || !st.bus.awaited(st, err) {
			return nil, err
		}
		st.state(&StateChange{State: Reconnecting, Err: err, Attempt: attempt, Downtime: time.Since(began)})
		if attempt == 1 {
			close(st.opened)
		}
		if !pause(st.ctx, attempt) {
			return nil, err
		}
	}
}

// subscribe makes one attempt to open the upstream stream.
func (st *stream[T]) subscribe() (Stream, error) {
	upstream, err := st.bus.backend.Subscribe(st.ctx, st.name, st.from)
	if err == nil && isNil(upstream) {
		err = fmt.Errorf("%w: the backend's Subscribe returned no Stream", ErrUnavailable)
	}
	return upstream, err
}

// connected is told that the upstream stream is open.
func (st *stream[T]) connected(upstream Stream, attempt int, down time.Duration) {
	st.start = upstream.Start()
	st.upstream.Store(&upstream)
	if st.from.After.IsZero() {
		st.log.Fill(ring.Place(st.start), false)
	}
	st.log.Open()
	if f, ok := upstream.(Flusher); ok && st.from != (Start{}) {
		f.Flush(st.log.Filled)
	} else {
		st.log.Filled() // or nobody can tell
	}
	if attempt > 1 && st.from.After.IsZero() {
		st.lose(&Discontinuity{Topic: st.name, Cause: CauseReconnect})
	}
	if attempt > 1 {
		st.state(&StateChange{State: Resumed, Attempt: attempt, Downtime: down})
	}
	st.bus.failed(st, nil)
	if attempt == 1 {
		close(st.opened)
	}
}

// passes reports whether err, of opening a stream, may not come again.
func passes(err error) bool {
	return errors.Is(err, ErrUnavailable) || errors.Is(err, ErrLimitExceeded) ||
		errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, ErrClosed)
}

// The waits between attempts to open a stream double, and are shortened by up to
// a half at random, so that many do not come at once.
const (
	firstPause = 100 * time.Millisecond
	maxPause   = 10 * time.Second
)

func pause(ctx context.Context, attempt int) bool {
	d := min(maxPause, firstPause<<min(attempt-1, 10))
	timer := time.NewTimer(d/2 + rand.N(d/2))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// failed notes how the last attempt to open st went.
func (b *bus[T]) failed(st *stream[T], err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	st.openErr = err
}

// awaited notes that an attempt to open st failed, and reports whether a
// subscription is there that waits for another one.
func (b *bus[T]) awaited(st *stream[T], err error) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	st.openErr = err
	for _, c := range st.log.Readers() {
		if c.Owner.(*Subscription[T]).cfg.eventually {
			return true
		}
	}
	return false
}

// over tells the subscriptions that the stream has ended, or was not opened.
func (st *stream[T]) over(err error) {
	st.ended.Store(true)
	st.bus.close(st, err) // before anybody hears of the end and subscribes anew
	wasOpen := st.upstream.Load() != nil
	switch {
	case st.ctx.Err() != nil:
		err = nil // as asked for, whatever the backend calls it
	case err == nil:
		err = fmt.Errorf("%w: the backend ended the stream without a reason", ErrUnavailable)
	}
	if err != nil && wasOpen {
		st.bus.incidents.add(Incident{Topic: st.name, Err: err})
	}
	st.log.End(err)
	select {
	case <-st.opened:
	default:
		close(st.opened)
	}
}

// close has later subscriptions open a stream of their own.
func (b *bus[T]) close(st *stream[T], err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if st.upstream.Load() == nil {
		st.openErr = err
	}
	b.unshare(st)
}

// finished is told that a stream's goroutine is done. It reports what unlist does.
func (b *bus[T]) finished(st *stream[T]) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	st.finished = true
	return b.unlist(st)
}

// unlist takes a stream out of the books that has neither a goroutine nor a
// subscription that still reads what is queued, and reports whether it is one.
// b.mu is held.
func (b *bus[T]) unlist(st *stream[T]) bool {
	if !st.finished || st.subscribers > 0 {
		return false
	}
	delete(b.listed, st)
	b.gone.add(st.stats.snapshot())
	st.stopLooking()
	return true
}

// unshare keeps later subscriptions from joining st. b.mu is held.
func (b *bus[T]) unshare(st *stream[T]) {
	key := streamKey{st.name, st.block}
	list := b.streams[key]
	for i, other := range list {
		if other == st {
			list[i] = list[len(list)-1]
			list[len(list)-1] = nil
			b.streams[key] = list[:len(list)-1]
		}
	}
	if len(b.streams[key]) == 0 {
		delete(b.streams, key)
	}
	st.stopLinger()
}

// stopLinger is for a stream that is needed again, or no more. bus.mu is held.
func (st *stream[T]) stopLinger() {
	if st.linger != nil {
		st.linger.Stop()
		st.linger = nil
	}
}

// detach takes s out of its stream's books, and ends the stream with its last
// subscription. It reports what unlist does.
func (b *bus[T]) detach(s *Subscription[T]) (over bool) {
	st := s.stream
	held := b.heldBack(s)
	b.mu.Lock()
	defer b.mu.Unlock()
	s.settle(held) // in one step with what follows, or a counter of Stats would dip
	st.subscribers--
	switch {
	case st.subscribers > 0:
	case st.finished:
		over = b.unlist(st)
	case !st.lingers():
		b.unshare(st)
		st.end()
	default:
		var timer *time.Timer
		timer = time.AfterFunc(b.cfg.linger, func() { b.expire(st, &timer) })
		st.linger = timer
	}
	return over
}

// lingers reports whether st stays open without subscriptions. bus.mu is held.
func (st *stream[T]) lingers() bool {
	return !st.private && !st.ended.Load() && st.from == Start{} && st.openErr == nil && st.bus.cfg.linger > 0 && !st.bus.closed.Load()
}

// end has the stream end. bus.mu is held.
func (st *stream[T]) end() {
	if st.waitUntil.IsZero() {
		st.waitUntil = time.Now().Add(patience)
	}
	st.cancel()
}

// expire ends a stream that nobody joined while it lingered. A timer that fired
// while it was being stopped is not the stream's any more.
func (b *bus[T]) expire(st *stream[T], timer **time.Timer) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if st.linger == *timer {
		b.unshare(st)
		st.end()
	}
}

// patience is how long Close waits for foreign code that does not return though
// it was told to.
const patience = 5 * time.Second

// awaitEnd waits for the stream's goroutine, if the stream was told to end. It
// gives up some time after that, whoever waits.
func (st *stream[T]) awaitEnd() {
	if st.ended.Load() {
		<-st.done // at once
	}
	select {
	case <-st.done:
		return
	default:
	}
	st.bus.mu.Lock()
	until := st.waitUntil
	st.bus.mu.Unlock()
	if until.IsZero() {
		return
	}
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	select {
	case <-st.done:
	case <-timer.C:
		if !st.stray.Swap(true) {
			st.bus.log().LogAttrs(context.Background(), slog.LevelError,
				"pubsub: the backend has not ended a stream though its ctx ended; not waiting for it any more",
				slog.String("topic", st.name), slog.Duration("waited", patience))
		}
	}
}

// held is how many messages the backend holds back for the stream.
func (st *stream[T]) held() uint64 {
	if up := st.upstream.Load(); up != nil {
		if h, ok := (*up).(Holder); ok {
			return h.Held()
		}
	}
	return 0
}

// heldBack is how many messages the backend holds back that s, which was
// stopped, would have got. If s is the last to read its stream, that is ended:
// then they can be counted when nothing moves any more.
func (b *bus[T]) heldBack(s *Subscription[T]) uint64 {
	st := s.stream
	if st.upstream.Load() == nil || !st.block && st.held() == 0 || s.cursor.Limited() { // never open, or they came too late
		return 0
	}
	b.mu.Lock()
	if st.subscribers == 1 && !st.lingers() {
		b.unshare(st)
		st.end()
	}
	b.mu.Unlock()
	st.awaitEnd()
	if st.block && st.ctx.Err() != nil { // a publisher may be about to note that its message found no room
		st.crowd <- struct{}{}
		<-st.crowd
	}
	n := st.count()
	s.cursor.LimitTo(n.mark)
	return n.held - min(n.held, s.cursor.Ahead(n.mark))
}

// flush calls done behind everything that was accepted so far, as far as the
// backend knows. It may do so later, or never if the stream ends before.
func (st *stream[T]) flush(done func()) {
	if up := st.upstream.Load(); up != nil {
		f, ok := (*up).(Flusher)
		switch {
		case st.ended.Load() && st.held() > 0:
			return // that will never come
		case ok && !st.ended.Load():
			f.Flush(done)
			return
		}
	}
	done()
}

// deliver takes the next frame of the stream; see Stream.
func (st *stream[T]) deliver(ctx context.Context, f Frame) error {
	if st.ended.Load() {
		return nil
	}
	if st.due.Load() {
		st.answer()
	}
	switch f.Kind {
	case KindMessage:
		_, err := st.take(ctx, f.Position, unsafe.Slice(&f.Payload, 1), f.Publisher, f.More)
		return err
	case KindDiscontinuity:
		d := Discontinuity{Cause: CauseBackend}
		if f.Discontinuity != nil {
			d = *f.Discontinuity
		}
		d.Topic = st.name
		st.lose(&d)
	case KindState:
		if f.State != nil {
			st.state(f.State)
		}
		st.census.rest()
	case KindHeartbeat:
		st.log.Note(ring.Note{Kind: ring.Beat})
		st.census.rest()
	default:
		st.lose(&Discontinuity{
			Topic: st.name, Cause: CauseBackend, After: before(f.Position), Resume: behind(f.Position), Lost: 1,
			Err: fmt.Errorf("the backend delivered a frame of no known kind: %v", f.Kind),
		})
	}
	return nil
}

// deliverRun takes a run of messages; see RunStream.
func (st *stream[T]) deliverRun(ctx context.Context, at Position, ps []Payload) (taken int, err error) {
	if st.ended.Load() {
		return len(ps), nil
	}
	if st.due.Load() {
		st.answer()
	}
	for taken < len(ps) && err == nil { // once, unless Decode panics
		var n int
		n, err = st.take(ctx, at, ps[taken:], "", false)
		taken += n
		if !at.IsZero() {
			at.Sequence += uint64(n)
		}
	}
	return taken, err
}

// take adds messages to the log, the first of which has the position at. more says
// that others follow them at once. It catches a panic of Decode itself, and stops
// behind that message then: another function around Decode would cost as much as
// Decode.
func (st *stream[T]) take(ctx context.Context, at Position, ps []Payload, publisher string, more bool) (taken int, err error) {
	decoding := false
	defer func() {
		if decoding {
			st.undecodable(&ps[taken], at, decodePanicked(recover()))
			taken, err = taken+1, nil
		}
		if !more && !st.watched.Load() {
			st.watch()
		}
	}()
	b, log, last := st.bus, &st.log, len(ps)-1
	step := uint64(1)
	if at.IsZero() {
		step = 0 // not numbered
	}
	for i := range ps {
		if st.block && log.Crowded() {
			if err := st.makeRoom(ctx, at); err != nil {
				return i, err
			}
		}
		seg, slot := log.Next()
		e := &seg.Entries[slot]
		if b.decodeOnce {
			taken, decoding = i, true
			value, err := b.codec.Decode(ps[i])
			decoding = false
			if err != nil {
				st.undecodable(&ps[i], at, codecError("decode", err))
				at.Sequence += step
				continue
			}
			e.Value = value
			if publisher != "" {
				seg.SetSide(slot, side{publisher: publisher})
			}
		} else {
			seg.SetSide(slot, side{ps[i], publisher})
		}
		e.At = ring.Place(at)
		log.Append(more || i < last)
		if log.Bounded() {
			log.Weigh(len(ps[i].Data))
		}
		at.Sequence += step
	}
	return len(ps), nil
}

// undecodable adds the hole of a message that cannot be decoded.
func (st *stream[T]) undecodable(p *Payload, at Position, err error) {
	st.lose(undecodable(st.name, *p, at, err))
}

// lose adds a hole to the stream.
func (st *stream[T]) lose(d *Discontinuity) {
	st.bus.incidents.discontinuity(d)
	st.log.Note(ring.Note{Kind: ring.Gap, Hole: ring.Hole{
		After: ring.Place(d.After), Resume: ring.Place(d.Resume), Lost: d.Lost, Exact: d.Exact, Cause: uint8(d.Cause), Info: d}})
}

// state adds a change of state to the stream.
func (st *stream[T]) state(c *StateChange) {
	st.stats.changed(*c)
	st.bus.incidents.add(Incident{Topic: st.name, State: c})
	kind := ring.Up
	if c.State == Reconnecting {
		kind = ring.Down
	}
	st.log.Note(ring.Note{Kind: kind, Info: c})
}

func undecodable(topic string, p Payload, at Position, err error) *Discontinuity {
	return &Discontinuity{
		Topic: topic, Cause: CauseDecode, After: before(at), Resume: behind(at), Lost: 1, Exact: true,
		Payload: &p, Err: shown(err),
	}
}

// shown is the error of a codec, with a text that may be kept and logged: it may
// quote what a stranger published.
func shown(err error) error {
	said := fmt.Sprint(err) // survives an Error that panics
	if text := clean.Text(said); text != said {
		return &shownError{text, err}
	}
	return err
}

type shownError struct {
	text  string
	cause error
}

func (e *shownError) Error() string { return e.text }
func (e *shownError) Unwrap() error { return e.cause }

// before and behind are the neighbours of a numbered message.
func before(p Position) Position { return Position(ring.Place(p).Before()) }
func behind(p Position) Position { return Position(ring.Place(p).Behind()) }

// makeRoom waits until there is room for the message at that position. If that
// fails it marks the message as lost.
func (st *stream[T]) makeRoom(ctx context.Context, at Position) error {
	st.crowd <- struct{}{}
	defer func() { <-st.crowd }()
	err := st.waitForRoom(ctx)
	if err != nil {
		st.lose(&Discontinuity{
			Topic: st.name, Cause: CauseOverflow, After: before(at), Resume: behind(at), Lost: 1, Exact: true,
			Err: fmt.Errorf("%w: %w", ErrOverflow, err)})
	}
	return err
}

// waitForRoom blocks the stream until all subscriptions are less than a full
// log behind.
func (st *stream[T]) waitForRoom(ctx context.Context) error {
	log := &st.log
	log.Show() // or readers would wait for what they cannot see
	// Readers are likely at it. Some patience buys room for many messages;
	// going on as soon as there is room for one means looking at every reader
	// for every message.
	for range 4 {
		if log.Laggard(max(1, uint64(log.Capacity())/4)) == nil {
			return nil
		}
		runtime.Gosched()
	}
	warn := time.NewTimer(stuckAfter)
	defer warn.Stop()
	for {
		if st.due.Load() {
			st.answer()
		}
		c := log.Laggard(1)
		if c == nil {
			return nil
		}
		if !log.Want(c) {
			continue
		}
		select {
		case <-log.Freed():
		case <-warn.C:
			st.warnStuck(c.Owner.(*Subscription[T]))
		case <-st.ctx.Done():
			return errors.Join(ErrClosed, st.ctx.Err())
		case <-ctx.Done():
			return fmt.Errorf("waiting for subscription %.100q: %w", c.Owner.(*Subscription[T]).Name(), contextError(ctx))
		}
	}
}

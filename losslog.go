package pubsub

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// lossLog has the log tell of holes that nobody observes: a line when they
// begin and one with their sum when they end. And it has it tell of messages that
// ends threw away. Of a stream there is at most one line of each kind every
// lossEvery. What that holds back is told when the time is over, and at the end of
// the stream.
type lossLog struct {
	mu           sync.Mutex
	began, ended time.Time // when the last lines on holes were written
	told         time.Time // when the last line on dropped messages was written
	held         unlogged
	leaving      int  // ends that may have dropped messages, and have not told yet
	over         bool // the stream is: nobody comes any more
	timer        *time.Timer
}

// unlogged is what was held back.
type unlogged struct {
	holes, lost uint64
	dropped     uint64
	ends        uint64                     // that dropped them
	who         interface{ Name() string } // the last subscription concerned
	err         error                      // of the last end
}

const lossEvery = 10 * time.Second

// heldFor is a little longer, so that what happens when the next line may be
// written takes along what was held back.
const heldFor = lossEvery + time.Second

// hole takes a hole that nobody observes, and reports whether a line is due, with
// what is to be in it besides.
func (l *lossLog) hole(who interface{ Name() string }, d *Discontinuity) (due bool, holes, lost uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if !l.over && within(l.began, now) > 0 {
		l.held.holes++
		l.held.lost = plus(l.held.lost, d.Lost)
		l.held.who = who
		return false, 0, 0
	}
	holes, lost = l.takeHoles()
	l.began = now
	return true, holes, lost
}

// sum reports what was not logged, if a line is due. At a subscription's end it
// always is.
func (l *lossLog) sum(end bool) (holes, lost uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if l.held.holes == 0 || !end && within(l.ended, now) > 0 {
		return 0, 0
	}
	l.ended = now
	return l.takeHoles()
}

func (l *lossLog) takeHoles() (holes, lost uint64) {
	holes, lost = l.held.holes, l.held.lost
	l.held.holes, l.held.lost = 0, 0
	l.forget()
	return holes, lost
}

// expect announces a call of drop.
func (l *lossLog) expect() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.leaving++
}

// drop takes messages that an end threw away, and returns what a line is due for.
// With more, other ends follow: then the last of the stream has the line.
func (l *lossLog) drop(who interface{ Name() string }, n uint64, err error, more bool) unlogged {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.leaving = max(0, l.leaving-1)
	if n > 0 {
		l.held.dropped = plus(l.held.dropped, n)
		l.held.ends++
		l.held.who, l.held.err = who, err
	}
	now := time.Now()
	if last := l.over && l.leaving == 0; l.held.dropped == 0 || !last && (more || within(l.told, now) > 0) {
		return unlogged{}
	}
	return l.takeDropped(now)
}

func (l *lossLog) takeDropped(now time.Time) unlogged {
	due := l.held
	due.holes, due.lost = 0, 0
	l.told, l.held.dropped, l.held.ends, l.held.err = now, 0, 0, nil
	l.forget()
	return due
}

// forget lets go of a subscription that nothing is held back of.
func (l *lossLog) forget() {
	if l.held.holes == 0 && l.held.dropped == 0 {
		l.held.who = nil
	}
}

// due returns what is due to be told of what was held back.
func (l *lossLog) due(dropped, holes bool) (due unlogged) {
	now, who := time.Now(), l.held.who
	if dropped && l.held.dropped > 0 {
		due = l.takeDropped(now)
	}
	if holes && l.held.holes > 0 {
		due.holes, due.lost = l.takeHoles()
		due.who, l.ended = who, now
	}
	return due
}

// within is how long it is until lossEvery has passed since a line was written.
func within(last, now time.Time) time.Duration {
	if last.IsZero() {
		return 0
	}
	return lossEvery - now.Sub(last)
}

// tellLater has what was held back told when it is time. There is a timer only
// while something is.
func (st *stream[T]) tellLater() {
	l := &st.losses
	l.mu.Lock()
	defer l.mu.Unlock()
	held := l.held.holes > 0 || l.held.dropped > 0
	switch {
	case held == (l.timer != nil) || !st.here():
	case held:
		l.timer = time.AfterFunc(heldFor, st.tell)
	default:
		l.timer.Stop()
		l.timer = nil
	}
}

// tell logs what was held back for long enough.
func (st *stream[T]) tell() {
	l := &st.losses
	l.mu.Lock()
	l.timer = nil
	now := time.Now()
	due := l.due(within(l.told, now) <= 0, within(l.began, now) <= 0 && within(l.ended, now) <= 0)
	l.mu.Unlock()
	st.logHeld(due)
	st.tellLater() // a line was written meanwhile, and something held back after it
}

// lossesOver logs what was held back, for the stream is over. What an end still
// has to tell, it logs itself.
func (st *stream[T]) lossesOver() {
	l := &st.losses
	l.mu.Lock()
	l.over = true
	due := l.due(l.leaving == 0, true)
	l.mu.Unlock()
	st.logHeld(due)
	st.tellLater()
}

func (st *stream[T]) logHeld(due unlogged) {
	if due.holes > 0 {
		st.bus.log().LogAttrs(context.Background(), slog.LevelWarn, "pubsub: more messages were lost, and no OnDiscontinuity to tell",
			slog.String("topic", st.name), slog.String("subscription", due.who.Name()),
			slog.Uint64("holes", due.holes), slog.Uint64("lost", due.lost))
	}
	if due.dropped > 0 {
		st.bus.log().LogAttrs(context.Background(), slog.LevelWarn, "pubsub: subscription ended with messages unread",
			slog.String("topic", st.name), slog.String("subscription", due.who.Name()),
			slog.Uint64("dropped", due.dropped), slog.Uint64("subscriptions", due.ends), slog.Any("err", due.err))
	}
}

// unobserved logs a hole that nobody is told of.
func (s *Subscription[T]) unobserved(d *Discontinuity) {
	s.episode.Store(true)
	s.lossy.Store(true)
	due, holes, lost := s.stream.losses.hole(s, d)
	if !due {
		s.stream.tellLater()
		return
	}
	attrs := []slog.Attr{
		slog.String("topic", d.Topic), slog.String("subscription", s.Name()), slog.String("cause", d.Cause.String()),
		slog.Uint64("lost", d.Lost), slog.Bool("exact", d.Exact),
		slog.String("after", d.After.String()), slog.String("resume", d.Resume.String()), slog.Any("err", d.Err),
	}
	if holes > 0 {
		attrs = append(attrs, slog.Group("before", slog.Uint64("holes", holes), slog.Uint64("lost", lost)))
	}
	s.stream.bus.log().LogAttrs(context.Background(), slog.LevelWarn, "pubsub: messages lost, and no OnDiscontinuity to tell", attrs...)
}

// caughtUp ends an episode of losses: the reader has read everything.
func (s *Subscription[T]) caughtUp(end bool) {
	if was := s.episode.Load() && s.episode.Swap(false); !was && !(end && s.lossy.Load()) {
		return
	}
	holes, lost := s.stream.losses.sum(end)
	s.stream.logHeld(unlogged{holes: holes, lost: lost, who: s})
}

// logDropped tells of messages that an end threw away which nobody asked for.
func (s *Subscription[T]) logDropped(err error) {
	dropped := s.dropped()
	if dropped > 0 {
		s.noteDropped(dropped, err)
	}
	st := s.stream
	st.logHeld(st.losses.drop(s, dropped, err, st.bus.closed.Load()))
	st.tellLater()
}

func (s *Subscription[T]) noteDropped(dropped uint64, err error) {
	s.stream.bus.incidents.add(Incident{Topic: s.name, Subscription: s.Name(), Dropped: dropped, Err: err})
}

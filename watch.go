package pubsub

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// stuckAfter is how long a reader may stay away while messages wait for it,
// before a line in the log says so.
const stuckAfter = 10 * time.Second

// watch looks now and then for readers that stay away. It is called once per
// segment of messages, so it costs next to nothing.
func (st *stream[T]) watch() {
	now := time.Now()
	if now.Sub(st.looked) < stuckAfter {
		return
	}
	first := st.looked.IsZero()
	st.looked = now
	for _, c := range st.log.Stalled() {
		s := c.Owner.(*Subscription[T])
		if first {
			continue // nobody has had the time to read
		}
		st.warnStuck(s, "pubsub: messages wait, and nobody has read the subscription for a while")
	}
}

// warnStuck logs that s is not read, once until it is read again.
func (st *stream[T]) warnStuck(s *Subscription[T], text string) {
	cs := s.cursor.Stats()
	s.mu.Lock()
	told := s.stuckAt == cs.Taken+1
	s.stuckAt = cs.Taken + 1
	s.mu.Unlock()
	if told {
		return
	}
	st.bus.log().LogAttrs(context.Background(), slog.LevelWarn, text,
		slog.String("topic", st.name), slog.String("subscription", s.Name()),
		slog.Uint64("waiting", cs.Lag), slog.Duration("for", stuckAfter))
}

// lossLog has the log tell of holes that nobody observes: a line when they
// begin and one with their sum when they end, but of a stream at most one of
// each kind every lossEvery.
type lossLog struct {
	mu           sync.Mutex
	began, ended time.Time // when the last lines were written
	holes, lost  uint64    // since
	told         time.Time // when the last line on dropped messages was written
	dropped      uint64    // since
}

const lossEvery = 10 * time.Second

// hole takes a hole that nobody observes, and reports whether a line is due, with
// what is to be in it besides.
func (l *lossLog) hole(d *Discontinuity) (due bool, holes, lost uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if !l.began.IsZero() && now.Sub(l.began) < lossEvery {
		l.holes++
		l.lost = plus(l.lost, d.Lost)
		return false, 0, 0
	}
	holes, lost = l.holes, l.lost
	l.began, l.holes, l.lost = now, 0, 0
	return true, holes, lost
}

// sum reports what was not logged, if a line is due. At a subscription's end it
// always is.
func (l *lossLog) sum(end bool) (holes, lost uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if l.holes == 0 || !end && !l.ended.IsZero() && now.Sub(l.ended) < lossEvery {
		return 0, 0
	}
	holes, lost = l.holes, l.lost
	l.ended, l.holes, l.lost = now, 0, 0
	return holes, lost
}

// unobserved logs a hole that nobody is told of.
func (s *Subscription[T]) unobserved(d *Discontinuity) {
	s.episode.Store(true)
	s.lossy.Store(true)
	due, holes, lost := s.stream.losses.hole(d)
	if !due {
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
	if holes, lost := s.stream.losses.sum(end); holes > 0 {
		s.stream.bus.log().LogAttrs(context.Background(), slog.LevelWarn, "pubsub: more messages were lost, and no OnDiscontinuity to tell",
			slog.String("topic", s.stream.name), slog.String("subscription", s.Name()),
			slog.Uint64("holes", holes), slog.Uint64("lost", lost))
	}
}

// drop takes messages that an end threw away, and reports how many a line is due
// for.
func (l *lossLog) drop(n uint64) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dropped = plus(l.dropped, n)
	now := time.Now()
	if !l.told.IsZero() && now.Sub(l.told) < lossEvery {
		return 0
	}
	n, l.told, l.dropped = l.dropped, now, 0
	return n
}

// logDropped tells of messages that an end threw away which nobody asked for.
func (s *Subscription[T]) logDropped(err error) {
	dropped := s.dropped()
	if dropped == 0 {
		return
	}
	s.noteDropped(dropped, err)
	if n := s.stream.losses.drop(dropped); n > 0 {
		s.stream.bus.log().LogAttrs(context.Background(), slog.LevelWarn, "pubsub: subscription ended with messages unread",
			slog.String("topic", s.name), slog.String("subscription", s.Name()),
			slog.Uint64("dropped", n), slog.Any("err", err))
	}
}

func (s *Subscription[T]) noteDropped(dropped uint64, err error) {
	s.stream.bus.incidents.add(Incident{Topic: s.name, Subscription: s.Name(), Dropped: dropped, Err: err})
}

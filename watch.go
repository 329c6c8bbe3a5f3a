package pubsub

import (
	"context"
	"log/slog"
	"time"
)

// stuckAfter is how long a reader may stay away while messages wait for it,
// before a line in the log says so.
const stuckAfter = 10 * time.Second

// watch has somebody look for readers that stay away, in a while: messages have
// come, or a reader that is behind. It is called when nobody is going to.
//
// So there is a timer while messages come or readers catch up, and none at rest.
// It is not set again for readers that do not move: a synctest bubble in which
// all goroutines wait for ever is still reported as a deadlock.
func (st *stream[T]) watch() {
	if !st.here() || st.watched.Swap(true) {
		return
	}
	st.lookLater()
}

// lookLater calls look when readers that have not moved by then are stuck.
func (st *stream[T]) lookLater() {
	st.mark = st.log.Len()
	b := st.bus
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, listed := b.listed[st]; listed {
		st.lookout = time.AfterFunc(stuckAfter, st.look) // not Reset, which may come from another bubble
	}
}

// look looks for readers that stay away.
func (st *stream[T]) look() {
	stalled, behind, head := st.log.Stalled(st.mark)
	for _, c := range stalled {
		st.warnStuck(c.Owner.(*Subscription[T]))
	}
	if !behind {
		st.watched.Store(false)
		if st.log.Len() == head || st.watched.Swap(true) {
			return
		}
		// What came meanwhile may have relied on this look.
	}
	st.lookLater()
}

// stopLooking is for a stream that nobody reads any more. bus.mu is held.
func (st *stream[T]) stopLooking() {
	if st.lookout != nil && st.here() {
		st.lookout.Stop()
	}
	st.lookout = nil
}

// here reports whether the caller may use timers of the stream. Those made in a
// synctest bubble fire in that bubble only, and the runtime ends a process that
// stops one from outside.
func (st *stream[T]) here() bool { return inBubble() == st.bubbled }

// inBubble reports whether the caller is in a synctest bubble. There, a time
// has no monotonic clock reading, and Round(0), which removes that reading,
// changes nothing.
func inBubble() bool {
	now := time.Now()
	return now == now.Round(0)
}

// warnStuck logs that s is not read, once until it is read again, and once more
// if a publisher begins to wait for it.
func (st *stream[T]) warnStuck(s *Subscription[T]) {
	cs := s.cursor.Stats()
	holds := st.block && len(st.crowd) > 0 && cs.Lag >= uint64(st.log.Capacity())
	text, at := "pubsub: messages wait, and nobody has read the subscription for a while", cs.Taken+1
	s.mu.Lock()
	told := s.holdsAt == at || !holds && s.stuckAt == at
	s.stuckAt = at
	if holds {
		s.holdsAt = at
		text = "pubsub: a subscription with Overflow(Block) holds up its topic"
	}
	s.mu.Unlock()
	if told {
		return
	}
	st.bus.log().LogAttrs(context.Background(), slog.LevelWarn, text,
		slog.String("topic", st.name), slog.String("subscription", s.Name()),
		slog.Uint64("waiting", cs.Lag), slog.Duration("for", stuckAfter))
}

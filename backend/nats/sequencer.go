package nats

import (
	"math"

	"github.com/topicbus/pubsub"
)

// maxJump is how far numbers may jump for the messages between to be taken as
// missing. A topic would need a day to publish so many at 50,000 a second: what
// says more is wrong, or the numbers began anew.
const maxJump = 1 << 32

// sequencer decides, from the numbers of one topic, what is delivered, what is
// missing, and where to resume. It is a plain value: no goroutine, no clock, no
// transport.
//
// Two kinds of numbers are at work. The stream's own leave no number out, so
// that a number that does not come is a message that is gone. The consumer's
// count what was sent to this client, so that one that does not come was lost
// on the way and can be had again.
//
// Messages are evidence, and what else tells numbers is not: a number that
// cannot be is reported as a reset, and moves nothing.
type sequencer struct {
	// at is the last position accounted for: delivered, reported lost, or from
	// before the stream began.
	at pubsub.Position
	// rejoined is set from an opening to the next message: what is missing
	// there was missed while the stream was down, or since the position that
	// it resumes from.
	rejoined bool
	// sent is the consumer's number of the last message that came.
	sent uint64
	// doubted is set from a number that cannot be, which was reported as a
	// reset, to the next message.
	doubted bool
}

// standing is where a stream of the server's stands.
type standing struct {
	page  uint64 // when it was made
	begin uint64 // the number that its first message ever had
	first uint64 // the oldest message that it has, or last+1
	last  uint64 // the number it gave last, begin-1 if none
}

// beforeNewest returns the number before that of the nth newest message, or
// before that of the oldest if there are fewer. deleted are the numbers, in
// order, that are missing between the oldest and the newest message.
func (st standing) beforeNewest(n uint64, deleted []uint64) uint64 {
	at := st.last
	for k := len(deleted) - 1; k >= 0 && st.first <= deleted[k] && deleted[k] <= at; k-- {
		run := at - deleted[k]
		if n <= run {
			return at - n
		}
		n, at = n-run, deleted[k]-1
	}
	return at - min(n, at-min(at, st.first-1))
}

// verdict is what is to be done with a message.
type verdict uint8

const (
	deliver verdict = iota
	drop            // it was accounted for
	reopen          // something was lost on the way
)

// join takes where the server's stream stands when a consumer of it is about to
// be made, which begins behind s.at. It returns what is known to be missing.
func (s *sequencer) join(st standing) *pubsub.Discontinuity {
	s.sent = 0
	switch {
	case st.page != s.at.Page || st.last < s.at.Sequence:
		// Another stream, or one that forgot what it had numbered: how many
		// messages went with it nobody knows.
		d := &pubsub.Discontinuity{Cause: pubsub.CauseReset, After: s.last()}
		if lost := st.first - st.begin; lost <= maxJump {
			d.Lost = lost
		}
		s.at = pubsub.Position{Page: st.page, Sequence: st.first - 1}
		s.rejoined, s.doubted = false, false
		if st.first <= st.last {
			d.Resume = pubsub.Position{Page: st.page, Sequence: st.first}
		}
		return d
	case s.jumps(st.first - 1):
		s.rejoined = true
		return s.doubt()
	default:
		s.rejoined = true
		return s.missing(st.first - 1)
	}
}

// message takes a message's numbers. If the verdict is deliver then it is to be
// delivered, behind d unless that is nil.
func (s *sequencer) message(stream, consumer uint64) (d *pubsub.Discontinuity, v verdict) {
	if consumer != s.sent+1 {
		return nil, reopen
	}
	s.sent = consumer
	switch {
	case stream == 0 || stream <= s.at.Sequence && s.at.Sequence-stream <= maxJump:
		return nil, drop
	case stream <= s.at.Sequence || s.jumps(stream):
		if d = s.doubt(); d != nil {
			d.Resume = pubsub.Position{Page: s.at.Page, Sequence: stream}
		}
	default:
		d = s.missing(stream - 1)
	}
	s.at.Sequence = stream
	s.rejoined, s.doubted = false, false
	return d, deliver
}

// follows reports whether message would say deliver, and nothing be missing.
func (s *sequencer) follows(stream, consumer uint64) bool {
	return consumer == s.sent+1 && stream > s.at.Sequence && stream-1 == s.at.Sequence
}

// idle takes a heartbeat's numbers: the consumer has passed so many messages,
// and sent so many.
func (s *sequencer) idle(stream, consumer uint64) (d *pubsub.Discontinuity, v verdict) {
	switch {
	case consumer != s.sent:
		return nil, reopen
	case s.jumps(stream):
		return s.doubt(), deliver
	}
	return s.missing(stream), deliver
}

// jumps reports whether a number is further ahead than there can be messages
// between.
func (s *sequencer) jumps(n uint64) bool { return n > s.at.Sequence && n-s.at.Sequence > maxJump }

// doubt takes note of a number that cannot be. Where the numbers go on is not
// known; what was delivered is. It returns nil if that was reported.
func (s *sequencer) doubt() *pubsub.Discontinuity {
	if s.doubted {
		return nil
	}
	s.doubted = true
	return &pubsub.Discontinuity{Cause: pubsub.CauseReset, After: s.last()}
}

// missing describes what is missing up to the number n, and accounts for it. It
// returns nil if nothing is.
func (s *sequencer) missing(n uint64) *pubsub.Discontinuity {
	if n <= s.at.Sequence {
		return nil
	}
	d := &pubsub.Discontinuity{Cause: pubsub.CauseBackend, After: s.last(), Lost: n - s.at.Sequence, Exact: true}
	if n < math.MaxUint64 {
		d.Resume = pubsub.Position{Page: s.at.Page, Sequence: n + 1}
	}
	if s.rejoined {
		d.Cause = pubsub.CauseReconnect
	}
	s.at.Sequence = n
	return d
}

// next returns the number of the first message that is not accounted for.
func (s *sequencer) next() uint64 { return plus(s.at.Sequence, 1) }

// last returns the position of the message before a hole, zero if there is
// none.
func (s *sequencer) last() pubsub.Position {
	if s.at.Sequence == 0 {
		return pubsub.Position{}
	}
	return s.at
}

// plus returns a+b, or the largest number if there is no such number.
func plus(a, b uint64) uint64 {
	if a > math.MaxUint64-b {
		return math.MaxUint64
	}
	return a + b
}

package nats

import "github.com/topicbus/pubsub"

// sequencer decides, from the numbers of one topic, what is delivered, what is
// missing, and where to resume. It is a plain value: no goroutine, no clock, no
// transport.
//
// Two kinds of numbers are at work. The stream's own leave no number out, so
// that a number that does not come is a message that is gone. The consumer's
// count what was sent to this client, so that one that does not come was lost
// on the way and can be had again.
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
	for ; n > 0 && at >= st.first; at-- {
		if k := len(deleted); k > 0 && deleted[k-1] == at {
			deleted = deleted[:k-1]
			continue
		}
		n--
	}
	return at
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
		d := &pubsub.Discontinuity{Cause: pubsub.CauseReset, After: s.last(), Lost: st.first - st.begin}
		s.at = pubsub.Position{Page: st.page, Sequence: st.first - 1}
		s.rejoined = false
		if st.first <= st.last {
			d.Resume = pubsub.Position{Page: st.page, Sequence: st.first}
		}
		return d
	default:
		s.rejoined = true
		return s.missing(st.first)
	}
}

// message takes a message's numbers. If the verdict is deliver then it is to be
// delivered, behind d unless that is nil.
func (s *sequencer) message(stream, consumer uint64) (d *pubsub.Discontinuity, v verdict) {
	if consumer != s.sent+1 {
		return nil, reopen
	}
	s.sent = consumer
	if stream <= s.at.Sequence {
		return nil, drop
	}
	d = s.missing(stream)
	s.at.Sequence = stream
	s.rejoined = false
	return d, deliver
}

// follows reports whether message would say deliver, and nothing be missing.
func (s *sequencer) follows(stream, consumer uint64) bool {
	return consumer == s.sent+1 && stream == s.at.Sequence+1
}

// idle takes a heartbeat's numbers: the consumer has passed so many messages,
// and sent so many.
func (s *sequencer) idle(stream, consumer uint64) (d *pubsub.Discontinuity, v verdict) {
	if consumer != s.sent {
		return nil, reopen
	}
	return s.missing(stream + 1), deliver
}

// missing describes what is missing before the message numbered n, and accounts
// for it. It returns nil if nothing is.
func (s *sequencer) missing(n uint64) *pubsub.Discontinuity {
	if n <= s.at.Sequence+1 {
		return nil
	}
	d := &pubsub.Discontinuity{
		Cause:  pubsub.CauseBackend,
		After:  s.last(),
		Resume: pubsub.Position{Page: s.at.Page, Sequence: n},
		Lost:   n - s.at.Sequence - 1,
		Exact:  true,
	}
	if s.rejoined {
		d.Cause = pubsub.CauseReconnect
	}
	s.at.Sequence = n - 1
	return d
}

// last returns the position of the message before a hole, zero if there is
// none.
func (s *sequencer) last() pubsub.Position {
	if s.at.Sequence == 0 {
		return pubsub.Position{}
	}
	return s.at
}

package momento

import (
	"math"

	"github.com/topicbus/pubsub"
)

// sequencer decides, from the numbers on the frames of one topic, what is
// delivered, what is a duplicate, what is missing, and where to resume. It is
// a plain value: no goroutine, no clock, no transport.
//
// The service numbers a topic's items 1, 2, 3, ... within a page, so what is
// missing follows from the numbers of the items that do arrive. What the
// service announces is held until the next frame, because sources disagree
// whether the next item bears the announced number or the one after it: an
// item that follows settles the count, and the hole is reported once and
// exactly. Any other frame has it reported as far as it is known.
type sequencer struct {
	// at is the last position accounted for: delivered, reported lost, or from
	// before the stream began. Its Page may be known before its Sequence is.
	at pubsub.Position
	// numbered tells that at.Sequence is known, so that an outage can be
	// resumed.
	numbered bool
	// latest is the highest number that the next item can bear without a
	// message being missing: at.Sequence+1, or more where the service did not
	// tell for certain at which number it begins.
	latest uint64
	// rejoined is set from a resubscription to the next item: what is missing
	// there passed while the stream was down.
	rejoined bool
	// held is what was announced but not yet reported.
	held hole
}

// hole is what is known of messages that are missing and not yet reported.
type hole struct {
	announced uint64 // the number at which the service goes on; 0 if it did not say
	spoiled   uint64 // items that arrived but could not be read
	err       error  // why they could not

	reset bool            // the page changed
	after pubsub.Position // reset: the last position of the old page, if known
	lost  uint64          // reset: what is known to be missing of the old page
}

// newSequencer returns a sequencer that begins behind after, or with whatever
// comes first if after is zero.
func newSequencer(after pubsub.Position) sequencer {
	if after.IsZero() {
		return sequencer{}
	}
	return sequencer{at: after, numbered: true, latest: plus(after.Sequence, 1), rejoined: true}
}

// resumeAt returns what to ask the service for when subscribing (again): the
// page and the first sequence number wanted. Zero asks for what comes next.
func (s *sequencer) resumeAt() pubsub.Position {
	if !s.numbered {
		return pubsub.Position{}
	}
	return pubsub.Position{Page: s.at.Page, Sequence: plus(s.at.Sequence, 1)}
}

// item takes the position of an item. If deliver is true then the item is to
// be delivered, behind d unless that is nil; otherwise it is a duplicate, or
// from a page that has passed, and is dropped. An item without a number is
// always delivered.
func (s *sequencer) item(p pubsub.Position) (d *pubsub.Discontinuity, deliver bool) {
	if p.Sequence == 0 {
		return s.quiet(), true
	}
	if s.located() {
		if p.Page == 0 {
			p.Page = s.at.Page // names no page: it belongs to the current one
		}
		if p.Page < s.at.Page || s.numbered && p.Page == s.at.Page && p.Sequence <= s.at.Sequence {
			return nil, false
		}
		if p.Page > s.at.Page {
			s.turn(p.Page)
		}
	}
	if d = s.missing(p.Sequence); d != nil {
		d.Resume = p
	}
	s.at, s.numbered, s.latest = p, true, plus(p.Sequence, 1)
	s.rejoined, s.held = false, hole{}
	return d, true
}

// discontinuity takes an announcement: the service goes on at sequence, or
// behind it, on page. Zeros stand for what it did not say.
func (s *sequencer) discontinuity(sequence, page uint64) {
	switch {
	case s.located() && page != 0 && page < s.at.Page:
		// Of a page that has passed.
	case s.located() && page > s.at.Page:
		s.turn(page)
		s.begin(sequence)
	case !s.numbered:
		// Nothing to compare it with: it tells where the topic stands, which
		// is not a loss.
		s.at.Page = max(s.at.Page, page)
		if sequence > 0 {
			s.begin(sequence)
		}
	case sequence >= s.expected():
		// The unreadable ones came before it, and are among what is missing.
		s.held.announced, s.held.spoiled = sequence, 0
	}
}

// unreadable takes an item that arrived but could not be read, for which no
// number is known.
func (s *sequencer) unreadable(err error) {
	s.held.spoiled++
	s.held.err = err
}

// quiet reports what is held though no item has followed it. The result is nil
// if nothing is known to be missing.
func (s *sequencer) quiet() *pubsub.Discontinuity {
	if !s.holding() {
		return nil
	}
	// Reckon with the announced number. What follows is measured from there by
	// its own number, so that the reports add up.
	upTo := s.expected()
	d := s.missing(upTo)
	switch {
	case !s.numbered:
	case s.exact() || s.held.spoiled == 0 && !s.held.reset:
		s.latest = upTo
	default:
		s.latest = max(plus(s.latest, s.held.spoiled), upTo) // still uncertain
	}
	if s.numbered {
		s.at.Sequence = upTo - 1
	}
	if d != nil && s.exact() {
		d.Resume = s.resumeAt()
	}
	s.held = hole{}
	return d
}

// expected returns the number of the next message by what is held.
func (s *sequencer) expected() uint64 {
	return plus(max(plus(s.at.Sequence, 1), s.held.announced), s.held.spoiled)
}

// holding reports whether something was announced that is not yet reported.
func (s *sequencer) holding() bool {
	return s.held.reset || s.held.spoiled > 0 || s.held.announced > plus(s.at.Sequence, 1)
}

// resubscribed takes note that the stream is back, at the position that
// resumeAt told. It reports an outage that could not be resumed.
func (s *sequencer) resubscribed() *pubsub.Discontinuity {
	if s.numbered {
		s.rejoined = true
		return nil
	}
	*s = sequencer{}
	return &pubsub.Discontinuity{Cause: pubsub.CauseReconnect}
}

// located reports whether a page is known.
func (s *sequencer) located() bool { return s.numbered || s.at.Page != 0 }

// exact reports whether the number of the next message is known for certain.
func (s *sequencer) exact() bool { return s.latest == plus(s.at.Sequence, 1) }

// last returns the position of the message before a hole, zero if unknown.
func (s *sequencer) last() pubsub.Position {
	if !s.numbered || !s.exact() || s.at.Sequence == 0 {
		return pubsub.Position{}
	}
	return s.at
}

// turn begins a new page. What is held of the old one joins the report of the
// reset, whose count is a lower bound anyway.
func (s *sequencer) turn(page uint64) {
	if !s.held.reset {
		s.held.reset = true
		s.held.after = s.last()
		if n := s.expected(); s.numbered && n > s.latest {
			s.held.lost = n - s.latest
		}
	}
	s.held.announced, s.held.spoiled = 0, 0
	s.at = pubsub.Position{Page: page}
	s.numbered, s.latest = true, math.MaxUint64
}

// begin sets where the numbers of a page begin: at sequence or behind it. With
// no sequence they may begin anywhere.
func (s *sequencer) begin(sequence uint64) {
	if sequence == 0 {
		return
	}
	s.numbered = true
	s.at.Sequence, s.latest = sequence-1, plus(sequence, 1)
	s.at.Sequence -= min(s.held.spoiled, s.at.Sequence) // they came before it
}

// missing describes what is missing before the message numbered n, or returns
// nil if nothing is.
func (s *sequencer) missing(n uint64) *pubsub.Discontinuity {
	if s.held.reset {
		return &pubsub.Discontinuity{Cause: pubsub.CauseReset, After: s.held.after, Lost: s.held.lost, Err: s.held.err}
	}
	lost, exact := uint64(0), true
	switch {
	case !s.numbered:
		lost = s.held.spoiled
	case n > s.latest:
		lost, exact = n-s.latest, s.exact()
	case n > plus(s.at.Sequence, 1) && s.holding():
		exact = false // something is, by what is held, but not by the numbers
	}
	if lost == 0 && exact {
		return nil
	}
	cause := pubsub.CauseBackend
	if s.numbered && s.rejoined && s.held.err == nil {
		cause = pubsub.CauseReconnect
	}
	return &pubsub.Discontinuity{Cause: cause, After: s.last(), Lost: lost, Exact: exact, Err: s.held.err}
}

// plus returns a+b, or the largest number if there is no such number.
func plus(a, b uint64) uint64 {
	if a > math.MaxUint64-b {
		return math.MaxUint64
	}
	return a + b
}

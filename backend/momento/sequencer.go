package momento

import (
	"math"

	"github.com/topicbus/pubsub"
)

const (
	// maxJump is how far numbers may jump for the messages between to be taken
	// as missing. A topic would need a day to publish so many at 50,000 a second:
	// what announces more is wrong, or the numbers began anew.
	maxJump = 1 << 32
	// maxSkips is how many frames in a row, each of which broke a stream that had
	// just resumed, are skipped one by one. Then the stream goes on with what
	// comes next: where it asks for messages there are others.
	maxSkips = 8
	// staleRun is how many items in a row, of a page that has passed, tell that
	// the topic is on that page after all.
	staleRun = 3
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
// exactly. Otherwise it is reported as far as it is known.
//
// Items are evidence, and what else arrives is not. So an item that could not
// be read, whose number nobody knows and which may come again, is not counted:
// the next item's number counts it. Where announcements and items contradict
// each other, the items are delivered.
type sequencer struct {
	// at is the last position accounted for: delivered, reported lost, or from
	// before the stream began. Its Page may be known before its Sequence is.
	at pubsub.Position
	// numbered tells that at.Sequence is known, so that an outage can be
	// resumed.
	numbered bool
	// rooted tells that at was ever more than announced: an item was delivered,
	// or the caller gave a position. begun says so of the present page, or that
	// a hole was reported.
	rooted, begun bool
	// latest is the highest number that the next item can bear without a
	// message being missing that is not reported yet: at.Sequence+1, or more
	// where something is uncertain.
	latest uint64
	// lenient tells, until an item comes, that announcements up to latest are
	// of messages that nobody waits for.
	lenient bool
	// rejoined is set from a resubscription to the next item: what is missing
	// there passed while the stream was down.
	rejoined bool
	// opening is set from a resubscription to the first thing that tells where
	// the topic is: that one is believed whatever was known before.
	opening bool
	// skip is how many messages behind at are not asked for again, because the
	// stream broke on what seems to be them. adrift tells that they were too
	// many.
	skip   uint64
	adrift bool
	// before is the last position accounted for on the page before.
	before pubsub.Position
	// stale is the last item dropped because of its page, and staleSeen how many
	// there were in a row.
	stale     pubsub.Position
	staleSeen int
	// held is what was announced but not yet reported.
	held hole
}

// hole is what is known of messages that are missing and not yet reported.
type hole struct {
	announced uint64 // the number at which the service goes on; 0 if it did not say
	spoiled   bool   // an item arrived but could not be read
	err       error  // why it could not

	reset bool            // the numbers began anew
	after pubsub.Position // reset: the last position before, if known
	lost  uint64          // reset: what is known to be missing from before
}

// newSequencer returns a sequencer that begins behind after, or with whatever
// comes first if after is zero.
func newSequencer(after pubsub.Position) sequencer {
	if after.IsZero() {
		return sequencer{}
	}
	return sequencer{
		at: after, numbered: true, rooted: true, begun: true, latest: plus(after.Sequence, 1),
		rejoined: true, opening: true,
	}
}

// resumeAt returns what to ask the service for when subscribing (again): the
// page and the first sequence number wanted. Zero asks for what comes next.
func (s *sequencer) resumeAt() pubsub.Position {
	if !s.numbered || s.adrift {
		return pubsub.Position{}
	}
	return pubsub.Position{Page: s.at.Page, Sequence: plus(plus(s.at.Sequence, 1), s.skip)}
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
		switch {
		case p.Page < s.at.Page:
			if s.rooted && !s.isBack(p) {
				return nil, false
			}
			s.turn(p.Page)
		case p.Page > s.at.Page:
			s.turn(p.Page)
		case s.begun && p.Sequence <= s.at.Sequence:
			if s.at.Sequence-p.Sequence <= maxJump {
				// A duplicate; what could not be read before it was one too.
				if s.opening = false; s.held.spoiled {
					s.held.spoiled, s.held.err = false, nil
				}
				return nil, false
			}
			s.turn(p.Page)
		case s.numbered && s.latest < math.MaxUint64 && s.jumps(p.Sequence):
			s.doubt()
		}
	}
	if d = s.missing(p.Sequence); d != nil {
		d.Resume = p
	}
	*s = sequencer{at: p, numbered: true, rooted: true, begun: true, latest: plus(p.Sequence, 1), before: s.before}
	return d, true
}

// isBack takes an item of a page that has passed. It reports whether so many
// came in a row that the topic must be on that page.
func (s *sequencer) isBack(p pubsub.Position) bool {
	if p.Page == s.before.Page && p.Sequence <= s.before.Sequence {
		return false // a duplicate, whatever the page is now
	}
	if p.Page != s.stale.Page || p.Sequence != plus(s.stale.Sequence, 1) {
		s.staleSeen = 0
	}
	s.stale = p
	s.staleSeen++
	return s.staleSeen >= staleRun
}

// discontinuity takes an announcement: the service goes on at sequence, or
// behind it, on page. Zeros stand for what it did not say.
func (s *sequencer) discontinuity(sequence, page uint64) {
	opening := s.opening
	s.opening = false
	switch {
	case s.located() && page != 0 && page < s.at.Page && !opening:
		// Of a page that has passed.
	case s.located() && page != 0 && page != s.at.Page:
		s.turn(page)
		s.begin(sequence)
	case !s.numbered:
		// Nothing to compare it with: it tells where the topic stands, which
		// is not a loss.
		s.at.Page = max(s.at.Page, page)
		s.begin(sequence)
	case s.jumps(sequence):
		s.doubt()
	case s.lenient && sequence <= s.latest:
	case sequence > s.at.Sequence:
		// The unreadable one came before it, and is among what is missing.
		s.held.announced = max(s.held.announced, sequence)
		if sequence > plus(s.at.Sequence, 1) {
			s.held.spoiled = false
		}
	}
}

// unreadable takes an item that arrived but could not be read, for which no
// number is known.
func (s *sequencer) unreadable(err error) {
	s.held.spoiled = true
	s.held.err = err
}

// broken takes an unreadable item that broke the stream, where the stream
// stood. It would break it again if it were asked for.
func (s *sequencer) broken(err error) {
	s.unreadable(err)
	s.skip++
	s.adrift = s.adrift || s.skip > maxSkips
}

// quiet reports what is held though no item has followed it. The result is nil
// if nothing is held.
func (s *sequencer) quiet() *pubsub.Discontinuity {
	if !s.holding() {
		return nil
	}
	upTo := s.expected()
	d := s.missing(upTo)
	if s.held.spoiled {
		if d == nil {
			d = s.report(0)
		}
		d.Exact = false
	}
	if s.numbered {
		// Reckon with the announced number. What follows is measured from there
		// by its own number, so that the reports add up.
		if upTo > plus(s.at.Sequence, 1) {
			s.at.Sequence = upTo - 1
			if !s.held.reset {
				s.latest, s.begun = 0, true // what comes before was reported lost
			}
			s.latest = max(s.latest, upTo)
		}
		if s.exact() && !s.held.spoiled {
			d.Resume = pubsub.Position{Page: s.at.Page, Sequence: upTo}
		}
	}
	s.held = hole{}
	return d
}

// expected returns the number of the next message by what is held.
func (s *sequencer) expected() uint64 { return max(plus(s.at.Sequence, 1), s.held.announced) }

// holding reports whether something was announced that is not yet reported.
func (s *sequencer) holding() bool {
	return s.held.reset || s.held.spoiled || s.held.announced > plus(s.at.Sequence, 1)
}

// uncertain reports whether all that is held is that something could not be
// read.
func (s *sequencer) uncertain() bool {
	return s.held.spoiled && !s.held.reset && s.held.announced <= plus(s.at.Sequence, 1)
}

// resubscribed takes note that the stream is back, at the position that
// resumeAt told. It reports an outage that could not be resumed.
func (s *sequencer) resubscribed() *pubsub.Discontinuity {
	if s.numbered {
		s.rejoined, s.opening = true, true
		return nil
	}
	err := s.held.err
	*s = sequencer{}
	return &pubsub.Discontinuity{Cause: pubsub.CauseReconnect, Err: err}
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

// jumps reports whether a number is further away than there can be messages
// between.
func (s *sequencer) jumps(n uint64) bool {
	from := s.latest
	if from == math.MaxUint64 {
		from = s.at.Sequence // they may go on anywhere, but an item has to tell
	}
	return n > from && n-from > maxJump
}

// turn begins a new page, or the same one anew. What is held of the old one
// joins the report of the reset, whose count is a lower bound anyway.
func (s *sequencer) turn(page uint64) {
	if s.begun && page != s.at.Page {
		s.before = s.at
	}
	s.reset()
	s.at = pubsub.Position{Page: page}
	s.begun, s.lenient, s.skip, s.adrift = false, false, 0, false
	s.stale, s.staleSeen = pubsub.Position{}, 0
}

// doubt takes note that the numbers jumped further than they can. Where they go
// on is not known; what was delivered is.
func (s *sequencer) doubt() {
	at := s.at
	if !s.held.reset && s.held.announced > at.Sequence {
		// What was announced before joins the report.
		at.Sequence, s.begun = s.held.announced-1, true
	}
	s.reset()
	s.at = at
}

// reset has a reset reported.
func (s *sequencer) reset() {
	if !s.held.reset {
		s.held.reset = true
		s.held.after = s.last()
		if n := s.expected(); s.numbered && n > s.latest {
			s.held.lost = n - s.latest
		}
	}
	s.held.announced, s.held.spoiled = 0, false
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
}

// missing describes what is missing before the message numbered n, by the
// numbers, or returns nil if nothing is.
func (s *sequencer) missing(n uint64) *pubsub.Discontinuity {
	switch {
	case s.held.reset:
		d := s.report(s.held.lost)
		d.Cause, d.After = pubsub.CauseReset, s.held.after
		return d
	case !s.numbered && s.held.spoiled:
		return s.report(0)
	case !s.numbered:
		return nil
	case n > s.latest:
		d := s.report(n - s.latest)
		d.Exact = s.exact()
		return d
	case n > plus(s.at.Sequence, 1) && s.holding():
		return s.report(0) // something is, by what is held, but not by the numbers
	}
	return nil
}

// report returns a report of at least so many messages lost.
func (s *sequencer) report(lost uint64) *pubsub.Discontinuity {
	cause := pubsub.CauseBackend
	if s.numbered && s.rejoined && s.held.err == nil {
		cause = pubsub.CauseReconnect
	}
	return &pubsub.Discontinuity{Cause: cause, After: s.last(), Lost: lost, Err: s.held.err}
}

// plus returns a+b, or the largest number if there is no such number.
func plus(a, b uint64) uint64 {
	if a > math.MaxUint64-b {
		return math.MaxUint64
	}
	return a + b
}

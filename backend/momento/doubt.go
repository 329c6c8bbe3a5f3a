package momento

import (
	"errors"
	"time"

	sdk "github.com/momentohq/client-sdk-go/momento"
	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/internal/turns"
)

const (
	// doubtAfter is how often in a row a stream must fail where it is to go on,
	// and doubtFor for how long, for it to look whether the place is the reason.
	doubtAfter = 5
	doubtFor   = 30 * time.Second
	// doubtProofs is how often that must then be seen in a row.
	doubtProofs = 2
	// doubtRests is how often the first two double, each time that a look shows
	// that there may be no such message yet.
	doubtRests = 3
)

// doubt finds out whether a stream fails because of the message that it asks
// for, and not because the service does. An outage is no reason to skip a
// message. So the stream looks whether others can be had, and then asks for the
// message once more: if it fails again, the message is to blame.
//
// It is a plain value: it asks nobody.
type doubt struct {
	at       pubsub.Position // what is asked for in vain; zero: nothing
	failures int             // of that, since the last look
	since    time.Time       // of the first failure, or the last look that was in vain
	quick    bool            // there is a hint: one failure, and one proof, are enough
	second   bool            // the message before this one was to blame
	looked   bool            // others could be had, and at was not asked for since
	rests    int             // how often a look showed that there may be no such message
	proofs   int             // how often at failed after that, in a row
	stands   pubsub.Position // where the topic stood then, or behind it; zero if not told
}

// way is how a stream gets past the place where it fails.
type way int

const (
	askAgain    way = iota
	passOne         // it asks for the message behind that one
	takePresent     // it asks for what comes next
)

// failure is one of a stream that asked for a message.
type failure struct {
	err    error
	silent bool // the stream was up for a while, and nothing came: perhaps there is nothing
	hint   bool // the error hints at the message
}

// failed takes note that at was asked for and did not come, and returns what to
// do.
func (d *doubt) failed(at pubsub.Position, f failure) way {
	if at.Sequence == 0 {
		*d = doubt{}
		return askAgain
	}
	if at != d.at {
		*d = doubt{at: at, since: time.Now()}
	}
	d.failures++
	d.quick = d.quick || f.hint
	if !d.looked {
		return askAgain
	}
	d.looked = false
	if d.proofs++; d.proofs < doubtProofs && !d.quick {
		return askAgain
	}
	exists := d.stands.Sequence > at.Sequence && (at.Page == 0 || d.stands.Page == 0 || d.stands.Page == at.Page)
	switch {
	case exists && !(d.second && aboutPlace(f.err)):
		*d = doubt{at: behind(at), since: time.Now(), quick: true, second: true}
		return passOne
	case f.silent:
		d.vain()
		d.rests = min(d.rests+1, doubtRests)
		return askAgain
	}
	*d = doubt{}
	return takePresent
}

// ripe reports whether it is time to look, before at is asked for again.
func (d *doubt) ripe(at pubsub.Position) bool {
	return d.at == at && d.failures > 0 &&
		(d.quick || d.proofs > 0 || d.failures >= doubtAfter<<d.rests && time.Since(d.since) >= doubtFor<<d.rests)
}

// vain takes note that others could not be had either.
func (d *doubt) vain() { d.failures, d.since, d.proofs = 0, time.Now(), 0 }

// found takes note that others could be had, and where the topic stands.
func (d *doubt) found(stands pubsub.Position) { d.looked, d.stands = true, stands }

// behind returns the position of the message behind p.
func behind(p pubsub.Position) pubsub.Position {
	return pubsub.Position{Page: p.Page, Sequence: plus(p.Sequence, 1)}
}

// aboutPlace reports whether err may be about the number or page that was asked
// for: that there is none such, or that it is out of range.
func aboutPlace(err error) bool {
	return errors.Is(err, pubsub.ErrInvalidArgument) || errors.Is(err, pubsub.ErrNotFound) || code(err) == sdk.BadRequestError
}

// attempt makes one attempt to come back at a position. It looks first whether
// others can be had, if it is time to. asked tells that it came to ask for the
// position.
func (s *stream) attempt(at pubsub.Position) (asked bool, err error) {
	if s.doubt.ripe(at) {
		stands, err := s.look(pubsub.Position{})
		if err != nil {
			s.doubt.vain()
			return false, err
		}
		if stands.Sequence == 0 {
			// Perhaps the message behind tells. If not, nobody knows.
			stands, _ = s.look(behind(at))
		}
		s.doubt.found(stands)
	}
	s.lived = 0
	return true, s.open(at)
}

// pass takes note that a position was asked for and brought nothing, and goes
// past it if that is to blame. It reports whether it is, or may be found to be.
func (s *stream) pass(at pubsub.Position, f failure) (blamed bool) {
	switch s.doubt.failed(at, f) {
	case passOne:
		s.seq.broken(f.err)
		s.hold()
	case takePresent:
		s.seq.drift()
	default:
		return at.Sequence > 0 && aboutPlace(f.err)
	}
	return true
}

// look looks whether the service brings what there is at a position, and returns
// what it tells of where the topic stands.
func (s *stream) look(at pubsub.Position) (stands pubsub.Position, err error) {
	session, _, err := s.b.dial(s.ctx, s.topic, at)
	if err != nil {
		return pubsub.Position{}, err
	}
	defer session.end(&s.b.clients)
	// It must live for longer than a stream does that the service ends soon.
	for until := session.began.Add(max(turns.ProvenAfter, min(2*s.lived, 2*healthyAfter))); ; {
		f, ok := session.poll(until)
		switch ev := f.ev.(type) {
		case sdk.TopicDiscontinuity:
			stands = pubsub.Position{Page: ev.GetNewSequencePage(), Sequence: ev.GetNewSequenceNumber()}
		case sdk.TopicItem:
			stands = positionOf(ev)
		}
		switch {
		case !ok:
			return stands, nil
		case f.err != nil && f.err != errNoValue:
			return pubsub.Position{}, translate(session.ctx, f.err)
		case !time.Now().Before(until):
			return stands, nil
		}
	}
}

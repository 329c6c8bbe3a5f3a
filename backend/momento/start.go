package momento

import (
	"time"

	sdk "github.com/momentohq/client-sdk-go/momento"
	"github.com/topicbus/pubsub"
)

// How long Subscribe waits, once the service has accepted it, for what tells
// where the topic stands. On a topic that has messages the service sends that at
// once; on one that has none it sends nothing. The wait is several times as long
// as the service took to accept, within these bounds.
const (
	openingMin    = 50 * time.Millisecond
	openingMax    = 250 * time.Millisecond
	openingFactor = 4
)

// oldest asks for some of the newest messages; how many is up to the service.
var oldest = pubsub.Position{Sequence: 1}

// begin opens the stream's first session, and finds out where that begins.
func (s *stream) begin(from pubsub.Start) error {
	switch {
	case !from.After.IsZero():
		s.start, s.seq = from.After, newSequencer(from.After)
		return s.open(s.seq.resumeAt())
	case from.Last > 0:
		return s.beginWithLast(from.Last)
	case from.Oldest:
		s.oldest = true
		if err := s.open(oldest); err != nil {
			return err
		}
		s.start = s.opening(true).before()
		return nil
	}
	if err := s.open(pubsub.Position{}); err != nil {
		return err
	}
	s.start = s.opening(false).before()
	return nil
}

// beginWithLast begins with up to n of the newest messages. It asks where the
// topic stands first. If the service does not tell, the topic has no messages.
func (s *stream) beginWithLast(n uint64) error {
	if err := s.open(pubsub.Position{}); err != nil {
		return err
	}
	now := s.opening(false)
	if now.place().Sequence == 0 {
		s.start = now.before()
		return nil
	}
	s.session.end(&s.b.clients)
	s.early = nil

	// The newest message has the number told or the one before it, as the
	// service's sources disagree. So ask for one message more than wanted, and
	// drop it if it is too many.
	end := now.place()
	first := uint64(1)
	if end.Sequence > n {
		first = end.Sequence - n
	}
	if err := s.open(pubsub.Position{Sequence: first}); err != nil {
		return err
	}
	then := s.opening(true)
	if then.err != nil && then.place() == (pubsub.Position{}) {
		then.told.Page = end.Page // it broke before it told
	}
	if then.place().Page != end.Page {
		// The topic began anew meanwhile.
		s.oldest = true
		s.start = then.before()
		return nil
	}
	inclusive := then.told.Sequence == then.item.Sequence && then.item.Sequence != 0 || now.told.Sequence == 0
	extra := end.Sequence > n && !inclusive
	if extra && then.err == nil {
		first++
	}
	s.seq = newSequencer(pubsub.Position{Page: end.Page, Sequence: max(first, then.item.Sequence) - 1})
	s.seq.rejoined, s.seq.opening = false, false
	switch {
	case then.err != nil:
		// What was asked for is still to come, or cannot be read. If it is the one
		// too many then it is not missed.
		if extra {
			s.seq.latest = first + 1
		}
	case then.item.Sequence == 0:
		s.seq.latest, s.seq.lenient = plus(end.Sequence, 1), true
	}
	s.start = s.seq.at
	return nil
}

// opening is what the first frames of a session told. Zero is not told.
type opening struct {
	told pubsub.Position // where messages go on, or behind it
	item pubsub.Position // of the first one
	err  error           // in place of it
}

// place returns the number of the first message to come, or the one before it.
func (o opening) place() pubsub.Position {
	if o.item.Sequence != 0 {
		return o.item
	}
	return o.told
}

// before returns the position that the session begins behind. It is the earlier
// one of two that are possible.
func (o opening) before() pubsub.Position {
	p := o.place()
	if p.Sequence == 0 {
		return pubsub.Position{}
	}
	return pubsub.Position{Page: p.Page, Sequence: p.Sequence - 1}
}

// opening reads the first frames of the session, which stay to be dealt with,
// until they have told where it begins: with replay up to the first item, and
// otherwise up to what comes before that.
func (s *stream) opening(replay bool) (o opening) {
	wait := min(max(openingFactor*s.session.took, openingMin), openingMax)
	for until := s.session.began.Add(wait); ; {
		f, ok := s.session.poll(until)
		if !ok {
			return o
		}
		s.early = append(s.early, f)
		o.err = f.err
		switch ev := f.ev.(type) {
		case sdk.TopicDiscontinuity:
			told := pubsub.Position{Page: ev.GetNewSequencePage(), Sequence: ev.GetNewSequenceNumber()}
			if o.told.Sequence != 0 && told != o.told {
				return o // what lies between the two is missing
			}
			o.told = told
			if replay || o.told.Sequence == 0 {
				continue
			}
		case sdk.TopicItem:
			o.item = positionOf(ev)
			if o.item.Page == 0 {
				o.item.Page = o.told.Page
			}
		}
		return o // by an item, a heartbeat or an error, too
	}
}

package memory

import (
	"math"

	"github.com/topicbus/pubsub"
)

type entry struct {
	at pubsub.Position
	p  pubsub.Payload
}

// history is a topic's newest messages. The ring that they stand in grows as it
// fills.
type history struct {
	limits historyLimits
	ring   []entry
	first  int // where the oldest stands
	count  int
	bytes  int             // their cost
	lost   pubsub.Position // of the newest one that is not held any more
}

// historyLimits are both kept.
type historyLimits struct {
	messages int // 0: nothing is kept
	bytes    int // of payload
}

// cost is at least 1, so that bytes alone bound the messages too.
func cost(p pubsub.Payload) int { return max(1, len(p.Data)) }

func (h *history) add(at pubsub.Position, p pubsub.Payload) {
	if h.limits.messages == 0 {
		return
	}
	for h.count > 0 && (h.count == h.limits.messages || h.bytes > h.limits.bytes-cost(p)) {
		h.drop()
	}
	if cost(p) > h.limits.bytes {
		h.lost = at
		return
	}
	if h.count == len(h.ring) {
		h.grow()
	}
	*h.at(h.count) = entry{at, p}
	h.count++
	h.bytes += cost(p)
}

// at is the place of the i-th, from the oldest.
func (h *history) at(i int) *entry {
	if i += h.first; i >= len(h.ring) {
		i -= len(h.ring)
	}
	return &h.ring[i]
}

// drop drops the oldest.
func (h *history) drop() {
	e := h.at(0)
	h.lost = e.at
	h.bytes -= cost(e.p)
	*e = entry{}
	h.count--
	if h.first++; h.first == len(h.ring) {
		h.first = 0
	}
}

func (h *history) grow() {
	ring := make([]entry, min(max(4, 2*h.count), h.limits.messages))
	for i := range h.count {
		ring[i] = *h.at(i)
	}
	h.ring, h.first = ring, 0
}

func (h *history) clear() {
	for h.count > 0 {
		h.drop()
	}
	h.ring, h.first = nil, 0
}

// all yields what is held, oldest first.
func (h *history) all(yield func(entry) bool) {
	for i := range h.count {
		if !yield(*h.at(i)) {
			return
		}
	}
}

// begin returns the position that a stream begins behind. mu is held.
func (t *topic) begin(from pubsub.Start) pubsub.Position {
	switch head := t.head(); {
	case !from.After.IsZero():
		return from.After
	case from.Oldest:
		return t.log.behind(math.MaxUint64, head)
	default:
		return t.log.behind(from.Last, head)
	}
}

// behind returns the position behind which the newest n messages of head's page
// stand, or as many of them as are held.
func (h *history) behind(n uint64, head pubsub.Position) pubsub.Position {
	at := head
	for i := h.count - 1; i >= 0 && n > 0; i, n = i-1, n-1 {
		e := h.at(i)
		if e.at.Page != head.Page {
			break
		}
		at = pubsub.Position{Page: e.at.Page, Sequence: e.at.Sequence - 1}
	}
	return at
}

// since tells from where on the messages behind after count: behind at, besides
// lost ones before a reset. mu is held.
func (t *topic) since(after pubsub.Position) (at pubsub.Position, lost uint64, reset bool) {
	head := t.head()
	switch {
	case after.Page < head.Page:
		if after.Page == t.ended.Page && after.Sequence < t.ended.Sequence {
			lost = t.ended.Sequence - after.Sequence
		}
		return pubsub.Position{Page: head.Page}, lost, true
	case after.Compare(head) > 0: // handed out in another life of the topic
		return head, 0, true
	}
	return after, 0, false
}

// replay returns the frames of a stream that has seen everything up to after:
// the messages that are still held, and a discontinuity wherever some are
// missing. mu is held.
func (t *topic) replay(after pubsub.Position) []pubsub.Frame {
	var frames []pubsub.Frame
	head := t.head()
	at, lost, reset := t.since(after)
	// hole reports what is missing from at to the message at resume.
	hole := func(resume pubsub.Position) {
		lost = sum(lost, resume.Sequence-at.Sequence-1)
		if lost == 0 && !reset {
			return
		}
		d := pubsub.Discontinuity{Cause: pubsub.CauseBackend, After: at, Resume: resume, Lost: lost, Exact: !reset}
		switch {
		case reset:
			d.Cause, d.After = pubsub.CauseReset, after
		case t.log.limits.messages == 0 || t.log.lost.Compare(at) > 0:
			d.Cause = pubsub.CauseReconnect
		}
		d.After = known(d.After)
		frames = append(frames, discontinuity(d))
		lost, reset = 0, false
	}
	for e := range t.log.all {
		if e.at.Page == at.Page && e.at.Compare(at) > 0 {
			hole(e.at)
			frames = append(frames, pubsub.Frame{Kind: pubsub.KindMessage, Payload: e.p, Position: e.at})
			at = e.at
		}
	}
	hole(behind(head, 1))
	return frames
}

// before is the position of the message before p, zero if p is the first.
func before(p pubsub.Position) pubsub.Position {
	if p.Sequence <= 1 {
		return pubsub.Position{}
	}
	p.Sequence--
	return p
}

// behind is the position n behind p.
func behind(p pubsub.Position, n uint64) pubsub.Position {
	p.Sequence += n
	return p
}

func discontinuity(d pubsub.Discontinuity) pubsub.Frame {
	return pubsub.Frame{Kind: pubsub.KindDiscontinuity, Discontinuity: &d}
}

// known is p, or zero if no message stands there.
func known(p pubsub.Position) pubsub.Position {
	if p.Sequence == 0 {
		return pubsub.Position{}
	}
	return p
}

package pubsub

import "sort"

// maxNotes bounds a topic's log of rare events. What is dropped beyond it stays
// accounted for, see noteLog.dropped.
const maxNotes = 256

// note is a rare event of a stream. It stands before the message with index at.
type note struct {
	seq           uint64 // grows by at least one from note to note, from 1
	at            uint64
	kind          Kind // any but KindMessage
	discontinuity *Discontinuity
	state         *StateChange

	// What this note and all before it reported lost, and how many of them
	// could not say exactly. Differences give the loss within a stretch.
	lost, inexact uint64
}

// noteLog keeps the newest notes of a topic.
type noteLog struct {
	list    []note
	newest  note   // its totals are the log's
	dropped note   // the newest note that was dropped, for its totals
	whole   uint64 // no hole was dropped that stands before a message from this index on
	state   *StateChange
}

// add appends n and returns its seq. Heartbeats in a row become one.
func (l *noteLog) add(n note) uint64 {
	n.seq, n.lost, n.inexact = l.newest.seq+1, l.newest.lost, l.newest.inexact
	if d := n.discontinuity; d != nil {
		n.lost += d.Lost
		if !d.Exact {
			n.inexact++
		}
	}
	l.newest = n
	if last := len(l.list) - 1; last >= 0 && n.kind == KindHeartbeat && l.list[last].kind == KindHeartbeat && l.list[last].at == n.at {
		l.list[last] = n
		return n.seq
	}
	if len(l.list) == 2*maxNotes {
		for _, old := range l.list[:maxNotes] {
			l.dropped = old
			if old.discontinuity != nil {
				l.whole = old.at + 1
			}
			if old.state != nil {
				l.state = old.state
			}
		}
		l.list = append(l.list[:0], l.list[maxNotes:]...)
	}
	l.list = append(l.list, n)
	return n.seq
}

// after returns the first note behind seq, or nil.
func (l *noteLog) after(seq uint64) *note {
	i := sort.Search(len(l.list), func(i int) bool { return l.list[i].seq > seq })
	if i == len(l.list) {
		return nil
	}
	return &l.list[i]
}

// hole returns the first hole behind seq that stands before the message with
// index i, or nil.
func (l *noteLog) hole(seq, i uint64) *Discontinuity {
	for n := l.after(seq); n != nil && n.at <= i; n = l.after(n.seq) {
		if n.discontinuity != nil {
			return n.discontinuity
		}
	}
	return nil
}

// mark is how far a subscription has read the notes of its topic.
type mark struct{ seq, lost, inexact uint64 }

func (n *note) mark() mark { return mark{n.seq, n.lost, n.inexact} }

// before returns the mark of one who has read all notes that stand before the
// message with index i.
func (l *noteLog) before(i uint64) mark {
	k := sort.Search(len(l.list), func(k int) bool { return l.list[k].at >= i })
	if k == 0 {
		return l.dropped.mark()
	}
	return l.list[k-1].mark()
}

// reaches reports whether the log holds all holes from index i on. Of what else
// was dropped nobody who was away need hear: a slow topic has a heartbeat for
// every message, and would else reach back less far than its ring.
func (l *noteLog) reaches(i uint64) bool { return l.whole <= i }

// skip moves from m past all notes that stand before the message with index i,
// and returns the new mark and the last state among those skipped.
func (l *noteLog) skip(m mark, i uint64) (mark, *StateChange) {
	to := l.before(i)
	if to.seq <= m.seq {
		return m, nil
	}
	var state *StateChange
	if m.seq < l.dropped.seq {
		state = l.state
	}
	for n := l.after(m.seq); n != nil && n.seq <= to.seq; n = l.after(n.seq) {
		if n.state != nil {
			state = n.state
		}
	}
	return to, state
}

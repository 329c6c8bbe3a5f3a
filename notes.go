package pubsub

import (
	"cmp"
	"slices"
	"sort"
)

// minNotes is how many notes a topic keeps before it looks for some to drop.
const minNotes = 256

// note is a rare event of a stream. It stands before the message with index at.
type note struct {
	seq           uint64 // grows by at least one from note to note, from 1
	from          uint64 // seq of the oldest note that became one with it
	at            uint64
	kind          Kind // any but KindMessage
	discontinuity *Discontinuity
	state         *StateChange

	// What this note and all before it reported lost, and how many of them
	// could not say exactly. Differences give the loss within a stretch.
	lost, inexact uint64
}

// noteLog keeps the notes of a topic for as long as the ring owes the message
// that they stand before, so that none is ever told out of its place. Those
// that pile up between two messages become few, which bounds the log.
type noteLog struct {
	list    []note
	newest  mark         // behind the last note
	dropped mark         // behind the last one that was dropped
	state   *StateChange // the last one that was dropped, ...
	stateAt uint64       // ... and its note's seq
}

// add appends n and returns its seq. The ring owes the messages from index
// oldest on. Heartbeats in a row become one.
func (l *noteLog) add(n note, oldest uint64) uint64 {
	n.seq, n.lost, n.inexact = l.newest.seq+1, l.newest.lost, l.newest.inexact
	n.from = n.seq
	if d := n.discontinuity; d != nil {
		n.lost += d.Lost
		if !d.Exact {
			n.inexact++
		}
	}
	l.newest = n.mark()
	if last := len(l.list) - 1; last >= 0 && n.kind == KindHeartbeat && l.list[last].kind == KindHeartbeat && l.list[last].at == n.at {
		l.list[last] = n
		return n.seq
	}
	if len(l.list) == cap(l.list) && len(l.list) >= minNotes {
		l.compact(oldest)
		if 2*len(l.list) > cap(l.list) { // or it would be compacted again soon
			l.list = slices.Grow(l.list, len(l.list))
		}
	}
	l.list = append(l.list, n)
	return n.seq
}

// compact drops the notes that stand before messages which the ring no longer
// owes, and squeezes the rest.
func (l *noteLog) compact(oldest uint64) {
	k := sort.Search(len(l.list), func(k int) bool { return l.list[k].at >= oldest })
	for _, n := range l.list[:k] {
		l.dropped = n.mark()
		if n.state != nil {
			l.state, l.stateAt = n.state, n.seq
		}
	}
	kept := l.list[:0]
	for rest := l.list[k:]; len(rest) > 0; {
		n := sort.Search(len(rest), func(k int) bool { return rest[k].at > rest[0].at })
		kept = squeeze(kept, rest[:n])
		rest = rest[n:]
	}
	clear(l.list[len(kept):])
	l.list = kept
}

// squeeze appends what is kept of the notes of one place: the last of each
// kind, which for holes stands for all of them. Its seq and totals are those of
// the last one, so who has read some of them can tell what is left.
func squeeze(kept, place []note) []note {
	var last [len(kindNames)]note
	for _, n := range place {
		if older := last[n.kind].discontinuity; older != nil {
			d := *n.discontinuity
			d.Payload = nil
			d.join(older)
			n.discontinuity, n.from = &d, last[n.kind].from
		}
		last[n.kind] = n
	}
	slices.SortFunc(last[:], func(a, b note) int { return cmp.Compare(a.seq, b.seq) })
	for _, n := range last {
		if n.seq > 0 {
			kept = append(kept, n)
		}
	}
	return kept
}

// lastState returns the state that the notes behind seq, up to upTo, leave the
// stream in, nil if they do not change it. What was dropped is before upTo.
func (l *noteLog) lastState(seq, upTo uint64) *StateChange {
	for _, n := range slices.Backward(l.list) {
		if n.state != nil && seq < n.seq && n.seq <= upTo {
			return n.state
		}
	}
	if l.stateAt > seq {
		return l.state
	}
	return nil
}

// after returns the first note behind seq, or nil.
func (l *noteLog) after(seq uint64) *note {
	i := sort.Search(len(l.list), func(i int) bool { return l.list[i].seq > seq })
	if i == len(l.list) {
		return nil
	}
	return &l.list[i]
}

// hole returns the first hole behind seq, if it stands before the message with
// index i or an earlier one.
func (l *noteLog) hole(seq, i uint64) *note {
	for n := l.after(seq); n != nil && n.at <= i; n = l.after(n.seq) {
		if n.discontinuity != nil {
			return n
		}
	}
	return nil
}

// mark is how far a subscription has read the notes of its topic.
type mark struct{ seq, lost, inexact uint64 }

// misses reports whether there are holes up to the mark to that m lacks.
func (m mark) misses(to mark) bool { return m.lost < to.lost || m.inexact < to.inexact }

func (n *note) mark() mark { return mark{n.seq, n.lost, n.inexact} }

// before returns the mark of one who has read all notes that stand before the
// message with index i.
func (l *noteLog) before(i uint64) mark {
	k := sort.Search(len(l.list), func(k int) bool { return l.list[k].at >= i })
	if k == 0 {
		return l.dropped
	}
	return l.list[k-1].mark()
}

// skip moves from m past all notes that stand before the message with index i,
// and returns the new mark and the last state among those skipped.
func (l *noteLog) skip(m mark, i uint64) (mark, *StateChange) {
	to := l.before(i)
	if to.seq <= m.seq {
		return m, nil
	}
	return to, l.lastState(m.seq, to.seq)
}

package ring

import (
	"cmp"
	"slices"
	"sort"
)

// Kind tells what a Note says.
type Kind uint8

const (
	Gap  Kind = iota // messages are missing
	Down             // the stream broke
	Up               // the stream is there
	Beat             // the stream is alive
	kinds
)

// Hole is what a Gap says: which messages are missing.
type Hole struct {
	After, Resume Place // the neighbours, where known
	Lost          uint64
	Exact         bool // otherwise Lost is a lower bound
	// Info is what the writer gave. That of several holes which became one is
	// the newest one's, and Joined is set.
	Info   any
	Cause  uint8 // of the writer; 0 if the causes of holes that became one differ
	Joined bool
	// Overflow: the log made this hole, because the reader fell behind. Skipped
	// is how many of the Lost are messages; the others are holes among them.
	Overflow bool
	Skipped  uint64
	// Reset: the log made this hole, because it does not go on with what the
	// reader saw before.
	Reset bool
}

// Note is a rare event of a stream. It stands between two messages.
type Note struct {
	Kind Kind
	Hole Hole // of a Gap
	Info any  // of the others

	seq  uint64 // grows by at least one from note to note, from 1
	from uint64 // seq of the oldest note that became one with it
	at   uint64 // it stands before the message with that index

	// What this note and all before it reported lost, and how many of them
	// could not say exactly. Differences give the loss within a stretch.
	lost    total
	inexact uint64
}

// minNotes is how many notes a log keeps before it looks for some to drop.
const minNotes = 256

// noteLog keeps the notes for as long as the log owes the message that they
// stand before. So none is ever told out of its place. Those that pile up
// between two messages become few, which bounds the log.
type noteLog struct {
	list    []Note
	newest  mark         // behind the last note
	dropped mark         // behind the last one that was dropped
	last    *[kinds]Note // the last ones that were dropped; nil if none was
}

// add appends n and returns its seq. The log owes the messages from index oldest
// on. Beats in a row become one.
func (nl *noteLog) add(n Note, oldest uint64) uint64 {
	n.seq, n.lost, n.inexact = nl.newest.seq+1, nl.newest.lost, nl.newest.inexact
	n.from = n.seq
	if n.Kind == Gap {
		n.lost = n.lost.plus(n.Hole.Lost)
		if !n.Hole.Exact {
			n.inexact++
		}
	}
	nl.newest = n.mark()
	if last := len(nl.list) - 1; last >= 0 && n.Kind == Beat && nl.list[last].Kind == Beat && nl.list[last].at == n.at {
		nl.list[last] = n
		return n.seq
	}
	if len(nl.list) == cap(nl.list) && len(nl.list) >= minNotes {
		nl.compact(oldest)
		if 2*len(nl.list) > cap(nl.list) { // or it would be compacted again soon
			nl.list = slices.Grow(nl.list, len(nl.list))
		}
	}
	nl.list = append(nl.list, n)
	return n.seq
}

// compact drops the notes that stand before messages which the log no longer
// owes, and squeezes the rest.
func (nl *noteLog) compact(oldest uint64) {
	k := sort.Search(len(nl.list), func(k int) bool { return nl.list[k].at >= oldest })
	if k > 0 && nl.last == nil {
		nl.last = new([kinds]Note)
	}
	for _, n := range nl.list[:k] {
		nl.dropped = n.mark()
		nl.last[n.Kind] = n
	}
	kept := nl.list[:0]
	for rest := nl.list[k:]; len(rest) > 0; {
		n := sort.Search(len(rest), func(k int) bool { return rest[k].at > rest[0].at })
		kept = squeeze(kept, rest[:n])
		rest = rest[n:]
	}
	clear(nl.list[len(kept):])
	nl.list = kept
}

// squeeze appends what is kept of the notes of one place: the last of each
// kind, which for holes stands for all of them. Its seq and totals are those of
// the last one, so who has read some of them can tell what is left.
func squeeze(kept, place []Note) []Note {
	var last [kinds]Note
	for _, n := range place {
		if older := &last[n.Kind]; n.Kind == Gap && older.seq > 0 {
			n.Hole.join(&older.Hole)
			n.from = older.from
		}
		last[n.Kind] = n
	}
	if last[Down].seq > last[Up].seq {
		last[Up] = Note{} // or who has not read the Down before would see Up first
	}
	slices.SortFunc(last[:], func(a, b Note) int { return cmp.Compare(a.seq, b.seq) })
	for _, n := range last {
		if n.seq > 0 {
			kept = append(kept, n)
		}
	}
	return kept
}

// join has h begin with an older hole.
func (h *Hole) join(older *Hole) {
	if h.Cause != older.Cause {
		h.Cause = 0
	}
	h.After = older.After // how many are lost follows from the totals
	h.Exact = h.Exact && older.Exact
	h.Joined = true
}

// after returns the first note behind seq, or nil.
func (nl *noteLog) after(seq uint64) *Note {
	i := sort.Search(len(nl.list), func(i int) bool { return nl.list[i].seq > seq })
	if i == len(nl.list) {
		return nil
	}
	return &nl.list[i]
}

// hole returns the first hole behind seq, if it stands before the message with
// index i or an earlier one.
func (nl *noteLog) hole(seq, i uint64) *Note {
	for n := nl.after(seq); n != nil && n.at <= i; n = nl.after(n.seq) {
		if n.Kind == Gap {
			return n
		}
	}
	return nil
}

// states returns what the notes behind seq, up to upTo, say of the stream: the
// last Up, and the last Down before it or, if there is none behind it, alone. What
// was dropped is before upTo.
func (nl *noteLog) states(seq, upTo uint64) []Note {
	var last [kinds]Note
	if nl.last != nil {
		last = *nl.last
	}
	for _, n := range nl.list {
		if n.seq <= upTo {
			last[n.Kind] = n
		}
	}
	var found []Note
	for _, n := range last {
		if (n.Kind == Down || n.Kind == Up) && n.seq > seq {
			found = append(found, n)
		}
	}
	slices.SortFunc(found, func(a, b Note) int { return cmp.Compare(a.seq, b.seq) })
	if len(found) == 2 && found[1].Kind == Down {
		found = found[1:] // the outage goes on, or another one began
	}
	return found
}

// before returns the mark of one who has read all notes that stand before the
// message with index i.
func (nl *noteLog) before(i uint64) mark {
	k := sort.Search(len(nl.list), func(k int) bool { return nl.list[k].at >= i })
	if k == 0 {
		return nl.dropped
	}
	return nl.list[k-1].mark()
}

// mark is how far a reader has read the notes.
type mark struct {
	seq     uint64
	lost    total
	inexact uint64
}

// misses reports whether there are holes up to the mark to that m lacks.
func (m mark) misses(to mark) bool { return m.lost.less(to.lost) || m.inexact < to.inexact }

func (n *Note) mark() mark { return mark{n.seq, n.lost, n.inexact} }

// holes is what the holes between m and the mark to report lost.
func (m mark) holes(to mark) (lost uint64, exact bool) {
	lost, fits := to.lost.since(m.lost)
	return lost, fits && to.inexact == m.inexact
}

// Compact drops what notes it can, as the log does when there are many. It is for
// tests.
func (l *Log[V, S]) Compact() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.notes.compact(l.oldest(l.head.Load()))
}

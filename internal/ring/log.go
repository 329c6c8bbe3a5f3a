package ring

import (
	"sync"
	"sync/atomic"
)

// SegmentSize is how many messages a segment holds. A reader pins a segment
// once per SegmentSize messages, so it must not be tiny. A topic that carried
// one message keeps one segment, so it must not be large.
const SegmentSize = 32

// recycled is the base of a segment that is being reused: no reader wants it.
const recycled = ^uint64(0)

// Place is where a message stands in its topic; see pubsub.Position.
type Place struct{ Page, Sequence uint64 }

// IsZero reports whether p is no place.
func (p Place) IsZero() bool { return p == Place{} }

// less reports whether p stands before q.
func (p Place) less(q Place) bool {
	return p.Page < q.Page || p.Page == q.Page && p.Sequence < q.Sequence
}

// Before is the place of the message before the one at p, zero if p is the
// first of its page.
func (p Place) Before() Place {
	if p.Sequence <= 1 {
		return Place{}
	}
	p.Sequence--
	return p
}

// Behind is the place of the message behind the one at p.
func (p Place) Behind() Place {
	if !p.IsZero() && p.Sequence+1 != 0 {
		p.Sequence++
	}
	return p
}

// Entry is what the log keeps of every message: as little as possible, since
// memory that went cold is most of the cost with many topics.
type Entry[V any] struct {
	Value V
	At    Place
}

// Segment is a run of messages. A reader that pinned it may read those below
// the log's head at leisure: the writer leaves a pinned segment to the garbage
// collector where it would otherwise reuse it.
type Segment[V, S any] struct {
	base    atomic.Uint64 // index of the first message
	pins    atomic.Int64
	side    atomic.Pointer[[SegmentSize]S]
	Entries [SegmentSize]Entry[V]
}

// Slot is where the message with that index stands in its segment.
func Slot(index uint64) uint64 { return index % SegmentSize }

// Sides is what few messages have besides, nil if none of the segment's messages
// that are shown has any.
func (seg *Segment[V, S]) Sides() *[SegmentSize]S { return seg.side.Load() }

// SetSide sets it for a message. Writer only, before Append.
func (seg *Segment[V, S]) SetSide(slot uint64, s S) {
	p := seg.side.Load()
	if p == nil {
		p = new([SegmentSize]S)
		seg.side.Store(p)
	}
	p[slot] = s
}

// Log holds the newest messages of a topic. A message's index counts the
// messages before it. Init makes it usable.
//
// The writer stores head, then looks for sleepers. A reader registers as a
// sleeper, then looks at head. So one of the two sees the other. Reusing a
// segment works the same way: the writer marks it, then looks at its pins; a
// reader pins it, then looks at the mark.
type Log[V, S any] struct {
	// Read for every message and hardly ever written, so not on the cache line
	// of head, which readers keep taking from the writer.
	capacity uint64
	table    atomic.Pointer[table[V, S]]
	tail     *Segment[V, S] // the writer's
	end      uint64         // the writer's: index of the next message
	room     atomic.Uint64  // a blocking log may be written up to here without looking
	blocking bool
	budget   *budget       // nil: bytes do not count
	floor    atomic.Uint64 // what is below was let go of, to stay within the budget
	heavy    atomic.Bool   // more might be let go of

	head  atomic.Uint64           // readers may read below this index
	noted atomic.Uint64           // seq of the newest note
	solo  atomic.Pointer[sleeper] // the first who sleeps, ...
	many  atomic.Bool             // ... and whether there are more: in sleepers
	over  atomic.Bool             // the stream has ended: reason is set, head is final

	freed chan struct{} // tells the writer of a blocking log that room was made

	mu       sync.Mutex // guards what follows; nothing foreign is called under it
	begin    Place      // of the message before index 0, where known
	asked    bool       // begin is exact, or notes say what is missing behind it
	filling  bool       // between Fill and Filled
	opened   bool       // Open was called
	notes    noteLog
	sleepers []*sleeper
	spare    []*sleeper
	readers  []*Cursor[V, S]
	reason   error
}

// table finds a segment by index/SegmentSize, modulo its length.
type table[V, S any] []atomic.Pointer[Segment[V, S]]

// minTable is how many segments a new log has places for.
const minTable = 4

// Init makes a log of that capacity. If blocking is set, it is for the writer to
// Wait before it appends.
func (l *Log[V, S]) Init(capacity int, blocking bool) {
	l.capacity, l.blocking = uint64(capacity), blocking
	t := make(table[V, S], min(l.segments(), minTable))
	l.table.Store(&t)
	if blocking {
		l.freed = make(chan struct{}, 1)
	}
}

// segments is how many segments a full log has: two more than the capacity
// fills. One is being written, and one the oldest message shares with others
// that are not owed any more.
func (l *Log[V, S]) segments() int {
	return int((l.capacity+SegmentSize-1)/SegmentSize) + 2
}

// Next returns the segment and the slot of the next message, for the writer to
// fill before it calls Append.
func (l *Log[V, S]) Next() (*Segment[V, S], uint64) {
	slot := Slot(l.end)
	if slot == 0 && (l.tail == nil || l.tail.base.Load() != l.end) { // else it was not filled last time
		l.extend()
	}
	return l.tail, slot
}

// Append adds the message in the Next slot. If more is set another one follows
// at once, and readers may be told of both together.
func (l *Log[V, S]) Append(more bool) {
	l.end++
	if !more || Slot(l.end) == 0 {
		l.Show()
	}
}

// Show lets readers see all that was appended.
func (l *Log[V, S]) Show() {
	l.head.Store(l.end)
	if l.solo.Load() != nil || l.many.Load() {
		l.wake()
	}
}

// extend makes the segment that starts at the next index the tail. All that was
// appended is shown by then.
func (l *Log[V, S]) extend() {
	if l.budget != nil { // a reader may be clearing
		l.mu.Lock()
		defer l.mu.Unlock()
	}
	i := l.end
	t := *l.table.Load()
	place := &t[i/SegmentSize%uint64(len(t))]
	seg := place.Load()
	if seg != nil && len(t) < l.segments() {
		if seg.base.Load()+SegmentSize > l.oldest(i) {
			place, seg = l.grow(i), nil
		}
	}
	if seg != nil {
		seg.base.Store(recycled)
	}
	if seg == nil || seg.pins.Load() != 0 {
		seg = new(Segment[V, S])
		seg.base.Store(i)
		place.Store(seg)
	} else {
		// Cleared as a whole: it lets go of the old values, and takes the cache
		// lines from the readers all at once. Taking them one by one, each
		// with the next message, takes half as long again per message.
		clear(seg.Entries[:])
		if p := seg.side.Load(); p != nil {
			clear(p[:])
		}
		seg.base.Store(i)
	}
	l.tail = seg
}

// grow makes the table longer, and returns the place of the segment that starts
// at index i. A reader that looks at the old table does not find what is newer,
// and looks again.
func (l *Log[V, S]) grow(i uint64) *atomic.Pointer[Segment[V, S]] {
	old := *l.table.Load()
	t := make(table[V, S], min(2*len(old), l.segments()))
	for k := range old {
		if seg := old[k].Load(); seg != nil {
			t[seg.base.Load()/SegmentSize%uint64(len(t))].Store(seg)
		}
	}
	l.table.Store(&t)
	return &t[i/SegmentSize%uint64(len(t))]
}

// pin returns the segment that holds index i, or nil if the log has moved on.
func (l *Log[V, S]) pin(i uint64) *Segment[V, S] {
	t := *l.table.Load()
	seg := t[i/SegmentSize%uint64(len(t))].Load()
	if seg == nil {
		return nil
	}
	seg.pins.Add(1)
	if seg.base.Load() != i-i%SegmentSize {
		seg.pins.Add(-1)
		return nil
	}
	return seg
}

// place returns that of the message with index i, if the log still has it.
func (l *Log[V, S]) place(i uint64) (Place, bool) {
	seg := l.pin(i)
	if seg == nil {
		return Place{}, false
	}
	defer seg.pins.Add(-1)
	return seg.Entries[Slot(i)].At, true
}

// oldest is the index of the oldest message that the log still owes, given its
// head.
func (l *Log[V, S]) oldest(head uint64) uint64 {
	return max(head-min(head, l.capacity), l.floor.Load())
}

// Capacity is how many messages the log owes.
func (l *Log[V, S]) Capacity() int { return int(l.capacity) }

// Len is how many messages were appended and shown.
func (l *Log[V, S]) Len() uint64 { return l.head.Load() }

// Note adds a rare event behind the newest message. Writer only.
func (l *Log[V, S]) Note(n Note) {
	l.head.Store(l.end) // it stands behind what was appended
	n.at = l.end
	l.mu.Lock()
	l.noted.Store(l.notes.add(n, l.oldest(n.at)))
	l.mu.Unlock()
	l.wake()
}

// End marks the end of the stream: no message will follow.
func (l *Log[V, S]) End(reason error) {
	l.mu.Lock()
	l.reason = reason
	l.over.Store(true)
	l.mu.Unlock()
	l.wake()
}

// Reason is what End was given.
func (l *Log[V, S]) Reason() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.reason
}

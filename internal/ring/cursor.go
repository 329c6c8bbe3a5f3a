package ring

import (
	"slices"
	"sync"
	"sync/atomic"
)

// noLimit is an index that no message has.
const noLimit = ^uint64(0)

// Cursor is the place of one reader, which may be many goroutines that share
// the messages out among themselves. Use NewCursor, then one of the Join
// methods of a Log.
type Cursor[V, S any] struct {
	log *Log[V, S]
	// Owner is for who joins: the log does not look at it.
	Owner any

	next     atomic.Uint64 // index of the next message to hand out
	wanted   atomic.Uint64 // the writer waits for next to get here
	stopped  atomic.Bool   // nothing more is handed out
	asleep   atomic.Int32  // goroutines that sleep until there is something, ...
	awaiting atomic.Int32  // ... and those that sleep until a ctx ends, too
	limited  atomic.Bool   // limit is set
	sleeper  sleeper

	keeping atomic.Bool // somebody uses kept
	kept    View[V, S]  // what a reader of single messages left to its next call

	skipTo atomic.Uint64 // ... up to this index
	skip0  Place         // skip, as it was when c joined
	early  bool          // that was before Log.Open

	first Place // that it began behind
	whole bool  // it began with the first message

	index int    // in log.readers; guarded by log.mu
	seen  uint64 // next at the last call of Log.Stalled, or noLimit; guarded by log.mu

	mu        sync.Mutex // guards what follows; taken before log.mu
	fails     bool       // an overflow is to end it
	batch     uint64     // how many messages a View spans at most
	read      mark       // how far the notes were read
	pending   []Note     // to be handed out before anything else
	limit     uint64     // reading ends at this index, ...
	limitRead mark       // ... with the notes read up to here, ...
	limitEnd  End        // ... like this
	skip      Place      // what stands up to here was seen before ...
	last      Place      // of the message before index lastAt
	lastAt    uint64
	start     uint64 // next when it joined, plus the messages that were jumped over since
	maxLag    uint64
	leaving   bool // what is left is looked at, though c is stopped
	left      bool
}

// NewCursor makes a cursor. With fails, an overflow ends it.
func NewCursor[V, S any](fails bool) *Cursor[V, S] {
	return &Cursor[V, S]{
		fails:     fails,
		sleeper:   sleeper{bell: make(chan struct{}, 1)},
		limit:     noLimit,
		limitRead: mark{seq: noLimit},
	}
}

// End tells whether and how reading has ended.
type End uint8

const (
	NotEnded   End = iota
	Stopped        // by Stop
	Drained        // at the limit
	Overflowed     // it fell behind, and was to fail then
	Over           // the log has ended
)

// View is a stretch of a pinned segment that one goroutine may read. The zero
// View is empty.
type View[V, S any] struct {
	seg      *Segment[V, S]
	from, to uint64 // indexes
	single   bool   // it is to span one message

	slept uint64 // where the cursor was when the goroutine last slept

	// What Look saw, to tell whether anything happened since.
	head, noted uint64
	over        bool
}

// Segment returns the view's segment.
func (v *View[V, S]) Segment() *Segment[V, S] { return v.seg }

// Empty reports whether the view spans no message.
func (v *View[V, S]) Empty() bool { return v.from == v.to }

// Busy reports whether more than one message was read since the goroutine that
// has v last slept, or Busy was last called.
func (c *Cursor[V, S]) Busy(v *View[V, S]) bool {
	i := c.next.Load()
	busy := i-v.slept > 1
	v.slept = i
	return busy
}

// At returns the index of the next message, and whether it may be read in v.
func (c *Cursor[V, S]) At(v *View[V, S]) (index uint64, ok bool) {
	i := c.next.Load()
	return i, i >= v.from && i < v.to && !c.stopped.Load()
}

// Take claims the message with that index, so that no other goroutine gets it. It
// reports false if one was faster.
func (c *Cursor[V, S]) Take(index uint64) bool {
	if !c.next.CompareAndSwap(index, index+1) {
		return false
	}
	if c.wanted.Load() == index+1 {
		c.log.makeRoom()
	}
	return true
}

// Look renews v. It returns a note if one stands at the cursor, to be handed
// out. Without one, v is empty if there is nothing to read for now. End tells
// that there never will be.
func (c *Cursor[V, S]) Look(v *View[V, S]) (*Note, End) {
	c.mu.Lock()
	c.unpin(v)
	n, end := c.look(v)
	c.mu.Unlock()
	if c.asleep.Load()+c.awaiting.Load() > 0 && (n != nil || !v.Empty() || end != NotEnded) {
		c.sleeper.ring() // a goroutine in parallel may find more, or the end
	}
	return n, end
}

func (c *Cursor[V, S]) look(v *View[V, S]) (*Note, End) {
	l := c.log
	for {
		if c.stopped.Load() && !c.leaving {
			return nil, Stopped
		}
		if len(c.pending) > 0 {
			n := c.pending[0]
			c.pending = c.pending[1:]
			return &n, NotEnded
		}
		// In this order. A head that was read after over is final; a note
		// stands before a message only if noted, read after head, says so.
		i := c.next.Load()
		v.over = l.over.Load()
		v.head = l.head.Load()
		v.noted = l.noted.Load()
		if !c.skip.IsZero() && i >= c.skipTo.Load() { // the log never came to that place
			c.pending = append(c.pending, Note{Kind: Gap, Hole: Hole{After: c.skip, Reset: true}})
			c.skip = Place{}
			continue
		}
		to := min(v.head, c.limit)
		c.maxLag = max(c.maxLag, to-i)
		if i < min(l.oldest(v.head), c.limit) {
			c.overflow(i)
			continue
		}
		if c.read.seq < v.noted && c.unread() {
			n, dropped := c.nextNote()
			switch {
			case dropped:
				c.overflow(i)
				continue
			case n != nil && n.at <= i:
				if c.takeNote(n, i) {
					return n, NotEnded
				}
				continue
			case n != nil:
				to = min(to, n.at)
			}
		}
		if i < to {
			if v.seg = l.pin(i); v.seg == nil {
				continue // overtaken since head was read
			}
			to = min(to, i-i%SegmentSize+SegmentSize, i+c.batch)
			if !c.skip.IsZero() && c.passSeen(v, i, to) {
				continue
			}
			if v.single {
				to = i + 1
			}
			v.from, v.to = i, to
			c.passed(v.seg, v.to)
			return nil, NotEnded
		}
		switch {
		case i == c.limit:
			return nil, c.limitEnd
		case v.over && i == v.head:
			return nil, Over
		}
		return nil, NotEnded
	}
}

// passSeen moves the cursor from index i past the messages, up to index to, that
// were seen before. It reports whether there were any, and lets go of v then.
func (c *Cursor[V, S]) passSeen(v *View[V, S], i, to uint64) bool {
	n, end := i, min(to, c.skipTo.Load())
	for n < end && c.wasSeen(v.seg.Entries[Slot(n)].At) {
		n++
	}
	if n < end {
		c.skip = Place{}
	}
	if n == i {
		return false
	}
	if c.next.CompareAndSwap(i, n) {
		c.start += n - i
		c.passed(v.seg, n)
		if w := c.wanted.Load(); i < w && w <= n {
			c.log.makeRoom()
		}
	}
	v.drop()
	return true
}

// wasSeen reports whether the message at p was seen before the cursor joined.
func (c *Cursor[V, S]) wasSeen(p Place) bool { return !p.IsZero() && !c.skip.less(p) }

// unread reports whether there may be notes to read up to the limit. Its last
// note may have been read before a hole that became one with a later hole.
func (c *Cursor[V, S]) unread() bool {
	return c.read.seq < c.limitRead.seq || c.read.misses(c.limitRead)
}

// nextNote returns a copy of the next note to read, or nil, or that it was
// dropped. It then stands before a message that the log no longer owes.
func (c *Cursor[V, S]) nextNote() (next *Note, dropped bool) {
	l := c.log
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.read.seq < l.notes.dropped.seq && c.unread() {
		return nil, true
	}
	n := l.notes.after(c.read.seq)
	if n == nil {
		return nil, false
	}
	copied := *n
	if n.seq > c.limitRead.seq {
		// The holes up to the limit may have become one with later ones.
		if n = l.notes.hole(c.read.seq, c.limit); n == nil || !c.read.misses(c.limitRead) {
			return nil, false
		}
		copied = *n
		copied.Hole.Resume = Place{}
		copied.seq, copied.lost, copied.inexact = c.limitRead.seq, c.limitRead.lost, c.limitRead.inexact
	}
	return &copied, false
}

// takeNote has n, which stands at index i, read. A hole that is made of several
// becomes what is left of them. It reports whether anything is.
func (c *Cursor[V, S]) takeNote(n *Note, i uint64) bool {
	if n.Kind != Gap {
		c.read.seq = n.seq // n's totals may count holes that are now in a later one
		return true
	}
	h := &n.Hole
	h.Lost, h.Exact = c.read.holes(n.mark())
	if c.read.seq >= n.from {
		h.After = c.lastBefore(i)
	}
	c.read = n.mark()
	c.last, c.lastAt = h.Resume.Before(), i
	return c.skip.IsZero() || c.cutSeen(h)
}

// cutSeen takes from a hole what was seen before. It reports whether any of it
// is left.
func (c *Cursor[V, S]) cutSeen(h *Hole) bool {
	if h.Resume.IsZero() || h.Resume.Page != c.skip.Page {
		return true
	}
	behind := c.skip.Behind()
	if !behind.less(h.Resume) { // it ends at or before the place
		return false
	}
	h.After = c.skip
	if left := h.Resume.Sequence - behind.Sequence; left < h.Lost || !h.Exact {
		h.Lost, h.Exact = left, true
	}
	return true
}

// overflow moves the cursor from index i past what the log no longer owes, and
// makes the report of it pending: of the messages, and of the holes between them.
func (c *Cursor[V, S]) overflow(i uint64) {
	l, after := c.log, c.lastBefore(i)
	l.mu.Lock() // no note is dropped that stands behind what the head says
	head := l.head.Load()
	end := min(head, c.limit)
	to := min(l.oldest(head), end)
	seen := !c.skip.IsZero() && c.seenBefore(to)
	if c.fails && !seen {
		to = end
	}
	h := Hole{After: after, Lost: to - i, Exact: true, Overflow: true, Skipped: to - i}
	if !c.next.CompareAndSwap(i, to) {
		l.mu.Unlock()
		return
	}
	c.start += to - i // it did not take these
	if to < end || seen {
		h.Resume, _ = l.place(to)
	}
	read, states := l.notes.skip(c.read, to)
	if n := l.notes.hole(read.seq, to); n != nil {
		h.Resume = n.Hole.After.Behind() // that hole will be told apart
	}
	l.mu.Unlock()
	if read.seq > c.limitRead.seq {
		read, states = c.limitRead, nil // which may be from behind the limit
	}
	lost, exact := c.read.holes(read)
	sum, fits := plus(h.Lost, lost)
	h.Lost, h.Exact = sum, exact && fits
	if !c.skip.IsZero() {
		c.overtaken(&h, to)
	}
	c.read = read
	c.last, c.lastAt = h.Resume.Before(), to // for another overflow right behind
	if h.Lost > 0 || !h.Exact {
		c.pending = append(c.pending, Note{Kind: Gap, Hole: h})
	}
	c.pending = append(c.pending, states...)
	if c.fails && to > i && !seen {
		c.limit, c.limitRead, c.limitEnd = to, read, Overflowed
		c.limited.Store(true)
	}
}

// seenBefore reports whether all that stands before index i was seen before c
// joined.
func (c *Cursor[V, S]) seenBefore(i uint64) bool {
	p, ok := c.log.place(i)
	return ok && !p.IsZero() && !c.skip.Behind().less(p)
}

// overtaken takes from the hole of an overflow up to index to what was seen
// before c joined.
func (c *Cursor[V, S]) overtaken(h *Hole, to uint64) {
	resume := h.Resume
	if resume.IsZero() {
		last, _ := c.log.place(to - 1)
		resume = last.Behind()
	}
	switch behind := c.skip.Behind(); {
	case resume.IsZero():
		return
	case resume.Page != behind.Page: // nobody can tell how much of it
		h.Lost, h.Exact = min(h.Lost, resume.Sequence-1), false
	case !behind.less(resume):
		h.Lost, h.Exact, h.Skipped = 0, true, 0
		return
	default:
		h.Lost, h.Exact = resume.Sequence-behind.Sequence, true
	}
	h.After, h.Skipped = c.skip, min(h.Skipped, h.Lost)
	c.skip = Place{}
}

// skip moves from m past all notes that stand before the message with index i,
// and returns the new mark and what they said of the stream.
func (nl *noteLog) skip(m mark, i uint64) (mark, []Note) {
	to := nl.before(i)
	if to.seq <= m.seq {
		return m, nil
	}
	return to, nl.states(m.seq, to.seq)
}

// passed notes the place of the message before index i, which is in seg.
func (c *Cursor[V, S]) passed(seg *Segment[V, S], i uint64) {
	c.last, c.lastAt = seg.Entries[Slot(i-1)].At, i
}

// lastBefore returns the place of the message before index i, zero if it is not
// known. c.mu is held.
func (c *Cursor[V, S]) lastBefore(i uint64) Place {
	if c.lastAt != i && c.keeping.CompareAndSwap(false, true) {
		c.unpin(&c.kept) // it may have been left in the middle
		c.keeping.Store(false)
	}
	if c.lastAt != i {
		return Place{}
	}
	return c.last
}

// unpin gives v's segment back. c.mu is held.
func (c *Cursor[V, S]) unpin(v *View[V, S]) {
	if v.seg == nil {
		return
	}
	if i := c.next.Load(); v.from < i && i < v.to {
		c.passed(v.seg, i) // left in the middle
	}
	v.drop()
}

// drop gives the segment of a view that has one back.
func (v *View[V, S]) drop() {
	v.seg.pins.Add(-1)
	v.seg, v.from, v.to = nil, 0, 0
}

// Borrow returns a view for one message. Give it back with Return. Of calls in
// parallel one gets the kept view, which spares it two locks and a pin each time.
func (c *Cursor[V, S]) Borrow() *View[V, S] {
	if !c.keeping.CompareAndSwap(false, true) {
		return &View[V, S]{single: true}
	}
	// What the log has overwritten since is of no use. It is dropped before
	// Look, which would forget the place that an overflow is reported from.
	if c.next.Load() < c.log.oldest(c.log.head.Load()) {
		c.mu.Lock()
		c.unpin(&c.kept)
		c.mu.Unlock()
	}
	return &c.kept
}

// Return ends what Borrow began. It reports whether the reader took the last
// event there was to read, so that nobody else may come to notice the end.
func (c *Cursor[V, S]) Return(v *View[V, S]) (end End) {
	if v != &c.kept {
		return c.Release(v)
	}
	if c.limited.Load() {
		end = c.Release(v)
	} else if v.seg != nil && c.next.Load() >= v.to {
		v.drop() // nothing to come back to, and unpin has nothing to note
	}
	c.keeping.Store(false)
	return end
}

// Release lets go of v, and reports what Return reports.
func (c *Cursor[V, S]) Release(v *View[V, S]) End {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unpin(v)
	return c.exhausted()
}

// Exhausted tells whether and how reading has come to its limit.
func (c *Cursor[V, S]) Exhausted() End {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.exhausted()
}

// Limit has reading end at the newest message, and reports whether there is
// nothing left to read.
func (c *Cursor[V, S]) Limit() End {
	c.mu.Lock()
	defer c.mu.Unlock()
	if l := c.log; c.limit == noLimit {
		l.mu.Lock() // no note of a later message slips in
		c.limit, c.limitRead, c.limitEnd = l.head.Load(), l.notes.newest, Drained
		c.limited.Store(true)
		l.mu.Unlock()
	}
	return c.exhausted()
}

// exhausted reports whether reading has come to its limit. Notes of the stream's
// state need not be waited for. c.mu is held.
func (c *Cursor[V, S]) exhausted() End {
	if c.next.Load() >= c.limit && !c.read.misses(c.limitRead) &&
		!slices.ContainsFunc(c.pending, func(n Note) bool { return n.Kind == Gap }) {
		return c.limitEnd
	}
	return NotEnded
}

// Stop ends reading: nothing more is handed out. Then Leave.
func (c *Cursor[V, S]) Stop() {
	c.stopped.Store(true)
	c.sleeper.ring()
}

// IsStopped reports whether Stop was called.
func (c *Cursor[V, S]) IsStopped() bool { return c.stopped.Load() }

// Start is the place that the cursor began behind, zero if the log did not know
// it.
func (c *Cursor[V, S]) Start() Place { return c.first }

// Whole reports whether the cursor began with the first message of its log.
func (c *Cursor[V, S]) Whole() bool { return c.whole }

// Stats are what a cursor counts.
type Stats struct {
	Taken  uint64 // messages
	Lag    uint64 // messages up to the head, those that it will report lost included
	MaxLag uint64
}

// Stats returns what the cursor counts.
func (c *Cursor[V, S]) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left {
		return Stats{Taken: c.start, MaxLag: c.maxLag}
	}
	i := c.next.Load() // before the head, which never falls behind it
	st := Stats{Taken: i - c.start, Lag: c.log.head.Load() - i}
	c.maxLag = max(c.maxLag, st.Lag)
	st.MaxLag = c.maxLag
	return st
}

// Leave takes a stopped cursor out of its log. It returns how many messages it
// took, and how many it leaves behind: those up to the head or the limit, and
// those that are missing among them. It must be called once.
func (c *Cursor[V, S]) Leave() (taken, dropped uint64) {
	l := c.log
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.limitEnd == Overflowed { // not asked for: what came since was for c, too
		c.limit, c.limitRead = noLimit, mark{seq: noLimit}
	}
	if !c.skip.IsZero() {
		dropped = c.leaveUnseen()
	}
	l.mu.Lock()
	i := c.next.Swap(noLimit) // nobody takes any more
	if end := min(l.head.Load(), c.limit); i < end {
		dropped, _ = plus(dropped, end-i)
	}
	taken = i - c.start
	newest := l.notes.newest
	if c.limit != noLimit && c.limitRead.lost.less(newest.lost) {
		newest = c.limitRead
	}
	if c.read.lost.less(newest.lost) {
		lost, _ := c.read.holes(newest)
		dropped, _ = plus(dropped, lost)
	}
	for _, n := range c.pending {
		dropped, _ = plus(dropped, n.Hole.Lost)
	}
	l.leave(c)
	if l.budget != nil {
		l.trim()
	}
	l.mu.Unlock()
	c.pending = nil
	c.start, c.left = taken, true
	if l.blocking {
		l.makeRoom()
	}
	return taken, dropped
}

// leaveUnseen goes through what is left as a reader does, since some of it was
// seen before c joined. It returns how many messages were not. c.mu is held.
func (c *Cursor[V, S]) leaveUnseen() (dropped uint64) {
	var v View[V, S]
	c.leaving = true
	defer func() { c.leaving = false }()
	for !c.skip.IsZero() {
		n, _ := c.look(&v)
		switch {
		case n != nil && n.Kind == Gap:
			dropped, _ = plus(dropped, n.Hole.Lost)
		case n == nil && v.Empty():
			return dropped
		case n == nil:
			if c.next.CompareAndSwap(v.from, v.to) {
				dropped, _ = plus(dropped, v.to-v.from)
				c.start += v.to - v.from
			}
			c.unpin(&v)
		}
	}
	return dropped
}

// Ahead is how many of the messages behind m were seen before c joined.
func (c *Cursor[V, S]) Ahead(m Mark) uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if m.come.Page != c.skip.Page || !m.come.less(c.skip) {
		return 0
	}
	return c.skip.Sequence - m.come.Sequence
}

// Mark is how far a log was.
type Mark struct {
	head  uint64
	notes mark
	come  Place
}

// Mark returns how far the log is.
func (l *Log[V, S]) Mark() Mark {
	l.mu.Lock()
	defer l.mu.Unlock()
	return Mark{l.head.Load(), l.notes.newest, l.come()}
}

// LimitTo has Leave count what is left up to m, unless Limit was called.
func (c *Cursor[V, S]) LimitTo(m Mark) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.limit == noLimit || c.limitEnd == Overflowed {
		c.limit, c.limitRead, c.limitEnd = m.head, m.notes, Stopped
	}
}

// Limited reports whether Limit was called.
func (c *Cursor[V, S]) Limited() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.limitEnd == Drained
}

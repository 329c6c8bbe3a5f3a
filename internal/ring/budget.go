package ring

// budget bounds how many bytes a log keeps. A log without one pays nothing.
type budget struct {
	limit   uint64
	total   uint64   // of sizes
	sizes   []uint64 // of the messages from index first on
	first   uint64
	cleared uint64               // the entries below this index are
	laggard func() (next uint64) // where the slowest reader is
}

// Bound has the log let go of the oldest messages that all readers have passed,
// when those that it keeps come to more than so many bytes. The writer calls
// Weigh then. It goes right behind Init.
func (l *Log[V, S]) Bound(bytes int) { l.budget = &budget{limit: uint64(bytes)} }

// Bounded reports whether Bound was called.
func (l *Log[V, S]) Bounded() bool { return l.budget != nil }

// Weigh says how many bytes the message has that was appended last. Writer only.
func (l *Log[V, S]) Weigh(bytes int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.budget
	b.sizes = append(b.sizes, uint64(bytes))
	b.total += uint64(bytes)
	for uint64(len(b.sizes)) > l.capacity { // which others have taken the place of
		b.pop()
	}
	l.trim()
}

func (b *budget) pop() {
	b.total -= b.sizes[0]
	b.sizes = b.sizes[1:]
	b.first++
}

// Trim is for who has read on: the log may be able to let go of more.
func (l *Log[V, S]) Trim() {
	if l.heavy.Load() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.trim()
	}
}

// trim lets go of what it can, until the rest is within the budget. l.mu is held.
func (l *Log[V, S]) trim() {
	b := l.budget
	if b.total > b.limit {
		for slowest := l.slowest(); b.total > b.limit && b.first < slowest; {
			b.pop()
		}
		if b.first > l.floor.Load() {
			l.floor.Store(b.first)
		}
	}
	cleared := l.clear()
	l.heavy.Store(b.total > b.limit || !cleared)
}

// slowest is the index up to which all readers have read. It looks at all of
// them only if the one that was the slowest has gone on. l.mu is held.
func (l *Log[V, S]) slowest() uint64 {
	b := l.budget
	if b.laggard != nil {
		if next := b.laggard(); next <= b.first {
			return next
		}
	}
	slowest := l.head.Load()
	b.laggard = nil
	for _, c := range l.readers {
		if i := c.next.Load(); i <= slowest {
			slowest, b.laggard = i, c.next.Load
		}
	}
	return slowest
}

// clear empties the entries below the floor, which nobody reads any more. It
// reports false where a reader still has their segment in hand: it comes to Trim
// when it is done with it. l.mu is held.
func (l *Log[V, S]) clear() bool {
	b, floor := l.budget, l.floor.Load()
	for b.cleared < floor {
		base := b.cleared - b.cleared%SegmentSize
		end := min(base+SegmentSize, floor)
		if seg := (*l.table.Load())[base/SegmentSize%uint64(len(*l.table.Load()))].Load(); seg != nil && seg.base.Load() == base {
			seg.base.Store(recycled) // see Log
			pinned := seg.pins.Load() != 0
			if !pinned {
				seg.clear(b.cleared-base, end-base)
			}
			seg.base.Store(base)
			if pinned {
				return false
			}
		}
		b.cleared = end
	}
	return true
}

func (seg *Segment[V, S]) clear(from, to uint64) {
	clear(seg.Entries[from:to])
	if p := seg.side.Load(); p != nil {
		clear(p[from:to])
	}
}

package ring

import "sort"

// margin is how much room a reader of a blocking log that begins before the
// newest message must leave: the writer may have looked for room just before.
const margin = 2 * SegmentSize

// Join has c begin behind the newest message. If the stream is down, that is the
// first that c hears.
func (l *Log[V, S]) Join(c *Cursor[V, S]) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c.read = l.notes.newest
	l.enter(c, l.head.Load(), Place{})
	if st := l.notes.states(0, l.notes.newest.seq); len(st) > 0 && st[len(st)-1].Kind == Down {
		c.pending = append(c.pending, st[len(st)-1])
	}
}

// JoinBehind has c begin behind the message at p, if the log still holds it or
// begins right behind it. While the log is being filled with what there was
// before, until Filled, p may also lie ahead: what comes up to p is then passed
// over. Otherwise it reports false.
func (l *Log[V, S]) JoinBehind(c *Cursor[V, S], p Place) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	head := l.head.Load()
	i, _, held := l.locate(p)
	if !held && !l.begin.IsZero() && !p.less(l.begin) && p.Page == l.begin.Page {
		switch newest, ok := l.newest(head); {
		case p == l.begin && l.oldest(head) == 0 && (l.asked || l.follows()):
			i, held = 0, true
		case l.filling && (ok && newest.Page == p.Page && newest.less(p) || head == 0 && l.notes.newest.seq == 0):
			c.skip, c.skip0, c.early = p, p, !l.opened
			c.skipTo.Store(noLimit)
			i, held = head, true
		}
	}
	if !held || !l.lower(i, head) {
		c.skip, c.skip0, c.early = Place{}, Place{}, false
		return false
	}
	c.read = l.notes.before(i)
	l.enter(c, i, p)
	return true
}

// follows reports whether the first message stands right behind begin. Where the
// writer only guessed at begin, nothing else shows that none is missing between.
func (l *Log[V, S]) follows() bool {
	first, ok := l.place(0)
	return ok && first == l.begin.Behind()
}

// Fill says that the log is going to be filled with what there was before, behind
// begin. If asked is set, begin was asked for, so what is missing behind it will be
// noted. From Open on the log is being filled, and when Filled is called it has
// what there was at Open.
func (l *Log[V, S]) Fill(begin Place, asked bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.begin, l.asked, l.filling = begin, asked, true
}

// Open: see Fill.
func (l *Log[V, S]) Open() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.opened = true
}

// Filled ends what Fill began. Writer only.
func (l *Log[V, S]) Filled() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.filling = false
	for _, c := range l.readers {
		if c.early {
			l.reached(c)
		}
	}
}

// Reached is called, for a cursor that Skips, when the log has all that there was
// when it joined. If it did not come to the place that c began behind, that is of
// another life of the topic: c is told, and passes over nothing more. Writer only.
func (l *Log[V, S]) Reached(c *Cursor[V, S]) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reached(c)
}

func (l *Log[V, S]) reached(c *Cursor[V, S]) {
	head := l.head.Load()
	if l.come().less(c.skip0) {
		c.skipTo.Store(head)
		c.sleeper.ring() // it may be waiting there
	}
}

// Skips reports whether c joined ahead of what the log had, after Open: Reached is
// to be called for it.
func (c *Cursor[V, S]) Skips() bool { return !c.skip0.IsZero() && !c.early }

// come is the place that the log has come to: of the newest message, of the end
// of a hole behind it, or where the log begins. l.mu is held.
func (l *Log[V, S]) come() Place {
	head := l.head.Load()
	p, ok := l.newest(head)
	if !ok {
		p = l.begin
	}
	for i := len(l.notes.list) - 1; i >= 0 && l.notes.list[i].at == head; i-- {
		n := &l.notes.list[i]
		if end := n.Hole.Resume.Before(); n.Kind == Gap && p.less(end) {
			p = end
		}
	}
	return p
}

// newest is the place of the message before index head.
func (l *Log[V, S]) newest(head uint64) (Place, bool) {
	if head == 0 {
		return Place{}, false
	}
	p, ok := l.place(head - 1)
	return p, ok && !p.IsZero()
}

// JoinNearest has c begin behind the message at p or, if the log does not hold
// it, with the oldest one behind p that it holds. What is missing between the two
// is the first that c is told.
func (l *Log[V, S]) JoinNearest(c *Cursor[V, S], p Place) {
	l.mu.Lock()
	defer l.mu.Unlock()
	head := l.head.Load()
	i, next, held := l.locate(p)
	if p == l.begin && !p.IsZero() && l.oldest(head) == 0 && (next.IsZero() && head == 0 || next.Page == p.Page && next.Sequence == p.Sequence+1) {
		i, held = 0, true // nothing is missing behind it
	}
	if held && l.lower(i, head) {
		c.read = l.notes.before(i)
		l.enter(c, i, p)
		return
	}
	h := Hole{After: p}
	if next.IsZero() || l.blocking { // which may have no room for who starts further back
		c.read = l.notes.newest
		l.enter(c, head, Place{})
	} else {
		h.Resume = next
		if next.Page == p.Page { // otherwise nobody can count
			h.Lost, h.Exact = next.Sequence-p.Sequence-1, true
		}
		c.read = l.notes.before(i + 1) // the hole says what they said
		l.enter(c, i, next.Before())
	}
	if h.Lost > 0 || !h.Exact {
		c.pending = append(c.pending, Note{Kind: Gap, Hole: h})
	}
}

// JoinNewest has c begin with the newest n messages, if the log holds so many.
// Otherwise it reports false.
func (l *Log[V, S]) JoinNewest(c *Cursor[V, S], n uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	head := l.head.Load()
	if n > head-l.oldest(head) || !l.lower(head-n, head) {
		return false
	}
	l.enterAt(c, head-n)
	return true
}

// JoinAtHand has c begin with the newest messages that the log holds, at most n,
// if there are any and the first of them stands at p or before it. Otherwise it
// reports false.
func (l *Log[V, S]) JoinAtHand(c *Cursor[V, S], n uint64, p Place) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	head := l.head.Load()
	i := head - min(n, head-l.oldest(head))
	if first, ok := l.place(i); i == head || !ok || first.IsZero() || p.less(first) || !l.lower(i, head) {
		return false
	}
	l.enterAt(c, i)
	return true
}

// JoinOldest has c begin with the oldest message that the log holds. With whole
// it must be the first it ever had, or JoinOldest reports false.
func (l *Log[V, S]) JoinOldest(c *Cursor[V, S], whole bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	head := l.head.Load()
	i := l.oldest(head)
	if whole && i > 0 || !l.lower(i, head) {
		return false
	}
	l.enterAt(c, i)
	return true
}

// enterAt makes c a reader that begins at index i, without what is missing
// before that.
func (l *Log[V, S]) enterAt(c *Cursor[V, S], i uint64) {
	last := Place{}
	if p, ok := l.place(i); ok {
		last = p.Before()
	}
	c.read = l.notes.before(i + 1)
	if i == l.head.Load() {
		c.read = l.notes.newest
	}
	l.enter(c, i, last)
}

// Oldest is the place of the oldest message that the log holds, zero if it holds
// none.
func (l *Log[V, S]) Oldest() Place {
	head := l.head.Load()
	p, _ := l.place(l.oldest(head))
	return p
}

// lower has the writer of a blocking log look again before it overtakes a
// reader that begins at index i. It reports false if there is no time for that.
func (l *Log[V, S]) lower(i, head uint64) bool {
	if !l.blocking || i == head {
		return true
	}
	if head-i+margin > l.capacity {
		return false
	}
	if to := i + l.capacity; to < l.room.Load() {
		l.room.Store(to)
	}
	return true
}

// enter makes c a reader that begins at index i, behind the message at last.
func (l *Log[V, S]) enter(c *Cursor[V, S], i uint64, last Place) {
	c.log = l
	// An uninterrupted reader takes so many messages before it looks whether it
	// has fallen behind. It may so be handed up to an eighth of the capacity
	// more than the capacity. The kept view may not, see Borrow.
	c.batch = min(SegmentSize, max(1, l.capacity/8))
	c.next.Store(i)
	c.start, c.seen = i, i
	if i < l.head.Load() {
		c.seen = noLimit // what waits for it did so before it came
	}
	c.last, c.lastAt = last, i
	c.first, c.whole = last, i == 0
	if last.IsZero() && i > 0 {
		if p, ok := l.place(i - 1); ok {
			c.first = p
		}
	}
	c.index = len(l.readers)
	l.readers = append(l.readers, c)
}

// leave takes c out of the readers, and out of the sleepers for good: a quiet
// stream would keep it reachable there until its next message. l.mu is held.
func (l *Log[V, S]) leave(c *Cursor[V, S]) {
	last := len(l.readers) - 1
	moved := l.readers[last]
	l.readers[c.index], moved.index = moved, c.index
	l.readers[last] = nil
	l.readers = l.readers[:last]
	l.strike(&c.sleeper)
}

// Readers returns the log's readers.
func (l *Log[V, S]) Readers() []*Cursor[V, S] {
	room := make([]*Cursor[V, S], 0, l.Size()) // before the lock is held again: there may be a million
	l.mu.Lock()
	defer l.mu.Unlock()
	return append(room, l.readers...)
}

// Size is how many readers there are.
func (l *Log[V, S]) Size() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.readers)
}

// Stalled returns the readers that have not moved since the last call though a
// message before index mark waits for them. behind tells whether messages wait
// for others, too. Both are about what stands below head.
func (l *Log[V, S]) Stalled(mark uint64) (stalled []*Cursor[V, S], behind bool, head uint64) {
	head = l.head.Load()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.readers {
		i := c.next.Load()
		switch {
		case i >= head:
		case i == c.seen && i < mark:
			stalled = append(stalled, c)
		default:
			behind = true
		}
		c.seen = i
	}
	return stalled, behind, head
}

// locate returns the index behind the message at p, if the log holds that very
// message. Otherwise it returns the index of the oldest message that it holds
// of those behind p, and that one's place, zero if there is none.
func (l *Log[V, S]) locate(p Place) (i uint64, next Place, held bool) {
	head := l.head.Load()
	from := l.oldest(head)
	var found uint64 // the index of next
	n := sort.Search(int(head-from), func(k int) bool {
		for j := from + uint64(k); j < head; j++ {
			at, ok := l.place(j)
			switch {
			case !ok || !at.IsZero() && at.less(p): // or overtaken, so older than what is left
				return false
			case !at.IsZero(): // one without a number goes with that behind it
				next, found = at, j
				return true
			}
		}
		next, found = Place{}, head
		return true
	})
	if found < head && next == p { // the last that was true is what is searched
		return found + 1, Place{}, true
	}
	return from + uint64(n), next, false
}

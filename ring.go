package pubsub

import (
	"slices"
	"sort"
	"sync"
	"sync/atomic"
)

// segmentSize is how many messages a segment holds. A reader pins a segment
// once per segmentSize messages, so it must not be tiny; a topic that carried
// one message keeps one segment, so it must not be large.
const segmentSize = 32

// recycled is the base of a segment that is being reused: no reader wants it.
const recycled = ^uint64(0)

// segment is a run of messages. A reader that pinned it may read those below
// the ring's head at leisure: the writer abandons a pinned segment to the
// garbage collector where it would otherwise reuse it.
type segment[T any] struct {
	base       atomic.Uint64 // index of the first message
	pins       atomic.Int64
	payloads   []Payload // where each subscription decodes for itself
	publishers atomic.Pointer[[segmentSize]string]
	entries    [segmentSize]entry[T]
}

// entry is what the ring keeps of a message: as little as possible, since
// memory that went cold is most of the cost with many topics. What all
// messages have in common is put back by who reads.
type entry[T any] struct {
	value T // not where payloads are kept
	at    Position
}

// publisher returns that of the message with index i. Most backends know none.
func (seg *segment[T]) publisher(i uint64) string {
	if p := seg.publishers.Load(); p != nil {
		return p[i%segmentSize]
	}
	return ""
}

func (seg *segment[T]) setPublisher(i uint64, publisher string) {
	p := seg.publishers.Load()
	if p == nil {
		p = new([segmentSize]string)
		seg.publishers.Store(p)
	}
	p[i%segmentSize] = publisher
}

// position returns that of the message with index i.
func (seg *segment[T]) position(i uint64) Position { return seg.entries[i%segmentSize].at }

// ring is the log of a topic's newest messages. One writer appends; any number
// of readers follow, each with a cursor of its own, which the ring need not
// know in order to append: a publish costs writing one message and waking
// those who sleep, however many lag behind.
//
// A message's index counts the messages before it. What is rare (gaps, states,
// heartbeats) stands in notes, between the messages, so that it never pushes a
// message out.
//
// The writer stores head, then looks for sleepers; a reader registers as a
// sleeper, then looks at head. One of the two sees the other. Recycling works
// the same way: the writer marks a segment, then looks at its pins; a reader
// pins it, then looks at the mark.
type ring[T any] struct {
	// Read for every message and hardly ever written, so not on the cache line
	// of head, which readers keep taking from the writer; see topic.
	capacity uint64
	segments []atomic.Pointer[segment[T]] // by index/segmentSize, modulo the length
	tail     *segment[T]                  // the writer's
	room     uint64                       // the writer's; a blocking ring may be written up to here without looking

	head     atomic.Uint64 // index of the next message
	noted    atomic.Uint64 // seq of the newest note
	sleeping atomic.Bool   // sleepers is not empty
	over     atomic.Bool   // the stream has ended: endErr is set, head is final
	payloads bool          // segments hold payloads

	freed chan struct{} // tells the writer of a blocking ring that room was made

	mu       sync.Mutex // guards what follows; nothing foreign is called under it
	notes    noteLog
	sleepers []*waiter
	spare    []*waiter
	readers  []*Subscription[T]
	endErr   error
}

func (r *ring[T]) init(capacity int, payloads, blocking bool) {
	// Two segments more than the capacity fills: the one being written, and
	// the one that the oldest message shares with dropped ones.
	n := (capacity+segmentSize-1)/segmentSize + 2
	r.segments = make([]atomic.Pointer[segment[T]], n)
	r.capacity, r.payloads = uint64(capacity), payloads
	if blocking {
		r.freed = make(chan struct{}, 1)
	}
}

// tailSegment returns the segment that the next message goes to, and its
// index, for the writer to fill.
func (r *ring[T]) tailSegment() (*segment[T], uint64) {
	i := r.head.Load()
	if i%segmentSize == 0 {
		r.extend(i)
	}
	return r.tail, i
}

// append adds the message in the tailSegment and wakes the sleepers. Writer only.
func (r *ring[T]) append() {
	r.head.Store(r.head.Load() + 1)
	if r.sleeping.Load() {
		r.wake()
	}
}

// extend makes the segment that starts at index i the tail.
func (r *ring[T]) extend(i uint64) {
	place := &r.segments[i/segmentSize%uint64(len(r.segments))]
	seg := place.Load()
	if seg != nil {
		seg.base.Store(recycled)
	}
	if seg == nil || seg.pins.Load() != 0 {
		seg = new(segment[T])
		if r.payloads {
			seg.payloads = make([]Payload, segmentSize)
		}
		seg.base.Store(i)
		place.Store(seg)
	} else {
		if p := seg.publishers.Load(); p != nil {
			clear(p[:])
		}
		seg.base.Store(i)
	}
	r.tail = seg
}

// pin returns the segment that holds index i, or nil if the ring has moved on.
func (r *ring[T]) pin(i uint64) *segment[T] {
	seg := r.segments[i/segmentSize%uint64(len(r.segments))].Load()
	if seg == nil {
		return nil
	}
	seg.pins.Add(1)
	if seg.base.Load() != i-i%segmentSize {
		seg.pins.Add(-1)
		return nil
	}
	return seg
}

// oldest is the index of the oldest message that the ring still owes, given
// its head.
func (r *ring[T]) oldest(head uint64) uint64 {
	return head - min(head, r.capacity)
}

// locate returns the index behind the message at position p, if the ring holds
// that very message. Otherwise it returns the index of the oldest message that
// it holds of those behind p, and that one's position, zero if there is none.
func (r *ring[T]) locate(p Position) (i uint64, next Position, held bool) {
	head := r.head.Load()
	from := r.oldest(head)
	var found uint64 // the index of next
	n := sort.Search(int(head-from), func(k int) bool {
		for j := from + uint64(k); j < head; j++ {
			at, ok := r.position(j)
			switch {
			case !ok || !at.IsZero() && at.Compare(p) < 0: // or overtaken, so older than what is left
				return false
			case !at.IsZero(): // one without a number goes with that behind it
				next, found = at, j
				return true
			}
		}
		next, found = Position{}, head
		return true
	})
	if found < head && next == p { // the last that was true is what is searched
		return found + 1, Position{}, true
	}
	return from + uint64(n), next, false
}

// position returns that of the message with index i, if the ring still has it.
func (r *ring[T]) position(i uint64) (Position, bool) {
	seg := r.pin(i)
	if seg == nil {
		return Position{}, false
	}
	defer seg.pins.Add(-1)
	return seg.position(i), true
}

// note adds a rare event behind the newest message. Writer only.
func (r *ring[T]) note(n note) {
	n.at = r.head.Load()
	r.mu.Lock()
	r.noted.Store(r.notes.add(n, r.oldest(n.at)))
	r.mu.Unlock()
	r.wake()
}

// end marks the end of the stream: no message will follow.
func (r *ring[T]) end(err error) {
	r.mu.Lock()
	r.endErr = err
	r.over.Store(true)
	r.mu.Unlock()
	r.wake()
}

// waiter is the bell of a sleeping reader. A token in it may be stale: who
// takes it looks again.
type waiter struct {
	bell   chan struct{} // capacity 1
	queued bool          // in ring.sleepers, or never to be again; guarded by ring.mu
}

func (w *waiter) ring() {
	select {
	case w.bell <- struct{}{}:
	default:
	}
}

// sleep queues w for the next wake. The caller then looks once more before it
// waits for the bell.
func (r *ring[T]) sleep(w *waiter) {
	r.mu.Lock()
	if !w.queued {
		w.queued = true
		r.sleepers = append(r.sleepers, w)
		r.sleeping.Store(true)
	}
	r.mu.Unlock()
}

// wake rings all sleepers, outside the lock: those who wake want it at once.
func (r *ring[T]) wake() {
	r.mu.Lock()
	list := r.sleepers
	r.sleepers, r.spare = r.spare[:0], nil
	r.sleeping.Store(false)
	for _, w := range list {
		w.queued = false
	}
	r.mu.Unlock()
	for _, w := range list {
		w.ring()
	}
	clear(list)
	r.mu.Lock()
	r.spare = list[:0]
	r.mu.Unlock()
}

// crowded reports whether a blocking ring is to be looked at before the next
// message.
func (r *ring[T]) crowded() bool { return r.head.Load() >= r.room }

// laggard returns a reader that leaves no room for n more messages. If there
// is none it returns nil, and the ring may be written as far as all leave room.
func (r *ring[T]) laggard(n uint64) *Subscription[T] {
	head := r.head.Load()
	slowest := head
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.readers {
		c := s.cursor.Load()
		if head-c+n > r.capacity {
			return s
		}
		slowest = min(slowest, c)
	}
	r.room = slowest + r.capacity
	return nil
}

// notifyFreed tells the writer of a blocking ring to look for room.
func (r *ring[T]) notifyFreed() {
	select {
	case r.freed <- struct{}{}:
	default:
	}
}

// reason is why the stream ended.
func (r *ring[T]) reason() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.endErr
}

// leave takes s out of the ring's readers, and out of its sleepers for good: a
// quiet stream would keep it reachable there until its next message.
func (r *ring[T]) leave(s *Subscription[T]) {
	r.mu.Lock()
	if i := slices.Index(r.sleepers, &s.waiter); i >= 0 {
		r.sleepers = slices.Delete(r.sleepers, i, i+1)
	}
	s.waiter.queued = true
	for i, other := range r.readers {
		if other == s {
			last := len(r.readers) - 1
			r.readers[i] = r.readers[last]
			r.readers[last] = nil
			r.readers = r.readers[:last]
			break
		}
	}
	r.mu.Unlock()
	if r.freed != nil {
		r.notifyFreed()
	}
}

// subscriptions returns the ring's readers.
func (r *ring[T]) subscriptions() []*Subscription[T] {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.readers)
}

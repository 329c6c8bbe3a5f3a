package pubsub

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
)

func fill(r *ring[int], from, to int) {
	for i := from; i < to; i++ {
		seg, k := r.tailSegment()
		seg.entries[k%segmentSize] = entry[int]{i, Position{Page: 1, Sequence: uint64(i)}}
		r.append()
	}
}

func TestRingKeepsWhatItOwes(t *testing.T) {
	for _, capacity := range []int{1, 2, 31, 32, 33, 63, 64, 65, 256, 1000} {
		r := newRing(capacity)
		for n := range 3*capacity + 100 {
			for i := r.oldest(uint64(n)); i < uint64(n); i++ {
				seg := r.pin(i)
				require.NotNil(t, seg, "capacity %d, head %d, index %d", capacity, n, i)
				require.Equal(t, int(i), seg.entries[i%segmentSize].value)
				seg.pins.Add(-1)
			}
			if n > 300 {
				fill(r, n, 3*capacity+100)
				break
			}
			fill(r, n, n+1)
		}
	}
}

func TestRingNeverReusesAPinnedSegment(t *testing.T) {
	r := newRing(32)
	fill(r, 0, 10)
	held := r.pin(5)
	require.NotNil(t, held)
	fill(r, 10, 1000)
	require.Equal(t, 5, held.entries[5].value)
	require.Nil(t, r.pin(5), "the ring has moved on")
	held.pins.Add(-1)
	before := allocatedSegments(r)
	fill(r, 1000, 5000)
	require.Equal(t, before, allocatedSegments(r), "unpinned segments are used again")
}

func allocatedSegments(r *ring[int]) map[*segment[int]]bool {
	set := map[*segment[int]]bool{}
	for i := range r.segments {
		if s := r.segments[i].Load(); s != nil {
			set[s] = true
		}
	}
	return set
}

func TestRingGrowsLazily(t *testing.T) {
	r := newRing(1000)
	require.Empty(t, allocatedSegments(r))
	fill(r, 0, segmentSize+1)
	require.Len(t, allocatedSegments(r), 2)
}

// A publisher is a message's own, though its place is used again.
func TestRingPublishers(t *testing.T) {
	r := newRing(32)
	publishers := func(p string) {
		for range segmentSize {
			seg, i := r.tailSegment()
			if p != "" {
				seg.setPublisher(i, p)
			}
			r.append()
		}
	}
	for range len(r.segments) {
		publishers("me")
	}
	require.Zero(t, testing.AllocsPerRun(100, func() { publishers("me") }), "with every lap of the ring")
	at := r.head.Load()
	publishers("")
	seg := r.pin(at)
	require.NotNil(t, seg)
	require.Empty(t, seg.publisher(at))
	require.Equal(t, "me", r.pin(at-1).publisher(at-1))
}

func TestRingLocate(t *testing.T) {
	at := func(n int) Position { return Position{Page: 1, Sequence: uint64(n)} }
	r := newRing(40)
	_, next, ok := r.locate(at(1))
	require.False(t, ok, "empty")
	require.Zero(t, next)
	fill(r, 1, 101) // sequence 1 has index 0; the last 40 are 61 to 100
	for n := 61; n <= 100; n++ {
		i, _, ok := r.locate(at(n))
		require.True(t, ok, n)
		require.EqualValues(t, n, i)
	}
	for n, want := range map[int]int{1: 61, 60: 61, 101: 0, 1000: 0} {
		i, next, ok := r.locate(at(n))
		require.False(t, ok, n)
		if want == 0 {
			require.EqualValues(t, 100, i)
			require.Zero(t, next)
			continue
		}
		require.EqualValues(t, want-1, i)
		require.Equal(t, at(want), next)
	}
}

// What the log keeps is checked against all that it was given: the totals, and
// for every place that the ring owes the sum of its holes and its last state.
func TestNoteLogKeepsWhatTheRingOwes(t *testing.T) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 0))
	for range 20 {
		var l noteLog
		var all []note
		capacity, pace := uint64(1+r.IntN(300)), 1+r.IntN(10)
		var head uint64
		for range 5000 {
			if r.IntN(pace) == 0 {
				head += uint64(r.IntN(3))
			}
			n := note{at: head, kind: Kind(1 + r.IntN(3))}
			switch n.kind {
			case KindState:
				n.state = &StateChange{Attempt: len(all)}
			case KindDiscontinuity:
				n.discontinuity = &Discontinuity{Lost: r.Uint64N(9), Exact: r.IntN(2) == 0}
			}
			oldest := head - min(head, capacity)
			n.seq = l.add(n, oldest)
			n.lost, n.inexact = l.newest.lost, l.newest.inexact
			all = append(all, n)
			require.LessOrEqual(t, len(l.list), max(2*minNotes, 8*int(capacity+1)), "seed %d", seed)
		}
		dropped := func(n note) bool { return n.seq <= l.dropped.seq }
		require.False(t, slices.ContainsFunc(all, func(n note) bool { return dropped(n) && n.at >= head-min(head, capacity) }), "seed %d", seed)
		require.Equal(t, sumOf(all, func(note) bool { return true }), mark{lost: l.newest.lost, inexact: l.newest.inexact}, "seed %d", seed)
		require.Equal(t, sumOf(all, dropped), mark{lost: l.dropped.lost, inexact: l.dropped.inexact}, "seed %d", seed)
		require.Equal(t, lastState(all, dropped), l.state, "seed %d", seed)
		for at := head - min(head, capacity); at <= head; at++ {
			here := func(n note) bool { return n.at == at }
			require.Equal(t, lastState(all, here), lastState(l.list, here), "seed %d", seed)
			want, read := sumOf(all, here), l.before(at)
			got := l.before(at + 1)
			require.Equal(t, want.lost, got.lost-read.lost, "seed %d", seed)
			require.Equal(t, want.inexact, got.inexact-read.inexact, "seed %d", seed)
		}
	}
}

func sumOf(notes []note, which func(note) bool) (m mark) {
	for _, n := range notes {
		if d := n.discontinuity; d != nil && which(n) {
			m.lost += d.Lost
			if !d.Exact {
				m.inexact++
			}
		}
	}
	return m
}

func lastState(notes []note, which func(note) bool) (st *StateChange) {
	for _, n := range notes {
		if n.state != nil && which(n) {
			st = n.state
		}
	}
	return st
}

func TestNoteLogMergesHeartbeatsInARow(t *testing.T) {
	var l noteLog
	for range 10 {
		l.add(note{kind: KindHeartbeat, at: 1}, 0)
	}
	require.Len(t, l.list, 1)
	first := l.after(0).seq
	l.add(note{kind: KindHeartbeat, at: 1}, 0)
	require.NotNil(t, l.after(first), "who has read the one sees the next")
	l.add(note{kind: KindHeartbeat, at: 2}, 0)
	require.Len(t, l.list, 2)
}

func TestIsPlain(t *testing.T) {
	type inner struct{ S string }
	type plain struct {
		A int
		B [3]inner
	}
	for _, v := range []any{1, "s", 1.5, true, plain{}, [2]plain{}, struct{}{}} {
		require.True(t, isPlain(reflect.TypeOf(v)), "%T", v)
	}
	for _, v := range []any{&plain{}, []int{}, map[int]int{}, make(chan int), func() {}, struct{ E error }{}, [1][]int{}} {
		require.False(t, isPlain(reflect.TypeOf(v)), "%T", v)
	}
}

func newRing(capacity int) *ring[int] {
	r := new(ring[int])
	r.init(capacity, false, false)
	return r
}

// The lines that topic speaks of are cache lines only if it begins at one: an
// object that the allocator rounds up to 448 bytes does.
func TestTopicBeginsAtACacheLine(t *testing.T) {
	if unsafe.Sizeof(uintptr(0)) != 8 {
		t.Skip("the layout is made for 64 bits")
	}
	var tp topic[string]
	size := unsafe.Sizeof(tp)
	require.True(t, 416 < size && size <= 448, size)
	require.EqualValues(t, 64, unsafe.Offsetof(tp.ring)+unsafe.Offsetof(tp.ring.head))
}

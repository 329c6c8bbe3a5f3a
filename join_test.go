package pubsub

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// A subscription that joined while the writer went on stood behind notes of
// later messages, whose holes it then never heard of, or further back than a
// blocking ring has room for.
func TestJoinWhileTheStreamGoesOn(t *testing.T) {
	tp := &topic[int]{ring: newRing[int](1, true, true)}
	r := tp.ring
	var stop atomic.Bool
	var writing sync.WaitGroup
	writing.Go(func() {
		for !stop.Load() {
			if r.full() {
				continue
			}
			r.tailSegment()
			r.append()
			r.note(note{kind: KindDiscontinuity, discontinuity: &Discontinuity{Lost: 1, Exact: true}})
		}
	})
	defer writing.Wait()
	defer stop.Store(true)
	for range 10_000 {
		s := newSubscription[int](subscribeConfig{})
		s.join(tp, 0)
		cursor, read := s.cursor.Load(), uint64(0)
		r.mu.Lock()
		if n := r.notes.after(s.read.seq - 1); n != nil && n.seq == s.read.seq {
			read = n.at
		}
		r.mu.Unlock()
		require.LessOrEqual(t, read, cursor, "a note behind the cursor counts as read")
		require.LessOrEqual(t, r.head.Load()-cursor, r.capacity, "no room was kept for who joined")
		r.leave(s)
	}
}

package ring

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// heavyLog has messages 0, 1, ... of those sizes.
type heavyLog struct {
	testLog
	sizes []int
}

func (l *heavyLog) add(size int, more bool) {
	seg, slot := l.Next()
	n := len(l.sizes)
	seg.Entries[slot] = Entry[int]{n + 1, Place{1, uint64(n + 1)}}
	if n%3 == 0 {
		seg.SetSide(slot, fmt.Sprint(n))
	}
	l.sizes = append(l.sizes, size)
	l.Append(more)
	l.Weigh(size)
}

// kept is the index of the first entry that is not empty.
func (l *heavyLog) kept() int {
	for i := range l.sizes {
		if seg := l.pin(uint64(i)); seg != nil {
			value, side := seg.Entries[Slot(uint64(i))].Value, ""
			if sides := seg.Sides(); sides != nil {
				side = sides[Slot(uint64(i))]
			}
			seg.pins.Add(-1)
			if value != 0 || side != "" {
				return i
			}
		}
	}
	return len(l.sizes)
}

func (l *heavyLog) weight(from int) (sum int) {
	for _, size := range l.sizes[from:] {
		sum += size
	}
	return sum
}

func TestBudget(t *testing.T) {
	var l heavyLog
	l.Init(100, false)
	l.Bound(10)
	c := NewCursor[int, string](false)
	l.Join(c)
	for range 60 {
		l.add(1, false)
	}
	require.Equal(t, 0, l.kept(), "nobody has read it")
	require.Len(t, all(t, c), 60)
	require.Equal(t, 0, l.kept())
	l.Trim() // as who goes to sleep does
	require.Equal(t, 50, l.kept())
	l.add(10, false)
	require.Equal(t, 60, l.kept(), "what is read, and no more")
	require.Equal(t, []int{61}, all(t, c))
	late := NewCursor[int, string](false)
	require.False(t, l.JoinNewest(late, 2))
	require.False(t, l.JoinBehind(late, Place{1, 60}))
	require.True(t, l.JoinNewest(late, 1))
	require.Equal(t, []int{61}, all(t, late))
	l.add(11, false) // alone too much
	require.Equal(t, 61, l.kept())
	c.Stop()
	c.Leave()
	require.Equal(t, 61, l.kept())
	late.Stop()
	late.Leave()
	require.Equal(t, 62, l.kept(), "when who had not read it left")
}

// What a reader has in hand is cleared when it comes back.
func TestBudgetWaitsForPins(t *testing.T) {
	var l heavyLog
	l.Init(100, false)
	l.Bound(1)
	c := NewCursor[int, string](false)
	l.Join(c)
	for range 40 {
		l.add(1, false)
	}
	var v testView
	c.Look(&v)
	for range 10 {
		i, _ := c.At(&v)
		c.Take(i)
	}
	l.Trim()
	require.Equal(t, 0, l.kept(), "it is in hand")
	c.Release(&v)
	l.Trim()
	require.Equal(t, 10, l.kept())
}

// Who had a segment in hand lets the log clear it when it goes to sleep.
func TestSleepersHoldNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l heavyLog
		l.Init(100, false)
		l.Bound(1)
		c := NewCursor[int, string](false)
		l.Join(c)
		for range 40 {
			l.add(1, false)
		}
		var v testView
		go func() {
			for c.Look(&v); !v.Empty(); c.Look(&v) {
				for i, ok := c.At(&v); ok; i, ok = c.At(&v) {
					c.Take(i)
				}
			}
			c.Sleep(&v, nil)
		}()
		defer c.Wake()
		synctest.Wait()
		require.Equal(t, 39, l.kept())
	})
}

// Against a model: the log keeps all that somebody has to read, never more than
// the budget besides, and readers get what they get without a budget.
func TestBudgetAgainstModel(t *testing.T) {
	for range 100 {
		seed := rand.Uint64()
		r := rand.New(rand.NewPCG(seed, 1))
		var l heavyLog
		capacity, limit := 1+r.IntN(150), r.IntN(100)
		l.Init(capacity, false)
		l.Bound(limit)
		type follower struct {
			*testCursor
			next int
		}
		var fs []*follower
		for range 200 {
			switch op := r.IntN(8); {
			case op < 4:
				for k := range 1 + r.IntN(20) {
					l.add(r.IntN(12), k%3 == 1)
				}
				l.Show()
				l.Trim() // the last one may have been promised another behind it
			case op < 5 && len(fs) < 5:
				f := &follower{NewCursor[int, string](false), len(l.sizes)}
				if n := 1 + r.IntN(50); r.IntN(2) == 0 && l.JoinNewest(f.testCursor, uint64(n)) {
					f.next -= n
				} else {
					l.Join(f.testCursor)
				}
				fs = append(fs, f)
			case op < 7 && len(fs) > 0:
				f := fs[r.IntN(len(fs))]
				for _, n := range all(t, f.testCursor) {
					if n < 0 {
						f.next -= n
						continue
					}
					f.next++
					require.Equal(t, f.next, n, "seed %d", seed)
				}
				require.Equal(t, len(l.sizes), f.next, "seed %d", seed)
				l.Trim()
			case op == 7 && len(fs) > 0:
				k := r.IntN(len(fs))
				fs[k].Stop()
				fs[k].Leave()
				fs = append(fs[:k], fs[k+1:]...)
			}
			slowest := len(l.sizes)
			for _, f := range fs {
				slowest = min(slowest, f.next)
			}
			owed := max(slowest, len(l.sizes)-capacity) // the first that somebody has to read
			kept := l.kept()
			require.LessOrEqual(t, kept, owed, "seed %d", seed)
			kept = max(kept, len(l.sizes)-capacity) // what was overtaken has no weight
			require.True(t, kept == owed || l.weight(kept) <= limit, "seed %d: %d kept, the limit is %d", seed, l.weight(kept), limit)
			require.True(t, kept == 0 || kept == len(l.sizes)-capacity || l.weight(kept-1) > limit || kept%SegmentSize == 0, "seed %d: needlessly", seed)
		}
	}
}

func TestBudgetWithReadersAtWork(t *testing.T) {
	var l heavyLog
	l.Init(200, false)
	l.Bound(30)
	var reading sync.WaitGroup
	for range 4 {
		c := NewCursor[int, string](false)
		l.Join(c)
		reading.Go(func() {
			var v testView
			known := 0
			for {
				if i, ok := c.At(&v); ok {
					n := v.Segment().Entries[Slot(i)].Value
					if !c.Take(i) {
						continue
					}
					if known++; n != known {
						t.Errorf("%d came after %d", n, known-1)
						known = n
					}
					continue
				}
				n, end := c.Look(&v)
				switch {
				case end != NotEnded:
					return
				case n != nil:
					known += int(n.Hole.Lost)
				case v.Empty():
					c.Sleep(&v, nil)
				}
			}
		})
	}
	for end := time.Now().Add(100 * time.Millisecond); time.Now().Before(end); { // of work
		l.add(rand.IntN(10), false)
		if rand.IntN(10) == 0 {
			runtime.Gosched()
		}
	}
	l.End(nil)
	reading.Wait()
}

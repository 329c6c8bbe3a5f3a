package ring

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// all reads what there is: values of messages, -lost for holes, -1000 for a reset.
func all(t *testing.T, c *testCursor) (got []int) {
	t.Helper()
	var v testView
	defer c.Release(&v)
	for {
		if i, ok := c.At(&v); ok {
			got = append(got, v.Segment().Entries[Slot(i)].Value)
			require.True(t, c.Take(i))
			continue
		}
		n, end := c.Look(&v)
		switch {
		case n != nil && n.Hole.Reset:
			got = append(got, -1000)
		case n != nil && n.Kind == Gap:
			got = append(got, -int(n.Hole.Lost))
		case end != NotEnded, n == nil && v.Empty():
			return got
		}
	}
}

// numbered is a log with messages from, ..., to-1 at places 1/from+1, ...
func numbered(capacity, from, to int, blocking bool) *testLog {
	l := new(testLog)
	l.Init(capacity, blocking)
	write(l, from, to)
	return l
}

func write(l *testLog, from, to int) {
	for n := from; n < to; n++ {
		seg, slot := l.Next()
		seg.Entries[slot] = Entry[int]{n, Place{1, uint64(n + 1)}}
		l.Append(false)
	}
}

func seq(from, to int) (s []int) {
	for n := from; n < to; n++ {
		s = append(s, n)
	}
	return s
}

func TestJoinBehind(t *testing.T) {
	l := numbered(100, 50, 300, false)
	c := NewCursor[int, string](false)
	require.True(t, l.JoinBehind(c, Place{1, 250}))
	require.Equal(t, seq(250, 300), all(t, c))
	require.Equal(t, Place{1, 250}, c.Start())
	for _, p := range []Place{{1, 199}, {1, 301}, {2, 1}, {0, 250}} {
		require.False(t, l.JoinBehind(NewCursor[int, string](false), p), "%v", p)
	}
	require.Equal(t, 1, l.Size())
}

func TestJoinBehindWhereTheLogBegins(t *testing.T) {
	l := new(testLog)
	l.Init(100, false)
	l.Fill(Place{1, 50})
	l.Filled()
	write(l, 50, 60)
	c := NewCursor[int, string](false)
	require.True(t, l.JoinBehind(c, Place{1, 50}))
	require.Equal(t, seq(50, 60), all(t, c))
	write(l, 60, 200)
	require.False(t, l.JoinBehind(NewCursor[int, string](false), Place{1, 50}), "overwritten")
}

// Many who come back to a log that is being filled share it, from the place on
// that each of them has seen.
func TestJoinAheadOfWhatIsBeingFilled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := new(testLog)
		l.Init(1000, false)
		l.Fill(Place{1, 100})
		early, late, beyond := NewCursor[int, string](false), NewCursor[int, string](false), NewCursor[int, string](false)
		require.True(t, l.JoinBehind(early, Place{1, 150}))
		require.False(t, l.JoinBehind(NewCursor[int, string](false), Place{1, 99}), "the log begins behind it")
		write(l, 100, 120)
		l.Note(Note{Kind: Gap, Hole: Hole{After: Place{1, 120}, Resume: Place{1, 171}, Lost: 50, Exact: true}})
		require.True(t, l.JoinBehind(late, Place{1, 160}))
		require.True(t, l.JoinBehind(beyond, Place{1, 400}), "which nobody can know yet")
		write(l, 170, 200)
		woken := make(chan []int)
		go func() {
			var v testView
			beyond.Look(&v)
			beyond.Sleep(&v, nil)
			woken <- all(t, beyond)
		}()
		synctest.Wait()
		l.Filled()
		require.Equal(t, []int{-1000}, <-woken, "told on a quiet topic, too")
		write(l, 200, 210)
		require.Equal(t, append([]int{-20}, seq(170, 210)...), all(t, early), "what it misses of the hole")
		require.Equal(t, append([]int{-10}, seq(170, 210)...), all(t, late))
		require.Equal(t, seq(200, 210), all(t, beyond))
		require.False(t, l.JoinBehind(NewCursor[int, string](false), Place{1, 400}))
		for _, c := range []*testCursor{early, late, beyond} {
			c.Stop()
			_, dropped := c.Leave()
			require.Zero(t, dropped)
		}
	})
}

func TestJoinNewestAndOldest(t *testing.T) {
	l := numbered(100, 0, 60, false)
	c := NewCursor[int, string](false)
	require.True(t, l.JoinNewest(c, 5))
	require.Equal(t, seq(55, 60), all(t, c))
	require.Equal(t, Place{1, 55}, c.Start())
	require.False(t, l.JoinNewest(NewCursor[int, string](false), 61))
	c = NewCursor[int, string](false)
	require.True(t, l.JoinOldest(c, true))
	require.Equal(t, seq(0, 60), all(t, c))
	write(l, 60, 150)
	require.False(t, l.JoinOldest(NewCursor[int, string](false), true))
	c = NewCursor[int, string](false)
	require.True(t, l.JoinOldest(c, false))
	require.Equal(t, seq(50, 150), all(t, c), "nothing older is reported lost")
	require.Equal(t, Place{1, 51}, l.Oldest())
}

// A reader of a blocking log that begins further back must be seen by the writer
// before it overwrites what that reader is to get.
func TestJoinBehindInABlockingLog(t *testing.T) {
	l := numbered(200, 0, 0, true)
	first := NewCursor[int, string](false)
	l.Join(first)
	require.Nil(t, l.Laggard(1))
	write(l, 0, 150)
	require.Equal(t, seq(0, 150), all(t, first))
	require.Nil(t, l.Laggard(1))
	require.False(t, l.JoinBehind(NewCursor[int, string](false), Place{1, 5}), "too close to the end of the room")
	c := NewCursor[int, string](false)
	require.True(t, l.JoinBehind(c, Place{1, 100}))
	for n := 150; !l.Crowded(); n++ {
		write(l, n, n+1)
	}
	require.EqualValues(t, 300, l.Len(), "as far as c leaves room, though there was more before it came")
	require.Same(t, c, l.Laggard(1))
	require.Equal(t, seq(100, 300), all(t, c))
}

// The table of segments began as long as the capacity needs.
func TestTheTableGrowsAsItFills(t *testing.T) {
	l := numbered(1<<28, 0, 0, false)
	require.Len(t, *l.table.Load(), minTable)
	c := NewCursor[int, string](false)
	l.Join(c)
	write(l, 0, 100_000)
	require.Less(t, len(*l.table.Load()), 2*100_000/SegmentSize)
	require.Equal(t, seq(0, 100_000), all(t, c))
}

// On a quiet log those who came and went stayed in the list of sleepers.
func TestThoseWhoLeaveLeaveTheSleepers(t *testing.T) {
	l := numbered(10, 0, 0, false)
	var cs []*testCursor
	for range 5 {
		c := NewCursor[int, string](false)
		l.Join(c)
		var v testView
		c.Look(&v)
		ctx, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
		require.False(t, c.Sleep(&v, ctx))
		cancel()
		cs = append(cs, c)
	}
	require.NotNil(t, l.solo.Load())
	require.Len(t, l.sleepers, 4)
	for _, i := range []int{2, 0, 4, 1, 3} {
		cs[i].Stop()
		cs[i].Leave()
		l.sleep(&cs[i].sleeper) // a reader that has not seen the end yet
	}
	require.Nil(t, l.solo.Load())
	require.Empty(t, l.sleepers)
	require.Zero(t, l.Size())
}

func TestStalled(t *testing.T) {
	l := numbered(10, 0, 0, false)
	a, b := NewCursor[int, string](false), NewCursor[int, string](false)
	l.Join(a)
	l.Join(b)
	require.Empty(t, l.Stalled())
	write(l, 0, 3)
	require.Equal(t, seq(0, 3), all(t, b))
	require.Equal(t, []*testCursor{a}, l.Stalled())
	write(l, 3, 4)
	all(t, a)
	require.Equal(t, []*testCursor{b}, l.Stalled())
}

// What is counted lost in all does not wrap around, however absurd a hole is.
func TestAbsurdHoles(t *testing.T) {
	l := numbered(10, 0, 0, false)
	c := NewCursor[int, string](false)
	l.Join(c)
	for range 3 {
		l.Note(Note{Kind: Gap, Hole: Hole{Lost: 1<<64 - 1, Exact: true}})
	}
	var v testView
	n, _ := c.Look(&v)
	require.EqualValues(t, uint64(maxLost), n.Hole.Lost)
	require.False(t, n.Hole.Exact)
	c.Stop()
	_, dropped := c.Leave()
	require.Zero(t, dropped)
	p := Place{1, 1<<64 - 1}
	require.Equal(t, p, p.Behind(), "there is nothing behind it")
}

package ring

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
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
	l.Fill(Place{1, 50}, true)
	l.Open()
	l.Filled()
	write(l, 50, 60)
	c := NewCursor[int, string](false)
	require.True(t, l.JoinBehind(c, Place{1, 50}))
	require.Equal(t, seq(50, 60), all(t, c))
	write(l, 60, 200)
	require.False(t, l.JoinBehind(NewCursor[int, string](false), Place{1, 50}), "overwritten")

	// Where the place was not asked for, the first message has to show that
	// none is missing behind it.
	l = new(testLog)
	l.Init(100, false)
	l.Fill(Place{1, 50}, false)
	l.Filled()
	require.False(t, l.JoinBehind(NewCursor[int, string](false), Place{1, 50}), "nothing has come yet")
	write(l, 51, 60)
	require.False(t, l.JoinBehind(NewCursor[int, string](false), Place{1, 50}), "1/51 is missing, and nobody said so")
	l = new(testLog)
	l.Init(100, false)
	l.Fill(Place{1, 50}, false)
	l.Filled()
	write(l, 50, 60)
	require.True(t, l.JoinBehind(NewCursor[int, string](false), Place{1, 50}))
}

// Many who come back to a log that is being filled share it, from the place on
// that each of them has seen.
func TestJoinAheadOfWhatIsBeingFilled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := new(testLog)
		l.Init(1000, false)
		l.Fill(Place{1, 100}, true)
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

// However absurd holes are, each is told as it is, and so are those behind them.
// What does not fit is a lower bound.
func TestAbsurdHoles(t *testing.T) {
	const most = uint64(1<<64 - 1)
	var l *testLog
	join := func(fails bool) *testCursor {
		c := NewCursor[int, string](fails)
		l.Join(c)
		return c
	}
	lose := func(lost ...uint64) {
		for _, n := range lost {
			l.Note(Note{Kind: Gap, Hole: Hole{Lost: n, Exact: true}})
		}
	}
	holes := func(c *testCursor) (got []Hole) {
		var v testView
		defer c.Release(&v)
		for {
			n, end := c.Look(&v)
			switch {
			case n != nil:
				got = append(got, Hole{Lost: n.Hole.Lost, Exact: n.Hole.Exact})
			case v.Empty() || end != NotEnded:
				return got
			}
			for i, ok := c.At(&v); ok; i, ok = c.At(&v) {
				c.Take(i)
			}
		}
	}
	leave := func(c *testCursor) uint64 {
		c.Stop()
		_, dropped := c.Leave()
		return dropped
	}

	l = numbered(10, 0, 0, false)
	early, leaves, drains := join(false), join(false), join(false)
	lose(1<<61, 1<<61, most, most)
	late, leavesLate := join(false), join(false)
	lose(5, 5, 5)
	drains.Limit()
	behind := []Hole{{Lost: 5, Exact: true}, {Lost: 5, Exact: true}, {Lost: 5, Exact: true}}
	whole := append([]Hole{{Lost: 1 << 61, Exact: true}, {Lost: 1 << 61, Exact: true}, {Lost: most, Exact: true}, {Lost: most, Exact: true}}, behind...)
	require.Equal(t, whole, holes(early))
	require.Equal(t, whole, holes(drains))
	require.Equal(t, behind, holes(late))
	require.Equal(t, most, leave(leaves))
	require.EqualValues(t, 15, leave(leavesLate))
	require.Zero(t, leave(early))

	l = numbered(10, 0, 0, false)
	c := join(false)
	lose(most, 1)
	l.Compact() // they become one
	lose(7)
	require.Equal(t, []Hole{{Lost: most}, {Lost: 7, Exact: true}}, holes(c))
	limited := join(false)
	lose(most-3, 4)
	limited.Limit()
	lose(most)
	l.Compact()
	require.Equal(t, []Hole{{Lost: most}}, holes(limited), "what is left of it up to the limit")

	for _, fails := range []bool{false, true} {
		l = numbered(10, 0, 0, false)
		c = join(fails)
		lose(most - 3)
		write(l, 0, 20) // ten more than it holds
		lose(6)
		want := []Hole{{Lost: most}, {Lost: 6, Exact: true}}
		if fails {
			want = want[:1]
		}
		require.Equal(t, want, holes(c), "overtaken")
	}
	p := Place{1, 1<<64 - 1}
	require.Equal(t, p, p.Behind(), "there is nothing behind it")
}

// Notes that pile up at one place become few; nobody is told that the stream is
// back who was not told that it was away.
func TestStatesThatPileUp(t *testing.T) {
	for _, c := range []struct{ notes, want []Kind }{
		{[]Kind{Down, Up, Down}, []Kind{Down}},
		{[]Kind{Down, Up, Down, Up}, []Kind{Down, Up}},
		{[]Kind{Down, Down, Down}, []Kind{Down}},
	} {
		l := numbered(10, 0, 3, false)
		cur := NewCursor[int, string](false)
		l.Join(cur)
		for i, k := range c.notes {
			l.Note(Note{Kind: k, Info: i})
		}
		l.Compact()
		var got []Kind
		for range c.want {
			var v testView
			n, _ := cur.Look(&v)
			got = append(got, n.Kind)
			require.GreaterOrEqual(t, n.Info.(int), len(c.notes)-2, "the newest")
		}
		require.Equal(t, c.want, got)
		require.Empty(t, all(t, cur))
	}
}

// A reader that joined while the writer went on stood behind notes of later
// messages, whose holes it then never heard of, or further back than a blocking
// log has room for.
func TestJoinWhileTheWriterGoesOn(t *testing.T) {
	l := numbered(1, 0, 0, true)
	var stop atomic.Bool
	var writing sync.WaitGroup
	writing.Go(func() {
		for n := 0; !stop.Load(); {
			if l.Crowded() && l.Laggard(1) != nil {
				runtime.Gosched()
				continue
			}
			write(l, n, n+1)
			n++
			l.Note(Note{Kind: Gap, Hole: Hole{Lost: 1, Exact: true}})
		}
	})
	defer writing.Wait()
	defer stop.Store(true)
	for range 10_000 {
		c := NewCursor[int, string](false)
		l.Join(c)
		at, read := c.next.Load(), uint64(0)
		l.mu.Lock()
		if n := l.notes.after(c.read.seq - 1); n != nil && n.seq == c.read.seq {
			read = n.at
		}
		l.mu.Unlock()
		require.LessOrEqual(t, read, at, "a note behind the cursor counts as read")
		require.LessOrEqual(t, l.head.Load()-at, l.capacity, "no room was kept for who joined")
		c.Stop()
		c.Leave()
	}
}

// A reader that had seen how far the log was, and then overflowed, reported holes
// that had come since and stand behind its place.
func TestOverflowWhileTheWriterGoesOn(t *testing.T) {
	l := numbered(2, 0, 5, false)
	c := NewCursor[int, string](false)
	c.read.seq = 0
	l.mu.Lock()
	l.enter(c, 0, Place{})
	l.mu.Unlock()
	l.Note(Note{Kind: Gap, Hole: Hole{After: Place{1, 5}, Resume: Place{1, 10}, Lost: 4, Exact: true}})
	for n := 9; n < 29; n++ {
		write(l, n, n+1)
		for range 20 {
			l.Note(Note{Kind: Beat})
			l.Note(Note{Kind: Down})
		}
	}
	require.NotZero(t, l.notes.dropped.seq)
	c.mu.Lock()
	c.overflow(0) // because of what it saw before all this
	c.mu.Unlock()
	known := uint64(0)
	for _, n := range all(t, c) {
		switch {
		case n >= 0:
			known++
			require.EqualValues(t, known-1, n)
		default:
			known += uint64(-n)
		}
	}
	require.EqualValues(t, 29, known)
}

// A writer that waits for room hears of it from who goes past what it has seen.
func TestPassingWhatWasSeenMakesRoom(t *testing.T) {
	l := new(testLog)
	l.Init(10, true)
	l.Fill(Place{1, 100}, true)
	c := NewCursor[int, string](false)
	require.True(t, l.JoinBehind(c, Place{1, 105}))
	write(l, 100, 110)
	require.True(t, l.Crowded())
	require.Same(t, c, l.Laggard(1))
	require.True(t, l.Want(c))
	require.Empty(t, l.Freed())
	var v testView
	_, end := c.Look(&v)
	require.Equal(t, NotEnded, end)
	require.Len(t, l.Freed(), 1)
	require.Nil(t, l.Laggard(1))
}

package pubsub

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// quiet is a Backend whose streams deliver nothing.
type quiet struct{}

func (quiet) Publish(context.Context, string, Payload) error { return nil }

func (quiet) Subscribe(ctx context.Context, _ string, _ Start) (Stream, error) {
	return quietStream{ctx}, nil
}

type quietStream struct{ ctx context.Context }

func (quietStream) Start() Position { return Position{} }

func (s quietStream) Receive(func(context.Context, Frame) error) error {
	<-s.ctx.Done()
	return nil
}

type failing struct{ err error }

func (failing) Publish(context.Context, string, Payload) error { return nil }

func (f failing) Subscribe(context.Context, string, Start) (Stream, error) { return nil, f.err }

type numbers struct{}

func (numbers) Encode(int) (Payload, error) { return Payload{}, nil }
func (numbers) Decode(Payload) (int, error) { return 0, nil }

// A reader that saw the end before it could see whose it was had All yield the
// error of an end that the application asked for.
func TestAllJustEndsWithTheContext(t *testing.T) {
	b := New(quiet{}, numbers{}).(*bus[int])
	defer b.Close()
	ctx, cancel := context.WithCancel(context.Background())
	s, err := b.Subscribe(ctx, "t")
	require.NoError(t, err)
	b.mu.Lock() // the end cannot complete
	cancel()
	for _, err := range s.All() {
		b.mu.Unlock()
		t.Fatalf("All yielded %v", err)
	}
	b.mu.Unlock()
	require.ErrorIs(t, s.Err(), context.Canceled)
}

// On a quiet topic those who came and went stayed in the list of sleepers.
func TestEndedSubscriptionsLeaveTheSleepers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(quiet{}, numbers{}).(*bus[int])
		defer b.Close()
		stays, err := b.Subscribe(t.Context(), "t")
		require.NoError(t, err)
		s, err := b.Subscribe(t.Context(), "t")
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = s.Next(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Len(t, stays.topic.ring.sleepers, 1)
		require.NoError(t, s.Close())
		require.Empty(t, stays.topic.ring.sleepers)
		stays.topic.ring.sleep(&s.waiter) // a reader that has not seen the end yet
		require.Empty(t, stays.topic.ring.sleepers)
	})
}

// A stream that could not be opened, or had ended, lingered all the same, and
// its ring with it.
func TestWhatIsOverDoesNotLinger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("broken")
		b := New(failing{broken}, numbers{}, WithLinger(time.Hour)).(*bus[int])
		s := newSubscription[int](subscribeConfig{})
		require.NoError(t, b.attach(s, "t"))
		<-s.topic.opened
		s.kill(nil)
		require.Nil(t, s.topic.linger)
		require.NoError(t, b.Close())
		require.Empty(t, b.listed)
	})
}

// A subscription that joined while the writer went on stood behind notes of
// later messages, whose holes it then never heard of, or further back than a
// blocking ring has room for.
func TestJoinWhileTheStreamGoesOn(t *testing.T) {
	tp := new(topic[int])
	r := &tp.ring
	r.init(1, false, true)
	var stop atomic.Bool
	var writing sync.WaitGroup
	writing.Go(func() {
		for !stop.Load() {
			if r.crowded() && r.laggard(1) != nil {
				runtime.Gosched()
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
		s.join(tp)
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

// A reader that had seen how far the stream was, and then overflowed, reported
// holes that had come since and stand behind its place.
func TestOverflowWhileTheStreamGoesOn(t *testing.T) {
	b := New(quiet{}, numbers{}, WithBuffer(2))
	defer b.Close()
	s, err := b.Subscribe(t.Context(), "t")
	require.NoError(t, err)
	n := uint64(0)
	play := func(f Frame) { require.NoError(t, s.topic.deliver(t.Context(), f)) }
	message := func() {
		n++
		play(Frame{Kind: KindMessage, Position: Position{Page: 1, Sequence: n}})
	}
	for range 5 {
		message()
	}
	play(Frame{Kind: KindDiscontinuity, Discontinuity: &Discontinuity{After: Position{1, 5}, Resume: Position{1, 10}, Lost: 4, Exact: true}})
	n += 4
	for range 20 {
		message()
		for range 20 {
			play(Frame{Kind: KindHeartbeat})
			play(Frame{Kind: KindState, State: &StateChange{State: Resumed}})
		}
	}
	require.NotZero(t, s.topic.ring.notes.dropped.seq)
	s.mu.Lock()
	s.overflow(0) // because of what it saw before all this
	s.mu.Unlock()
	for lastKnown := uint64(0); lastKnown < n; {
		e, err := s.Next(t.Context())
		require.NoError(t, err)
		switch d := e.Discontinuity; {
		case e.Kind == KindMessage:
			lastKnown++
			require.Equal(t, lastKnown, e.Message.Position.Sequence)
		case d != nil:
			lastKnown += d.Lost
			require.Equal(t, behind(Position{1, lastKnown}), d.Resume)
		}
	}
}

// One who joined in the middle of a change of state was told of it twice.
func TestJoinWhileTheStateChanges(t *testing.T) {
	b := New(quiet{}, numbers{})
	defer b.Close()
	first, err := b.Subscribe(t.Context(), "t")
	require.NoError(t, err)
	down := &StateChange{State: Reconnecting, Attempt: 1}
	first.topic.stats.changed(*down)
	s, err := b.Subscribe(t.Context(), "t")
	require.NoError(t, err)
	first.topic.ring.note(note{kind: KindState, state: down})
	require.NoError(t, first.topic.deliver(t.Context(), Frame{Kind: KindMessage}))
	for _, want := range []Kind{KindState, KindMessage} {
		e, err := s.Next(t.Context())
		require.NoError(t, err)
		require.Equal(t, want, e.Kind)
	}
}

// A reader that claimed a message just after its subscription had ended, and
// then could not decode it, made the sum of the bus wrap.
func TestClaimBehindTheEnd(t *testing.T) {
	b := New(quiet{}, unreadable{})
	defer b.Close()
	s, err := b.Subscribe(t.Context(), "t")
	require.NoError(t, err)
	require.NoError(t, s.topic.deliver(t.Context(), Frame{Kind: KindMessage}))
	v := &view[any]{batch: 1}
	_, err = s.look(v)
	require.NoError(t, err)
	c := s.cursor.Load()
	require.NoError(t, s.Close())
	require.False(t, s.cursor.CompareAndSwap(c, c+1), "as readOn does if it has not seen the end yet")
	require.Zero(t, s.Stats().Delivered)
	require.Zero(t, b.Stats().Delivered)
}

type unreadable struct{}

func (unreadable) Encode(any) (Payload, error) { return Payload{}, nil }
func (unreadable) Decode(Payload) (any, error) { return nil, errors.New("unreadable") }

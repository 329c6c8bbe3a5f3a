package pubsub

import (
	"bytes"
	"context"
	"errors"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub/internal/ring"
)

// These tests hold the parts of the package in the states in between that once
// went wrong.

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

// A stream that could not be opened, or had ended, lingered all the same, and
// its log with it.
func TestWhatIsOverDoesNotLinger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("broken")
		b := New(failing{broken}, numbers{}, WithLinger(time.Hour)).(*bus[int])
		s := newSubscription[int]("t", subscribeConfig{})
		require.NoError(t, b.attach(s))
		<-s.stream.opened
		s.kill(nil)
		require.Nil(t, s.stream.linger)
		require.NoError(t, b.Close())
		require.Empty(t, b.listed)
		require.Empty(t, b.streams)
	})
}

// One who joined in the middle of a change of state was told of it twice.
func TestJoinWhileTheStateChanges(t *testing.T) {
	b := New(quiet{}, numbers{})
	defer b.Close()
	first, err := b.Subscribe(t.Context(), "t")
	require.NoError(t, err)
	down := &StateChange{State: Reconnecting, Attempt: 1}
	first.stream.stats.changed(*down)
	s, err := b.Subscribe(t.Context(), "t")
	require.NoError(t, err)
	first.stream.log.Note(ring.Note{Kind: ring.Down, Info: down})
	require.NoError(t, first.stream.deliver(t.Context(), Frame{Kind: KindMessage}))
	for _, want := range []Kind{KindState, KindMessage} {
		e, err := s.Next(t.Context())
		require.NoError(t, err)
		require.Equal(t, want, e.Kind)
	}
}

// A reader that was about to take a message when its subscription ended, and
// then could not decode it, made the sum of the bus wrap.
func TestTakeBehindTheEnd(t *testing.T) {
	b := New(quiet{}, unreadable{})
	defer b.Close()
	s, err := b.Subscribe(t.Context(), "t")
	require.NoError(t, err)
	require.NoError(t, s.stream.deliver(t.Context(), Frame{Kind: KindMessage}))
	v := new(ring.View[any, side])
	_, end := s.cursor.Look(v)
	require.Equal(t, ring.NotEnded, end)
	i, ok := s.cursor.At(v)
	require.True(t, ok)
	require.NoError(t, s.Close())
	require.False(t, s.cursor.Take(i), "as a reader does that has not seen the end yet")
	s.cursor.Release(v)
	require.Zero(t, s.Stats().Delivered)
	require.EqualValues(t, 1, s.Stats().Dropped)
	require.Zero(t, b.Stats().Delivered)
	require.EqualValues(t, 1, b.Stats().Dropped)
}

type unreadable struct{}

func (unreadable) Encode(any) (Payload, error) { return Payload{}, nil }
func (unreadable) Decode(Payload) (any, error) { return nil, errors.New("unreadable") }

// Stats of a bus with a million subscriptions takes long. It held the bus's lock
// for much of that, and whoever subscribed or closed waited.
func TestNobodyWaitsForStats(t *testing.T) {
	b := New(quiet{}, numbers{}).(*bus[int])
	defer b.Close()
	slow, err := b.Subscribe(t.Context(), "slow")
	require.NoError(t, err)
	counting := &slow.stream.stats.mu
	counting.Lock() // Stats is held up at slow
	stats := make(chan struct{})
	go func() {
		defer close(stats)
		b.Stats()
	}()
	require.Eventually(t, func() bool {
		all := make([]byte, 1<<20)
		return bytes.Contains(all[:runtime.Stack(all, true)], []byte("(*streamStats).snapshot("))
	}, 10*time.Second, time.Millisecond)

	others := make(chan error, 1)
	go func() {
		s, err := b.Subscribe(context.Background(), "other")
		if err == nil {
			err = s.Close()
		}
		others <- err
	}()
	select {
	case err := <-others:
		require.NoError(t, err)
	case <-time.After(10 * time.Second):
		t.Error("Subscribe and Close wait for Stats")
	}
	counting.Unlock()
	<-stats
}

// A Drain that came between a reader's last event of an overflow and the end which
// that is ended the subscription without an error.
func TestDrainKeepsTheOverflow(t *testing.T) {
	b := New(quiet{}, numbers{}, WithBuffer(4)).(*bus[int])
	defer b.Close()
	s, err := b.Subscribe(context.Background(), "t", Overflow(Fail))
	require.NoError(t, err)
	for n := range uint64(9) {
		require.NoError(t, s.stream.deliver(context.Background(), Frame{Kind: KindMessage, Position: Position{1, n + 1}}))
	}
	v := s.cursor.Borrow()
	n, end := s.cursor.Look(v)
	require.Equal(t, ring.NotEnded, end)
	require.Equal(t, ring.Gap, n.Kind)
	s.limit()
	require.ErrorIs(t, s.Err(), ErrOverflow)
	s.cursor.Return(v)
}

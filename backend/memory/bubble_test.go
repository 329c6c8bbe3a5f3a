package memory_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/memory"
)

// A backend that was made outside of a bubble works inside: nothing in it waits
// for a channel that was made with it.
func TestMadeOutsideOfTheBubble(t *testing.T) {
	b := memory.New(memory.WithHistory(10))
	publish(t, b, "early", "x")
	early := b.Topic(b, "a")
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	subscribed, err := b.Subscribe(ctx, "c", now)
	require.NoError(t, err)
	synctest.Test(t, func(t *testing.T) {
		got := make(chan string, 1)
		ended := make(chan error, 1)
		go func() {
			ended <- subscribed.Receive(func(_ context.Context, f pubsub.Frame) error {
				got <- string(f.Payload.Data)
				return nil
			})
		}()
		synctest.Wait()
		publish(t, b, "c", "x")
		require.Equal(t, "x", <-got)

		b.DelayPublishes(time.Hour)
		began := time.Now()
		require.NoError(t, early.Publish(t.Context(), text("1")))
		require.Equal(t, time.Hour, time.Since(began)) // and no hang
		b.DelayPublishes(0)

		// A queue of publishers before a stream that blocks, and a replay.
		block, release := stall()
		slow := open(t, b, "a", pubsub.Position{}).start(block)
		open(t, b, "early", b.Stats("early").Last).start(nil)
		synctest.Wait()
		results := make(chan error, 3)
		for range 2 {
			go func() { results <- b.Publish(context.Background(), "a", text("2")) }()
		}
		short, stop := context.WithTimeout(context.Background(), time.Minute)
		defer stop()
		require.ErrorIs(t, b.Publish(short, "a", text("3")), context.DeadlineExceeded)

		// A publisher that waits for Receive, which does not come.
		fresh := open(t, b, "b", pubsub.Position{})
		publish(t, b, "b", "x")

		b.DelayPublishes(time.Hour)
		go func() { results <- b.Publish(context.Background(), "b", text("y")) }()
		synctest.Wait()
		require.NoError(t, b.Close())
		release()
		for range 3 {
			require.ErrorIs(t, <-results, pubsub.ErrClosed)
		}
		require.ErrorIs(t, <-slow.done, pubsub.ErrClosed)
		require.ErrorIs(t, <-ended, pubsub.ErrClosed)
		cancel() // inside, where its channel was made
		fresh.start(nil)
		require.ErrorIs(t, <-fresh.done, pubsub.ErrClosed)
	})
}

// The reverse: made and used inside, and used on outside.
func TestMadeInsideTheBubble(t *testing.T) {
	var b *memory.Backend
	synctest.Test(t, func(t *testing.T) {
		b = memory.New(memory.WithHistory(10))
		r := open(t, b, "a", pubsub.Position{}).start(nil)
		synctest.Wait()
		b.DelayPublishes(time.Minute)
		publish(t, b, "a", "1")
		b.DelayPublishes(0)
		r.cancel()
		require.NoError(t, <-r.done)
	})
	publish(t, b, "a", "2")
	last := b.Stats("a").Last
	last.Sequence--
	r := open(t, b, "a", last)
	require.NoError(t, b.Close())
	r.start(nil)
	require.ErrorIs(t, <-r.done, pubsub.ErrClosed)
	require.Equal(t, []string{b.Stats("a").Last.String() + "=2"}, r.log())
}

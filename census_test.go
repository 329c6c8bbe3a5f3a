package pubsub_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub"
)

// holding is a Backend with one stream, which says by hand what it holds.
type holding struct {
	script
	held atomic.Int64
}

func (b *holding) Subscribe(ctx context.Context, topic string, from pubsub.Start) (pubsub.Stream, error) {
	s, err := b.script.Subscribe(ctx, topic, from)
	if err != nil {
		return nil, err
	}
	return holdingStream{s, b}, nil
}

type holdingStream struct {
	pubsub.Stream
	b *holding
}

func (s holdingStream) Held() uint64 { return uint64(s.b.held.Load()) }

// A message is held by the backend until some time after it is in the log. Who
// leaves a stream that others go on reading then has it counted once.
func TestHeldMessageIsCountedOnce(t *testing.T) {
	for _, c := range []struct {
		name string
		// then has the stream go on while a subscription is being closed that has
		// read nothing: 1 message is in the log, and 5 are held, that one included.
		then    func(b *holding)
		dropped uint64
		waits   time.Duration
	}{
		{"the backend takes note of it", func(b *holding) { b.held.Store(0) }, 1, time.Millisecond},
		{"the next one comes", func(b *holding) {
			b.held.Store(4)
			b.stream(0).play(msg(2))
		}, 5, 0},
		{"the stream breaks", func(b *holding) {
			b.held.Store(4)
			b.stream(0).play(state(pubsub.Reconnecting))
		}, 5, 0},
		{"the stream is alive", func(b *holding) {
			b.held.Store(4)
			b.stream(0).play(heartbeat())
		}, 5, 0},
		{"the stream ends", func(b *holding) {
			b.held.Store(4)
			b.stream(0).end <- pubsub.ErrUnavailable
		}, 5, time.Millisecond},
		{"nothing happens", func(b *holding) { b.held.Store(4) }, 5, 100 * time.Millisecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				backend := &holding{}
				bus := pubsub.New(backend, ints{})
				defer bus.Close()
				s, _ := subscribe(t, bus, "t"), subscribe(t, bus, "t")
				backend.held.Store(5)
				backend.stream(0).play(msg(1))
				synctest.Wait()
				begin := time.Now()
				closed := make(chan error, 1)
				go func() { closed <- s.Close() }()
				synctest.Wait()
				require.Empty(t, closed)
				c.then(backend)
				require.NoError(t, <-closed)
				require.Equal(t, c.waits, time.Since(begin))
				require.Equal(t, c.dropped, s.Stats().Dropped)
			})
		})
	}
}

// What the backend holds of a stream that rests is known at once.
func TestHeldAtRestIsKnownAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backend := &holding{}
		bus := pubsub.New(backend, ints{})
		defer bus.Close()
		first, second, _ := subscribe(t, bus, "t"), subscribe(t, bus, "t"), subscribe(t, bus, "t")
		begin := time.Now()
		backend.held.Store(3)
		require.NoError(t, first.Close())
		require.EqualValues(t, 3, first.Stats().Dropped)
		backend.stream(0).play(msg(1), heartbeat())
		synctest.Wait()
		require.NoError(t, second.Close())
		require.EqualValues(t, 4, second.Stats().Dropped)
		require.Zero(t, time.Since(begin))
	})
}

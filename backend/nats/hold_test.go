package nats_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub"
)

func (tp *tape) held() uint64 { return tp.stream.(pubsub.Holder).Held() }

// flush notes among the frames when it is done.
func (tp *tape) flush() {
	tp.stream.(pubsub.Flusher).Flush(func() {
		_ = tp.deliver(context.Background(), pubsub.Frame{Kind: pubsub.KindMessage, Payload: pubsub.Payload{Data: []byte("flushed")}})
	})
}

func TestFlushAndHeld(t *testing.T) {
	w := newWorld(t)
	b := w.backend()
	publish(t, b, topic, "a", "b", "c")
	tp := open(t, b, topic, pubsub.Start{Oldest: true})
	assert.Equal(t, uint64(3), tp.held())
	tp.flush()
	publish(t, b, topic, "d")
	assert.Equal(t, uint64(4), tp.held(), "what the Backend publishes is known")
	tp.flush()
	assert.Empty(t, tp.all())
	release := tp.hold()
	tp.read()
	require.Eventually(t, func() bool { return tp.held() == 4 }, patience, time.Millisecond)
	release()
	tp.until("the flush", func(list []pubsub.Frame) bool { return script(list) == "a b c flushed d flushed" })
	assert.Zero(t, tp.held())
	tp.flush() // nothing is held: at once, or behind the last one that is just being called
	tp.until("the third flush", func(list []pubsub.Frame) bool { return script(list) == "a b c flushed d flushed flushed" })

	// What was lost is not held, once it is known.
	require.NoError(t, w.stream(topic).DeleteMsg(background(t), 2))
	lost := open(t, b, topic, pubsub.Start{After: pubsub.Position{Page: tp.stream.Start().Page, Sequence: 1}})
	assert.Equal(t, uint64(3), lost.held())
	lost.read()
	lost.flush()
	lost.message("flushed")
	assert.Equal(t, "[1 reconnect] c d flushed", script(lost.all()))
	lost.stop()
	lost.flush()
	assert.Equal(t, "[1 reconnect] c d flushed", script(lost.all()), "the stream has ended")
}

// A stream that breaks has its flushes done, and is not waited for: when it
// comes back, nobody knows.
func TestFlushOfABrokenStream(t *testing.T) {
	w := newWorld(t)
	b := w.backend()
	publish(t, b, topic, "a", "b", "c")
	tp := open(t, b, topic, pubsub.Start{Oldest: true})
	tp.flush()
	w.relay.Down()
	require.NoError(t, w.admin.DeleteStream(background(t), w.name(topic)))
	tp.read()
	tp.message("flushed")
	tp.state(pubsub.Reconnecting, 1)
	tp.flush()
	tp.until("the second flush", func(list []pubsub.Frame) bool { return script(list) == "flushed flushed" })
	w.relay.Up()
	tp.state(pubsub.Resumed, 1)
	publish(t, b, topic, "d")
	tp.message("d")
	tp.flush()
	tp.until("the third flush", func(list []pubsub.Frame) bool { return script(list) == "flushed flushed [0+ reset] d flushed" })
	assert.Zero(t, tp.held())
}

// Flush, by whoever, and deliver take turns.
func TestFlushTakesTurns(t *testing.T) {
	w := newWorld(t)
	b := w.backend()
	tp := open(t, b, topic, pubsub.Start{})
	var inside, overlaps, done atomic.Int32
	once := func() {
		if inside.Add(1) > 1 {
			overlaps.Add(1)
		}
		done.Add(1)
		inside.Add(-1)
	}
	stop, flushed := make(chan struct{}), make(chan struct{})
	tp.read()
	go func() {
		defer close(flushed)
		for {
			select {
			case <-stop:
				return
			default:
				tp.stream.(pubsub.Flusher).Flush(once)
				time.Sleep(50 * time.Microsecond)
			}
		}
	}()
	for range 200 {
		publish(t, b, topic, "x")
	}
	close(stop)
	<-flushed
	tp.stream.(pubsub.Flusher).Flush(once)
	assert.Zero(t, overlaps.Load())
	assert.NotZero(t, done.Load())
}

package nats_test

import (
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
		_ = tp.deliver(nil, pubsub.Frame{Kind: pubsub.KindMessage, Payload: pubsub.Payload{Data: []byte("flushed")}})
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
	tp.message("d")
	tp.until("the flush", func(list []pubsub.Frame) bool { return len(list) == 6 })
	assert.Equal(t, "a b c flushed d flushed", script(tp.all()))
	assert.Zero(t, tp.held())
	tp.flush() // nothing is held: at once
	assert.Equal(t, "a b c flushed d flushed flushed", script(tp.all()))

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

// A reset takes what was held with it, and has its flushes done.
func TestFlushAcrossReset(t *testing.T) {
	w := newWorld(t)
	b := w.backend()
	publish(t, b, topic, "a", "b", "c")
	tp := open(t, b, topic, pubsub.Start{Oldest: true})
	tp.flush()
	require.NoError(t, w.admin.DeleteStream(background(t), w.name(topic)))
	tp.read()
	tp.message("flushed")
	publish(t, b, topic, "d")
	tp.message("d")
	tp.flush()
	assert.Equal(t, "[0+ reset] flushed d flushed", script(tp.all())[:len("[0+ reset] flushed d flushed")])
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

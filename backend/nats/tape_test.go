package nats_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub"
)

// tape is what a stream delivered, in order.
type tape struct {
	t      testing.TB
	stream pubsub.Stream
	cancel context.CancelFunc
	done   chan struct{}

	mu      sync.Mutex
	frames  []pubsub.Frame
	err     error
	changed chan struct{}
	gate    chan struct{} // not nil: messages wait
}

// record subscribes and reads until the test ends.
func record(t testing.TB, b pubsub.Backend, topic string, from pubsub.Start) *tape {
	t.Helper()
	tp := open(t, b, topic, from)
	tp.read()
	return tp
}

// open subscribes, and does not read yet.
func open(t testing.TB, b pubsub.Backend, topic string, from pubsub.Start) *tape {
	t.Helper()
	tp := &tape{t: t, done: make(chan struct{}), changed: make(chan struct{})}
	var ctx context.Context
	ctx, tp.cancel = context.WithCancel(context.Background())
	var err error
	tp.stream, err = b.Subscribe(ctx, topic, from)
	if err != nil {
		tp.cancel()
	}
	require.NoError(t, err)
	return tp
}

func (tp *tape) read() {
	tp.t.Cleanup(tp.stop)
	go func() {
		err := tp.stream.Receive(tp.deliver)
		tp.mu.Lock()
		tp.err = err
		tp.mu.Unlock()
		close(tp.done)
	}()
}

func (tp *tape) deliver(ctx context.Context, f pubsub.Frame) error {
	tp.mu.Lock()
	gate := tp.gate
	tp.mu.Unlock()
	if gate != nil && f.Kind == pubsub.KindMessage {
		select {
		case <-gate:
		case <-ctx.Done():
		}
	}
	tp.mu.Lock()
	defer tp.mu.Unlock()
	tp.frames = append(tp.frames, f)
	close(tp.changed)
	tp.changed = make(chan struct{})
	return nil
}

// hold has the reader wait with the next message, until the function that it
// returns is called.
func (tp *tape) hold() (release func()) {
	tp.mu.Lock()
	defer tp.mu.Unlock()
	gate := make(chan struct{})
	tp.gate = gate
	return func() {
		tp.mu.Lock()
		defer tp.mu.Unlock()
		tp.gate = nil
		close(gate)
	}
}

// stop ends the stream and waits for its end.
func (tp *tape) stop() {
	tp.cancel()
	<-tp.done
}

// all returns what came so far.
func (tp *tape) all() []pubsub.Frame {
	tp.mu.Lock()
	defer tp.mu.Unlock()
	return tp.frames
}

// until waits until f holds for what came.
func (tp *tape) until(what string, f func([]pubsub.Frame) bool) []pubsub.Frame {
	tp.t.Helper()
	timeout := time.After(patience)
	for {
		tp.mu.Lock()
		frames, changed := tp.frames, tp.changed
		tp.mu.Unlock()
		if f(frames) {
			return frames
		}
		select {
		case <-changed:
		case <-tp.done:
			require.FailNow(tp.t, what+" has not come", "the stream ended: %v; it delivered %s", tp.err, script(frames))
		case <-timeout:
			require.FailNow(tp.t, what+" has not come", "the stream delivered %s", script(frames))
		}
	}
}

// message waits for a message of that text.
func (tp *tape) message(text string) pubsub.Frame {
	tp.t.Helper()
	var found pubsub.Frame
	tp.until("the message "+text, func(list []pubsub.Frame) bool {
		for _, f := range list {
			if f.Kind == pubsub.KindMessage && string(f.Payload.Data) == text {
				found = f
				return true
			}
		}
		return false
	})
	return found
}

// state waits for the nth change to a state, from 1.
func (tp *tape) state(state pubsub.State, nth int) pubsub.StateChange {
	tp.t.Helper()
	var found pubsub.StateChange
	tp.until(state.String(), func(list []pubsub.Frame) bool {
		n := 0
		for _, f := range list {
			if f.Kind == pubsub.KindState && f.State.State == state {
				if n++; n == nth {
					found = *f.State
					return true
				}
			}
		}
		return false
	})
	return found
}

// broke waits for a break with a reason that contains that text. On a busy machine
// there may be others.
func (tp *tape) broke(why string) {
	tp.t.Helper()
	tp.until("a break: "+why, func(list []pubsub.Frame) bool {
		return slices.ContainsFunc(list, func(f pubsub.Frame) bool {
			return f.Kind == pubsub.KindState && f.State.State == pubsub.Reconnecting && strings.Contains(fmt.Sprint(f.State.Err), why)
		})
	})
}

// heartbeat waits for a heartbeat that comes from now on.
func (tp *tape) heartbeat() {
	tp.t.Helper()
	before := len(tp.all())
	tp.until("a heartbeat", func(list []pubsub.Frame) bool {
		for _, f := range list[before:] {
			if f.Kind == pubsub.KindHeartbeat {
				return true
			}
		}
		return false
	})
}

// ended waits for the end of the stream and returns its error.
func (tp *tape) ended() error {
	tp.t.Helper()
	select {
	case <-tp.done:
		return tp.err
	case <-time.After(patience):
		require.FailNow(tp.t, "the stream has not ended", "it delivered %s", script(tp.all()))
		return nil
	}
}

// script writes messages and holes in one line, such as "a [2 backend] d". A
// count that is not exact has a +.
func script(frames []pubsub.Frame) string {
	var words []string
	for _, f := range frames {
		switch f.Kind {
		case pubsub.KindMessage:
			words = append(words, string(f.Payload.Data))
		case pubsub.KindDiscontinuity:
			plus := "+"
			if f.Discontinuity.Exact {
				plus = ""
			}
			words = append(words, fmt.Sprintf("[%d%s %s]", f.Discontinuity.Lost, plus, f.Discontinuity.Cause))
		}
	}
	return strings.Join(words, " ")
}

// publish publishes texts.
func publish(t testing.TB, b pubsub.Backend, topic string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		require.NoError(t, settled(func() error {
			return b.Publish(background(t), topic, pubsub.Payload{Format: pubsub.Text, Data: []byte(text)})
		}))
	}
}

// publishAll publishes a batch.
func publishAll(t testing.TB, b pubsub.TopicBackend, topic string, ps []pubsub.Payload) {
	t.Helper()
	n, err := b.Topic(b.(pubsub.Backend), topic).(pubsub.BatchPublisher).PublishBatch(background(t), ps)
	require.NoError(t, err)
	require.Equal(t, len(ps), n)
}

// settled calls f again while the server, which has just deleted a stream,
// cannot make it again because its files are not gone yet.
func settled(f func() error) (err error) {
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		var api *jetstream.APIError
		if err = f(); !errors.As(err, &api) || api.ErrorCode != 10049 {
			return err
		}
	}
	return err
}

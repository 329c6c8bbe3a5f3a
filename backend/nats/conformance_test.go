package nats_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/nats"
	"github.com/topicbus/pubsub/backend/nats/natstest"
	"github.com/topicbus/pubsub/pubsubtest"
)

// TestConformance runs the whole suite over a real server: nothing is left out.
func TestConformance(t *testing.T) {
	const history, maxPayload = 200, 64 << 10
	// What the server counts besides a payload's bytes.
	header := len("NATS/1.0\r\nNats-Expected-Stream: pubsub_\r\n\r\n") + 32
	pubsubtest.Run(t, pubsubtest.Harness{New: func(t testing.TB) pubsubtest.Target {
		w := newWorld(t, natstest.WithMaxPayload(maxPayload))
		limit := nats.WithMaxMessages(history)
		b := w.backend(limit)
		other, err := nats.New(w.server.URL(), append(quick(), limit)...)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, other.Close()) })
		f := &faults{world: w, b: b, other: other}
		return pubsubtest.Target{
			Backend:    b,
			Numbered:   true,
			History:    history,
			MaxPayload: maxPayload - header,
			Disconnect: w.relay.Down,
			Reconnect:  w.relay.Up,
			Publish: func(topic string, p pubsub.Payload) error {
				return other.Publish(background(t), topic, p)
			},
			Lose:        f.lose,
			Reset:       f.reset,
			Heartbeat:   func(string) {}, // the server sends one each second
			EndStreams:  f.endStreams,
			FailPublish: func(sentinel error) { f.failNext(sentinel, func(s string) bool { return !strings.HasPrefix(s, "$") }) },
			FailSubscribe: func(sentinel error) {
				f.failNext(sentinel, func(s string) bool { return strings.Contains(s, ".STREAM.INFO.") })
			},
			Streams: w.consumers,
		}
	}, Timeout: patience})
}

// faults makes a server behave as the suite asks for.
type faults struct {
	*world
	b     *nats.Backend // the one under test
	other *nats.Backend // past the relay
}

// stream returns the topic's stream, and makes it if there is none.
func (f *faults) stream(topic string) jetstream.Stream {
	ctx, cancel := context.WithCancel(context.Background())
	s, err := f.other.Subscribe(ctx, topic, pubsub.Start{})
	require.NoError(f.t, err)
	cancel()
	require.NoError(f.t, s.Receive(func(context.Context, pubsub.Frame) error { return nil }))
	return f.world.stream(topic)
}

// settle returns when the backend is connected again, after what was done
// before.
func (f *faults) settle() {
	require.Eventually(f.t, func() bool {
		return f.b.Publish(background(f.t), "settle", pubsub.Payload{}) == nil
	}, patience, 5*time.Millisecond)
}

// lose has messages vanish: while the stream's consumers are paused, they are
// published and deleted.
func (f *faults) lose(topic string, n int) {
	ctx, s := background(f.t), f.stream(topic)
	var paused []string
	for name := range s.ConsumerNames(ctx).Name() {
		_, err := s.PauseConsumer(ctx, name, farAway())
		if leaving(err) {
			continue
		}
		require.NoError(f.t, err)
		paused = append(paused, name)
	}
	for range n {
		ack, err := f.admin.Publish(ctx, s.CachedInfo().Config.Subjects[0], nil)
		require.NoError(f.t, err)
		require.NoError(f.t, s.DeleteMsg(ctx, ack.Sequence))
	}
	for _, name := range paused {
		if _, err := s.ResumeConsumer(ctx, name); !leaving(err) {
			require.NoError(f.t, err)
		}
	}
}

// leaving tells that a consumer is gone, or is just being removed: then the
// server fails to write down what was asked of it.
func leaving(err error) bool {
	var answer *jetstream.APIError
	return errors.Is(err, jetstream.ErrConsumerNotFound) ||
		errors.As(err, &answer) && strings.Contains(answer.Description, "consumer does not exist")
}

// reset deletes the topic's stream and makes it again.
func (f *faults) reset(topic string) {
	ctx, s := background(f.t), f.stream(topic)
	require.NoError(f.t, f.admin.DeleteStream(ctx, s.CachedInfo().Config.Name))
	require.NoError(f.t, settled(func() error {
		_, err := f.admin.CreateStream(ctx, s.CachedInfo().Config)
		return err
	}))
}

// endStreams breaks the streams that are open, and refuses to open them again.
func (f *faults) endStreams(sentinel error) {
	f.relay.Intercept(nil)
	f.settle()
	if errors.Is(sentinel, pubsub.ErrUnauthenticated) {
		f.relay.Refuse(2, "Authorization Violation")
		f.relay.Cut()
		return
	}
	var names []string
	for info := range f.admin.ListStreams(background(f.t)).Info() {
		names = append(names, info.Config.Name)
	}
	f.relay.Intercept(func(subject string) *natstest.Answer {
		for _, name := range names {
			if strings.Contains(subject, name) {
				return refusal(f.t, sentinel, subject)
			}
		}
		return nil
	})
	f.relay.Cut()
}

// failNext refuses the next request whose subject matches.
func (f *faults) failNext(sentinel error, match func(subject string) bool) {
	f.relay.Intercept(nil)
	f.settle()
	var done atomic.Bool
	f.relay.Intercept(func(subject string) *natstest.Answer {
		if !match(subject) || done.Swap(true) {
			return nil
		}
		return refusal(f.t, sentinel, subject)
	})
}

// refusal returns what the server says where the backend reports a sentinel.
func refusal(t testing.TB, sentinel error, subject string) *natstest.Answer {
	code := func(status, code int) *natstest.Answer {
		return &natstest.Answer{Reply: fmt.Appendf(nil, `{"error":{"code":%d,"err_code":%d,"description":"scripted"}}`, status, code)}
	}
	switch {
	case errors.Is(sentinel, pubsub.ErrNotFound):
		return code(503, 10039) // JetStream is not enabled for the account
	case errors.Is(sentinel, pubsub.ErrLimitExceeded):
		return code(503, 10023)
	case errors.Is(sentinel, pubsub.ErrUnavailable):
		return code(503, 10008)
	case errors.Is(sentinel, pubsub.ErrPermissionDenied):
		return &natstest.Answer{Error: fmt.Sprintf("Permissions Violation for Publish to %q", subject)}
	case errors.Is(sentinel, pubsub.ErrUnauthenticated):
		return &natstest.Answer{Error: "User Authentication Expired", Close: true}
	}
	t.Errorf("nothing that the server says stands for %v", sentinel)
	return nil
}

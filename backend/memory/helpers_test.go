package memory_test

import (
	"context"
	"strconv"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/memory"
)

// receiver is a stream that records its frames.
type receiver struct {
	stream pubsub.Stream
	cancel context.CancelFunc
	done   chan error

	mu     sync.Mutex
	frames []pubsub.Frame
}

func open(t *testing.T, b *memory.Backend, topic string, after pubsub.Position) *receiver {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	s, err := b.Subscribe(ctx, topic, pubsub.Start{After: after})
	require.NoError(t, err)
	return &receiver{stream: s, cancel: cancel, done: make(chan error, 1)}
}

// start calls Receive. Each frame is handed to f, if not nil, before it is
// recorded; an error of f is a refusal.
func (r *receiver) start(f func(context.Context, pubsub.Frame) error) *receiver {
	deliver := func(ctx context.Context, fr pubsub.Frame) error {
		if f != nil {
			if err := f(ctx, fr); err != nil {
				return err
			}
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.frames = append(r.frames, fr)
		return nil
	}
	run := func(ctx context.Context, at pubsub.Position, ps []pubsub.Payload) (int, error) {
		for i, p := range ps {
			fr := pubsub.Frame{Kind: pubsub.KindMessage, More: i < len(ps)-1, Payload: p, Position: at}
			if err := deliver(ctx, fr); err != nil {
				return i, err
			}
			at.Sequence++
		}
		return len(ps), nil
	}
	go func() { r.done <- r.stream.(pubsub.RunStream).ReceiveRuns(deliver, run) }()
	return r
}

// log returns what was received, one string a frame: "1/2=payload",
// "heartbeat", "reset 0? 1/2>2/1", "backend 3 1/2>1/6" (a "?" if not exact),
// "reconnecting 1 0s", "resumed 2 1m0s".
func (r *receiver) log() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	log := []string{}
	for _, f := range r.frames {
		log = append(log, show(f))
	}
	return log
}

func show(f pubsub.Frame) string {
	switch f.Kind {
	case pubsub.KindMessage:
		return f.Position.String() + "=" + string(f.Payload.Data)
	case pubsub.KindDiscontinuity:
		d := f.Discontinuity
		mark := ""
		if !d.Exact {
			mark = "?"
		}
		return d.Cause.String() + " " + strconv.FormatUint(d.Lost, 10) + mark + " " + d.After.String() + ">" + d.Resume.String()
	case pubsub.KindState:
		return f.State.State.String() + " " + strconv.Itoa(f.State.Attempt) + " " + f.State.Downtime.String()
	default:
		return f.Kind.String()
	}
}

func publish(t *testing.T, b *memory.Backend, topic string, payloads ...string) {
	t.Helper()
	for _, p := range payloads {
		require.NoError(t, b.Publish(t.Context(), topic, pubsub.Payload{Format: pubsub.Text, Data: []byte(p)}))
	}
}

func at(page, sequence uint64) pubsub.Position {
	return pubsub.Position{Page: page, Sequence: sequence}
}

// stall returns a deliver function that blocks on messages until release is
// called or its ctx ends.
func stall() (f func(context.Context, pubsub.Frame) error, release func()) {
	c := make(chan struct{})
	return func(ctx context.Context, f pubsub.Frame) error {
		if f.Kind != pubsub.KindMessage {
			return nil
		}
		select {
		case <-c:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}, sync.OnceFunc(func() { close(c) })
}

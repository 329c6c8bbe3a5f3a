package pubsub_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub"
)

// runner is a Backend whose streams deliver one run of messages.
type runner struct {
	script
	at pubsub.Position
	ps []pubsub.Payload
}

type runnerStream struct {
	pubsub.Stream
	ctx context.Context
	*runner
}

func (r *runner) Subscribe(ctx context.Context, topic string, from pubsub.Start) (pubsub.Stream, error) {
	s, err := r.script.Subscribe(ctx, topic, from)
	return runnerStream{s, ctx, r}, err
}

func (s runnerStream) ReceiveRuns(_ func(context.Context, pubsub.Frame) error, run func(context.Context, pubsub.Position, []pubsub.Payload) (int, error)) error {
	if n, err := run(s.ctx, s.at, s.ps); n != len(s.ps) || err != nil {
		panic(fmt.Sprint(n, err))
	}
	<-s.ctx.Done()
	return nil
}

// Each message of a run has its place, also behind those that cannot be decoded.
func TestPlacesInARun(t *testing.T) {
	for _, c := range []struct {
		at   pubsub.Position
		want []string
	}{
		{pubsub.Position{Page: 1, Sequence: 5}, []string{"1/5", "1/5 lost 1/7", "1/7", "1/7 lost 1/9", "1/9", "1/10"}},
		{pubsub.Position{}, []string{"-", "- lost -", "-", "- lost -", "-", "-"}},
	} {
		synctest.Test(t, func(t *testing.T) {
			var ps []pubsub.Payload
			for _, s := range []string{"1", "panic", "3", "bad", "5", "6"} {
				ps = append(ps, text(s).Payload)
			}
			bus := pubsub.New(&runner{at: c.at, ps: ps}, ints{})
			defer bus.Close()
			s := subscribe(t, bus, "t")
			var got []string
			for range c.want {
				e, err := s.Next(t.Context())
				require.NoError(t, err)
				if d := e.Discontinuity; d != nil {
					got = append(got, fmt.Sprintf("%v lost %v", d.After, d.Resume))
				} else {
					got = append(got, e.Message.Position.String())
				}
			}
			require.Equal(t, c.want, got)
		})
	}
}

// latecomer is a Backend that delivers although its stream has ended.
type latecomer struct {
	script
	deliver func(context.Context, pubsub.Frame) error
	run     func(context.Context, pubsub.Position, []pubsub.Payload) (int, error)
}

type latecomerStream struct {
	pubsub.Stream
	*latecomer
}

func (l *latecomer) Subscribe(ctx context.Context, topic string, from pubsub.Start) (pubsub.Stream, error) {
	s, err := l.script.Subscribe(ctx, topic, from)
	return latecomerStream{s, l}, err
}

func (s latecomerStream) ReceiveRuns(deliver func(context.Context, pubsub.Frame) error, run func(context.Context, pubsub.Position, []pubsub.Payload) (int, error)) error {
	s.deliver, s.run = deliver, run
	return s.Receive(deliver)
}

// Nothing comes behind the end of a stream.
func TestDeliveriesBehindTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backend := &latecomer{}
		bus := pubsub.New(backend, ints{})
		defer bus.Close()
		s := subscribe(t, bus, "t")
		backend.stream(0).play(msg(1))
		backend.stream(0).end <- pubsub.ErrNotFound
		synctest.Wait()
		require.NoError(t, backend.deliver(t.Context(), msg(2)))
		n, err := backend.run(t.Context(), pubsub.Position{Page: 1, Sequence: 3}, []pubsub.Payload{text("3").Payload, text("4").Payload})
		require.NoError(t, err)
		require.Equal(t, 2, n, "they are dealt with")
		require.Equal(t, []string{"1"}, next(t, s, 1))
		_, err = s.Next(t.Context())
		require.ErrorIs(t, err, pubsub.ErrNotFound)
	})
}

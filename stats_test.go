package pubsub_test

import (
	"slices"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/memory"
)

func TestTopicsAreSorted(t *testing.T) {
	bus := pubsub.New(&script{}, ints{})
	defer bus.Close()
	want := []string{"a", "b", "c", "d", "e", "f", "g", "h"}
	for _, name := range slices.Backward(want) {
		subscribe(t, bus, name)
	}
	var got []string
	for _, topic := range bus.Stats().Topics {
		got = append(got, topic.Topic)
	}
	require.Equal(t, want, got)
}

// The bus's sums have each loss under its cause, while its subscription lives
// and afterwards.
func TestLossesByCause(t *testing.T) {
	backend := &script{}
	bus := pubsub.New(backend, ints{}, pubsub.WithBuffer(8))
	defer bus.Close()
	s := subscribe(t, bus, "t")
	for cause, lost := range map[pubsub.Cause]uint64{pubsub.CauseBackend: 2, pubsub.CauseReset: 3, pubsub.CauseReconnect: 4} {
		backend.stream(0).play(pubsub.Frame{Kind: pubsub.KindDiscontinuity, Discontinuity: &pubsub.Discontinuity{Cause: cause, Lost: lost, Exact: true}})
	}
	backend.stream(0).play(text("bad"))
	next(t, s, 4)
	for n := range 14 {
		backend.stream(0).play(msg(n))
	}
	next(t, s, 1)
	want := pubsub.Losses{Overflow: 6, Backend: 2, Reset: 3, Reconnect: 4, Decode: 1}
	require.Equal(t, want, s.Stats().Lost)
	require.Equal(t, want, bus.Stats().Lost)
	require.EqualValues(t, 16, want.Total())
	s.Close()
	require.Equal(t, want, bus.Stats().Lost)
}

// gated is boxed, and decodes one of the numbers when the gate is open.
type gated struct {
	boxed
	n    int
	gate chan struct{}
}

func (g gated) Decode(p pubsub.Payload) (*int, error) {
	n, err := g.boxed.Decode(p)
	if err == nil && *n == g.n {
		<-g.gate
	}
	return n, err
}

// A message that was taken before the end and had nowhere to go behind it is
// dropped: for its subscription, its topic and the bus.
func TestDroppedBehindTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		codec := gated{n: 33, gate: make(chan struct{})} // one more than C has room for
		bus := pubsub.New(memory.New(), codec)
		defer bus.Close()
		subscribe(t, bus, "t") // keeps the topic
		s := subscribe(t, bus, "t")
		s.C()
		for n := 1; n <= 33; n++ {
			publish(t, bus, "t", &n)
		}
		synctest.Wait()
		closed := make(chan error)
		go func() { closed <- s.Close() }()
		synctest.Wait()
		require.Zero(t, bus.Stats().Dropped)
		close(codec.gate)
		require.NoError(t, <-closed)
		require.EqualValues(t, 1, s.Stats().Dropped)
		require.EqualValues(t, 1, bus.Stats().Topics[0].Dropped)
		require.EqualValues(t, 1, bus.Stats().Dropped)
	})
}

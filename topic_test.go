package pubsub_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/memory"
)

func TestTopicDoesWhatTheBusDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := pubsub.New(memory.New(memory.WithPage(1)), ints{})
		topic := bus.Topic("t")
		require.Equal(t, "t", topic.Name())
		s, err := topic.Subscribe(t.Context())
		require.NoError(t, err)
		require.NoError(t, topic.Publish(t.Context(), 1))
		publish(t, bus, "t", 2)
		n, err := topic.PublishAll(t.Context(), []int{3, 4})
		require.NoError(t, err)
		require.Equal(t, 2, n)
		in := make(chan int, 2)
		in <- 5
		close(in)
		require.NoError(t, topic.Pipe(t.Context(), in))
		require.Equal(t, numbersTo(1, 5), next(t, s, 5))
		require.EqualValues(t, 5, bus.Stats().Published)

		require.ErrorIs(t, topic.Publish(noContext, 1), pubsub.ErrInvalidArgument)
		_, err = topic.Subscribe(noContext)
		require.ErrorIs(t, err, pubsub.ErrInvalidArgument)
		for _, name := range []string{"", " ", "\xff"} {
			bad := bus.Topic(name)
			require.ErrorIs(t, bad.Publish(t.Context(), 1), pubsub.ErrInvalidTopic)
			_, err = bad.PublishAll(t.Context(), []int{1})
			require.ErrorIs(t, err, pubsub.ErrInvalidTopic)
			_, err = bad.Subscribe(t.Context())
			require.ErrorIs(t, err, pubsub.ErrInvalidTopic)
			require.ErrorIs(t, bad.Pipe(t.Context(), in), pubsub.ErrInvalidTopic)
		}
		bus.Close()
		require.ErrorIs(t, topic.Publish(t.Context(), 1), pubsub.ErrClosed)
		n, err = topic.PublishAll(t.Context(), []int{1})
		require.ErrorIs(t, err, pubsub.ErrClosed)
		require.Zero(t, n)
		_, err = topic.Subscribe(t.Context())
		require.ErrorIs(t, err, pubsub.ErrClosed)
		require.ErrorIs(t, topic.Pipe(t.Context(), make(chan int)), pubsub.ErrClosed)
	})
}

// A handle keeps nothing of a topic that nobody hears, and finds one again that
// was forgotten.
func TestTopicsAreCheap(t *testing.T) {
	backend := memory.New()
	bus := pubsub.New(backend, ints{})
	defer bus.Close()
	const many = 100_000
	topics := make([]*pubsub.Topic[int], many)
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	for i := range topics {
		topics[i] = bus.Topic("a topic with a number " + strconv.Itoa(i))
		require.NoError(t, topics[i].Publish(t.Context(), 1))
	}
	require.Less(t, (heap()-before)/many, uint64(400), "bytes each")
	s, err := topics[7].Subscribe(t.Context())
	require.NoError(t, err)
	require.NoError(t, topics[7].Publish(t.Context(), 42))
	require.Equal(t, 42, message(t, s).Value)
	s.Close()
	backend.Forget(topics[7].Name())
	s, err = topics[7].Subscribe(t.Context())
	require.NoError(t, err)
	require.NoError(t, topics[7].Publish(t.Context(), 43))
	require.Equal(t, 43, message(t, s).Value)
	runtime.KeepAlive(topics)
}

// embedding is a Backend that embeds memory's and changes what it publishes.
type embedding struct{ *memory.Backend }

func (e embedding) Publish(ctx context.Context, topic string, p pubsub.Payload) error {
	return e.Backend.Publish(ctx, topic, pubsub.Payload{Format: pubsub.Text, Data: append([]byte("1"), p.Data...)})
}

// plain is a Backend that can do nothing besides.
type plain struct{ b pubsub.Backend }

func (p plain) Publish(ctx context.Context, topic string, pl pubsub.Payload) error {
	return p.b.Publish(ctx, topic, pl)
}

func (p plain) Subscribe(ctx context.Context, topic string, from pubsub.Start) (pubsub.Stream, error) {
	return p.b.Subscribe(ctx, topic, from)
}

func TestPublishAll(t *testing.T) {
	for name, c := range map[string]struct {
		backend pubsub.Backend
		of      func(int) string
	}{
		"memory":    {memory.New(), strconv.Itoa},
		"embedded":  {embedding{memory.New()}, func(n int) string { return "1" + strconv.Itoa(n) }},
		"no handle": {plain{memory.New()}, strconv.Itoa},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var told []string
				bus := pubsub.New(c.backend, ints{}, pubsub.WithBuffer(1000), pubsub.WithObserver(pubsub.Observer{
					Published: func(_ context.Context, topic string, _ time.Duration, err error) {
						told = append(told, fmt.Sprint(topic, errors.Is(err, pubsub.ErrCodec)))
					},
				}))
				defer bus.Close()
				topic := bus.Topic("t")
				s := subscribe(t, bus, "t")
				for _, size := range []int{0, 1, 63, 64, 65, 200} {
					for _, bad := range []struct{ at, value int }{{-1, 0}, {0, -1}, {size / 2, -2}, {size - 1, -3}} {
						values := make([]int, size)
						want := []string(nil)
						accepted := size
						for i := range values {
							values[i] = i
						}
						if bad.at >= 0 && bad.at < size && bad.value != 0 {
							values[bad.at], accepted = bad.value, bad.at
						}
						for _, v := range values[:accepted] {
							want = append(want, c.of(v))
						}
						told = nil
						n, err := topic.PublishAll(t.Context(), values)
						require.Equal(t, accepted, n)
						require.Equal(t, accepted == size, err == nil, "%v", err)
						require.Len(t, told, accepted+len(values[accepted:min(size, accepted+1)]))
						require.Equal(t, want, next(t, s, accepted))
					}
				}
				n, err := topic.PublishAll(t.Context(), nil)
				require.NoError(t, err)
				require.Zero(t, n)
			})
		})
	}
}

func TestPublishAllUntilCtxEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := pubsub.New(memory.New(), ints{}, pubsub.WithBuffer(10))
		defer bus.Close()
		s := subscribe(t, bus, "t", pubsub.Overflow(pubsub.Block))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		n, err := bus.Topic("t").PublishAll(ctx, make([]int, 100))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, pubsub.Accepted, pubsub.OutcomeOf(err), "the one that found no room")
		require.Equal(t, 10, n)
		require.Len(t, next(t, s, 11), 11)
		require.EqualValues(t, 1, s.Stats().Lost.Total())
		require.EqualValues(t, 10, bus.Stats().Published)
	})
}

// Pipe publishes what is there as one batch, and does not wait for more.
func TestPipeBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backend := &batching{}
		bus := pubsub.New[int](backend, ints{})
		defer bus.Close()
		in := make(chan int)
		piped := make(chan error)
		go func() { piped <- bus.Pipe(t.Context(), "t", in) }()
		for n := range 3 {
			in <- n
			synctest.Wait()
		}
		require.Equal(t, []int{1, 1, 1}, backend.batches, "each at once")
		close(in)
		require.NoError(t, <-piped)

		// Full before Pipe looks at it: how far the two get does not matter.
		backend.batches = nil
		require.NoError(t, bus.Pipe(t.Context(), "t", full(150)))
		require.Equal(t, []int{64, 64, 22}, backend.batches)

		backend.fail = 2
		var u *pubsub.Unpublished[int]
		require.ErrorAs(t, bus.Pipe(t.Context(), "t", full(5)), &u)
		require.Equal(t, []int{2, 3, 4}, u.Values, "the first that was not accepted, and those behind it")
		require.ErrorIs(t, u.Err, pubsub.ErrUnavailable)
	})
}

// full returns a closed channel that holds the numbers below n.
func full(n int) <-chan int {
	ch := make(chan int, n)
	for i := range n {
		ch <- i
	}
	close(ch)
	return ch
}

// batching is a Backend that notes how large the batches are.
type batching struct {
	script
	batches []int
	fail    int // how many of the next ones are accepted, if not 0
}

func (b *batching) Topic(pubsub.Backend, string) pubsub.TopicPublisher { return b.publisher() }

func (b *batching) publisher() pubsub.TopicPublisher { return batchPublisher{b} }

type batchPublisher struct{ b *batching }

func (p batchPublisher) Publish(context.Context, pubsub.Payload) error { return nil }

func (p batchPublisher) PublishBatch(_ context.Context, ps []pubsub.Payload) (int, error) {
	p.b.batches = append(p.b.batches, len(ps))
	if n := p.b.fail; n > 0 {
		if len(ps) > n {
			return n, pubsub.ErrUnavailable
		}
		p.b.fail -= len(ps)
	}
	return len(ps), nil
}

// Messages is for those who look at messages only: holes go to the callback, else
// to the log.
func TestMessages(t *testing.T) {
	for _, observed := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			var log logOf
			var told []*pubsub.Discontinuity
			backend := &script{}
			bus := pubsub.New(backend, ints{}, log.option())
			defer bus.Close()
			var opts []pubsub.SubscribeOption
			if observed {
				opts = append(opts, pubsub.OnDiscontinuity(func(d *pubsub.Discontinuity) { told = append(told, d) }))
			}
			s := subscribe(t, bus, "t", opts...)
			backend.stream(0).play(msg(1), gap(3, true), heartbeat(), state(pubsub.Reconnecting), state(pubsub.Resumed), msg(5), text("bad"), msg(6))
			var got []int
			for m := range s.Messages() {
				if got = append(got, m.Value); m.Value == 6 {
					break
				}
			}
			require.Equal(t, []int{1, 5, 6}, got)
			if observed {
				require.Len(t, told, 2)
				require.Empty(t, log.String())
			} else {
				require.Equal(t, 1, log.lines("lost=3"))
			}
			backend.stream(0).play(msg(7))
			require.Equal(t, []string{"7"}, next(t, s, 1), "the loop was left, not the subscription")
		})
	}
}

// A frame without a Kind is none that is passed over in silence.
func TestFrameOfNoKind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backend := &script{}
		bus := pubsub.New(backend, ints{})
		defer bus.Close()
		s := subscribe(t, bus, "t")
		f := msg(7)
		f.Kind = 0
		backend.stream(0).play(f)
		e, err := s.Next(t.Context())
		require.NoError(t, err)
		require.Equal(t, "lost 1 backend", show(e))
		require.ErrorContains(t, e.Discontinuity, "no known kind")
	})
}

// What is made outside of a synctest bubble works inside, and the reverse.
func TestAcrossBubbles(t *testing.T) {
	use := func(t *testing.T, bus pubsub.Bus[int]) {
		in := make(chan int, 3)
		piped := make(chan error, 1)
		go func() { piped <- bus.Pipe(t.Context(), "t", in) }()
		s, err := bus.Subscribe(context.Background(), "t", pubsub.Overflow(pubsub.Block))
		require.NoError(t, err)
		for n := range 3 {
			in <- n
		}
		require.Equal(t, numbersTo(0, 2), next(t, s, 3))
		close(in)
		require.NoError(t, <-piped)
		require.NoError(t, s.Close())
	}
	t.Run("outside in", func(t *testing.T) {
		bus := pubsub.New(memory.New(), ints{}, pubsub.WithBuffer(2))
		for range 2 {
			synctest.Test(t, func(t *testing.T) { use(t, bus) })
		}
		use(t, bus)
		bus.Close()
	})
	t.Run("inside out", func(t *testing.T) {
		var bus pubsub.Bus[int]
		synctest.Test(t, func(t *testing.T) {
			bus = pubsub.New(memory.New(), ints{}, pubsub.WithBuffer(2))
			use(t, bus)
		})
		use(t, bus)
		bus.Close()
	})
	t.Run("Pipe ends with a bus of outside", func(t *testing.T) {
		bus := pubsub.New(memory.New(), ints{})
		synctest.Test(t, func(t *testing.T) {
			piped := make(chan error, 1)
			go func() { piped <- bus.Pipe(t.Context(), "t", make(chan int)) }()
			synctest.Wait()
			bus.Close()
			require.ErrorIs(t, <-piped, pubsub.ErrClosed)
		})
	})
}

package pubsub_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/memory"
)

// at hand reads what there is without waiting.
func atHand(t *testing.T, s *pubsub.Subscription[int]) (got []string) {
	t.Helper()
	for {
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		e, err := s.Next(ctx)
		cancel()
		if err != nil {
			return got
		}
		got = append(got, show(e))
	}
}

func numbersTo(from, to int) (s []string) {
	for n := from; n <= to; n++ {
		s = append(s, fmt.Sprint(n))
	}
	return s
}

// Where each kind of start begins: with a history, and where only the buffer of
// an open stream has messages.
func TestStarts(t *testing.T) {
	for name, c := range map[string]struct {
		history int
		opts    []pubsub.SubscribeOption
		want    []string
		streams int
	}{
		"FromOldest, history":              {50, []pubsub.SubscribeOption{pubsub.FromOldest()}, numbersTo(51, 100), 2},
		"FromOldest, buffer":               {0, []pubsub.SubscribeOption{pubsub.FromOldest()}, numbersTo(81, 100), 1},
		"FromOldest, shorter history":      {10, []pubsub.SubscribeOption{pubsub.FromOldest()}, numbersTo(81, 100), 1},
		"FromLast(1), history":             {50, []pubsub.SubscribeOption{pubsub.FromLast(1)}, numbersTo(100, 100), 1},
		"FromLast(1), buffer":              {0, []pubsub.SubscribeOption{pubsub.FromLast(1)}, numbersTo(100, 100), 1},
		"FromLast(30), history":            {50, []pubsub.SubscribeOption{pubsub.FromLast(30)}, numbersTo(71, 100), 2},
		"FromLast(30), buffer":             {0, []pubsub.SubscribeOption{pubsub.FromLast(30)}, numbersTo(81, 100), 1},
		"FromLast(30), Fail":               {0, []pubsub.SubscribeOption{pubsub.FromLast(30), pubsub.Overflow(pubsub.Fail)}, numbersTo(81, 100), 1},
		"FromLast(30), Private":            {0, []pubsub.SubscribeOption{pubsub.FromLast(30), pubsub.Private()}, nil, 2},
		"FromLast(1000), shorter history":  {10, []pubsub.SubscribeOption{pubsub.FromLast(1000)}, numbersTo(81, 100), 1},
		"FromLast(0)":                      {50, []pubsub.SubscribeOption{pubsub.FromLast(0)}, nil, 1},
		"ResumeAfter, in the buffer":       {0, []pubsub.SubscribeOption{pubsub.ResumeAfter(pubsub.Position{Page: 1, Sequence: 90})}, numbersTo(91, 100), 1},
		"ResumeAfter, in the history":      {50, []pubsub.SubscribeOption{pubsub.ResumeAfter(pubsub.Position{Page: 1, Sequence: 60})}, numbersTo(61, 100), 2},
		"ResumeAfter, of another life":     {50, []pubsub.SubscribeOption{pubsub.ResumeAfter(pubsub.Position{Page: 1, Sequence: 300})}, []string{"lost 0 reset"}, 2},
		"ResumeAfter, of an earlier page":  {0, []pubsub.SubscribeOption{pubsub.ResumeAfter(pubsub.Position{Sequence: 90})}, []string{"lost 100 reset"}, 2},
		"ResumeAfter zero":                 {50, []pubsub.SubscribeOption{pubsub.ResumeAfter(pubsub.Position{})}, nil, 1},
		"FromOldest, Block, empty stream":  {50, []pubsub.SubscribeOption{pubsub.FromOldest(), pubsub.Overflow(pubsub.Block)}, numbersTo(51, 100), 2},
		"FromLast(30), Block, and history": {50, []pubsub.SubscribeOption{pubsub.FromLast(30), pubsub.Overflow(pubsub.Block)}, numbersTo(71, 100), 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				backend := memory.New(memory.WithPage(1), memory.WithHistory(c.history))
				bus := pubsub.New(backend, ints{}, pubsub.WithBuffer(20))
				defer bus.Close()
				subscribe(t, bus, "t")
				for n := 1; n <= 100; n++ {
					publish(t, bus, "t", n)
				}
				s := subscribe(t, bus, "t", append(c.opts, pubsub.Overflow(pubsub.DropOldest))[:len(c.opts)]...)
				var reading sync.WaitGroup
				var got []string
				reading.Go(func() { got = atHand(t, s) })
				reading.Wait()
				if c.history > 20 && len(c.want) > 20 { // the replay passes through the buffer
					require.Equal(t, c.want[len(c.want)-1], got[len(got)-1])
				} else {
					require.Equal(t, c.want, got)
				}
				require.Equal(t, c.streams, backend.Streams())
				require.Equal(t, c.streams, bus.Stats().Streams)

				// To resume after Start gives the same.
				start := s.Start()
				require.False(t, start.IsZero())
				again := subscribe(t, bus, "t", pubsub.ResumeAfter(start), pubsub.Private())
				seen := atHand(t, again)
				switch {
				case name == "ResumeAfter, of another life", name == "ResumeAfter, of an earlier page":
					require.Equal(t, c.want, seen)
				case c.history >= len(c.want):
					require.Equal(t, c.want[max(0, len(c.want)-20):], seen[max(0, len(seen)-min(20, len(c.want))):])
				}
				publish(t, bus, "t", 101)
				require.Equal(t, []string{"101"}, next(t, s, 1))
				require.Equal(t, []string{"101"}, next(t, again, 1))
				require.Zero(t, bus.Stats().Dropped, "of what was opened for nothing")
			})
		})
	}
}

// On a topic without messages the place to begin at is the page's.
func TestStartOfAnEmptyTopic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := pubsub.New(memory.New(memory.WithPage(3), memory.WithHistory(10)), ints{})
		defer bus.Close()
		s := subscribe(t, bus, "t")
		require.Equal(t, pubsub.Position{Page: 3}, s.Start())
		publish(t, bus, "t", 1, 2)
		require.Equal(t, pubsub.Position{Page: 3}, s.Start())
		late := subscribe(t, bus, "t")
		require.Equal(t, pubsub.Position{Page: 3, Sequence: 2}, late.Start())
		back := subscribe(t, bus, "t", pubsub.ResumeAfter(s.Start()))
		require.Equal(t, []string{"1", "2"}, next(t, back, 2))
	})
	synctest.Test(t, func(t *testing.T) {
		backend := &script{}
		bus := pubsub.New(backend, ints{})
		defer bus.Close()
		require.Zero(t, subscribe(t, bus, "t").Start(), "this backend cannot tell")
	})
}

// A position of an earlier process is of another page, unless WithPage says
// otherwise: a reset, told.
func TestPositionOfAnEarlierProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old := pubsub.New(memory.New(), ints{})
		s := subscribe(t, old, "t")
		publish(t, old, "t", 1)
		p := message(t, s).Position
		old.Close()
		time.Sleep(time.Second)
		bus := pubsub.New(memory.New(memory.WithHistory(10)), ints{})
		defer bus.Close()
		subscribe(t, bus, "t")
		publish(t, bus, "t", 7, 8)
		require.Equal(t, []string{"lost 0 reset", "7", "8"}, next(t, subscribe(t, bus, "t", pubsub.ResumeAfter(p)), 3))
	})
}

// Many who come back at once share a handful of streams. Nobody gets anything
// twice or misses any of it.
func TestManyComeBack(t *testing.T) {
	const history = 1000
	for _, c := range []struct {
		name   string
		many   int
		policy pubsub.OverflowPolicy
		buffer int
		few    bool // streams: with Block and little room that depends on how far each has come
	}{
		{"one after the other", 2000, pubsub.DropOldest, 2 * history, true},
		{"with Block", 50, pubsub.Block, 64, false},
		{"with Block and room", 500, pubsub.Block, 2 * history, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				backend := memory.New(memory.WithPage(1), memory.WithHistory(history))
				bus := pubsub.New(backend, ints{}, pubsub.WithBuffer(c.buffer))
				defer bus.Close()
				for n := 1; n <= history; n++ {
					publish(t, bus, "t", n)
				}
				seed := rand.Uint64()
				r := rand.New(rand.NewPCG(seed, 1))
				var reading sync.WaitGroup
				most := 0
				for range c.many {
					after := r.Uint64N(history)
					s := subscribe(t, bus, "t", pubsub.ResumeAfter(pubsub.Position{Page: 1, Sequence: after}), pubsub.Overflow(c.policy))
					reading.Go(func() {
						for n := after + 1; n <= history+1; n++ {
							e, err := s.Next(t.Context())
							if err != nil || e.Kind != pubsub.KindMessage || e.Message.Position.Sequence != n {
								t.Errorf("seed %d: after %d: %s in place of %d (%v)", seed, after, show(e), n, err)
								return
							}
						}
					})
					most = max(most, backend.Streams())
				}
				synctest.Wait()
				if c.few {
					require.LessOrEqual(t, most, 20, "seed %d", seed)
				}
				publish(t, bus, "t", history+1)
				reading.Wait()
				t.Logf("%d came back by %d streams", c.many, most)
			})
		})
	}
	t.Run("at once", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			backend := memory.New(memory.WithPage(1), memory.WithHistory(history))
			bus := pubsub.New(backend, ints{}, pubsub.WithBuffer(2*history))
			defer bus.Close()
			for n := 1; n <= history; n++ {
				publish(t, bus, "t", n)
			}
			var coming sync.WaitGroup
			for range 500 {
				coming.Go(func() {
					after := rand.Uint64N(history)
					s, err := bus.Subscribe(t.Context(), "t", pubsub.ResumeAfter(pubsub.Position{Page: 1, Sequence: after}))
					if err != nil {
						t.Error(err)
						return
					}
					if e, err := s.Next(t.Context()); err != nil || e.Message.Position.Sequence != after+1 {
						t.Errorf("after %d: %s (%v)", after, show(e), err)
					}
				})
			}
			coming.Wait()
			require.LessOrEqual(t, backend.Streams(), 20)
		})
	})
	t.Run("one does not read", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			backend := memory.New(memory.WithPage(1), memory.WithHistory(history))
			bus := pubsub.New(backend, ints{}, pubsub.WithBuffer(16))
			defer bus.Close()
			for n := 1; n <= history; n++ {
				publish(t, bus, "t", n)
			}
			for range 20 {
				subscribe(t, bus, "t", pubsub.ResumeAfter(pubsub.Position{Page: 1, Sequence: 1 + rand.Uint64N(history-1)}))
			}
			start := time.Now()
			for n := range 100 {
				publish(t, bus, "t", n)
			}
			require.Zero(t, time.Since(start))
		})
	})
}

// A place that the stream came to as a hole was told as of another life.
func TestComeBackAheadOfAHole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backend := memory.New(memory.WithPage(1), memory.WithHistory(10))
		bus := pubsub.New(backend, ints{}, pubsub.WithBuffer(4))
		defer bus.Close()
		for n := 1; n <= 30; n++ {
			publish(t, bus, "t", n)
		}
		block := pubsub.Overflow(pubsub.Block)
		first := subscribe(t, bus, "t", pubsub.ResumeAfter(pubsub.Position{Page: 1, Sequence: 2}), block)
		synctest.Wait()
		s := subscribe(t, bus, "t", pubsub.ResumeAfter(pubsub.Position{Page: 1, Sequence: 28}), block)
		require.Equal(t, 1, backend.Streams())
		require.Equal(t, append([]string{"lost 18 reconnect exact"}, numbersTo(21, 24)...), next(t, first, 5))
		first.Close() // now only one is left, who passes over the next four and has to make room
		require.Equal(t, numbersTo(29, 30), next(t, s, 2))
	})
}

func TestEventually(t *testing.T) {
	t.Run("states, a hole, and the messages", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			backend := memory.New()
			bus := pubsub.New(backend, ints{}, pubsub.WithLinger(time.Hour))
			defer bus.Close()
			backend.Disconnect(nil)
			_, err := bus.Subscribe(t.Context(), "t")
			require.ErrorIs(t, err, pubsub.ErrUnavailable)
			s := subscribe(t, bus, "t", pubsub.Eventually())
			_, err = bus.Subscribe(t.Context(), "t")
			require.ErrorIs(t, err, pubsub.ErrUnavailable, "others fail fast")
			require.Equal(t, 1, bus.Stats().Subscriptions)
			require.Equal(t, []string{"reconnecting"}, next(t, s, 1))
			backend.Reconnect()
			for {
				got := next(t, s, 1)[0]
				if got == "reconnecting" {
					continue
				}
				require.Equal(t, "lost 0 reconnect", got)
				break
			}
			require.Equal(t, []string{"resumed"}, next(t, s, 1))
			publish(t, bus, "t", 1)
			require.Equal(t, []string{"1"}, next(t, s, 1))
			require.Equal(t, 1, bus.Stats().Streams)
			s.Close()
			require.Equal(t, 1, bus.Stats().Streams, "it lingers")
			subscribe(t, bus, "t")
			require.Equal(t, 1, backend.Streams())
		})
	})
	t.Run("an error that does not pass", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			backend := &script{refuse: fmt.Errorf("%w: no", pubsub.ErrPermissionDenied)}
			bus := pubsub.New(backend, ints{})
			defer bus.Close()
			_, err := bus.Subscribe(t.Context(), "t", pubsub.Eventually())
			require.ErrorIs(t, err, pubsub.ErrPermissionDenied)
			backend.refuse = pubsub.ErrUnavailable
			s := subscribe(t, bus, "t", pubsub.Eventually())
			require.Equal(t, []string{"reconnecting"}, next(t, s, 1))
			backend.mu.Lock()
			backend.refuse = pubsub.ErrNotFound
			backend.mu.Unlock()
			for {
				_, err := s.Next(t.Context())
				if err != nil {
					require.ErrorIs(t, err, pubsub.ErrNotFound)
					break
				}
			}
			require.ErrorIs(t, s.Err(), pubsub.ErrNotFound)
			synctest.Wait() // the end is told before the books are closed
			require.Empty(t, bus.Stats().Topics)
		})
	})
	for _, end := range []string{"Close", "ctx", "Bus.Close", "Drain"} {
		t.Run("ends meanwhile: "+end, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				backend := memory.New()
				backend.Disconnect(nil)
				bus := pubsub.New(backend, ints{}, pubsub.WithLinger(time.Hour))
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				s, err := bus.Subscribe(ctx, "t", pubsub.Eventually())
				require.NoError(t, err)
				synctest.Wait()
				start := time.Now()
				switch end {
				case "Close":
					s.Close()
				case "ctx":
					cancel()
					synctest.Wait()
				case "Bus.Close":
					bus.Close()
				case "Drain":
					require.NoError(t, s.Drain(t.Context()))
				}
				require.Zero(t, time.Since(start))
				synctest.Wait()
				require.Zero(t, bus.Stats().Streams)
				bus.Close()
			})
		})
	}
}

// Attempts to open a stream come at intervals that double up to ten seconds, less
// up to a half.
func TestAttemptsToOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := pubsub.New(&script{refuse: pubsub.ErrUnavailable}, ints{})
		defer bus.Close()
		start := time.Now()
		s := subscribe(t, bus, "t", pubsub.Eventually())
		require.Zero(t, time.Since(start), "which waits for one attempt only")
		next(t, s, 1)
		for longest := 100 * time.Millisecond; longest < 2*time.Minute; longest *= 2 {
			last := time.Now()
			next(t, s, 1)
			wait, most := time.Since(last), min(longest, 10*time.Second)
			require.True(t, most/2 <= wait && wait < most, "%v, of %v", wait, most)
		}
	})
}

// The end of a stream takes that one out of its topic's, and no other.
func TestEndOfOneStreamOfATopic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backend := &script{}
		bus := pubsub.New(backend, ints{})
		defer bus.Close()
		now := subscribe(t, bus, "t")
		subscribe(t, bus, "t", pubsub.FromOldest())
		now.Close()
		subscribe(t, bus, "t", pubsub.FromOldest())
		require.Equal(t, 2, backend.opened())
	})
}

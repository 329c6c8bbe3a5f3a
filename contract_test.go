package pubsub_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/memory"
)

// The clauses of the contract in doc.go, one test each or several of that name.

func TestD1AtMostOncePerSubscription(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := pubsub.New(memory.New(), ints{})
		defer bus.Close()
		publish(t, bus, "t", 1) // nobody there: gone
		a, b := subscribe(t, bus, "t"), subscribe(t, bus, "t")
		publish(t, bus, "t", 2, 3)
		require.Equal(t, []string{"2", "3"}, next(t, a, 2))
		require.Equal(t, []string{"2", "3"}, next(t, b, 2))
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		_, err := a.Next(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
}

func TestD2OrderPerTopic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := pubsub.New(memory.New(), ints{}, pubsub.WithBuffer(4096))
		defer bus.Close()
		a, b := subscribe(t, bus, "t"), subscribe(t, bus, "t")
		var wg sync.WaitGroup
		for p := range 4 {
			wg.Go(func() {
				for i := range 500 {
					publish(t, bus, "t", p*1000+i)
				}
			})
		}
		wg.Wait()
		seenA := next(t, a, 2000)
		require.Equal(t, seenA, next(t, b, 2000), "subscriptions see one order")
		perPublisher := make([]int, 4)
		for _, s := range seenA {
			var n int
			n, err := ints{}.Decode(pubsub.Payload{Data: []byte(s)})
			require.NoError(t, err)
			require.Equal(t, perPublisher[n/1000], n%1000, "a publisher's messages keep their order")
			perPublisher[n/1000]++
		}
	})
}

func TestD3JoinPoint(t *testing.T) {
	t.Run("first", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			for range 100 {
				bus := pubsub.New(memory.New(), ints{})
				s := subscribe(t, bus, "t")
				publish(t, bus, "t", 1) // at once: Receive may not have started
				require.Equal(t, []string{"1"}, next(t, s, 1))
				bus.Close()
			}
		})
	})
	t.Run("late", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			bus := pubsub.New(memory.New(), ints{})
			defer bus.Close()
			s := subscribe(t, bus, "t")
			publish(t, bus, "t", 1)
			late := subscribe(t, bus, "t")
			publish(t, bus, "t", 2)
			require.Equal(t, []string{"1", "2"}, next(t, s, 2))
			require.Equal(t, []string{"2"}, next(t, late, 1))
		})
	})
	t.Run("late sees no earlier gap", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			backend := &script{}
			bus := pubsub.New(backend, ints{})
			defer bus.Close()
			s := subscribe(t, bus, "t")
			backend.stream(0).play(msg(1), gap(5, true))
			late := subscribe(t, bus, "t")
			backend.stream(0).play(msg(7))
			require.Equal(t, []string{"1", "lost 5 backend exact", "7"}, next(t, s, 3))
			require.Equal(t, []string{"7"}, next(t, late, 1))
		})
	})
}

func TestD4NoDuplicates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backend := memory.New(memory.WithHistory(100))
		bus := pubsub.New(backend, ints{})
		defer bus.Close()
		s := subscribe(t, bus, "t")
		for i := range 10 {
			publish(t, bus, "t", 3*i)
			backend.Duplicate(5, "t") // the service sends again what was delivered
			backend.Disconnect(nil, "t")
			publish(t, bus, "t", 3*i+1)
			backend.Reconnect("t") // and replays what was missed
			publish(t, bus, "t", 3*i+2)
		}
		for want := range 30 {
			e, err := s.Next(t.Context())
			for err == nil && e.Kind == pubsub.KindState {
				e, err = s.Next(t.Context())
			}
			require.NoError(t, err)
			require.Equal(t, pubsub.KindMessage, e.Kind, show(e))
			require.Equal(t, want, e.Message.Value)
			require.EqualValues(t, want+1, e.Message.Position.Sequence)
		}
		require.Zero(t, s.Stats().Lag)
	})
}

func TestD5HoleIsReportedInPlace(t *testing.T) {
	t.Run("overflow", func(t *testing.T) {
		for _, buffer := range []int{1, 2, 31, 32, 33, 64, 100} {
			synctest.Test(t, func(t *testing.T) {
				bus := pubsub.New(memory.New(memory.WithPage(1)), ints{}, pubsub.WithBuffer(buffer))
				defer bus.Close()
				s := subscribe(t, bus, "t")
				publish(t, bus, "t", 1)
				require.Equal(t, []string{"1"}, next(t, s, 1))
				for i := range 3*buffer + 7 {
					publish(t, bus, "t", 2+i)
				}
				e, err := s.Next(t.Context())
				require.NoError(t, err)
				d := e.Discontinuity
				require.Equal(t, &pubsub.Discontinuity{
					Topic: "t", Cause: pubsub.CauseOverflow, Lost: uint64(2*buffer + 7), Exact: true, Err: pubsub.ErrOverflow,
					After:  pubsub.Position{Page: 1, Sequence: 1},
					Resume: pubsub.Position{Page: 1, Sequence: uint64(2*buffer + 9)},
				}, d)
				require.ErrorIs(t, d, pubsub.ErrOverflow)
				for i := range buffer {
					e, err := s.Next(t.Context())
					require.NoError(t, err)
					require.Equal(t, 2*buffer+9+i, e.Message.Value)
				}
			})
		}
	})
	t.Run("from the backend, between the right messages", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			backend := &script{}
			bus := pubsub.New(backend, ints{})
			defer bus.Close()
			s := subscribe(t, bus, "t")
			backend.stream(0).play(msg(1), heartbeat(), gap(2, true), msg(4), state(pubsub.Reconnecting), state(pubsub.Resumed), gap(1, false), msg(6))
			require.Equal(t, []string{"1", "heartbeat", "lost 2 backend exact", "4", "reconnecting", "resumed", "lost 1 backend", "6"}, next(t, s, 8))
		})
	})
	t.Run("on a quiet topic at once", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			backend := &script{}
			bus := pubsub.New(backend, ints{})
			defer bus.Close()
			s := subscribe(t, bus, "t")
			got := make(chan string)
			go func() {
				e, _ := s.Next(t.Context())
				got <- show(e)
			}()
			synctest.Wait() // asleep
			backend.stream(0).play(gap(3, true))
			require.Equal(t, "lost 3 backend exact", <-got)
		})
	})
	t.Run("a gap inside an overflow is counted in it", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			backend := &script{}
			bus := pubsub.New(backend, ints{}, pubsub.WithBuffer(2))
			defer bus.Close()
			s := subscribe(t, bus, "t")
			backend.stream(0).play(msg(1), gap(10, true), state(pubsub.Reconnecting), state(pubsub.Resumed), msg(12), gap(5, false), msg(18), gap(2, true), msg(21))
			require.Equal(t, []string{
				"lost 12 overflow exact", // 1, the gap of 10, and 12
				"reconnecting", "resumed", "lost 5 backend", "18", "lost 2 backend exact", "21",
			}, next(t, s, 7))
		})
	})
	t.Run("a gap beside an overflow adjoins it", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			backend := memory.New(memory.WithPage(1))
			bus := pubsub.New(backend, ints{}, pubsub.WithBuffer(2))
			defer bus.Close()
			s := subscribe(t, bus, "t")
			hole := func(n uint64) {
				backend.Lose(n, "t")
				synctest.Wait() // told by another goroutine
			}
			publish(t, bus, "t", 0, 0) // 1 2
			hole(3)                    // 3 4 5
			publish(t, bus, "t", 0, 0) // 6 7
			require.Equal(t, []string{"- 2 1/3", "1/2 3 1/6"}, holes(t, s, 2))
			publish(t, bus, "t", 0) // 8
			require.Equal(t, []string{"1/5 1 1/7"}, holes(t, s, 1))
			require.Len(t, next(t, s, 2), 2) // 7 8
			hole(2)                          // 9 10
			require.Equal(t, []string{"1/8 2 1/11"}, holes(t, s, 1))
			publish(t, bus, "t", 0, 0, 0) // 11 12 13
			require.Equal(t, []string{"1/10 1 1/12"}, holes(t, s, 1))
		})
	})
	t.Run("heartbeats and gaps push out no message", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			backend := &script{}
			bus := pubsub.New(backend, ints{}, pubsub.WithBuffer(1))
			defer bus.Close()
			s := subscribe(t, bus, "t")
			backend.stream(0).play(msg(1))
			for range 2000 {
				backend.stream(0).play(heartbeat())
			}
			require.Equal(t, []string{"1", "heartbeat"}, next(t, s, 2))
		})
	})
	t.Run("more gaps than are kept are still counted", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			backend := &script{}
			bus := pubsub.New(backend, ints{})
			defer bus.Close()
			s := subscribe(t, bus, "t")
			for range 2000 {
				backend.stream(0).play(gap(3, true), state(pubsub.Reconnecting))
			}
			backend.stream(0).play(state(pubsub.Resumed), msg(1))
			var lost uint64
			var last pubsub.State
			for {
				e, err := s.Next(t.Context())
				require.NoError(t, err)
				if e.Kind == pubsub.KindMessage {
					break
				}
				if e.Kind == pubsub.KindState {
					last = e.State.State
				} else {
					require.True(t, e.Discontinuity.Exact)
					lost += e.Discontinuity.Lost
				}
			}
			require.Equal(t, uint64(6000), lost)
			require.Equal(t, pubsub.Resumed, last)
		})
	})
	t.Run("undecodable", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { undecodable(t, pubsub.Codec[int](ints{})) })
		synctest.Test(t, func(t *testing.T) { undecodable(t, pubsub.Codec[*int](boxed{})) })
	})
}

// undecodable checks both ways of decoding: once, and per subscription.
func undecodable[T any](t *testing.T, codec pubsub.Codec[T]) {
	backend := &script{}
	bus := pubsub.New(backend, codec)
	defer bus.Close()
	s := subscribe(t, bus, "t")
	bad := text("bad")
	bad.Position = pubsub.Position{Page: 3, Sequence: 8}
	backend.stream(0).play(text("1"), bad, text("panic"), text("2"))
	e, err := s.Next(t.Context())
	require.NoError(t, err)
	require.Equal(t, pubsub.KindMessage, e.Kind)
	for _, want := range []string{"bad", "panic"} {
		e, err := s.Next(t.Context())
		require.NoError(t, err)
		d := e.Discontinuity
		require.NotNil(t, d)
		require.Equal(t, pubsub.CauseDecode, d.Cause)
		require.Equal(t, want, string(d.Payload.Data))
		require.ErrorIs(t, d, pubsub.ErrCodec)
		require.True(t, d.Exact)
		require.EqualValues(t, 1, d.Lost)
		if want == "bad" {
			require.Equal(t, pubsub.Position{Page: 3, Sequence: 7}, d.After)
			require.Equal(t, pubsub.Position{Page: 3, Sequence: 9}, d.Resume)
		}
	}
	for m, err := range s.All() {
		require.NoError(t, err)
		require.NotNil(t, m.Value)
		break
	}
	st := s.Stats()
	require.EqualValues(t, 2, st.Delivered)
	require.EqualValues(t, 2, st.Lost.Decode)
}

func TestD6AcceptedIsNotDelivered(t *testing.T) {
	refused := errors.New("no")
	bus := pubsub.New(refuser{refused}, ints{})
	defer bus.Close()
	err := bus.Publish(t.Context(), "t", 1)
	require.ErrorIs(t, err, refused)
	var e *pubsub.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, "publish", e.Op)
	require.Equal(t, "t", e.Topic)
	require.EqualValues(t, 1, bus.Stats().PublishErrors)
	require.Zero(t, bus.Stats().Published)
}

type refuser struct{ err error }

func (r refuser) Publish(context.Context, string, pubsub.Payload) error { return r.err }
func (r refuser) Subscribe(context.Context, string, pubsub.Start) (pubsub.Stream, error) {
	return nil, r.err
}

func TestD7ValuesAreSharedOnlyWhereSafe(t *testing.T) {
	type plain struct {
		A string
		B [2]float64
		C time.Time
	}
	type pointed struct{ A []string }
	require.Equal(t, 1, decodes[plain](t))
	require.Equal(t, 1, decodes[string](t))
	require.Equal(t, 3, decodes[pointed](t))
	require.Equal(t, 3, decodes[[]byte](t))
	require.Equal(t, 3, decodes[map[string]int](t))
	require.Equal(t, 3, decodes[any](t))
	require.Equal(t, 1, decodes[[]byte](t, pubsub.WithSharedDecode()))
}

// decodes counts how often one message to three subscriptions is decoded.
func decodes[T any](t *testing.T, opts ...pubsub.Option) int {
	c := &counting[T]{}
	bus := pubsub.New(memory.New(), c, opts...)
	defer bus.Close()
	subs := []*pubsub.Subscription[T]{subscribe(t, bus, "t"), subscribe(t, bus, "t"), subscribe(t, bus, "t")}
	var zero T
	publish(t, bus, "t", zero)
	for _, s := range subs {
		next(t, s, 1)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n
}

type counting[T any] struct {
	mu sync.Mutex
	n  int
}

func (c *counting[T]) Encode(T) (pubsub.Payload, error) { return pubsub.Payload{}, nil }
func (c *counting[T]) Decode(pubsub.Payload) (v T, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n++
	return v, nil
}

func TestL1StreamsOpenAndCloseOnDemand(t *testing.T) {
	t.Run("shared", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			backend := &script{}
			bus := pubsub.New(backend, ints{})
			defer bus.Close()
			require.Zero(t, backend.opened())
			a, b := subscribe(t, bus, "t"), subscribe(t, bus, "t")
			require.Equal(t, 1, backend.opened())
			require.NoError(t, a.Close())
			require.NoError(t, backend.stream(0).ctx.Err())
			require.NoError(t, b.Close())
			require.Error(t, backend.stream(0).ctx.Err(), "the last Close ends the stream before it returns")
			subscribe(t, bus, "t")
			require.Equal(t, 2, backend.opened())
		})
	})
	t.Run("linger", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			backend := &script{}
			bus := pubsub.New(backend, ints{}, pubsub.WithLinger(time.Minute))
			defer bus.Close()
			subscribe(t, bus, "t").Close()
			time.Sleep(59 * time.Second)
			a := subscribe(t, bus, "t")
			time.Sleep(time.Hour)
			require.Equal(t, 1, backend.opened())
			require.NoError(t, backend.stream(0).ctx.Err())
			a.Close()
			time.Sleep(61 * time.Second)
			require.Error(t, backend.stream(0).ctx.Err())
			subscribe(t, bus, "t")
			require.Equal(t, 2, backend.opened())
		})
	})
	t.Run("private and block", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			backend := &script{}
			bus := pubsub.New(backend, ints{})
			defer bus.Close()
			subscribe(t, bus, "t")
			subscribe(t, bus, "t", pubsub.Private())
			require.Equal(t, 2, backend.opened())
			subscribe(t, bus, "t", pubsub.Overflow(pubsub.Block))
			subscribe(t, bus, "t", pubsub.Overflow(pubsub.Block))
			require.Equal(t, 3, backend.opened())
			require.Equal(t, 3, bus.Stats().Streams)
			require.Equal(t, 4, bus.Stats().Subscriptions)
		})
	})
	t.Run("a ctx ends its own subscription only", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			backend := &script{}
			bus := pubsub.New(backend, ints{})
			defer bus.Close()
			why := errors.New("why")
			ctx, cancel := context.WithCancelCause(t.Context())
			a, err := bus.Subscribe(ctx, "t")
			require.NoError(t, err)
			b := subscribe(t, bus, "t")
			cancel(why)
			_, err = a.Next(t.Context())
			require.ErrorIs(t, err, context.Canceled)
			require.ErrorIs(t, err, why)
			require.ErrorIs(t, a.Err(), context.Canceled)
			backend.stream(0).play(msg(1))
			require.Equal(t, []string{"1"}, next(t, b, 1))
		})
	})
}

func TestL2FirstOpenFailsFastLaterErrorsEndBehindTheQueue(t *testing.T) {
	t.Run("first", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			backend := &script{refuse: pubsub.ErrNotFound}
			bus := pubsub.New(backend, ints{})
			defer bus.Close()
			_, err := bus.Subscribe(t.Context(), "t")
			require.ErrorIs(t, err, pubsub.ErrNotFound)
			var e *pubsub.Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, "subscribe", e.Op)
			backend.refuse = nil
			subscribe(t, bus, "t")
			require.Equal(t, 1, bus.Stats().Subscriptions)
		})
	})
	t.Run("later", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			backend := &script{}
			bus := pubsub.New(backend, ints{})
			defer bus.Close()
			a, b, c := subscribe(t, bus, "t"), subscribe(t, bus, "t"), subscribe(t, bus, "t")
			ch := c.C()
			backend.stream(0).play(msg(1), msg(2))
			backend.stream(0).end <- pubsub.ErrPermissionDenied
			synctest.Wait()
			require.Equal(t, []string{"1", "2"}, next(t, a, 2))
			_, err := a.Next(t.Context())
			require.ErrorIs(t, err, pubsub.ErrPermissionDenied)
			require.ErrorIs(t, a.Err(), pubsub.ErrPermissionDenied)
			var values []int
			var last error
			for m, err := range b.All() {
				if err != nil {
					last = err
					continue
				}
				values = append(values, m.Value)
			}
			require.Equal(t, []int{1, 2}, values)
			require.ErrorIs(t, last, pubsub.ErrPermissionDenied, "All yields what failed")
			require.Equal(t, 1, (<-ch).Value)
			require.Equal(t, 2, (<-ch).Value)
			_, open := <-ch
			require.False(t, open)
			require.ErrorIs(t, c.Err(), pubsub.ErrPermissionDenied)
			subscribe(t, bus, "t")
			require.Equal(t, 2, backend.opened(), "a new Subscribe opens a new stream")
		})
	})
	t.Run("a waiting Subscribe ends with its ctx, others go on", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			backend := &script{opening: make(chan struct{})}
			bus := pubsub.New(backend, ints{})
			defer bus.Close()
			result := make(chan error, 1)
			go func() {
				_, err := bus.Subscribe(t.Context(), "t")
				result <- err
			}()
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, err := bus.Subscribe(ctx, "t")
			require.ErrorIs(t, err, context.DeadlineExceeded)
			close(backend.opening)
			require.NoError(t, <-result)
			require.Equal(t, 1, backend.opened())
		})
	})
}

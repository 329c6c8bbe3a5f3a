package pubsub_test

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/memory"
)

// However many holes and other rare events there are, each stands in its place.
func TestHolesStayInTheirPlace(t *testing.T) {
	t.Run("more than the log takes", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			backend := &script{}
			bus := pubsub.New(backend, ints{})
			defer bus.Close()
			s := subscribe(t, bus, "t")
			for range 300 {
				backend.stream(0).play(heartbeat(), gap(0, true))
			}
			backend.stream(0).play(msg(1), msg(2), gap(2, true), msg(5))
			var got []string
			for e := range s.Events() {
				if e.Kind == pubsub.KindMessage || e.Kind == pubsub.KindDiscontinuity && e.Discontinuity.Lost > 0 {
					got = append(got, show(e))
				}
				if len(got) == 4 {
					break
				}
			}
			require.Equal(t, []string{"1", "2", "lost 2 backend exact", "5"}, got)
		})
	})
	t.Run("refused by back-pressure", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			bus := pubsub.New(memory.New(memory.WithPage(1)), ints{}, pubsub.WithBuffer(2))
			defer bus.Close()
			s := subscribe(t, bus, "t", pubsub.Overflow(pubsub.Block))
			publish(t, bus, "t", 1, 2) // the ring is full
			for range 600 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
				require.Error(t, bus.Publish(ctx, "t", 3))
				cancel()
			}
			require.Equal(t, []string{"1", "2"}, next(t, s, 2))
			e, err := s.Next(t.Context())
			require.NoError(t, err)
			require.ErrorIs(t, e.Discontinuity, pubsub.ErrOverflow)
			lost, after := e.Discontinuity.Lost, e.Discontinuity.After
			require.Equal(t, pubsub.Position{Page: 1, Sequence: 2}, after)
			for lost < 600 {
				e, err := s.Next(t.Context())
				require.NoError(t, err)
				lost += e.Discontinuity.Lost
			}
			publish(t, bus, "t", 4)
			require.Equal(t, []string{"4"}, next(t, s, 1))
		})
	})
	t.Run("for who resumes", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			backend := &script{}
			bus := pubsub.New(backend, ints{}, pubsub.WithBuffer(1000))
			defer bus.Close()
			subscribe(t, bus, "t")
			backend.stream(0).play(msg(1), msg(2), gap(7, true), msg(10))
			for i := range 600 {
				backend.stream(0).play(heartbeat(), msg(11+i))
			}
			s := subscribe(t, bus, "t", pubsub.ResumeAfter(pubsub.Position{Page: 1, Sequence: 1}))
			require.Equal(t, 1, backend.opened())
			require.Equal(t, []string{"2", "lost 7 backend exact", "10"}, next(t, s, 3))
		})
	})
	t.Run("a state is told once", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			backend := &script{}
			bus := pubsub.New(backend, ints{}, pubsub.WithBuffer(100))
			defer bus.Close()
			first := subscribe(t, bus, "t")
			backend.stream(0).play(state(pubsub.Reconnecting), state(pubsub.Resumed))
			require.Equal(t, []string{"reconnecting", "resumed"}, next(t, first, 2))
			second := subscribe(t, bus, "t")
			for n := range 600 {
				backend.stream(0).play(msg(n+1), heartbeat())
			}
			for _, s := range []*pubsub.Subscription[int]{first, second} {
				require.Equal(t, []string{"lost 500 overflow exact", "heartbeat", "501", "heartbeat"}, next(t, s, 4))
			}
		})
	})
}

func TestPositionsOfHoles(t *testing.T) {
	t.Run("behind an overflow, where unknown", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			backend := &script{}
			bus := pubsub.New(backend, ints{}, pubsub.WithBuffer(2))
			defer bus.Close()
			s := subscribe(t, bus, "t")
			backend.stream(0).play(msg(1))
			next(t, s, 1)
			backend.stream(0).play(msg(2), gap(3, true), msg(6), msg(7))
			require.Equal(t, []string{"1/1 1 -", "- 3 -"}, holes(t, s, 2))
		})
	})
	t.Run("at the beginning of a page", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			backend := memory.New(memory.WithPage(1))
			bus := pubsub.New(backend, anything{}, pubsub.WithBuffer(2))
			defer bus.Close()
			s := subscribe(t, bus, "t")
			publish[any](t, bus, "t", 0) // undecodable
			require.Equal(t, []string{"- 1 1/2"}, holes(t, s, 1))
			backend.ResetPage("t")
			synctest.Wait()
			require.Equal(t, []string{"lost 0 reset"}, next(t, s, 1))
			publish[any](t, bus, "t", 1, 1, 1)
			require.Equal(t, []string{"- 1 2/2"}, holes(t, s, 1))
		})
	})
}

// What comes behind a Drain is none of the subscription's business, even if it
// became one with what came before, or pushed that out.
func TestDrainReportsWhatCameBefore(t *testing.T) {
	holesOnly := func(_ pubsub.Bus[int], b *memory.Backend) {
		for range 600 {
			b.Lose(1, "t")
			synctest.Wait()
		}
	}
	for name, test := range map[string]struct {
		before func(b *memory.Backend)
		after  func(bus pubsub.Bus[int], b *memory.Backend)
		want   []string
	}{
		"a hole; holes": {
			before: func(b *memory.Backend) { b.Lose(3, "t") },
			after:  holesOnly,
			want:   []string{"1/2 3 -"},
		},
		"holes; messages and holes": {
			before: func(b *memory.Backend) { b.Lose(3, "t"); synctest.Wait(); b.Lose(2, "t") },
			after: func(bus pubsub.Bus[int], b *memory.Backend) {
				for range 600 {
					publish(t, bus, "t", 1)
					b.Lose(1, "t")
					synctest.Wait()
				}
			},
			want: []string{"1/2 5 -"},
		},
		"nothing; holes": {
			before: func(*memory.Backend) {},
			after:  holesOnly,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				backend := memory.New(memory.WithPage(1))
				bus := pubsub.New(backend, ints{}, pubsub.WithBuffer(2))
				defer bus.Close()
				s := subscribe(t, bus, "t")
				publish(t, bus, "t", 1, 2)
				next(t, s, 1)
				test.before(backend)
				synctest.Wait()
				drained := drain(s)
				next(t, s, 1)
				test.after(bus, backend)
				require.Equal(t, test.want, holes(t, s, len(test.want)))
				_, err := s.Next(t.Context())
				require.ErrorIs(t, err, pubsub.ErrClosed)
				require.NoError(t, <-drained)
			})
		})
	}
	// Held up in the channel of Events, a reader comes to the end later.
	for name, test := range map[string]struct {
		policy        pubsub.OverflowPolicy
		queued, after []pubsub.Frame
		want          []string
	}{
		"a hole before a state; holes": {
			queued: []pubsub.Frame{gap(3, true), state(pubsub.Reconnecting)},
			after:  []pubsub.Frame{gap(1, true)},
			want:   []string{"1", "2", "lost 3 backend exact", "reconnecting"},
		},
		"a hole; states": {
			queued: []pubsub.Frame{heartbeat(), gap(4, true)},
			after:  []pubsub.Frame{state(pubsub.Reconnecting), state(pubsub.Resumed), msg(9)},
			want:   []string{"1", "2", "heartbeat", "lost 4 overflow exact"},
		},
		"nothing lost, under Fail": {
			policy: pubsub.Fail,
			queued: []pubsub.Frame{heartbeat(), heartbeat()},
			after:  []pubsub.Frame{msg(9), heartbeat()},
			want:   []string{"1", "2", "heartbeat"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				backend := &script{}
				bus := pubsub.New(backend, ints{}, pubsub.WithBuffer(2))
				defer bus.Close()
				s := subscribe(t, bus, "t", pubsub.Overflow(test.policy))
				ch := s.Events()
				backend.stream(0).play(msg(1), msg(2))
				synctest.Wait()
				for _, f := range test.queued {
					backend.stream(0).play(f)
					synctest.Wait()
				}
				drained := drain(s)
				for range 600 {
					backend.stream(0).play(test.after...)
				}
				var got []string
				for e := range ch {
					got = append(got, show(e))
				}
				require.Equal(t, test.want, got)
				require.NoError(t, <-drained)
				require.NoError(t, s.Err())
			})
		})
	}
	t.Run("a hole read behind a state", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			backend := &script{}
			bus := pubsub.New(backend, ints{}, pubsub.WithBuffer(2))
			defer bus.Close()
			s := subscribe(t, bus, "t")
			backend.stream(0).play(msg(1), gap(3, true), state(pubsub.Reconnecting))
			next(t, s, 1)
			drained := drain(s)
			for range 600 {
				backend.stream(0).play(gap(1, true))
			}
			require.Equal(t, []string{"reconnecting", "lost 3 backend exact"}, next(t, s, 2))
			require.NoError(t, <-drained)
		})
	})
	t.Run("under Fail", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			bus := pubsub.New(memory.New(), ints{}, pubsub.WithBuffer(2))
			defer bus.Close()
			s := subscribe(t, bus, "t", pubsub.Overflow(pubsub.Fail))
			publish(t, bus, "t", 1, 2)
			go s.Drain(t.Context())
			synctest.Wait()
			publish(t, bus, "t", 3, 4, 5, 6, 7)
			require.Equal(t, []string{"lost 2 overflow exact"}, next(t, s, 1))
			_, err := s.Next(t.Context())
			require.ErrorIs(t, err, pubsub.ErrOverflow)
		})
	})
}

// A message that turned out not to decode after its subscription had ended was
// delivered for ever in the sum of the bus.
func TestStatsOfWhatEndedWhileDecoding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := slow{make(chan struct{})}
		bus := pubsub.New(memory.New(), c)
		defer bus.Close()
		s := subscribe(t, bus, "t")
		one := 1
		publish(t, bus, "t", &one)
		ended := make(chan error, 1)
		go func() {
			_, err := s.Next(t.Context())
			ended <- err
		}()
		synctest.Wait()
		require.NoError(t, s.Close())
		require.Equal(t, s.Stats().Delivered, bus.Stats().Delivered)
		close(c.proceed)
		<-ended
		require.Zero(t, s.Stats().Delivered)
		require.Zero(t, bus.Stats().Delivered)
		require.Equal(t, s.Stats().Lost, bus.Stats().Lost)
	})
}

// slow is a codec that does not decode, and takes its time.
type slow struct{ proceed chan struct{} }

func (slow) Encode(n *int) (pubsub.Payload, error) { return ints{}.Encode(*n) }

func (c slow) Decode(pubsub.Payload) (*int, error) {
	<-c.proceed
	return nil, errors.New("bad")
}

// The Fatal and FailNow of a test, called by a codec or a backend on the
// stream's goroutine: nobody would serve the stream any more.
func TestGoexitOfTheStreamEndsIt(t *testing.T) {
	t.Run("codec", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			backend := &script{}
			bus := pubsub.New(backend, exiting{}, pubsub.WithSharedDecode())
			defer bus.Close()
			s := subscribe(t, bus, "t")
			backend.stream(0).frames <- msg(1)
			require.Equal(t, []string{"lost 1 decode exact"}, next(t, s, 1))
			_, err := s.Next(t.Context())
			require.ErrorContains(t, err, "ended the goroutine")
			synctest.Wait() // the end is told before the books are closed
			require.Zero(t, bus.Stats().Streams)
			subscribe(t, bus, "t")
			require.Equal(t, 2, backend.opened(), "who comes later gets a stream that lives")
		})
	})
	t.Run("backend", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			bus := pubsub.New(exitingBackend{}, ints{})
			defer bus.Close()
			_, err := bus.Subscribe(t.Context(), "t")
			require.ErrorContains(t, err, "ended the goroutine")
			synctest.Wait()
			require.Zero(t, bus.Stats().Streams)
		})
	})
}

type exitingBackend struct{ *script }

func (exitingBackend) Subscribe(context.Context, string, pubsub.Start) (pubsub.Stream, error) {
	runtime.Goexit()
	return nil, nil
}

package pubsub_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/memory"
)

func TestL3EndsPromptlyFromAnyState(t *testing.T) {
	// Ways to end a subscription, and what Err says then.
	ends := map[string]struct {
		end func(*fixture)
		err error
	}{
		"Close":           {func(f *fixture) { f.sub.Close() }, nil},
		"Close twice":     {func(f *fixture) { f.sub.Close(); f.sub.Close() }, nil},
		"ctx":             {func(f *fixture) { f.cancel(); synctest.Wait() }, context.Canceled},
		"Bus.Close":       {func(f *fixture) { f.bus.Close() }, pubsub.ErrClosed},
		"Bus.Close twice": {func(f *fixture) { f.bus.Close(); f.bus.Close() }, pubsub.ErrClosed},
		"backend closes":  {func(f *fixture) { f.backend.Close(); go f.drain() }, pubsub.ErrClosed},
		"expired Drain": {func(f *fixture) {
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			err := f.sub.Drain(ctx)
			if err != nil && !errors.Is(err, context.Canceled) {
				panic(err)
			}
		}, nil},
	}
	// States in which it may be.
	states := map[string]func(*fixture){
		"idle":            func(*fixture) {},
		"messages queued": func(f *fixture) { f.publish(5) },
		"overflowed":      func(f *fixture) { f.publish(500) },
		"blocked in Next": func(f *fixture) { f.goes(func() { f.sub.Next(context.Background()) }) },
		"blocked in All":  func(f *fixture) { f.goes(f.drain) },
		"two blocked in Next": func(f *fixture) {
			f.goes(func() { f.sub.Next(context.Background()) })
			f.goes(func() { f.sub.Next(context.Background()) })
		},
		"C idle":             func(f *fixture) { f.goes(func() { f.receive(f.sub.C()) }) },
		"C full":             func(f *fixture) { f.sub.C(); f.publish(100) },
		"C full, overflowed": func(f *fixture) { f.sub.C(); f.publish(1000) },
		"Events full":        func(f *fixture) { f.sub.Events(); f.publish(100) },
		"C and Events":       func(f *fixture) { f.sub.C(); f.sub.Events(); f.publish(100) },
		"Drain waiting":      func(f *fixture) { f.publish(5); f.goes(func() { f.sub.Drain(context.Background()) }) },
		"publisher blocked": func(f *fixture) {
			f.block = f.subscribe(pubsub.Overflow(pubsub.Block))
			f.goes(func() { f.publish(100) })
		},
	}
	for stateName, enter := range states {
		for endName, e := range ends {
			t.Run(stateName+"/"+endName, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					f := newFixture(t)
					enter(f)
					synctest.Wait()
					start := time.Now()
					e.end(f)
					if f.block != nil {
						f.block.Close()
					}
					for range f.sub.C() { // closed, whatever it still holds
					}
					f.wg.Wait()
					switch {
					case stateName == "Drain waiting" && endName == "backend closes":
						// The drain may be complete before the end is seen.
					case endName == "expired Drain":
						if err := f.sub.Err(); err != nil {
							require.ErrorIs(t, err, context.Canceled)
						} else {
							require.Zero(t, f.sub.Stats().Dropped)
						}
					case e.err != nil:
						require.ErrorIs(t, f.sub.Err(), e.err)
					default:
						require.NoError(t, f.sub.Err())
					}
					_, err := f.sub.Next(t.Context())
					require.Error(t, err)
					require.Zero(t, time.Since(start))
					f.bus.Close()
				}) // the bubble reports goroutines left behind
			})
		}
	}
}

type fixture struct {
	backend    *memory.Backend
	bus        pubsub.Bus[int]
	sub, block *pubsub.Subscription[int]
	cancel     context.CancelFunc
	wg         sync.WaitGroup
}

func newFixture(t *testing.T) *fixture {
	f := &fixture{backend: memory.New()}
	f.bus = pubsub.New(f.backend, ints{}, pubsub.WithBuffer(16), pubsub.WithLogger(slog.New(slog.DiscardHandler)))
	ctx, cancel := context.WithCancel(context.Background())
	f.cancel = cancel
	t.Cleanup(cancel)
	sub, err := f.bus.Subscribe(ctx, "t")
	require.NoError(t, err)
	f.sub = sub
	return f
}

func (f *fixture) subscribe(opts ...pubsub.SubscribeOption) *pubsub.Subscription[int] {
	s, err := f.bus.Subscribe(context.Background(), "t", opts...)
	if err != nil {
		panic(err)
	}
	return s
}

func (f *fixture) goes(work func()) { f.wg.Go(work) }

func (f *fixture) publish(n int) {
	for i := range n {
		if f.bus.Publish(context.Background(), "t", i) != nil {
			return
		}
	}
}

func (f *fixture) drain() {
	for range f.sub.All() {
	}
}

func (f *fixture) receive(c <-chan pubsub.Message[int]) {
	for range c {
	}
}

func TestDrainDeliversWhatIsQueued(t *testing.T) {
	for name, read := range map[string]func(*pubsub.Subscription[int], func(int)){
		"All": func(s *pubsub.Subscription[int], got func(int)) {
			for m, err := range s.All() {
				if err == nil {
					got(m.Value)
				}
			}
		},
		"C": func(s *pubsub.Subscription[int], got func(int)) {
			for m := range s.C() {
				got(m.Value)
			}
		},
		"Events": func(s *pubsub.Subscription[int], got func(int)) {
			for e := range s.Events() {
				got(e.Message.Value)
			}
		},
		"Next": func(s *pubsub.Subscription[int], got func(int)) {
			for {
				e, err := s.Next(context.Background())
				if err != nil {
					return
				}
				got(e.Message.Value)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				bus := pubsub.New(memory.New(), ints{}, pubsub.WithBuffer(128))
				defer bus.Close()
				s := subscribe(t, bus, "t")
				for i := range 100 {
					publish(t, bus, "t", i)
				}
				drained := drain(s)
				publish(t, bus, "t", 1000) // too late
				var got []int
				read(s, func(n int) {
					time.Sleep(time.Millisecond)
					got = append(got, n)
				})
				require.NoError(t, <-drained)
				require.NoError(t, s.Err())
				require.Len(t, got, 100)
				for i, n := range got {
					require.Equal(t, i, n)
				}
			})
		})
	}
	t.Run("nothing queued", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			backend := &script{}
			bus := pubsub.New(backend, ints{})
			defer bus.Close()
			s := subscribe(t, bus, "t")
			backend.stream(0).play(heartbeat(), state(pubsub.Reconnecting)) // nobody needs to read that
			require.NoError(t, s.Drain(t.Context()))
			require.NoError(t, s.Err())
		})
	})
	t.Run("nothing queued, in an outage", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			backend := &script{}
			bus := pubsub.New(backend, ints{})
			defer bus.Close()
			subscribe(t, bus, "t")
			backend.stream(0).play(state(pubsub.Reconnecting))
			require.NoError(t, subscribe(t, bus, "t").Drain(t.Context()))
		})
	})
	// Drain waited for a read behind the last message, which need not come.
	for name, read := range map[string]func(*testing.T, *pubsub.Subscription[int]){
		"Next": func(t *testing.T, s *pubsub.Subscription[int]) { next(t, s, 2) },
		"All": func(t *testing.T, s *pubsub.Subscription[int]) {
			for range s.All() {
				if s.Stats().Delivered == 1 {
					break
				}
			}
		},
	} {
		t.Run("nothing is read behind the last message, by "+name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				backend := &script{}
				bus := pubsub.New(backend, ints{})
				defer bus.Close()
				s := subscribe(t, bus, "t")
				backend.stream(0).play(gap(1, true), msg(2))
				drained := drain(s)
				backend.stream(0).play(gap(1, true), msg(4)) // too late
				read(t, s)
				require.NoError(t, <-drained)
			})
		})
	}
	t.Run("overflow meanwhile", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			bus := pubsub.New(memory.New(), ints{}, pubsub.WithBuffer(4))
			defer bus.Close()
			s := subscribe(t, bus, "t")
			publish(t, bus, "t", 1, 2, 3)
			drained := drain(s)
			publish(t, bus, "t", 4, 5, 6, 7, 8, 9, 10, 11, 12)
			require.Equal(t, []string{"lost 3 overflow exact"}, next(t, s, 1), "only what was queued counts")
			_, err := s.Next(t.Context())
			require.ErrorIs(t, err, pubsub.ErrClosed)
			require.NoError(t, <-drained)
		})
	})
}

func TestOneCursorForAllForms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := pubsub.New(memory.New(), ints{}, pubsub.WithBuffer(1000))
		defer bus.Close()
		s := subscribe(t, bus, "t")
		publish(t, bus, "t", 1, 2, 3, 4, 5)
		require.Equal(t, []string{"1"}, next(t, s, 1))
		for m := range s.All() {
			require.Equal(t, 2, m.Value)
			require.Equal(t, []string{"3"}, next(t, s, 1), "Next inside All")
			break
		}
		for m := range s.All() {
			require.Equal(t, 4, m.Value)
			break
		}
		require.Equal(t, 5, (<-s.C()).Value)
	})
	t.Run("in parallel, each event once", func(t *testing.T) {
		bus := pubsub.New(memory.New(), ints{})
		defer bus.Close()
		s := subscribe(t, bus, "t", pubsub.Overflow(pubsub.Block))
		const n = 20000
		var mu sync.Mutex
		seen := make([]int, n)
		var count atomic.Int32
		done := make(chan struct{})
		got := func(v int) {
			mu.Lock()
			seen[v]++
			mu.Unlock()
			if count.Add(1) == n {
				close(done)
			}
		}
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				for m := range s.All() {
					got(m.Value)
				}
			})
			wg.Go(func() {
				for {
					e, err := s.Next(context.Background())
					if err != nil {
						return
					}
					got(e.Message.Value)
				}
			})
		}
		wg.Go(func() {
			for m := range s.C() {
				got(m.Value)
			}
		})
		for i := range n {
			publish(t, bus, "t", i)
		}
		<-done
		s.Close()
		wg.Wait()
		for i, k := range seen {
			require.Equal(t, 1, k, "message %d", i)
		}
	})
}

func TestOverflowBlock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := pubsub.New(memory.New(memory.WithPage(1)), ints{}, pubsub.WithBuffer(4))
		defer bus.Close()
		free := subscribe(t, bus, "t")
		slow := subscribe(t, bus, "t", pubsub.Overflow(pubsub.Block))
		publish(t, bus, "t", 1, 2, 3, 4)
		require.Equal(t, []string{"1", "2", "3", "4"}, next(t, free, 4))
		unblocked := make(chan error, 1)
		go func() { unblocked <- bus.Publish(context.Background(), "t", 5) }()
		synctest.Wait()
		require.Empty(t, unblocked, "the publisher waits")
		require.Equal(t, []string{"5"}, next(t, free, 1), "the others do not")
		require.Equal(t, []string{"1"}, next(t, slow, 1))
		require.NoError(t, <-unblocked)

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := bus.Publish(ctx, "t", 6)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, []string{"2", "3", "4", "5"}, next(t, slow, 4))
		publish(t, bus, "t", 7)
		e, err := slow.Next(t.Context())
		require.NoError(t, err)
		require.Equal(t, "lost 1 overflow exact", show(e))
		require.ErrorIs(t, e.Discontinuity, context.DeadlineExceeded)
		require.Equal(t, pubsub.Position{Page: 1, Sequence: 5}, e.Discontinuity.After)
		require.Equal(t, []string{"7"}, next(t, slow, 1))
		require.Equal(t, []string{"6", "7"}, next(t, free, 2))

		go func() { unblocked <- bus.Publish(context.Background(), "t", 8) }()
		publish(t, bus, "t", 9, 10, 11)
		synctest.Wait()
		slow.Close() // lets publishers go
		require.NoError(t, <-unblocked)
		for i := range 100 {
			publish(t, bus, "t", i)
		}
	})
}

// Between calls of Next the subscription keeps its place in the ring. That
// must not make it forget what was overwritten meanwhile.
func TestNextSeesAnOverflowBetweenTwoCalls(t *testing.T) {
	for name, policy := range map[string]pubsub.OverflowPolicy{"DropOldest": pubsub.DropOldest, "Fail": pubsub.Fail} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				bus := pubsub.New(memory.New(), ints{}, pubsub.WithBuffer(64))
				defer bus.Close()
				s := subscribe(t, bus, "t", pubsub.Overflow(policy))
				for n := range 10 {
					publish(t, bus, "t", n)
				}
				require.Equal(t, []string{"0", "1"}, next(t, s, 2))
				for n := range 64 {
					publish(t, bus, "t", 10+n)
				}
				e, err := s.Next(t.Context())
				require.NoError(t, err)
				require.Equal(t, pubsub.KindDiscontinuity, e.Kind)
				require.Equal(t, uint64(2), e.Discontinuity.After.Sequence)
				if policy == pubsub.Fail {
					require.Equal(t, "lost 72 overflow exact", show(e))
					require.ErrorIs(t, s.Err(), pubsub.ErrOverflow) // without another call
					return
				}
				require.Equal(t, "lost 8 overflow exact", show(e))
				require.Equal(t, []string{"10", "11"}, next(t, s, 2))
			})
		})
	}
}

func TestOverflowFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := pubsub.New(memory.New(), ints{}, pubsub.WithBuffer(4))
		defer bus.Close()
		s := subscribe(t, bus, "t", pubsub.Overflow(pubsub.Fail))
		publish(t, bus, "t", 1, 2, 3, 4)
		require.Equal(t, []string{"1"}, next(t, s, 1))
		publish(t, bus, "t", 5, 6, 7)
		var got []string
		for m, err := range s.All() {
			var d *pubsub.Discontinuity
			switch {
			case errors.As(err, &d):
				got = append(got, show(pubsub.Event[int]{Kind: pubsub.KindDiscontinuity, Discontinuity: d}))
			case err != nil:
				require.ErrorIs(t, err, pubsub.ErrOverflow)
				got = append(got, "end")
			default:
				got = append(got, show(pubsub.Event[int]{Kind: pubsub.KindMessage, Message: m}))
			}
		}
		require.Equal(t, []string{"lost 6 overflow exact", "end"}, got)
		require.ErrorIs(t, s.Err(), pubsub.ErrOverflow)
		synctest.Wait()
		require.Zero(t, bus.Stats().Streams)
	})
}

func TestResumeAfter(t *testing.T) {
	at := func(n int) pubsub.Position { return pubsub.Position{Page: 1, Sequence: uint64(n)} }
	synctest.Test(t, func(t *testing.T) {
		backend := &script{}
		bus := pubsub.New(backend, ints{}, pubsub.WithBuffer(40))
		defer bus.Close()
		first := subscribe(t, bus, "t")
		for i := 1; i <= 100; i++ {
			if i == 80 {
				backend.stream(0).play(gap(1, true)) // 80 is missing
				continue
			}
			backend.stream(0).play(msg(i))
		}
		for _, from := range []int{61, 78} {
			s := subscribe(t, bus, "t", pubsub.ResumeAfter(at(from)))
			for i := from + 1; i <= 79; i++ {
				require.Equal(t, at(i), message(t, s).Position)
			}
			require.Equal(t, []string{"lost 1 backend exact", "81"}, next(t, s, 2))
			s.Close()
		}
		s := subscribe(t, bus, "t", pubsub.ResumeAfter(at(79)))
		require.Equal(t, []string{"lost 1 backend exact", "81"}, next(t, s, 2))
		s.Close()
		s = subscribe(t, bus, "t", pubsub.ResumeAfter(at(100)))
		backend.stream(0).play(msg(101))
		require.Equal(t, []string{"101"}, next(t, s, 1))
		require.Equal(t, 1, backend.opened(), "all from the ring")

		// Who was at 80 does not miss it, though this stream did.
		subscribe(t, bus, "t", pubsub.ResumeAfter(at(80)))
		subscribe(t, bus, "t", pubsub.ResumeAfter(at(5)))
		subscribe(t, bus, "t", pubsub.ResumeAfter(at(105)))
		subscribe(t, bus, "other", pubsub.ResumeAfter(at(7)))
		require.Equal(t, []pubsub.Position{{}, at(80), at(5), at(105), at(7)}, backend.after)
		first.Close()
	})
}

func TestShared(t *testing.T) {
	at := func(n int) pubsub.Position { return pubsub.Position{Page: 1, Sequence: uint64(n)} }
	// What the subscription of one who comes back starts with.
	for name, c := range map[string]struct {
		after pubsub.Position
		opts  []pubsub.SubscribeOption
		gap   pubsub.Discontinuity
		first int // the present if 0
	}{
		"in the buffer":              {after: at(70), first: 71},
		"before a hole":              {after: at(79), first: -1}, // see below
		"in a hole":                  {after: at(81), gap: pubsub.Discontinuity{Resume: at(83), Lost: 1, Exact: true}, first: 83},
		"at the end of a hole":       {after: at(82), first: 83},
		"just out of the buffer":     {after: at(60), first: 61},
		"long ago":                   {after: at(5), gap: pubsub.Discontinuity{Resume: at(61), Lost: 55, Exact: true}, first: 61},
		"on an earlier page":         {after: pubsub.Position{Sequence: 70}, gap: pubsub.Discontinuity{Resume: at(61)}, first: 61},
		"at the end":                 {after: at(103)},
		"of another life":            {after: at(1000)},
		"with Block, in the buffer":  {after: at(70), opts: []pubsub.SubscribeOption{pubsub.Overflow(pubsub.Block)}},
		"with Fail, in the buffer":   {after: at(70), opts: []pubsub.SubscribeOption{pubsub.Overflow(pubsub.Fail)}, first: 71},
		"without ResumeAfter at all": {},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				backend := &script{}
				bus := pubsub.New(backend, ints{}, pubsub.WithBuffer(40))
				defer bus.Close()
				subscribe(t, bus, "t")
				subscribe(t, bus, "t", pubsub.Overflow(pubsub.Block)) // has a stream apart
				for n := 1; n <= 103; n++ {
					switch n {
					case 80, 81:
					case 82:
						backend.stream(0).play(gap(3, true)) // 80 to 82 are missing
					default:
						backend.stream(0).play(msg(n))
					}
				}
				for n := 65; n <= 75; n++ {
					backend.stream(1).play(msg(n))
				}
				s := subscribe(t, bus, "t", append(c.opts, pubsub.Shared(), pubsub.ResumeAfter(c.after))...)
				require.Equal(t, 2, backend.opened())
				if c.first < 0 {
					require.Equal(t, []string{"lost 3 backend exact", "83"}, next(t, s, 2), "the stream's own report does")
					return
				}
				if want := c.gap; want != (pubsub.Discontinuity{}) || c.first == 0 && c.after != at(103) && !c.after.IsZero() {
					e, err := s.Next(t.Context())
					require.NoError(t, err)
					want.Topic, want.Cause, want.After = "t", pubsub.CauseReconnect, c.after
					require.Equal(t, &want, e.Discontinuity)
				}
				if c.first == 0 {
					c.first = 104
					backend.stream(len(c.opts)).play(msg(104)) // 0, or 1 for Block
				}
				require.Equal(t, at(c.first), message(t, s).Position)
			})
		})
	}

	t.Run("the first of its topic", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			backend := &script{}
			bus := pubsub.New(backend, ints{})
			defer bus.Close()
			s := subscribe(t, bus, "t", pubsub.Shared(), pubsub.ResumeAfter(at(7)))
			second := subscribe(t, bus, "t", pubsub.Shared(), pubsub.ResumeAfter(at(7)))
			require.Equal(t, []pubsub.Position{{}}, backend.after, "at the present")
			backend.stream(0).play(msg(10))
			for _, s := range []*pubsub.Subscription[int]{s, second} {
				require.Equal(t, []string{"lost 0 reconnect", "10"}, next(t, s, 2))
			}
		})
	})

	t.Run("more holes than are kept apart", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			backend := &script{}
			bus := pubsub.New(backend, ints{})
			defer bus.Close()
			subscribe(t, bus, "t")
			backend.stream(0).play(msg(1))
			for range 600 {
				backend.stream(0).play(gap(1, true))
			}
			s := subscribe(t, bus, "t", pubsub.Shared(), pubsub.ResumeAfter(at(1)))
			backend.stream(0).play(msg(602))
			var lost uint64
			for {
				e, err := s.Next(t.Context())
				require.NoError(t, err)
				if e.Kind == pubsub.KindMessage {
					break
				}
				require.True(t, e.Discontinuity.Exact)
				lost += e.Discontinuity.Lost
			}
			require.EqualValues(t, 600, lost)
			require.Equal(t, 1, backend.opened())
		})
	})
	t.Run("beside messages without a number", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			backend := &script{}
			bus := pubsub.New(backend, ints{})
			defer bus.Close()
			subscribe(t, bus, "t")
			backend.stream(0).play(text("100"), msg(1), text("101"), text("102"), msg(2), text("103"))
			for after, want := range map[int][]string{1: {"101", "102", "2", "103"}, 2: {"103"}, 3: {"lost 0 reconnect"}} {
				s := subscribe(t, bus, "t", pubsub.Shared(), pubsub.ResumeAfter(at(after)))
				require.Equal(t, want, next(t, s, len(want)), "after %d", after)
			}
		})
	})
	t.Run("many heartbeats", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			backend := &script{}
			bus := pubsub.New(backend, ints{}, pubsub.WithBuffer(1024))
			defer bus.Close()
			subscribe(t, bus, "t")
			for n := 1; n <= 1000; n++ {
				if n != 400 {
					backend.stream(0).play(msg(n), heartbeat())
				} else {
					backend.stream(0).play(gap(1, true))
				}
			}
			for after, want := range map[int][]string{
				300: {"heartbeat", "301", "heartbeat"},
				399: {"heartbeat", "lost 1 backend exact", "401"},
				401: {"heartbeat", "402", "heartbeat"},
			} {
				for _, shared := range [][]pubsub.SubscribeOption{nil, {pubsub.Shared()}} {
					s := subscribe(t, bus, "t", append(shared, pubsub.ResumeAfter(at(after)))...)
					require.Equal(t, want, next(t, s, 3), "after %d", after)
				}
			}
			require.Equal(t, 1, backend.opened())
		})
	})

	// An overflow before the first message is behind where the subscription began.
	t.Run("and overtaken at once", func(t *testing.T) {
		for after, last := range map[int]int{5: 60, 60: 60, 70: 70} {
			synctest.Test(t, func(t *testing.T) {
				backend := &script{}
				bus := pubsub.New(backend, ints{}, pubsub.WithBuffer(40))
				defer bus.Close()
				subscribe(t, bus, "t")
				for n := 1; n <= 100; n++ {
					backend.stream(0).play(msg(n))
				}
				s := subscribe(t, bus, "t", pubsub.Shared(), pubsub.ResumeAfter(at(after)))
				for n := 101; n <= 150; n++ {
					backend.stream(0).play(msg(n))
				}
				if after != last {
					require.Equal(t, []string{"lost 55 reconnect exact"}, next(t, s, 1))
				}
				e, err := s.Next(t.Context())
				require.NoError(t, err)
				require.Equal(t, &pubsub.Discontinuity{
					Topic: "t", Cause: pubsub.CauseOverflow, After: at(last), Resume: at(111),
					Lost: uint64(110 - last), Exact: true, Err: pubsub.ErrOverflow,
				}, e.Discontinuity)
			})
		}
	})
}

func message(t *testing.T, s *pubsub.Subscription[int]) pubsub.Message[int] {
	t.Helper()
	e, err := s.Next(t.Context())
	require.NoError(t, err)
	require.Equal(t, pubsub.KindMessage, e.Kind, show(e))
	return e.Message
}

func TestCallbacks(t *testing.T) {
	t.Run("in order, by every form", func(t *testing.T) {
		forms := map[string]func(*pubsub.Subscription[int], func(int)){
			"C": func(s *pubsub.Subscription[int], got func(int)) {
				for m := range s.C() {
					got(m.Value)
				}
			},
			"All": func(s *pubsub.Subscription[int], got func(int)) {
				for m, err := range s.All() {
					if err == nil {
						got(m.Value)
					}
				}
			},
			"Events": func(s *pubsub.Subscription[int], got func(int)) {
				for e := range s.Events() {
					if e.Kind == pubsub.KindMessage {
						got(e.Message.Value)
					}
				}
			},
		}
		for name, read := range forms {
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					backend := &script{}
					bus := pubsub.New(backend, ints{}, pubsub.WithBuffer(100))
					defer bus.Close()
					var lost, states, beats, values int
					s := subscribe(t, bus, "t",
						pubsub.OnDiscontinuity(func(d *pubsub.Discontinuity) { lost += int(d.Lost) }),
						pubsub.OnState(func(pubsub.StateChange) { states++ }),
						pubsub.OnHeartbeat(func() { beats++ }))
					var wg sync.WaitGroup
					wg.Go(func() { read(s, func(n int) { values += n }) })
					backend.stream(0).play(msg(1), gap(3, true), heartbeat(), msg(2), state(pubsub.Reconnecting), state(pubsub.Resumed), gap(4, true), msg(4))
					synctest.Wait()
					require.Equal(t, []int{7, 2, 1, 7}, []int{lost, states, beats, values})
					s.Close()
					wg.Wait()
				})
			})
		}
	})
	t.Run("may close everything", func(t *testing.T) {
		for name, end := range map[string]func(pubsub.Bus[int], *pubsub.Subscription[int]){
			"Subscription.Close": func(_ pubsub.Bus[int], s *pubsub.Subscription[int]) { s.Close() },
			"Bus.Close":          func(b pubsub.Bus[int], _ *pubsub.Subscription[int]) { b.Close() },
			"both": func(b pubsub.Bus[int], s *pubsub.Subscription[int]) {
				s.Close()
				b.Close()
				s.Close()
			},
			"expired Drain": func(_ pubsub.Bus[int], s *pubsub.Subscription[int]) {
				ctx, cancel := context.WithTimeout(context.Background(), time.Second)
				defer cancel()
				s.Drain(ctx)
			},
		} {
			for _, form := range []string{"C", "All", "Next", "Events"} {
				t.Run(name+"/"+form, func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						backend := &script{}
						bus := pubsub.New(backend, ints{})
						var s *pubsub.Subscription[int]
						called := 0
						s = subscribe(t, bus, "t", pubsub.OnDiscontinuity(func(*pubsub.Discontinuity) {
							called++
							end(bus, s)
						}))
						done := make(chan struct{})
						go func() {
							defer close(done)
							switch form {
							case "C":
								for range s.C() {
								}
							case "Events":
								for range s.Events() {
								}
							case "All":
								for range s.All() {
								}
							case "Next":
								for {
									if _, err := s.Next(context.Background()); err != nil {
										return
									}
								}
							}
						}()
						synctest.Wait()
						backend.stream(0).play(gap(1, true))
						<-done
						require.Equal(t, 1, called)
						bus.Close()
					})
				})
			}
		}
	})
	t.Run("panic ends that subscription only", func(t *testing.T) {
		for _, form := range []string{"C", "All"} {
			t.Run(form, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					backend := &script{}
					var log bytes.Buffer
					bus := pubsub.New(backend, ints{}, pubsub.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
					defer bus.Close()
					s := subscribe(t, bus, "t", pubsub.OnDiscontinuity(func(*pubsub.Discontinuity) { panic("boo") }))
					other := subscribe(t, bus, "t")
					backend.stream(0).play(gap(1, true), msg(2))
					if form == "C" {
						_, open := <-s.C()
						require.False(t, open)
					} else {
						var last error
						for _, err := range s.All() {
							last = err
						}
						require.ErrorContains(t, last, "boo", "All yields what failed")
					}
					require.ErrorContains(t, s.Err(), "callback panicked: boo")
					require.Contains(t, log.String(), "boo")
					require.Equal(t, []string{"lost 1 backend exact", "2"}, next(t, other, 2))
				})
			})
		}
	})
}

// The Fatal and FailNow of a test, called where they should not be, are a
// runtime.Goexit: the channel is closed, so the subscription has to be over.
func TestGoexitOfThePumpEndsTheSubscription(t *testing.T) {
	for name, frame := range map[string]pubsub.Frame{"callback": gap(1, true), "codec": text("exit")} {
		for _, form := range []string{"C", "Events"} {
			t.Run(name+", "+form, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					backend := &script{}
					bus := pubsub.New(backend, exiting{})
					defer bus.Close()
					var opts []pubsub.SubscribeOption
					if name == "callback" {
						opts = append(opts, pubsub.OnDiscontinuity(func(*pubsub.Discontinuity) { runtime.Goexit() }))
					}
					s := subscribe(t, bus, "t", opts...)
					if form == "C" {
						s.C()
					} else {
						s.Events()
					}
					backend.stream(0).play(frame)
					synctest.Wait()
					for range s.C() {
					}
					for range s.Events() {
					}
					require.Error(t, s.Err())
					require.NoError(t, s.Drain(t.Context()))
					require.Zero(t, bus.Stats().Subscriptions)
				})
			})
		}
	}
}

// exiting is a codec that ends the goroutine it is called on.
type exiting struct{ boxed }

func (exiting) Decode(p pubsub.Payload) (*int, error) {
	runtime.Goexit()
	return nil, nil
}

func TestPanicOfTheReaderPasses(t *testing.T) {
	bus := pubsub.New(memory.New(), ints{})
	defer bus.Close()
	s := subscribe(t, bus, "t")
	publish(t, bus, "t", 1, 2)
	require.PanicsWithValue(t, "mine", func() {
		for range s.All() {
			panic("mine")
		}
	})
	require.Equal(t, []string{"2"}, next(t, s, 1))
}

func TestUnobservedLossIsLoggedOncePerEpisode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backend := &script{}
		var log bytes.Buffer
		bus := pubsub.New(backend, ints{}, pubsub.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
		defer bus.Close()
		s := subscribe(t, bus, "t")
		warnings := func() int { return bytes.Count(log.Bytes(), []byte("level=WARN")) }
		backend.stream(0).play(msg(1), gap(1, true), msg(2), gap(1, true), msg(3))
		c := s.C()
		for range 3 {
			<-c
		}
		synctest.Wait()
		require.Equal(t, 2, warnings(), log.String())
		require.Contains(t, log.String(), "lost=1 exact=true")
		require.Contains(t, log.String(), "holes=1 lost=1", "what came after the first line")
		for n := range 1000 { // a new episode each
			backend.stream(0).play(gap(2, true), msg(9+n))
			<-c
			synctest.Wait()
		}
		require.Equal(t, 2, warnings(), "of a topic, not more than two lines in ten seconds")
		time.Sleep(10 * time.Second)
		backend.stream(0).play(gap(2, true), msg(2000))
		<-c
		synctest.Wait()
		require.Equal(t, 3, warnings())
		require.Contains(t, log.String(), "before.holes=1000 before.lost=2000")
		observed := subscribe(t, bus, "t", pubsub.OnDiscontinuity(func(*pubsub.Discontinuity) {})).C()
		events := subscribe(t, bus, "t").Events()
		s.Close()
		backend.stream(0).play(gap(2, true), msg(2001))
		<-observed
		<-events
		require.Equal(t, 3, warnings())
	})
}

func TestPipe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := pubsub.New(memory.New(), ints{})
		s := subscribe(t, bus, "t")
		in := make(chan int)
		result := make(chan error, 1)
		pipe := func(ctx context.Context) { go func() { result <- bus.Pipe(ctx, "t", in) }() }
		pipe(t.Context())
		for i := range 10 {
			in <- i
		}
		close(in)
		require.NoError(t, <-result)
		require.Equal(t, []string{"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"}, next(t, s, 10))

		in = make(chan int)
		ctx, cancel := context.WithCancel(t.Context())
		pipe(ctx)
		synctest.Wait()
		cancel()
		require.ErrorIs(t, <-result, context.Canceled)
		in2 := make(chan int, 1)
		in2 <- 1
		require.ErrorIs(t, bus.Pipe(ctx, "t", in2), context.Canceled)
		require.Len(t, in2, 1, "it takes nothing that it will not publish")

		pipe(t.Context())
		in <- -1
		require.ErrorIs(t, <-result, pubsub.ErrCodec)
		pipe(t.Context())
		synctest.Wait()
		bus.Close()
		require.ErrorIs(t, <-result, pubsub.ErrClosed)
	})
}

func TestObserverAndStats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var published, received, discontinuities, states int
		var took time.Duration
		backend := &script{}
		bus := pubsub.New(backend, ints{}, pubsub.WithBuffer(2), pubsub.WithObserver(pubsub.Observer{
			Published:     func(_ context.Context, _ string, d time.Duration, err error) { published++; took += d },
			Received:      func(string, pubsub.Position) { received++ },
			Discontinuity: func(*pubsub.Discontinuity) { discontinuities++ },
			State:         func(string, pubsub.StateChange) { states++ },
		}))
		s := subscribe(t, bus, "t", pubsub.Named("me"))
		publish(t, bus, "t", 1)
		require.Error(t, bus.Publish(t.Context(), "t", -1))
		st := &pubsub.StateChange{State: pubsub.Resumed, Downtime: time.Minute}
		backend.stream(0).play(msg(1), msg(2), msg(3), pubsub.Frame{Kind: pubsub.KindState, State: st}, gap(4, true))
		require.Equal(t, pubsub.SubscriptionStats{Topic: "t", Name: "me", State: *st, Lag: 3, MaxLag: 3}, s.Stats())
		next(t, s, 5)
		incidents := bus.Stats().Incidents // see TestIncidents
		require.Equal(t, []int{2, 2, 2, 1}, []int{published, received, discontinuities, states})
		want := pubsub.SubscriptionStats{Topic: "t", Name: "me", State: *st, Delivered: 2, MaxLag: 3, Lost: pubsub.Losses{Overflow: 1, Backend: 4}}
		require.Equal(t, want, s.Stats())
		require.Equal(t, pubsub.Stats{
			Published: 1, PublishErrors: 1, Delivered: 2, Lost: want.Lost, Subscriptions: 1, Streams: 1, Reconnects: 1, Downtime: time.Minute,
			Topics:    []pubsub.TopicStats{{Topic: "t", State: *st, Reconnects: 1, Downtime: time.Minute, Received: 3, Buffer: 2, Subscriptions: []pubsub.SubscriptionStats{want}}},
			Incidents: incidents,
		}, bus.Stats())
		bus.Close()
		require.Equal(t, pubsub.Stats{Published: 1, PublishErrors: 1, Delivered: 2, Lost: want.Lost, Reconnects: 1, Downtime: time.Minute, Incidents: incidents}, bus.Stats())
	})
}

// It returned the error of the context that Close ends inside, as though the
// caller's had ended.
func TestSubscribeWhileTheBusCloses(t *testing.T) {
	for range 3000 {
		bus := pubsub.New(&script{opening: make(chan struct{})}, ints{})
		go bus.Close()
		_, err := bus.Subscribe(t.Context(), "t")
		require.ErrorIs(t, err, pubsub.ErrClosed)
		require.NotErrorIs(t, err, context.Canceled)
	}
}

// A subscription that still reads what an ended stream left it was forgotten by
// the bus: Stats lost its counts, and Close did not end it.
func TestBusKnowsThoseWhoseStreamEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backend := &script{}
		bus := pubsub.New(backend, ints{}, pubsub.WithLinger(time.Hour))
		var watched atomic.Int32
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		s, err := bus.Subscribe(counted{ctx, &watched}, "t")
		require.NoError(t, err)
		backend.stream(0).play(msg(1), gap(2, true), msg(4), msg(5), state(pubsub.Resumed))
		next(t, s, 3)
		backend.stream(0).end <- errors.New("end")
		synctest.Wait()

		st := bus.Stats()
		require.EqualValues(t, 2, st.Delivered)
		require.EqualValues(t, 2, st.Lost.Total())
		require.EqualValues(t, 1, st.Reconnects)
		require.Equal(t, 1, st.Subscriptions)
		require.Zero(t, st.Streams)
		require.True(t, st.Topics[0].Ended)

		require.NoError(t, bus.Close())
		require.ErrorIs(t, s.Err(), pubsub.ErrClosed)
		require.Zero(t, watched.Load())
		_, open := <-s.C()
		require.False(t, open)
		after := bus.Stats()
		require.Zero(t, after.Subscriptions)
		require.EqualValues(t, 2, after.Delivered)
		require.EqualValues(t, 1, after.Reconnects)
	})
}

// A ctx that outlives its subscriptions must not keep them reachable.
func TestEndedSubscriptionsLeaveTheirContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backend := &script{}
		bus := pubsub.New(backend, ints{})
		defer bus.Close()
		var watched atomic.Int32
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		ends := []func(*pubsub.Subscription[int], int){
			func(s *pubsub.Subscription[int], _ int) { s.Close() },
			func(s *pubsub.Subscription[int], _ int) { s.Drain(context.Background()) },
			func(s *pubsub.Subscription[int], i int) { backend.stream(i).end <- errors.New("end"); s.Next(ctx) },
			func(s *pubsub.Subscription[int], i int) { s.C(); backend.stream(i).end <- errors.New("end") },
		}
		for i, end := range ends {
			s, err := bus.Subscribe(counted{ctx, &watched}, "t")
			require.NoError(t, err)
			require.EqualValues(t, 1, watched.Load())
			end(s, i)
			synctest.Wait()
			require.Zero(t, watched.Load(), "end %d", i)
		}
	})
}

// counted counts the functions that wait for the end of a context.
type counted struct {
	context.Context
	n *atomic.Int32
}

func (c counted) AfterFunc(f func()) (stop func() bool) {
	c.n.Add(1)
	inner := context.AfterFunc(c.Context, f)
	return func() bool {
		stopped := inner()
		if stopped {
			c.n.Add(-1)
		}
		return stopped
	}
}

// Value hides the context inside, which package context would use instead.
func (counted) Value(any) any { return nil }

func TestJoiningDuringAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backend := &script{}
		bus := pubsub.New(backend, ints{})
		defer bus.Close()
		subscribe(t, bus, "t")
		backend.stream(0).play(state(pubsub.Reconnecting))
		s := subscribe(t, bus, "t")
		require.Equal(t, pubsub.Reconnecting, s.Stats().State.State)
		backend.stream(0).play(state(pubsub.Resumed), msg(1))
		require.Equal(t, []string{"reconnecting", "resumed", "1"}, next(t, s, 3))
		require.Equal(t, []string{"2"}, func() []string {
			late := subscribe(t, bus, "t")
			backend.stream(0).play(msg(2))
			return next(t, late, 1)
		}(), "who joins later is told nothing")
	})
}

func TestStatsNeverDecrease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backend := &script{}
		bus := pubsub.New(backend, ints{})
		s := subscribe(t, bus, "t")
		backend.stream(0).play(msg(1), gap(2, true), msg(4), msg(5))
		next(t, s, 3)
		require.False(t, bus.Stats().Topics[0].Ended)
		backend.stream(0).end <- pubsub.ErrPermissionDenied
		synctest.Wait()
		st := bus.Stats()
		require.EqualValues(t, 2, st.Delivered)
		require.EqualValues(t, 2, st.Lost.Total())
		require.Equal(t, 1, st.Subscriptions, "it still reads what is queued")
		require.Zero(t, st.Streams)
		require.True(t, st.Topics[0].Ended)
		next(t, s, 1)
		_, err := s.Next(t.Context())
		require.ErrorIs(t, err, pubsub.ErrPermissionDenied)
		st = bus.Stats()
		require.EqualValues(t, 3, st.Delivered)
		require.Zero(t, st.Subscriptions)
		require.Empty(t, st.Topics)

		s = subscribe(t, bus, "t")
		backend.stream(1).play(msg(1))
		backend.stream(1).end <- pubsub.ErrPermissionDenied
		synctest.Wait()
		bus.Close()
		_, err = s.Next(t.Context())
		require.ErrorIs(t, err, pubsub.ErrClosed, "Close ends those, too")
	})
}

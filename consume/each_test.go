package consume_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/consume"
)

type message = pubsub.Message[order]

type options = consume.Options[order]

// book notes what handlers did.
type book struct {
	mu   sync.Mutex
	list []string
}

func (b *book) add(format string, args ...any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.list = append(b.list, fmt.Sprintf(format, args...))
}

// all empties the book.
func (b *book) all() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := b.list
	b.list = nil
	return list
}

// handle is a Handler that notes its messages.
func (b *book) handle(_ context.Context, m message) error {
	b.add("%v", m.Value)
	return nil
}

func goroutine() string {
	buf := make([]byte, 64)
	buf = buf[:runtime.Stack(buf, false)]
	id, _, _ := bytes.Cut(bytes.TrimPrefix(buf, []byte("goroutine ")), []byte(" "))
	return string(id)
}

// By default one message after the other is handled, on the goroutine that
// called Each.
func TestDefault(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk) {
		var b book
		var caller string
		done := start(func() error {
			caller = goroutine()
			return consume.Each(t.Context(), d.sub, func(ctx context.Context, m message) error {
				require.Equal(t, caller, goroutine())
				return b.handle(ctx, m)
			}, options{})
		})
		d.send("a1", "b1", "a2", "b2")
		require.True(t, running(done))
		require.Equal(t, []string{"a1", "b1", "a2", "b2"}, b.all())
		d.drain()
		require.NoError(t, <-done)
	})
}

func TestNilAfterAnOrderlyEnd(t *testing.T) {
	for name, end := range map[string]func(*desk) error{
		"Close": func(d *desk) error { return d.sub.Close() },
		"Drain": func(d *desk) error { return drain(d.sub) },
		"Bus.Drain": func(d *desk) error {
			ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
			defer cancel()
			return d.bus.Drain(ctx)
		},
	} {
		for _, workers := range []int{1, 3} {
			t.Run(fmt.Sprint(name, workers), func(t *testing.T) {
				bubble(t, func(t *testing.T, d *desk) {
					var b book
					done := start(func() error { return consume.Each(t.Context(), d.sub, b.handle, options{Workers: workers}) })
					d.send("a1", "a2", "a3")
					require.True(t, running(done))
					require.NoError(t, end(d))
					require.NoError(t, <-done)
					require.ElementsMatch(t, []string{"a1", "a2", "a3"}, b.all())
					require.NoError(t, consume.Each(t.Context(), d.sub, b.handle, options{Workers: workers}), "once more, behind the end")
				})
			})
		}
	}
}

// Drain has all handled that is queued, though Each has taken only a part.
func TestDrainHandlesWhatIsQueued(t *testing.T) {
	for _, workers := range []int{1, 3} {
		t.Run(fmt.Sprint(workers), func(t *testing.T) {
			bubble(t, func(t *testing.T, d *desk) {
				n := 0
				var mu sync.Mutex
				slow := func(context.Context, message) error {
					time.Sleep(time.Minute) // longer than the grace
					mu.Lock()
					defer mu.Unlock()
					n++
					return nil
				}
				for range 200 {
					d.send("a1")
				}
				done := start(func() error {
					return consume.Each(t.Context(), d.sub, slow, options{Workers: workers, Grace: time.Hour})
				})
				d.drain()
				require.NoError(t, <-done)
				require.Equal(t, 200, n)
			})
		})
	}
}

func TestOtherEndsAreErrors(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(*desk, context.CancelCauseFunc)
		want error
	}{
		"Bus.Close":     {func(d *desk, _ context.CancelCauseFunc) { d.bus.Close() }, pubsub.ErrClosed},
		"stream":        {func(d *desk, _ context.CancelCauseFunc) { d.backend.EndStreams(pubsub.ErrPermissionDenied) }, pubsub.ErrPermissionDenied},
		"ctx":           {func(_ *desk, cancel context.CancelCauseFunc) { cancel(nil) }, context.Canceled},
		"ctx's cause":   {func(_ *desk, cancel context.CancelCauseFunc) { cancel(errOut) }, errOut},
		"still its ctx": {func(_ *desk, cancel context.CancelCauseFunc) { cancel(errOut) }, context.Canceled},
	} {
		for _, workers := range []int{1, 3} {
			t.Run(fmt.Sprint(name, workers), func(t *testing.T) {
				bubble(t, func(t *testing.T, d *desk) {
					ctx, cancel := context.WithCancelCause(t.Context())
					defer cancel(nil)
					var b book
					done := start(func() error { return consume.Each(ctx, d.sub, b.handle, options{Workers: workers}) })
					d.send("a1")
					require.True(t, running(done))
					c.end(d, cancel)
					err := <-done
					require.ErrorIs(t, err, c.want)
					require.True(t, strings.HasPrefix(err.Error(), "consume: "), err)
					var u *unhandledError
					require.False(t, errors.As(err, &u), "all that was taken was handled")
					require.Equal(t, []string{"a1"}, b.all())
				})
			})
		}
	}
}

// What is queued when ctx ends stays in the subscription.
func TestEachLeavesTheSubscriptionOpen(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk) {
		ctx, cancel := context.WithCancel(t.Context())
		d.send("a1", "a2", "a3")
		err := consume.Each(ctx, d.sub, func(context.Context, message) error { cancel(); return nil }, options{})
		require.ErrorIs(t, err, context.Canceled)
		e, err := d.sub.Next(t.Context())
		require.NoError(t, err)
		require.Equal(t, "a2", e.Message.Value.String())
	})
}

func TestFirstErrorEndsEach(t *testing.T) {
	for _, workers := range []int{1, 3} {
		t.Run(fmt.Sprint(workers), func(t *testing.T) {
			bubble(t, func(t *testing.T, d *desk) {
				d.send("a1", "a2", "a3")
				err := consume.Each(t.Context(), d.sub, func(_ context.Context, m message) error {
					if m.Value.N == 2 {
						synctest.Wait() // all that can be taken is
						return errHandler
					}
					return nil
				}, options{Workers: workers, OrderBy: byKey})
				require.ErrorIs(t, err, errHandler)
				var u *unhandledError
				require.ErrorAs(t, err, &u)
				require.Equal(t, errHandler, u.Err)
				require.Equal(t, "a2", u.Unhandled[0].Message.Value.String())
				require.Equal(t, 1, u.Unhandled[0].Tries)
				require.Equal(t, errHandler, u.Unhandled[0].Err)
				at := u.Unhandled[0].Message.Position
				if workers == 1 {
					require.EqualError(t, err, `consume: 1 message was taken and not handled (topic "orders", from `+at.String()+`): handler`)
					require.Len(t, u.Unhandled, 1, "nothing is taken before it is its turn")
					return
				}
				require.Equal(t, []string{"a2", "a3"}, values(u))
				require.Zero(t, u.Unhandled[1].Tries)
				require.NoError(t, u.Unhandled[1].Err)
				require.ErrorContains(t, err, `consume: 2 messages were taken and not handled (topic "orders", from `+at.String()+`): handler`)
			})
		})
	}
}

func explode() { panic(fmt.Errorf("boom: %w", errHandler)) }

func TestPanicIsAnError(t *testing.T) {
	for _, workers := range []int{1, 3} {
		t.Run(fmt.Sprint(workers), func(t *testing.T) {
			bubble(t, func(t *testing.T, d *desk) {
				var b book
				done := start(func() error {
					return consume.Each(t.Context(), d.sub, func(ctx context.Context, m message) error {
						if m.Value.Key == "x" {
							explode()
						}
						return b.handle(ctx, m)
					}, options{Workers: workers, GiveUp: func(_ context.Context, m message, err error) error {
						b.add("gave up %v", m.Value)
						var p *consume.PanicError
						require.ErrorAs(t, err, &p)
						require.Contains(t, string(p.Stack), "explode")
						require.ErrorContains(t, p, "explode")
						require.ErrorContains(t, p, "boom")
						require.ErrorIs(t, err, errHandler, "what it panicked with")
						return nil
					}})
				})
				d.send("a1", "x1", "a2")
				require.True(t, running(done), "others are not harmed")
				require.ElementsMatch(t, []string{"a1", "gave up x1", "a2"}, b.all())
				d.drain()
				require.NoError(t, <-done)
			})
		})
	}
}

// A function that panics outside of a handler ends Each.
func TestPanicsOfOptions(t *testing.T) {
	failing := func(context.Context, message) error { return errHandler }
	for name, o := range map[string]options{
		"OrderBy": {Workers: 2, OrderBy: func(order) string { panic("told to") }},
		"GiveUp":  {GiveUp: func(context.Context, message, error) error { panic("told to") }},
		"OnLoss":  {OnLoss: func(*pubsub.Discontinuity) error { panic("told to") }},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, d *desk) {
				d.backend.Lose(1, "orders")
				d.send("a1")
				err := consume.Each(t.Context(), d.sub, failing, o)
				var p *consume.PanicError
				require.ErrorAs(t, err, &p)
				require.Equal(t, "told to", p.Value)
				var u *unhandledError
				require.Equal(t, name != "OnLoss", errors.As(err, &u))
				if u != nil {
					require.ErrorAs(t, u.Err, &p)
				}
			})
		})
	}
}

// A handler that ends its goroutine, as FailNow does, ends Each.
func TestGoexit(t *testing.T) {
	t.Run("workers", func(t *testing.T) {
		bubble(t, func(t *testing.T, d *desk) {
			for i := range 20 {
				d.send(fmt.Sprint("a", i), fmt.Sprint("b", i))
			}
			err := consume.Each(t.Context(), d.sub, func(_ context.Context, m message) error {
				if m.Value.N == 3 {
					runtime.Goexit()
				}
				return nil
			}, options{Workers: 2, OrderBy: byKey})
			require.ErrorContains(t, err, "ended the goroutine")
			var u *unhandledError
			require.ErrorAs(t, err, &u)
			require.Contains(t, values(u), "a3")
		})
	})
	t.Run("alone", func(t *testing.T) {
		bubble(t, func(t *testing.T, d *desk) {
			d.send("a1", "a2")
			monitor := new(consume.Monitor)
			var gone sync.WaitGroup
			gone.Go(func() {
				_ = consume.Each(t.Context(), d.sub, func(context.Context, message) error { runtime.Goexit(); return nil }, options{Monitor: monitor})
				t.Error("Each returned on a goroutine that is over")
			})
			gone.Wait()
			require.Equal(t, consume.Stats{Taken: 1, Dropped: 1}, monitor.Stats())
			e, err := d.sub.Next(t.Context())
			require.NoError(t, err)
			require.Equal(t, "a2", e.Message.Value.String())
		})
	})
	// On Each's own goroutine: the workers are waited for all the same.
	exit := func() {
		time.Sleep(time.Millisecond) // the handler of a1 runs
		runtime.Goexit()
	}
	for name, change := range map[string]func(*options){
		"OrderBy": func(o *options) {
			o.OrderBy = func(v order) string {
				if v.N == 3 {
					exit()
				}
				return v.Key
			}
		},
		"OnLoss": func(o *options) { o.OnLoss = func(*pubsub.Discontinuity) error { exit(); return nil } },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, d *desk) {
				d.send("a1", "a2")
				d.backend.Lose(5, "orders")
				d.send("a3", "a4")
				monitor := new(consume.Monitor)
				o := options{Workers: 3, Monitor: monitor}
				change(&o)
				var finished atomic.Int32
				var gone sync.WaitGroup
				gone.Go(func() {
					_ = consume.Each(t.Context(), d.sub, func(context.Context, message) error {
						time.Sleep(time.Second)
						finished.Add(1)
						return nil
					}, o)
				})
				gone.Wait()
				st := monitor.Stats()
				require.NotZero(t, finished.Load(), "who runs is waited for")
				require.EqualValues(t, finished.Load(), st.Handled)
				require.Equal(t, st.Taken, st.Handled+st.Dropped)
				require.Zero(t, st.InFlight)
			})
		})
	}
}

func TestBadArguments(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk) {
		var b book
		for name, err := range map[string]error{
			//lint:ignore SA1012 nil on purpose
			"Context":      consume.Each(nil, d.sub, b.handle, options{}),
			"Subscription": consume.Each(t.Context(), nil, b.handle, options{}),
			"Handler":      consume.Each(t.Context(), d.sub, nil, options{}),
			"Workers":      consume.Each(t.Context(), d.sub, b.handle, options{Workers: -1}),
			"InFlight":     consume.Each(t.Context(), d.sub, b.handle, options{InFlight: -1}),
		} {
			require.ErrorIs(t, err, pubsub.ErrInvalidArgument)
			require.ErrorContains(t, err, name)
		}
	})
}

// Several may share a subscription.
func TestSharedSubscription(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk) {
		var b book
		var all []<-chan error
		for range 3 {
			all = append(all, start(func() error { return consume.Each(t.Context(), d.sub, b.handle, options{}) }))
		}
		for range 100 {
			d.send("a1")
		}
		d.drain()
		for _, done := range all {
			require.NoError(t, <-done)
		}
		require.Len(t, b.all(), 100)
	})
}

// started counts the goroutines that this package has started.
func started() int {
	buf := make([]byte, 1<<20)
	all := string(buf[:runtime.Stack(buf, true)])
	return strings.Count(all, "created by golang.org/x/sync/errgroup") + strings.Count(all, "created by github.com/topicbus/pubsub/consume.")
}

// No goroutine is left, and none is started that is not needed.
func TestGoroutines(t *testing.T) {
	for _, c := range []struct {
		o              options
		messages, want int
	}{
		{options{}, 10, 0},
		{options{Retry: constant(time.Second)}, 10, 0},
		{options{OrderBy: byKey}, 10, 0},
		{options{OrderBy: byKey, Retry: constant(time.Second)}, 10, 1},
		{options{Workers: 4}, 20, 4},
		{options{Workers: 1000}, 3, 3},
	} {
		bubble(t, func(t *testing.T, d *desk) {
			var mu sync.Mutex
			var most int
			done := start(func() error {
				defer func() {
					synctest.Wait() // one that is about to be gone may still be listed
					if n := started(); n > 0 {
						most = -n
					}
				}()
				return consume.Each(t.Context(), d.sub, func(context.Context, message) error {
					time.Sleep(time.Second)
					mu.Lock()
					defer mu.Unlock()
					most = max(most, started())
					return nil
				}, c.o)
			})
			for range c.messages { // one by one: a worker that is on its way may have another one started
				d.send("a1")
				synctest.Wait()
			}
			d.drain()
			require.NoError(t, <-done)
			require.Equal(t, c.want, most, "%+v", c.o)
		})
	}
}

package consume_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/consume"
)

type valueKey struct{}

// When ctx ends, handlers that run get the grace; nothing else is started.
func TestGraceBehindCtx(t *testing.T) {
	for name, c := range map[string]struct {
		grace, want time.Duration
	}{
		"default": {0, 10 * time.Second},
		"own":     {time.Minute, time.Minute},
		"none":    {-1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, d *desk, o options) {
				var b book
				o.Grace = c.grace
				ctx, cancel := context.WithCancelCause(context.WithValue(t.Context(), valueKey{}, "kept"))
				defer cancel(nil)
				var ended time.Time
				d.send("a1", "a2")
				done := start(func() error {
					return consume.Each(ctx, d.sub, func(ctx context.Context, m message) error {
						if m.Value.N == 2 && o.Workers > 1 && o.OrderBy == nil { // it runs, too
							return nil
						}
						require.Equal(t, "kept", ctx.Value(valueKey{}))
						<-ctx.Done()
						b.add("%v ended after %v", m.Value, time.Since(ended))
						return nil
					}, o)
				})
				require.True(t, running(done))
				time.Sleep(time.Hour)
				ended = time.Now()
				cancel(errOut)
				synctest.Wait()
				d.send("a3")
				err := <-done
				require.ErrorIs(t, err, context.Canceled)
				require.ErrorIs(t, err, errOut)
				require.Equal(t, c.want, time.Since(ended))
				require.Equal(t, []string{fmt.Sprintf("a1 ended after %v", c.want)}, b.all())
				var u *unhandledError
				if o.Workers > 1 && o.OrderBy != nil {
					require.ErrorAs(t, err, &u)
					require.Equal(t, []string{"a2"}, values(u), "it was taken, and never tried")
				} else if o.OrderBy == nil {
					require.False(t, errors.As(err, &u), "a1 was handled after all")
				}
			})
		})
	}
}

// A handler that fails because of the end of its ctx is not tried again, and its
// message is in the error.
func TestHandlerThatObeysItsCtx(t *testing.T) {
	each(t, func(t *testing.T, d *desk, o options) {
		o.Retry = constant(0)
		ctx, cancel := context.WithCancel(t.Context())
		d.send("a1")
		done := start(func() error {
			return consume.Each(ctx, d.sub, func(ctx context.Context, m message) error {
				<-ctx.Done()
				return fmt.Errorf("save: %w", ctx.Err())
			}, o)
		})
		require.True(t, running(done))
		cancel()
		err := <-done
		var u *unhandledError
		require.ErrorAs(t, err, &u)
		require.Equal(t, context.Canceled, u.Err)
		require.Equal(t, []string{"a1"}, values(u))
		require.EqualError(t, u.Unhandled[0].Err, "save: context canceled; not tried again: Each is to end")
	})
}

// A message that waits for its next try when ctx ends is given up at once, with
// a ctx that still works.
func TestRetriesAreGivenUpBehindCtx(t *testing.T) {
	for name, giveUp := range map[string]func(b *book) func(context.Context, message, error) error{
		"nil": func(*book) func(context.Context, message, error) error { return nil },
		"works": func(b *book) func(context.Context, message, error) error {
			return func(ctx context.Context, m message, err error) error {
				time.Sleep(9 * time.Second)
				b.add("gave up %v: %v, %v", m.Value, err, ctx.Err())
				return nil
			}
		},
		"takes too long": func(b *book) func(context.Context, message, error) error {
			return func(ctx context.Context, m message, err error) error {
				<-ctx.Done()
				return ctx.Err()
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, d *desk, o options) {
				var b book
				o.Retry = constant(time.Hour)
				o.GiveUp = giveUp(&b)
				ctx, cancel := context.WithCancel(t.Context())
				d.send("a1")
				done := start(func() error {
					return consume.Each(ctx, d.sub, func(context.Context, message) error { return errHandler }, o)
				})
				time.Sleep(time.Minute)
				require.True(t, running(done))
				ended := time.Now()
				cancel()
				err := <-done
				require.ErrorIs(t, err, context.Canceled)
				var u *unhandledError
				switch name {
				case "nil":
					require.Zero(t, time.Since(ended))
					require.ErrorAs(t, err, &u)
					require.ErrorIs(t, err, errHandler)
				case "works":
					require.Equal(t, []string{"gave up a1: handler; not tried again: Each is to end, <nil>"}, b.all())
					require.False(t, errors.As(err, &u))
				default:
					require.Equal(t, 10*time.Second, time.Since(ended))
					require.ErrorAs(t, err, &u)
					require.ErrorIs(t, err, context.DeadlineExceeded)
					require.ErrorIs(t, err, errHandler)
				}
			})
		})
	}
}

// Behind Drain, messages are tried again as long as the grace lasts.
func TestRetriesBehindDrain(t *testing.T) {
	for name, c := range map[string]struct {
		wait  time.Duration
		tries int
	}{
		"in time":  {time.Second, 3},
		"too late": {time.Hour, 1},
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, d *desk, o options) {
				tries := 0
				o.Retry = constant(c.wait)
				d.send("a1")
				done := start(func() error {
					return consume.Each(t.Context(), d.sub, func(context.Context, message) error {
						if tries++; tries < 3 {
							return errHandler
						}
						return nil
					}, o)
				})
				require.True(t, running(done))
				time.Sleep(time.Millisecond)
				drained := time.Now()
				d.drain()
				err := <-done
				require.Equal(t, c.tries, tries)
				if name == "in time" {
					require.NoError(t, err)
					return
				}
				require.Zero(t, time.Since(drained), "what will not be tried again is not waited for")
				require.ErrorIs(t, err, errHandler)
				require.ErrorContains(t, err, "the subscription has ended")
				var u *unhandledError
				require.ErrorAs(t, err, &u)
				require.Len(t, u.Unhandled, 1)
			})
		})
	}
}

// A handler that does not come to an end by itself is told to by its ctx, when
// the grace behind Drain is over.
func TestGraceBehindDrain(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk) {
		d.send("a1", "a2", "a3")
		var mu sync.Mutex
		var ended []time.Duration
		began := time.Now()
		done := start(func() error {
			return consume.Each(t.Context(), d.sub, func(ctx context.Context, m message) error {
				<-ctx.Done()
				mu.Lock()
				defer mu.Unlock()
				ended = append(ended, time.Since(began))
				return ctx.Err()
			}, options{Workers: 2, GiveUp: func(ctx context.Context, _ message, _ error) error { return ctx.Err() }})
		})
		require.True(t, running(done))
		d.drain()
		require.NoError(t, <-done, "all of them were given up")
		require.Equal(t, []time.Duration{10 * time.Second, 10 * time.Second, 20 * time.Second}, ended, "the third started late")
	})
}

// The end of ctx is obeyed behind Drain, too.
func TestCtxBehindDrain(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk) {
		ctx, cancel := context.WithCancel(t.Context())
		d.send("a1", "a2", "a3")
		done := start(func() error {
			return consume.Each(ctx, d.sub, func(context.Context, message) error { time.Sleep(time.Second); return nil },
				options{Workers: 2, OrderBy: byKey})
		})
		d.drain()
		require.True(t, running(done))
		cancel()
		err := <-done
		require.ErrorIs(t, err, context.Canceled)
		var u *unhandledError
		require.ErrorAs(t, err, &u)
		require.Equal(t, []string{"a2", "a3"}, values(u))
	})
}

// An error ends the others like the end of ctx: they have the grace.
func TestGraceBehindAnError(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk) {
		var b book
		d.send("a1", "b1", "b2", "c1")
		began := time.Now()
		err := consume.Each(t.Context(), d.sub, func(ctx context.Context, m message) error {
			switch m.Value.Key {
			case "a":
				<-ctx.Done()
				b.add("a at %v", time.Since(began))
				return nil
			case "b":
				time.Sleep(time.Second)
				return errHandler
			default:
				time.Sleep(2 * time.Second)
				return b.handle(ctx, m)
			}
		}, options{Workers: 3, OrderBy: byKey})
		require.ErrorIs(t, err, errHandler)
		require.NotErrorIs(t, err, context.Canceled)
		require.Equal(t, []string{"c1", "a at 11s"}, b.all())
		var u *unhandledError
		require.ErrorAs(t, err, &u)
		require.Equal(t, []string{"b1", "b2"}, values(u))
	})
}

// A ctx that has ended takes nothing.
func TestCtxThatHasEnded(t *testing.T) {
	each(t, func(t *testing.T, d *desk, o options) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		d.send("a1")
		var b book
		require.ErrorIs(t, consume.Each(ctx, d.sub, b.handle, o), context.Canceled)
		require.Empty(t, b.all())
		require.Zero(t, d.sub.Stats().Delivered)
	})
}

// The end of ctx while the one goroutine waits for a retry, with a message read
// ahead.
func TestWhatIsReadAheadIsAccountedFor(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk) {
		monitor := new(consume.Monitor)
		ctx, cancel := context.WithCancel(t.Context())
		d.send("a1", "a2", "a3")
		done := start(func() error {
			return consume.Each(ctx, d.sub, func(context.Context, message) error { return errHandler },
				options{Retry: constant(time.Hour), Monitor: monitor})
		})
		require.True(t, running(done))
		cancel()
		var u *unhandledError
		require.ErrorAs(t, <-done, &u)
		require.Equal(t, []string{"a1", "a2"}, values(u))
		require.Equal(t, []int{1, 0}, []int{u.Unhandled[0].Tries, u.Unhandled[1].Tries})
		require.Equal(t, consume.Stats{Taken: 2, Dropped: 2, Failed: 1}, monitor.Stats())
		require.Equal(t, uint64(1), d.sub.Stats().Lag)
	})
}

// All that is given up behind the end shares the second Grace, however much it is.
func TestTheEndTakesTwoGraces(t *testing.T) {
	each(t, func(t *testing.T, d *desk, o options) {
		const n = 30
		ctx, cancel := context.WithCancel(t.Context())
		for i := range n {
			d.send(fmt.Sprint("a", i+1))
		}
		monitor := new(consume.Monitor)
		o.Monitor, o.Retry = monitor, constant(time.Hour)
		o.GiveUp = func(ctx context.Context, _ message, _ error) error {
			select {
			case <-time.After(9 * time.Second):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		done := start(func() error {
			return consume.Each(ctx, d.sub, func(context.Context, message) error { return errHandler }, o)
		})
		time.Sleep(time.Minute)
		ended := time.Now()
		cancel()
		require.ErrorIs(t, <-done, context.Canceled)
		require.LessOrEqual(t, time.Since(ended), 20*time.Second)
		st := monitor.Stats()
		require.NotZero(t, st.GivenUp)
		require.Equal(t, st.Taken, st.GivenUp+st.Dropped)
	})
}

// It is not waited for OnLoss to give up what waits for a retry.
func TestRetriesAreGivenUpDuringOnLoss(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk) {
		ctx, cancel := context.WithCancel(t.Context())
		d.send("a1")
		d.backend.Lose(1, "orders")
		d.send("a2")
		release := make(chan struct{})
		var b book
		done := start(func() error {
			return consume.Each(ctx, d.sub, func(context.Context, message) error { return errHandler }, options{
				Workers: 2,
				Retry:   constant(time.Hour),
				OnLoss:  func(*pubsub.Discontinuity) error { <-release; return nil },
				GiveUp:  func(_ context.Context, m message, _ error) error { b.add("gave up %v", m.Value); return nil },
			})
		})
		require.True(t, running(done))
		cancel()
		synctest.Wait()
		require.Equal(t, []string{"gave up a1"}, b.all())
		close(release)
		require.ErrorIs(t, <-done, context.Canceled)
	})
}

// watchedContext counts those who wait for its end.
type watchedContext struct {
	context.Context
	waiting *atomic.Int64
}

// Value hides the inner ctx, which package context would use directly.
func (c watchedContext) Value(any) any { return nil }

// AfterFunc is what package context looks for.
func (c watchedContext) AfterFunc(f func()) func() bool {
	c.waiting.Add(1)
	stop := context.AfterFunc(c.Context, f)
	return func() bool {
		stopped := stop()
		if stopped {
			c.waiting.Add(-1)
		}
		return stopped
	}
}

// Nothing of Each stays with a ctx that outlives it.
func TestNothingIsLeftWithCtx(t *testing.T) {
	each(t, func(t *testing.T, d *desk, o options) {
		var waiting atomic.Int64
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		var b book
		done := start(func() error { return consume.Each(watchedContext{ctx, &waiting}, d.sub, b.handle, o) })
		d.send("a1")
		require.True(t, running(done))
		require.NotZero(t, waiting.Load())
		d.drain()
		require.NoError(t, <-done)
		require.Zero(t, waiting.Load())
	})
}

package consume_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/memory"
	"github.com/topicbus/pubsub/codec"
	"github.com/topicbus/pubsub/consume"
)

func constant(d time.Duration) func() backoff.BackOff {
	return func() backoff.BackOff { return backoff.NewConstantBackOff(d) }
}

func tries(n uint64, d time.Duration) func() backoff.BackOff {
	return func() backoff.BackOff { return backoff.WithMaxRetries(backoff.NewConstantBackOff(d), n-1) }
}

// A key whose handler takes its time does not hold up the others.
func TestKeysDoNotHoldUpEachOther(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk) {
		var b book
		release := make(chan struct{})
		done := start(func() error {
			return consume.Each(t.Context(), d.sub, func(ctx context.Context, m message) error {
				if m.Value == (order{"a", 1}) {
					<-release
				}
				return b.handle(ctx, m)
			}, options{Workers: 2, OrderBy: byKey})
		})
		d.send("a1", "a2", "b1", "a3", "c1", "b2", "a4", "c2")
		require.True(t, running(done))
		require.Equal(t, []string{"b1", "c1", "b2", "c2"}, b.all())
		close(release)
		synctest.Wait()
		require.Equal(t, []string{"a2", "a3", "a4"}, b.all()[1:])
		d.drain()
		require.NoError(t, <-done)
	})
}

// A message that waits for its next try keeps its key's order and no worker, so
// that one worker is enough for all others.
func TestRetryHoldsItsKeyOnly(t *testing.T) {
	for _, workers := range []int{1, 2} {
		t.Run(fmt.Sprint(workers), func(t *testing.T) {
			bubble(t, func(t *testing.T, d *desk) {
				var b book
				began := time.Now()
				done := start(func() error {
					return consume.Each(t.Context(), d.sub, func(ctx context.Context, m message) error {
						if m.Value == (order{"a", 1}) && consume.Try(ctx) < 4 || m.Value == (order{"b", 1}) && consume.Try(ctx) == 1 {
							return errHandler
						}
						b.add("%v at %v", m.Value, time.Since(began))
						return nil
					}, options{Workers: workers, OrderBy: byKey, Retry: constant(2 * time.Second)})
				})
				d.send("a1", "b1", "a2", "c1", "b2")
				require.True(t, running(done))
				require.Equal(t, []string{"c1 at 0s"}, b.all())
				time.Sleep(time.Second)
				d.send("c2", "a3")
				time.Sleep(10 * time.Second)
				require.Equal(t, "c2 at 1s, b1 at 2s, b2 at 2s, a1 at 6s, a2 at 6s, a3 at 6s", strings.Join(b.all(), ", "))
				d.drain()
				require.NoError(t, <-done)
			})
		})
	}
}

// A retry is on time though the worker that looked at the clock has got other
// work since.
func TestRetryIsOnTime(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk) {
		var b book
		began := time.Now()
		done := start(func() error {
			return consume.Each(t.Context(), d.sub, func(ctx context.Context, m message) error {
				switch {
				case m.Value.Key == "a" && consume.Try(ctx) == 1:
					return errHandler // and its worker looks at the clock
				case m.Value.Key == "b":
					time.Sleep(time.Second) // so that its worker sleeps behind it
				case m.Value.Key == "c":
					time.Sleep(time.Hour)
				}
				b.add("%v at %v", m.Value, time.Since(began))
				return nil
			}, options{Workers: 2, OrderBy: byKey, Retry: constant(2 * time.Second)})
		})
		d.send("a1", "b1")
		time.Sleep(1500 * time.Millisecond)
		d.send("c1")
		time.Sleep(time.Minute)
		require.Equal(t, []string{"b1 at 1s", "a1 at 2s"}, b.all())
		d.drain()
		require.NoError(t, <-done)
	})
}

// A retry that is due before those that a sleeping worker waits for is on time.
func TestEarlierRetryIsOnTime(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk) {
		var b book
		began := time.Now()
		wait := 10 * time.Second
		done := start(func() error {
			return consume.Each(t.Context(), d.sub, func(ctx context.Context, m message) error {
				time.Sleep(time.Duration(m.Value.N) * time.Second)
				if m.Value.Key != "x" && consume.Try(ctx) == 1 {
					return errHandler
				}
				b.add("%v at %v", m.Value, time.Since(began))
				return nil
			}, options{Workers: 2, OrderBy: byKey, Retry: func() backoff.BackOff {
				defer func() { wait = time.Second }()
				return backoff.NewConstantBackOff(wait)
			}})
		})
		d.send("x1", "a2") // the one sleeps first, the other one looks at the clock
		time.Sleep(5 * time.Second)
		d.send("b0")
		time.Sleep(time.Minute)
		require.Equal(t, []string{"x1 at 1s", "b0 at 6s", "a2 at 14s"}, b.all())
		d.drain()
		require.NoError(t, <-done)
	})
}

// Retries of several messages come in the order in which they are due, whatever
// the workers were waiting for before.
func TestRetriesOfSeveral(t *testing.T) {
	for _, workers := range []int{1, 3} {
		t.Run(fmt.Sprint(workers), func(t *testing.T) {
			bubble(t, func(t *testing.T, d *desk) {
				var b book
				began := time.Now()
				var wait time.Duration
				done := start(func() error {
					return consume.Each(t.Context(), d.sub, func(ctx context.Context, m message) error {
						if consume.Try(ctx) == 1 {
							wait = time.Duration(m.Value.N) * time.Second
							return errHandler
						}
						b.add("%v at %v", m.Value.Key, time.Since(began))
						return nil
					}, options{Workers: workers, OrderBy: byKey, Retry: func() backoff.BackOff { return backoff.NewConstantBackOff(wait) }})
				})
				for _, s := range []string{"a9", "b4", "c7", "d1", "e5", "f2"} {
					d.send(s)
					synctest.Wait()
				}
				time.Sleep(time.Minute)
				require.Equal(t, []string{"d at 1s", "f at 2s", "b at 4s", "e at 5s", "c at 7s", "a at 9s"}, b.all())
				d.drain()
				require.NoError(t, <-done)
			})
		})
	}
}

// With one worker and no OrderBy, a message that waits holds up all that follow.
func TestRetryKeepsTheOrderOfAll(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk) {
		var b book
		d.send("a1", "b1", "c1")
		done := start(func() error {
			return consume.Each(t.Context(), d.sub, func(ctx context.Context, m message) error {
				if m.Value.Key == "a" && consume.Try(ctx) < 3 {
					return errHandler
				}
				return b.handle(ctx, m)
			}, options{Retry: constant(time.Minute)})
		})
		time.Sleep(time.Minute)
		require.True(t, running(done))
		require.Empty(t, b.all())
		require.Equal(t, uint64(1), d.sub.Stats().Lag, "one is read ahead, no more")
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Equal(t, []string{"a1", "b1", "c1"}, b.all())
		d.drain()
		require.NoError(t, <-done)
	})
}

// What is taken and unfinished is bounded; the rest waits in the subscription.
func TestInFlight(t *testing.T) {
	for _, c := range []struct {
		name string
		o    options
		want uint64
	}{
		{"one goroutine", options{InFlight: 9}, 1},
		{"workers", options{Workers: 2}, 32},
		{"InFlight", options{Workers: 4, InFlight: 5}, 5},
		{"less than workers", options{Workers: 4, InFlight: 2}, 2},
		{"keys", options{Workers: 2, InFlight: 7, OrderBy: byKey}, 7},
		{"retries", options{Workers: 2, InFlight: 7, Retry: constant(time.Hour)}, 7},
		{"retries of a key", options{OrderBy: byKey, InFlight: 7, Retry: constant(time.Hour)}, 7},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, d *desk) {
				release := make(chan struct{})
				done := start(func() error {
					return consume.Each(t.Context(), d.sub, func(ctx context.Context, m message) error {
						if c.o.Retry != nil && consume.Try(ctx) == 1 {
							return errHandler
						}
						<-release
						return nil
					}, c.o)
				})
				for i := range 100 {
					d.send(fmt.Sprint("a", i))
				}
				require.True(t, running(done))
				require.Equal(t, c.want, d.sub.Stats().Delivered)
				time.Sleep(time.Second)
				require.Equal(t, c.want, d.sub.Stats().Delivered)
				close(release)
				time.Sleep(200 * time.Hour)
				require.Equal(t, uint64(100), d.sub.Stats().Delivered)
				d.drain()
				require.NoError(t, <-done)
			})
		})
	}
}

// A key that is stuck in retries leaves room for the others, up to InFlight.
func TestStuckKeyLeavesRoom(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk) {
		var b book
		ctx, cancel := context.WithCancel(t.Context())
		done := start(func() error {
			return consume.Each(ctx, d.sub, func(ctx context.Context, m message) error {
				if m.Value.Key == "a" {
					return errHandler
				}
				return b.handle(ctx, m)
			}, options{Workers: 2, InFlight: 8, OrderBy: byKey, Retry: constant(time.Hour)})
		})
		for i := range 7 { // all but one
			d.send(fmt.Sprint("a", i))
		}
		for i := range 50 {
			d.send(fmt.Sprint("b", i), fmt.Sprint("c", i))
		}
		require.True(t, running(done))
		require.Len(t, b.all(), 100)
		d.send("a7", "b1")
		require.True(t, running(done))
		require.Empty(t, b.all(), "now it has used up InFlight")
		cancel()
		var u *unhandledError
		require.ErrorAs(t, <-done, &u)
		require.Len(t, u.Unhandled, 8)
	})
}

// With Block, workers that are busy make publishers wait.
func TestBackPressure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := pubsub.New(memory.New(), codec.JSON[order](), pubsub.WithBuffer(4))
		defer bus.Close()
		sub, err := bus.Subscribe(t.Context(), "orders", pubsub.Overflow(pubsub.Block))
		require.NoError(t, err)
		var mu sync.Mutex
		var n, published int
		done := start(func() error {
			return consume.Each(t.Context(), sub, func(context.Context, message) error {
				time.Sleep(time.Second)
				mu.Lock()
				defer mu.Unlock()
				n++
				return nil
			}, options{Workers: 2, InFlight: 3})
		})
		publishing := start(func() error {
			for i := range 40 {
				if err := bus.Publish(t.Context(), "orders", order{"a", i}); err != nil {
					return err
				}
				mu.Lock()
				published++
				mu.Unlock()
			}
			return nil
		})
		synctest.Wait()
		mu.Lock()
		require.Equal(t, 3+4, published)
		mu.Unlock()
		require.NoError(t, <-publishing)
		require.NoError(t, drain(sub))
		require.NoError(t, <-done)
		require.Equal(t, 40, n)
		require.Zero(t, sub.Stats().Lost.Total())
	})
}

// A worker that waits for a retry comes for each message that can go on.
func TestMessagesGoOnBesideARetry(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk) {
		var b book
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		done := start(func() error {
			return consume.Each(ctx, d.sub, func(ctx context.Context, m message) error {
				if m.Value.Key == "a" {
					return errHandler
				}
				return b.handle(ctx, m)
			}, options{OrderBy: byKey, Retry: constant(time.Hour)})
		})
		for _, m := range []string{"a1", "b1", "c1", "d1"} {
			d.send(m)
			require.True(t, running(done))
		}
		require.Equal(t, []string{"b1", "c1", "d1"}, b.all())
		cancel()
		require.ErrorIs(t, <-done, context.Canceled)
	})
}

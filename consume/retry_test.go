package consume_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub/consume"
)

// each runs a test for one goroutine and for several.
func each(t *testing.T, f func(t *testing.T, d *desk, o options)) {
	for name, o := range map[string]options{
		"alone":            {},
		"workers":          {Workers: 3},
		"workers, by key":  {Workers: 3, OrderBy: byKey},
		"a worker, by key": {OrderBy: byKey},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, d *desk) { f(t, d, o) })
		})
	}
}

// Tries come after the back-offs of the policy, each message has its own, and
// its end leads to GiveUp.
func TestRetry(t *testing.T) {
	each(t, func(t *testing.T, d *desk, o options) {
		var b book
		began := time.Now()
		policies := 0
		o.Retry = func() backoff.BackOff {
			policies++
			p := backoff.NewExponentialBackOff(backoff.WithInitialInterval(time.Second), backoff.WithMultiplier(3), backoff.WithRandomizationFactor(0))
			return backoff.WithMaxRetries(p, 2)
		}
		o.GiveUp = func(ctx context.Context, m message, err error) error {
			b.add("gave up %v at %v: %v", m.Value, time.Since(began), err)
			return nil
		}
		done := start(func() error {
			return consume.Each(t.Context(), d.sub, func(ctx context.Context, m message) error {
				b.add("%v at %v", m.Value, time.Since(began))
				return fmt.Errorf("%w %d", errHandler, consume.Try(ctx))
			}, o)
		})
		want := []string{"a1 at 0s", "a1 at 1s", "a1 at 4s", "gave up a1 at 4s: handler 3"}
		d.send("a1")
		time.Sleep(time.Minute)
		require.Equal(t, want, b.all())
		began = time.Now()
		d.send("a1")
		time.Sleep(time.Minute)
		require.Equal(t, want, b.all())
		require.Equal(t, 2, policies)
		d.drain()
		require.NoError(t, <-done)
	})
}

// A policy that was made by hand is reset before its first use, as
// backoff.Retry does: otherwise its first back-offs are 0.
func TestPolicyIsReset(t *testing.T) {
	each(t, func(t *testing.T, d *desk, o options) {
		o.Retry = func() backoff.BackOff {
			return &backoff.ExponentialBackOff{InitialInterval: time.Minute, Multiplier: 1, MaxInterval: time.Hour, Stop: backoff.Stop, Clock: backoff.SystemClock}
		}
		began := time.Now()
		d.send("a1")
		var tries []time.Duration
		done := start(func() error {
			return consume.Each(t.Context(), d.sub, func(context.Context, message) error {
				if tries = append(tries, time.Since(began)); len(tries) < 3 {
					return errHandler
				}
				return nil
			}, o)
		})
		time.Sleep(time.Hour)
		synctest.Wait()
		require.Equal(t, []time.Duration{0, time.Minute, 2 * time.Minute}, tries)
		d.drain()
		require.NoError(t, <-done)
	})
}

func TestWhenThereIsNoNextTry(t *testing.T) {
	broken := errors.New("policy")
	for name, c := range map[string]struct {
		retry func() backoff.BackOff
		err   error
		want  error
		tries int
	}{
		"no Retry":          {nil, errHandler, errHandler, 1},
		"Permanent":         {constant(time.Second), backoff.Permanent(errHandler), errHandler, 1},
		"Permanent, inside": {constant(time.Second), fmt.Errorf("save: %w", backoff.Permanent(errHandler)), errHandler, 1},
		"Stop":              {func() backoff.BackOff { return &backoff.StopBackOff{} }, errHandler, errHandler, 1},
		"nil":               {func() backoff.BackOff { return nil }, errHandler, errHandler, 1},
		"at once":           {func() backoff.BackOff { return backoff.WithMaxRetries(&backoff.ZeroBackOff{}, 9) }, errHandler, errHandler, 10},
		"a policy's panic":  {func() backoff.BackOff { panic(broken) }, errHandler, broken, 1},
		"time":              {func() backoff.BackOff { return backoff.NewExponentialBackOff() }, errHandler, errHandler, 0},
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, d *desk, o options) {
				o.Retry = c.retry
				tries := 0
				d.send("a1")
				err := consume.Each(t.Context(), d.sub, func(context.Context, message) error { tries++; return c.err }, o)
				require.ErrorIs(t, err, c.want)
				require.ErrorIs(t, err, errHandler)
				var u *unhandledError
				require.ErrorAs(t, err, &u)
				require.Equal(t, tries, u.Unhandled[0].Tries)
				if c.tries > 0 {
					require.Equal(t, c.tries, tries)
				} else {
					require.Greater(t, tries, 10, "15 minutes' worth of them")
				}
				require.Len(t, u.Unhandled, 1)
				if name == "Permanent" {
					require.Same(t, errHandler, u.Unhandled[0].Err, "without its wrapper")
				}

				// The same with GiveUp.
				var got error
				o.GiveUp = func(_ context.Context, _ message, err error) error { got = err; return nil }
				d.send("a1")
				done := start(func() error {
					return consume.Each(t.Context(), d.sub, func(context.Context, message) error { return c.err }, o)
				})
				time.Sleep(time.Hour)
				d.drain()
				require.NoError(t, <-done)
				require.ErrorIs(t, got, c.want)
				require.ErrorIs(t, got, errHandler)
			})
		})
	}
}

// A GiveUp that fails ends Each, and both errors can be found.
func TestGiveUpFails(t *testing.T) {
	each(t, func(t *testing.T, d *desk, o options) {
		o.GiveUp = func(context.Context, message, error) error { return errGiveUp }
		d.send("a1", "a2")
		err := consume.Each(t.Context(), d.sub, func(context.Context, message) error { return errHandler }, o)
		require.ErrorIs(t, err, errGiveUp)
		require.ErrorIs(t, err, errHandler)
		require.ErrorContains(t, err, "GiveUp: no dead letters today; it was called for: handler")
		var u *unhandledError
		require.ErrorAs(t, err, &u)
		require.Equal(t, "a1", u.Unhandled[0].Message.Value.String())

		o.GiveUp = func(_ context.Context, _ message, err error) error { return err }
		d.send("a3")
		err = consume.Each(t.Context(), d.sub, func(context.Context, message) error { return errHandler }, o)
		require.ErrorAs(t, err, &u)
		require.Equal(t, errHandler, u.Err, "its own error needs no explanation")
	})
}

// A policy that never waits hears of the end of the subscription, too.
func TestRetriesAtOnceEndWithTheGrace(t *testing.T) {
	each(t, func(t *testing.T, d *desk, o options) {
		o.Retry = func() backoff.BackOff { return &backoff.ZeroBackOff{} }
		o.Grace = 5 * time.Second
		d.send("a1")
		tries := 0
		err := consume.Each(t.Context(), d.sub, func(context.Context, message) error {
			if tries++; tries == 2 {
				d.sub.Close()
			}
			if tries > 1000 {
				return backoff.Permanent(errors.New("for ever"))
			}
			time.Sleep(time.Second)
			return errHandler
		}, o)
		require.ErrorIs(t, err, errHandler)
		require.ErrorContains(t, err, "the subscription has ended")
	})
}

// The ctx of a call ends with the call, when it has one of its own.
func TestCtxOfACallEndsWithIt(t *testing.T) {
	each(t, func(t *testing.T, d *desk, o options) {
		var handler, giveUp context.Context
		o.GiveUp = func(ctx context.Context, _ message, _ error) error { giveUp = ctx; return nil }
		d.send("a1")
		d.sub.Drain(t.Context()) // nobody reads yet
		require.NoError(t, consume.Each(t.Context(), d.sub, func(ctx context.Context, _ message) error {
			handler = ctx
			return errHandler
		}, o))
		require.ErrorIs(t, handler.Err(), context.Canceled)
		require.ErrorIs(t, giveUp.Err(), context.Canceled)
	})
}

// What waits for a try when Each is to end is given up in the order of the tries.
func TestGivenUpInTheOrderOfTries(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		wait := 6 * time.Hour
		var b book
		done := start(func() error {
			return consume.Each(ctx, d.sub, func(context.Context, message) error { return errHandler }, options{
				OrderBy: byKey,
				Retry: func() backoff.BackOff {
					wait -= time.Hour
					return backoff.NewConstantBackOff(wait)
				},
				GiveUp: func(_ context.Context, m message, _ error) error { b.add("%v", m.Value); return nil },
			})
		})
		d.send("a1", "b1", "c1", "d1", "e1")
		require.True(t, running(done))
		cancel()
		require.ErrorIs(t, <-done, context.Canceled)
		require.Equal(t, []string{"e1", "d1", "c1", "b1", "a1"}, b.all())
	})
}

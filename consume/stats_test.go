package consume_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub/consume"
)

func TestStats(t *testing.T) {
	each(t, func(t *testing.T, d *desk, o options) {
		monitor := new(consume.Monitor)
		require.Zero(t, monitor.Stats())
		o.Monitor = monitor
		o.Retry = tries(3, 10*time.Second)
		o.GiveUp = func(_ context.Context, m message, err error) error {
			if m.Value.Key == "y" {
				return err
			}
			return nil
		}
		done := start(func() error {
			return consume.Each(t.Context(), d.sub, func(ctx context.Context, m message) error {
				time.Sleep(time.Second)
				switch m.Value.Key {
				case "r":
					if consume.Try(ctx) == 1 {
						return errHandler
					}
				case "x", "y":
					return errHandler
				}
				return nil
			}, o)
		})
		at := func(d time.Duration) consume.Stats {
			time.Sleep(d)
			synctest.Wait()
			return monitor.Stats()
		}
		d.send("a1")
		require.Equal(t, consume.Stats{Taken: 1, InFlight: 1, Busy: 1, Oldest: 500 * time.Millisecond}, at(500*time.Millisecond))
		require.Equal(t, consume.Stats{Taken: 1, Handled: 1}, at(time.Second))
		d.send("r1")
		require.Equal(t, consume.Stats{Taken: 2, Handled: 1, Failed: 1, InFlight: 1, Waiting: 1, Oldest: 2 * time.Second}, at(2*time.Second))
		require.Equal(t, consume.Stats{Taken: 2, Handled: 1, Failed: 1, Retried: 1, InFlight: 1, Busy: 1, Oldest: 11500 * time.Millisecond}, at(9500*time.Millisecond))
		require.Equal(t, consume.Stats{Taken: 2, Handled: 2, Failed: 1, Retried: 1}, at(time.Second))
		d.send("x1")
		require.Equal(t, consume.Stats{Taken: 3, Handled: 2, GivenUp: 1, Failed: 4, Retried: 3}, at(time.Minute))
		d.send("y1")
		require.True(t, errors.Is(<-done, errHandler))
		require.Equal(t, consume.Stats{Taken: 4, Handled: 2, GivenUp: 1, Dropped: 1, Failed: 7, Retried: 5}, monitor.Stats())
	})
}

// Several may share a Monitor.
func TestSharedMonitor(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk) {
		monitor := new(consume.Monitor)
		other := d.subscribe()
		handle := func(context.Context, message) error { time.Sleep(time.Minute); return nil }
		first := start(func() error { return consume.Each(t.Context(), d.sub, handle, options{Monitor: monitor}) })
		d.send("a1")
		time.Sleep(time.Second)
		second := start(func() error { return consume.Each(t.Context(), other, handle, options{Monitor: monitor, Workers: 2}) })
		time.Sleep(time.Second)
		require.Equal(t, consume.Stats{Taken: 2, InFlight: 2, Busy: 2, Oldest: 2 * time.Second}, monitor.Stats())
		d.drain()
		require.NoError(t, <-first)
		require.Equal(t, consume.Stats{Taken: 2, Handled: 1, InFlight: 1, Busy: 1, Oldest: 59 * time.Second}, monitor.Stats())
		require.NoError(t, drain(other))
		require.NoError(t, <-second)
		require.Equal(t, consume.Stats{Taken: 2, Handled: 2}, monitor.Stats())
	})
}

// Oldest looks at all workers.
func TestOldestOfWorkers(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk) {
		monitor := new(consume.Monitor)
		done := start(func() error {
			return consume.Each(t.Context(), d.sub, func(_ context.Context, m message) error {
				time.Sleep(time.Duration(m.Value.N) * time.Second)
				return nil
			}, options{Monitor: monitor, Workers: 2})
		})
		oldest := func() time.Duration {
			time.Sleep(time.Second)
			synctest.Wait()
			return monitor.Stats().Oldest
		}
		d.send("a3")
		require.Equal(t, time.Second, oldest())
		d.send("b9")
		require.Equal(t, 2*time.Second, oldest())
		require.Equal(t, 2*time.Second, oldest(), "a3 is done")
		d.send("c9")
		require.Equal(t, 3*time.Second, oldest())
		d.drain()
		require.NoError(t, <-done)
	})
}

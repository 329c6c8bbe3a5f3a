package main

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/memory"
	"github.com/topicbus/pubsub/codec"
)

// Each of these tests runs in a synctest bubble: an outage of an hour takes no
// time, synctest.Wait returns when all goroutines have done what they can, and
// a goroutine that is left over fails the test.

// app is a Table that follows an Exchange over a memory backend, which is
// where the faults come from.
type app struct {
	*memory.Backend
	*Exchange
	table *Table
	store *store
	bus   pubsub.Bus[Price]
	ended chan error // what the table's Run returned
}

// start makes an app and waits until its table is up. It ends with the test.
func start(t *testing.T, backend *memory.Backend, opts ...pubsub.Option) *app {
	log := slog.New(slog.DiscardHandler)
	bus := pubsub.New(backend, codec.JSON[Price](), opts...)
	a := &app{Backend: backend, Exchange: NewExchange(bus, topic, log), bus: bus, ended: make(chan error, 1)}
	a.store = &store{Store: a.Exchange}
	a.table = NewTable(bus, topic, a.store, log)
	ctx, cancel := context.WithCancel(t.Context())
	publishing := make(chan error, 1)
	go func() { publishing <- a.Exchange.Run(ctx) }()
	go func() { a.ended <- a.table.Run(ctx); close(a.ended) }()
	t.Cleanup(func() {
		cancel()
		<-a.ended
		require.NoError(t, <-publishing)
		require.NoError(t, bus.Close())
		require.NoError(t, backend.Close())
		require.Zero(t, backend.Streams())
	})
	synctest.Wait()
	return a
}

// store is a Store that can be down or slow.
type store struct {
	Store
	asked atomic.Int64
	down  atomic.Bool
	slow  atomic.Int64 // a time.Duration
}

func (s *store) Snapshot(ctx context.Context) ([]Price, error) {
	s.asked.Add(1)
	prices, err := s.Store.Snapshot(ctx)
	if s.down.Load() {
		return nil, errors.New("the store is down")
	}
	select {
	case <-time.After(time.Duration(s.slow.Load())):
		return prices, err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// requireUpToDate checks that the table is an exact copy, knows it, and how
// many snapshots that took.
func (a *app) requireUpToDate(t *testing.T, reloads int) {
	t.Helper()
	synctest.Wait()
	prices, err := a.Exchange.Snapshot(t.Context())
	require.NoError(t, err)
	want := make(map[string]Price)
	for _, p := range prices {
		want[p.Symbol] = p
	}
	require.Equal(t, want, a.table.Prices())
	s := a.table.Status()
	require.True(t, s.Fresh)
	require.Equal(t, reloads, s.Reloads)
}

func (a *app) requireStale(t *testing.T, symbol string, price float64) {
	t.Helper()
	synctest.Wait()
	p, fresh := a.table.Price(symbol)
	require.False(t, fresh)
	require.Equal(t, price, p.Price, "a stale price is better than none")
}

func TestFollowsChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := start(t, memory.New())
		a.Set("AAPL", 100)
		a.Set("IBM", 200)
		a.requireUpToDate(t, 1)
		a.Set("AAPL", 101)
		a.requireUpToDate(t, 1)
		p, fresh := a.table.Price("AAPL")
		require.True(t, fresh)
		require.Equal(t, Price{"AAPL", 101, 3}, p)
	})
}

func TestStartsWithWhatThereIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := start(t, memory.New())
		a.Set("AAPL", 100)
		synctest.Wait() // published, and gone

		late := NewTable(a.bus, topic, a.store, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- late.Run(ctx) }()
		require.NoError(t, late.Await(ctx, 1))
		require.Equal(t, a.table.Prices(), late.Prices())
		require.Equal(t, 1, a.Streams(), "two tables share a stream")
		cancel()
		require.NoError(t, <-ended)
	})
}

func TestOutageOfAnHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := start(t, memory.New()) // keeps nothing for those who are away
		a.Set("AAPL", 100)
		a.requireUpToDate(t, 1)

		a.Disconnect(nil)
		for i := range 60 {
			a.Set("AAPL", float64(200+i)) // the exchange is still connected
			a.requireStale(t, "AAPL", 100)
			time.Sleep(time.Minute)
		}
		a.Reconnect()
		a.requireUpToDate(t, 2)
		require.Equal(t, uint64(60), a.table.Status().Lost)
	})
}

func TestOutageThatTheBackendBridges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := start(t, memory.New(memory.WithHistory(100)))
		a.Set("AAPL", 100)
		a.requireUpToDate(t, 1)
		a.Disconnect(nil)
		time.Sleep(time.Hour)
		a.Set("AAPL", 200)
		a.requireStale(t, "AAPL", 100)
		a.Reconnect()
		a.requireUpToDate(t, 1) // nothing was missed, so nothing is reloaded
	})
}

func TestEveryGapIsMended(t *testing.T) {
	for name, fault := range map[string]func(a *app){
		"lost by the service": func(a *app) { a.Lose(5) },
		"topic recreated":     func(a *app) { a.ResetPage() },
		"undecodable": func(a *app) {
			garbage := pubsub.Payload{Format: pubsub.Text, Data: []byte(`{"symbol":`)}
			_ = a.Backend.Publish(context.Background(), topic, garbage)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := start(t, memory.New())
				a.Set("AAPL", 100)
				a.requireUpToDate(t, 1)
				fault(a)
				a.requireUpToDate(t, 2)
				a.Set("AAPL", 101)
				a.requireUpToDate(t, 2)
			})
		})
	}
}

func TestStoreIsDownWhenItIsNeeded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := start(t, memory.New())
		a.Set("AAPL", 100)
		a.requireUpToDate(t, 1)
		a.store.down.Store(true)
		a.Lose(1)
		a.requireStale(t, "AAPL", 100)
		before := a.store.asked.Load()
		time.Sleep(time.Hour)
		asked := a.store.asked.Load() - before
		require.Greater(t, asked, int64(60), "it keeps trying")
		require.Less(t, asked, int64(300), "but does not hammer a store that is down")

		a.store.down.Store(false)
		time.Sleep(2 * maxRetryPeriod)
		a.requireUpToDate(t, 2)
	})
}

// While a snapshot is loading, changes wait in the subscription. Here they are
// more than it holds, which is one more gap.
func TestTooManyChangesDuringReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := start(t, memory.New(), pubsub.WithBuffer(8))
		a.store.slow.Store(int64(time.Second))
		a.Lose(1)
		synctest.Wait() // in the middle of the reload
		for i := range 100 {
			a.Set("AAPL", float64(i))
			synctest.Wait() // one message each
		}
		time.Sleep(time.Second)
		synctest.Wait()
		p, fresh := a.table.Price("AAPL")
		require.False(t, fresh, "the snapshot is older than the changes that were dropped: %v", p)
		time.Sleep(time.Second)
		a.requireUpToDate(t, 3)
		require.Equal(t, uint64(1+100-8), a.table.Status().Lost)
	})
}

// A snapshot may be newer than the changes that wait behind it.
func TestOldNewsDoNotUndoASnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := start(t, memory.New())
		a.Set("AAPL", 100)
		a.Set("AAPL", 101)
		a.requireUpToDate(t, 1)
		require.NoError(t, a.bus.Publish(t.Context(), topic, Price{"AAPL", 100, 1}))
		a.requireUpToDate(t, 1)
	})
}

func TestPublishingFails(t *testing.T) {
	for _, err := range []error{pubsub.ErrUnavailable, pubsub.ErrLimitExceeded} {
		t.Run(err.Error(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := start(t, memory.New())
				a.FailPublishes(3, err)
				a.Set("AAPL", 100)
				a.Set("IBM", 200)
				version := a.Set("AAPL", 101)
				require.NoError(t, a.table.Await(t.Context(), version), "it is published in the end")
				a.requireUpToDate(t, 1)
			})
		})
	}
}

func TestPublishingIsForbidden(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backend := memory.New()
		defer backend.Close()
		bus := pubsub.New(backend, codec.JSON[Price]())
		defer bus.Close()
		exchange := NewExchange(bus, topic, slog.New(slog.DiscardHandler))
		backend.FailPublishes(1, pubsub.ErrPermissionDenied)
		exchange.Set("AAPL", 100)
		require.ErrorIs(t, exchange.Run(t.Context()), pubsub.ErrPermissionDenied)
	})
}

func TestSubscriptionEndsForGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := start(t, memory.New())
		a.EndStreams(pubsub.ErrPermissionDenied)
		require.ErrorIs(t, <-a.ended, pubsub.ErrPermissionDenied)
	})
}

func TestCannotSubscribe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backend := memory.New()
		backend.FailSubscribes(1, pubsub.ErrNotFound)
		a := start(t, backend)
		require.ErrorIs(t, <-a.ended, pubsub.ErrNotFound)
		_, fresh := a.table.Price("AAPL")
		require.False(t, fresh)
	})
}

func TestEndsInTheMiddleOfAReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backend := memory.New()
		defer backend.Close()
		bus := pubsub.New(backend, codec.JSON[Price]())
		defer bus.Close()
		down := &store{Store: NewExchange(bus, topic, slog.New(slog.DiscardHandler))}
		down.down.Store(true)
		table := NewTable(bus, topic, down, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		begun := time.Now()
		require.NoError(t, table.Run(ctx), "it was told to end, which is no error")
		require.Equal(t, 10*time.Minute, time.Since(begun), "at once")
		require.ErrorIs(t, table.Await(ctx, 0), context.DeadlineExceeded)
	})
}

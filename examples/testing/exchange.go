package main

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/topicbus/pubsub"
)

// Exchange is the Store whose prices the Tables copy: it keeps them and
// publishes their changes.
type Exchange struct {
	bus   pubsub.Bus[Price]
	topic string
	log   *slog.Logger

	mu      sync.Mutex
	prices  map[string]Price
	version uint64
	unsent  map[string]Price // not known to be published
	wake    chan struct{}
}

// NewExchange returns an Exchange without prices.
func NewExchange(bus pubsub.Bus[Price], topic string, log *slog.Logger) *Exchange {
	return &Exchange{bus: bus, topic: topic, log: log,
		prices: make(map[string]Price), unsent: make(map[string]Price), wake: make(chan struct{}, 1)}
}

// Set changes a price and returns the version of the change. Run publishes it.
func (e *Exchange) Set(symbol string, price float64) (version uint64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.version++
	p := Price{symbol, price, e.version}
	e.prices[symbol], e.unsent[symbol] = p, p
	select {
	case e.wake <- struct{}{}:
	default:
	}
	return e.version
}

// Snapshot implements Store.
func (e *Exchange) Snapshot(context.Context) ([]Price, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Collect(maps.Values(e.prices)), nil
}

// Run publishes the changes until ctx ends, and then returns nil. It fails if
// trying again cannot help.
//
// Publish never retries, because it cannot know whether a duplicate does harm.
// Here it does none: prices have versions. And giving up would do harm: a
// message that was never accepted is no gap, so no Table would hear of it.
func (e *Exchange) Run(ctx context.Context) error {
	publish := func() error {
		err := e.publish(ctx)
		if err != nil && !errors.Is(err, pubsub.ErrUnavailable) && !errors.Is(err, pubsub.ErrLimitExceeded) {
			return backoff.Permanent(err)
		}
		return err
	}
	failed := func(err error, next time.Duration) {
		e.log.Warn("a change is not published yet", "error", err, "next", next)
	}
	for {
		select {
		case <-e.wake:
		case <-ctx.Done():
			return nil
		}
		patience := backoff.NewExponentialBackOff(backoff.WithMaxInterval(5*time.Second), backoff.WithMaxElapsedTime(0))
		err := backoff.RetryNotify(publish, backoff.WithContext(patience, ctx), failed)
		if err != nil && ctx.Err() == nil {
			return err
		}
	}
}

// publish publishes what is unsent, the oldest change first.
func (e *Exchange) publish(ctx context.Context) error {
	e.mu.Lock()
	unsent := slices.SortedFunc(maps.Values(e.unsent), func(a, b Price) int { return cmp.Compare(a.Version, b.Version) })
	e.mu.Unlock()
	for _, p := range unsent {
		if err := e.bus.Publish(ctx, e.topic, p); err != nil {
			return err
		}
		e.mu.Lock()
		if e.unsent[p.Symbol].Version == p.Version { // it may have changed again
			delete(e.unsent, p.Symbol)
		}
		e.mu.Unlock()
	}
	return nil
}

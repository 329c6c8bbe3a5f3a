package main

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/topicbus/pubsub"
)

// Price is what a symbol costs since a change of its price. Versions number
// the changes of all prices, so that it does not matter when somebody hears of
// a change twice, or of an old one late.
type Price struct {
	Symbol  string  `json:"symbol"`
	Price   float64 `json:"price"`
	Version uint64  `json:"version"`
}

// Store knows all prices. The topic only tells of changes.
type Store interface {
	Snapshot(ctx context.Context) ([]Price, error)
}

// Table is a local copy of a Store's prices that follows the changes. Its
// methods may be called from many goroutines at once.
//
// A message that is missing means a price that is wrong until it changes
// again, without anybody noticing. So behind every gap, whatever its cause,
// Table loads a snapshot, and until it has one it calls its prices stale.
type Table struct {
	bus   pubsub.Bus[Price]
	topic string
	store Store
	log   *slog.Logger

	mu        sync.Mutex
	prices    map[string]Price
	version   uint64 // of the newest change seen
	loaded    bool   // nothing is missing since the last snapshot
	connected bool
	status    Status
	changed   chan struct{} // closed at the next change, nil if nobody waits
}

// Status tells what a Table went through.
type Status struct {
	Fresh   bool // connected, and nothing is known to be missing
	Reloads int  // snapshots loaded, the first one included
	Lost    uint64
}

// NewTable returns a Table that follows topic in Run.
func NewTable(bus pubsub.Bus[Price], topic string, store Store, log *slog.Logger) *Table {
	return &Table{bus: bus, topic: topic, store: store, log: log, prices: make(map[string]Price)}
}

// Run follows the changes until ctx ends, and then returns nil. It fails if it
// cannot subscribe, or if the subscription ends for good; what passes (an
// outage, a gap, a store that is down) it endures.
func (t *Table) Run(ctx context.Context) error {
	sub, err := t.bus.Subscribe(ctx, t.topic, pubsub.OnState(t.stateChanged))
	if err != nil {
		return err
	}
	defer sub.Close()
	t.update(func() { t.connected = true })

	// Subscribe first, load second: a change in between is in the snapshot or
	// waits in the subscription, and if it is in both then its version tells.
	t.reload(ctx)
	for m, err := range sub.All() {
		var gap *pubsub.Discontinuity
		switch {
		case err == nil:
			t.update(func() { t.apply(m.Value) })
		case errors.As(err, &gap):
			t.log.Warn("changes are missing, loading a snapshot", "gap", gap)
			t.update(func() {
				t.loaded = false
				t.status.Lost += gap.Lost
			})
			// Meanwhile messages wait in the subscription. If they become too
			// many, that is one more gap, right behind this one.
			t.reload(ctx)
		default:
			return err // All yields what ended the subscription last
		}
	}
	if ctx.Err() != nil {
		return nil
	}
	return sub.Err()
}

// stateChanged is called when the connection broke or is back. What passed
// meanwhile is about to follow then, or a gap in its place.
func (t *Table) stateChanged(s pubsub.StateChange) {
	t.update(func() { t.connected = s.State != pubsub.Reconnecting })
}

const (
	loadTimeout    = 5 * time.Second
	maxRetryPeriod = 30 * time.Second
)

// reload loads a snapshot. It tries until it succeeds or ctx ends.
func (t *Table) reload(ctx context.Context) {
	load := func() error {
		ctx, cancel := context.WithTimeout(ctx, loadTimeout)
		defer cancel()
		prices, err := t.store.Snapshot(ctx)
		if err != nil {
			return err
		}
		t.update(func() {
			for _, p := range prices {
				t.apply(p)
			}
			t.loaded = true
			t.status.Reloads++
		})
		return nil
	}
	failed := func(err error, next time.Duration) {
		t.log.Warn("no snapshot", "error", err, "next", next)
	}
	patience := backoff.NewExponentialBackOff(backoff.WithMaxInterval(maxRetryPeriod), backoff.WithMaxElapsedTime(0))
	_ = backoff.RetryNotify(load, backoff.WithContext(patience, ctx), failed) // fails when ctx ends, which Run sees
}

// apply enters a price unless a newer one is known. mu is held.
func (t *Table) apply(p Price) {
	if p.Version > t.prices[p.Symbol].Version {
		t.prices[p.Symbol] = p
	}
	t.version = max(t.version, p.Version)
}

// update has change done, and tells those who wait.
func (t *Table) update(change func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	change()
	t.status.Fresh = t.connected && t.loaded
	if t.changed != nil {
		close(t.changed)
		t.changed = nil
	}
}

// Price returns the last known price of a symbol, and whether it is fresh. A
// stale one may do: that is for the caller to decide.
func (t *Table) Price(symbol string) (p Price, fresh bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.prices[symbol], t.status.Fresh
}

// Prices returns all prices by symbol.
func (t *Table) Prices() map[string]Price {
	t.mu.Lock()
	defer t.mu.Unlock()
	return maps.Clone(t.prices)
}

// Status returns what the Table went through so far.
func (t *Table) Status() Status {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.status
}

// Await blocks until the Table is fresh and includes the change with that
// version, or ctx ends. It lets a caller read what it wrote itself, and tests
// wait without guessing how long.
func (t *Table) Await(ctx context.Context, version uint64) error {
	for {
		t.mu.Lock()
		if t.status.Fresh && t.version >= version {
			t.mu.Unlock()
			return nil
		}
		if t.changed == nil {
			t.changed = make(chan struct{})
		}
		changed := t.changed
		t.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

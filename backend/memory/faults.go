package memory

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/topicbus/pubsub"
)

// faults are those of the whole backend. Backend.mu guards them.
type faults struct {
	publishes  failures
	subscribes failures
	delay      time.Duration
	outage     error // of topics that are seen for the first time, nil if none
}

// failures are calls that are to fail.
type failures struct {
	n   int
	err error
}

func (f *failures) next() error {
	if f.n <= 0 {
		return nil
	}
	f.n--
	return f.err
}

// begin applies to a new topic what holds for all.
func (f *faults) begin(t *topic) {
	if f.outage != nil {
		t.down = &outage{since: time.Now(), attempt: 1, err: f.outage, head: t.head()}
	}
}

// guard holds a publish back, or fails it, as the faults demand.
func (b *Backend) guard(ctx context.Context) error {
	b.mu.Lock()
	closed, err, delay := b.closed, error(nil), b.faults.delay
	if !closed {
		err = b.faults.publishes.next()
		b.watch()
	}
	b.mu.Unlock()
	switch {
	case closed:
		return errClosed
	case err != nil:
		return err
	case delay <= 0:
		return nil
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("memory: message not accepted, publishing is delayed by %v: %w", delay, cause(ctx))
	case <-b.done:
		return errClosed
	}
}

func (b *Backend) guardSubscribe() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return errClosed
	}
	return b.faults.subscribes.next()
}

// watch sets whether publishers must look at the faults. mu is held.
func (b *Backend) watch() {
	b.guarded.Store(b.closed || b.faults.publishes.n > 0 || b.faults.delay > 0)
}

// outage is a topic's time without connection.
type outage struct {
	since   time.Time
	attempt int
	err     error
	head    pubsub.Position // the newest message that the streams have seen
}

func (o *outage) refusal() error {
	if errors.Is(o.err, pubsub.ErrUnavailable) {
		return fmt.Errorf("memory: disconnected: %w", o.err)
	}
	return fmt.Errorf("memory: disconnected: %w: %w", pubsub.ErrUnavailable, o.err)
}

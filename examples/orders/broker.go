package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/topicbus/pubsub"
)

// broker is the service behind the workers. It goes down once, after so many
// orders, and comes back.
type broker struct {
	outage time.Duration
	after  int
	say    func(string)

	mu       sync.Mutex
	placed   int
	disorder int // orders that came before an earlier one of their symbol was placed
	newest   map[string]time.Time
	downTill time.Time
	state    brokerState
}

type brokerState uint8

const (
	fresh brokerState = iota // has not been down
	down
	recovered
)

var errDown = errors.New("broker: connection refused")

// place is the handler.
func (b *broker) place(ctx context.Context, m pubsub.Message[Order]) error {
	select {
	case <-time.After(2 * time.Millisecond): // it is far away
	case <-ctx.Done():
		return ctx.Err()
	}
	o := m.Value
	if o.Shares == 0 {
		return backoff.Permanent(fmt.Errorf("broker: no shares for %.2f a piece", o.Price)) // trying again does not help
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.isDown() {
		return errDown
	}
	if b.newest == nil {
		b.newest = make(map[string]time.Time)
	}
	if o.Date.Before(b.newest[o.Symbol]) {
		b.disorder++
	}
	b.newest[o.Symbol] = o.Date
	b.placed++
	return nil
}

// isDown is called with mu held.
func (b *broker) isDown() bool {
	switch {
	case b.state == fresh && b.outage > 0 && b.placed >= b.after:
		b.state, b.downTill = down, time.Now().Add(b.outage)
		b.say(fmt.Sprintf("the broker goes down, for %v", b.outage))
	case b.state == down && !time.Now().Before(b.downTill):
		b.state = recovered
		b.say("the broker is back")
	}
	return b.state == down
}

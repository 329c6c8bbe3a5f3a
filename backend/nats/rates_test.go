package nats_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/stretchr/testify/assert"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/nats"
	"github.com/topicbus/pubsub/backend/nats/natstest"
)

// However many streams a server refuses, they ask together as often as one
// would, and when one gets through the others follow. docs/nats.md has a table
// of the rates for other ways of misbehaving.
func TestStreamsTakeTurns(t *testing.T) {
	t.Parallel()
	const streams, turns, wait = 200, 20, 100 * time.Millisecond
	w := newWorld(t)
	b := w.backend(nats.WithBackoff(func() backoff.BackOff { return backoff.NewConstantBackOff(wait) }))
	var all []*tape
	for i := range streams {
		all = append(all, record(t, b, fmt.Sprint("topic", i), pubsub.Start{}))
	}
	var tries atomic.Int64
	var began time.Time
	took := make(chan time.Duration, 1)
	w.relay.Intercept(func(subject string) *natstest.Answer {
		if !strings.Contains(subject, ".CONSUMER.CREATE.") {
			return nil
		}
		switch tries.Add(1) {
		case 1:
			began = time.Now()
		case streams + turns:
			took <- time.Since(began)
		}
		return &natstest.Answer{Reply: []byte(`{"error":{"code":503,"err_code":10008,"description":"JetStream system temporarily unavailable"}}`)}
	})
	w.relay.Cut()
	for _, tp := range all {
		tp.state(pubsub.Reconnecting, 2)
	}
	select {
	case d := <-took:
		assert.GreaterOrEqual(t, d, (turns-1)*wait)
	case <-time.After(patience):
		assert.Fail(t, "they gave up", "after %d attempts", tries.Load())
	}
	w.relay.Intercept(nil)
	for _, tp := range all {
		tp.state(pubsub.Resumed, 1)
	}
}

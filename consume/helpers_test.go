package consume_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/memory"
	"github.com/topicbus/pubsub/codec"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// order is what the tests send. Its key is Key.
type order struct {
	Key string
	N   int
}

func byKey(o order) string { return o.Key }

func (o order) String() string { return fmt.Sprint(o.Key, o.N) }

// desk is a bus with one topic and one subscription to it.
type desk struct {
	t       *testing.T
	backend *memory.Backend
	bus     pubsub.Bus[order]
	sub     *pubsub.Subscription[order]
}

// bubble runs f in a bubble of fake time, with a desk.
func bubble(t *testing.T, f func(t *testing.T, d *desk)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(t, newDesk(t)) })
}

func newDesk(t *testing.T, opts ...pubsub.SubscribeOption) *desk {
	d := &desk{t: t, backend: memory.New()}
	d.bus = pubsub.New(d.backend, codec.JSON[order]())
	t.Cleanup(func() { d.bus.Close() })
	d.sub = d.subscribe(opts...)
	return d
}

func (d *desk) subscribe(opts ...pubsub.SubscribeOption) *pubsub.Subscription[order] {
	d.t.Helper()
	s, err := d.bus.Subscribe(d.t.Context(), "orders", opts...)
	require.NoError(d.t, err)
	return s
}

// send publishes one message for each "a1": key a, number 1.
func (d *desk) send(orders ...string) {
	d.t.Helper()
	for _, s := range orders {
		var o order
		_, err := fmt.Sscanf(s, "%1s%d", &o.Key, &o.N)
		require.NoError(d.t, err)
		require.NoError(d.t, d.bus.Publish(d.t.Context(), "orders", o))
	}
}

// drain drains the subscription while somebody reads it, however slowly.
func (d *desk) drain() {
	d.t.Helper()
	require.NoError(d.t, drain(d.sub))
}

func drain(s *pubsub.Subscription[order]) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10_000*time.Hour)
	defer cancel()
	return s.Drain(ctx)
}

// start calls f on a goroutine, and returns what tells its result.
func start(f func() error) <-chan error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	return done
}

// running reports whether f, begun with start, has not returned.
func running(done <-chan error) bool {
	synctest.Wait()
	return len(done) == 0
}

// values are the messages of an UnhandledError.
func values(e interface{ Error() string }) []string {
	var list []string
	if u, ok := e.(*unhandledError); ok {
		for _, m := range u.Unhandled {
			list = append(list, m.Message.Value.String())
		}
	}
	return list
}

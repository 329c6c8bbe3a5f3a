package nats_test

import (
	"sync/atomic"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/nats"
)

// TestConnBeforeItsServer: with nats.RetryOnFailedConnect a connection is made
// before its server is there. nats.go calls none of the handlers that a Backend
// can set when it is.
func TestConnBeforeItsServer(t *testing.T) {
	for _, closed := range []string{"", "the Backend", "the connection"} {
		t.Run("closed: "+closed, func(t *testing.T) {
			w := newWorld(t)
			w.relay.Down()
			nc, err := natsgo.Connect(w.relay.URL(), natsgo.RetryOnFailedConnect(true), natsgo.MaxReconnects(-1), natsgo.ReconnectWait(10*time.Millisecond))
			require.NoError(t, err)
			t.Cleanup(nc.Close)
			b, err := nats.NewFromConn(nc, quick()...)
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, b.Close()) })
			err = b.Publish(background(t), topic, pubsub.Payload{})
			require.ErrorIs(t, err, pubsub.ErrUnavailable)
			assert.Equal(t, pubsub.NotAccepted, pubsub.OutcomeOf(err))
			switch closed {
			case "the Backend":
				require.NoError(t, b.Close())
				require.ErrorIs(t, b.Publish(background(t), topic, pubsub.Payload{}), pubsub.ErrClosed)
				return
			case "the connection":
				nc.Close()
				require.Eventually(t, func() bool {
					return pubsub.OutcomeOf(b.Publish(background(t), topic, pubsub.Payload{})) == pubsub.NotAccepted
				}, patience, time.Millisecond)
				return
			}
			w.relay.Up()
			require.Eventually(t, func() bool {
				return b.Publish(background(t), topic, pubsub.Payload{}) == nil
			}, patience, time.Millisecond)
			tp := record(t, b, topic, pubsub.Start{})
			publish(t, b, topic, "a")
			tp.message("a")
			w.relay.Cut() // and it comes back like any
			tp.state(pubsub.Resumed, 1)
			publish(t, b, topic, "b")
			tp.message("b")
		})
	}
}

// TestHandlersOfTheCaller: nats.go calls a handler for disconnects of the old
// form if there is none of the new one. A Backend sets one of the new form.
func TestHandlersOfTheCaller(t *testing.T) {
	w := newWorld(t)
	var disconnects, reconnects atomic.Int32
	nc, err := natsgo.Connect(w.relay.URL(), natsgo.MaxReconnects(-1), natsgo.ReconnectWait(10*time.Millisecond),
		natsgo.DisconnectHandler(func(*natsgo.Conn) { disconnects.Add(1) }),
		natsgo.ReconnectHandler(func(*natsgo.Conn) { reconnects.Add(1) }))
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	b, err := nats.NewFromConn(nc, quick()...)
	require.NoError(t, err)
	publish(t, b, topic, "a")
	cut := func(n int32) {
		t.Helper()
		w.relay.Cut()
		require.Eventually(t, func() bool { return disconnects.Load() == n && reconnects.Load() == n }, patience, time.Millisecond)
	}
	cut(1)
	require.NoError(t, b.Close())
	cut(2) // they are called when the Backend is closed, too

	b, err = nats.NewFromConn(nc, quick()...) // one after the other
	require.NoError(t, err)
	cut(3)
	publish(t, b, topic, "b")
	require.NoError(t, b.Close())
}

package nats_test

import (
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

package nats_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/nats"
	"github.com/topicbus/pubsub/backend/nats/natstest"
)

// TestCluster changes a stream's leader under load: the leader steps down, and
// the server that leads is stopped and started. What was accepted is delivered
// once, in order.
func TestCluster(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long")
	}
	t.Parallel()
	c, err := natstest.NewCluster()
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	b, err := nats.New(c.URL(), append(quick(), nats.WithReplicas(3))...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	admin, err := c.Servers[0].Connect()
	require.NoError(t, err)
	t.Cleanup(admin.Close)

	tp := record(t, b, topic, pubsub.Start{})
	publish(t, b, topic, "first")
	tp.message("first")
	js, err := jetstream.New(admin)
	require.NoError(t, err)
	name := ""
	for n := range js.StreamNames(background(t)).Name() {
		name = n
	}

	var (
		accepted []string
		unknown  = make(map[string]bool)
		load     sync.WaitGroup
		stop     = make(chan struct{})
	)
	load.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			text := fmt.Sprint(i)
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			err := b.Publish(ctx, topic, pubsub.Payload{Data: []byte(text)})
			cancel()
			switch {
			case err == nil:
				accepted = append(accepted, text)
				time.Sleep(time.Millisecond) // or what the stream keeps overtakes a reader that a busy machine holds up
			case pubsub.OutcomeOf(err) == pubsub.OutcomeUnknown:
				unknown[text] = true
			default:
				time.Sleep(10 * time.Millisecond) // nobody leads just now
			}
		}
	})
	leads := func() *natstest.Server {
		var leader *natstest.Server
		require.Eventually(t, func() bool { leader = c.Leader(name); return leader != nil }, patience, 10*time.Millisecond)
		return leader
	}
	flows := func() {
		n := len(tp.all())
		tp.until("more messages", func(list []pubsub.Frame) bool { return len(list) > n+10 })
	}
	for range 3 {
		leads()
		_, err := admin.Request("$JS.API.STREAM.LEADER.STEPDOWN."+name, nil, patience)
		require.NoError(t, err)
		leads()
		flows()
	}
	leader := leads()
	leader.Stop()
	leads()
	flows()
	leader.Start()
	flows()
	close(stop)
	load.Wait()
	require.Eventually(t, func() bool { return b.Publish(background(t), topic, pubsub.Payload{Data: []byte("last")}) == nil }, patience, 10*time.Millisecond)
	tp.message("last")

	var got []string
	at := pubsub.Position{}
	for _, f := range tp.all() {
		require.NotEqual(t, pubsub.KindDiscontinuity, f.Kind, "%v", f.Discontinuity)
		if f.Kind != pubsub.KindMessage {
			continue
		}
		require.Positive(t, f.Position.Compare(at), "in order, once")
		at = f.Position
		text := string(f.Payload.Data)
		if !unknown[text] && text != "first" && text != "last" {
			got = append(got, text)
		}
	}
	assert.Equal(t, accepted, got)
}

package main

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/momento"
	"github.com/topicbus/pubsub/backend/momento/momentotest"
	"github.com/topicbus/pubsub/codec"
)

// These tests run the same application over the real protocol: the Momento
// backend and the official SDK, connected by TCP to a server on the loopback
// interface. What can go wrong in the application is tested in table_test.go,
// in no time; these show that it goes wrong, and right, in the same way here.

// remote is an Exchange and a Table over a server, each with a connection of
// its own, as they would have on two machines.
type remote struct {
	*momentotest.Server
	*Exchange
	table *Table
	ended chan error // what the table's Run returned
}

const cache = "cache"

func startRemote(t *testing.T, opts ...momentotest.Option) *remote {
	server, err := momentotest.NewServer(append(opts, momentotest.WithCaches(cache))...)
	require.NoError(t, err)
	t.Cleanup(func() { server.Close() })
	log := slog.New(slog.DiscardHandler)
	connect := func() pubsub.Bus[Price] {
		backend, err := momento.New(cache, momento.WithCredentials(server.Credentials()), momento.WithLogger(log),
			momento.WithBackoff(func() backoff.BackOff { return backoff.NewConstantBackOff(5 * time.Millisecond) }),
			momento.WithRefusalPatience(0)) // a refusal that lasts is another test's matter
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, backend.Close()) })
		bus := pubsub.New(backend, codec.JSON[Price](), pubsub.WithLogger(log))
		t.Cleanup(func() { require.NoError(t, bus.Close()) })
		return bus
	}
	r := &remote{Server: server, ended: make(chan error, 1)}
	r.Exchange = NewExchange(connect(), topic, log)
	r.table = NewTable(connect(), topic, r.Exchange, log)
	ctx, cancel := context.WithCancel(t.Context())
	publishing := make(chan error, 1)
	go func() { publishing <- r.Exchange.Run(ctx) }()
	go func() { r.ended <- r.table.Run(ctx); close(r.ended) }()
	t.Cleanup(func() {
		cancel()
		<-r.ended
		require.NoError(t, <-publishing)
	})
	r.await(t, 0)
	return r
}

// await waits until the table is fresh and has the change, and checks that it
// is an exact copy then.
func (r *remote) await(t *testing.T, version uint64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	require.NoError(t, r.table.Await(ctx, version))
	prices, err := r.Snapshot(ctx)
	require.NoError(t, err)
	require.Len(t, r.table.Prices(), len(prices))
	for _, p := range prices {
		require.Equal(t, p, r.table.Prices()[p.Symbol])
	}
}

func TestMomentoFollowsChanges(t *testing.T) {
	r := startRemote(t)
	for i := range 100 {
		r.Set("AAPL", float64(i))
	}
	r.await(t, r.Set("IBM", 200))
	require.Equal(t, Status{Fresh: true, Reloads: 1}, r.table.Status())
	require.Equal(t, 1, r.Stats().Streams)
}

func TestMomentoOutage(t *testing.T) {
	r := startRemote(t)
	r.await(t, r.Set("AAPL", 100))
	r.Stop()
	r.Set("AAPL", 101)
	version := r.Set("IBM", 200)
	require.NoError(t, r.Restart())
	r.await(t, version)
	require.Equal(t, 1, r.table.Status().Reloads, "the stream resumed where it was")
}

func TestMomentoGaps(t *testing.T) {
	for name, fault := range map[string]func(*momentotest.Topic){
		"announced":       func(t *momentotest.Topic) { t.Lose(5, momentotest.Announced) },
		"unannounced":     func(t *momentotest.Topic) { t.Lose(5, momentotest.Unannounced) },
		"topic recreated": func(t *momentotest.Topic) { t.Reset(momentotest.Announced) },
	} {
		t.Run(name, func(t *testing.T) {
			r := startRemote(t)
			r.await(t, r.Set("AAPL", 100))
			fault(r.Topic(cache, topic))
			r.await(t, r.Set("AAPL", 101))
			require.Equal(t, 2, r.table.Status().Reloads)
		})
	}
}

// What was published while the table's connection was down is more than the
// server keeps for those who resume.
func TestMomentoMissedTooMuch(t *testing.T) {
	r := startRemote(t, momentotest.WithRetention(4))
	r.await(t, r.Set("AAPL", 100))
	r.Stop()
	elsewhere := r.Topic(cache, topic) // published by somebody who still reaches it
	for range 10 {
		_, err := elsewhere.Publish(pubsub.Payload{Format: pubsub.Text, Data: []byte(`{"symbol":"AAPL","price":100,"version":1}`)})
		require.NoError(t, err)
	}
	require.NoError(t, r.Restart())
	r.await(t, r.Set("AAPL", 101))
	s := r.table.Status()
	require.Equal(t, 2, s.Reloads)
	require.GreaterOrEqual(t, s.Lost, uint64(6))
}

func TestMomentoCacheIsDeleted(t *testing.T) {
	r := startRemote(t)
	r.await(t, r.Set("AAPL", 100))
	require.NoError(t, r.DeleteCache(cache))
	require.ErrorIs(t, <-r.ended, pubsub.ErrNotFound)
}

func TestMomentoLimit(t *testing.T) {
	r := startRemote(t)
	r.FailNext(momentotest.Publish, 2, momentotest.Failure{Code: codes.ResourceExhausted, Message: "slow down", Reason: momentotest.ReasonOperationsRate})
	r.await(t, r.Set("AAPL", 100))
	require.Equal(t, 3, r.Stats().Publishes, "twice refused, once accepted")
}

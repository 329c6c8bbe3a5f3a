package pubsubdebug_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"

	"github.com/cenkalti/backoff/v4"
	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/memory"
	"github.com/topicbus/pubsub/codec"
	"github.com/topicbus/pubsub/consume"
	"github.com/topicbus/pubsub/pubsubdebug"
)

// handled is what a tool reads of a Monitor.
type handled struct {
	Handlers []struct {
		Name                                                           string
		Taken, Handled, GivenUp, Dropped, Failed, Retried, Holes, Lost uint64
		InFlight, Busy, Waiting                                        int
		Oldest                                                         float64
	}
}

func TestMonitor(t *testing.T) {
	bus := pubsub.New(memory.New(), codec.JSON[int](), pubsub.WithBuffer(1500))
	t.Cleanup(func() { bus.Close() })
	sub := subscribe(t, bus, "t")
	require.NoError(t, bus.Publish(t.Context(), "t", -1))
	_, err := sub.Next(t.Context()) // from here on what is published is in the buffer at once
	require.NoError(t, err)
	for i := range 1502 { // the first two are lost
		require.NoError(t, bus.Publish(t.Context(), "t", i))
	}

	monitor, idle := new(consume.Monitor), new(consume.Monitor)
	plain := pubsubdebug.Handler(bus)
	h := plain.WithMonitor("<i>orders</i>", monitor).WithMonitor("idle", idle)
	reached, goOn, done := make(chan struct{}), make(chan struct{}), make(chan error)
	go func() {
		done <- consume.Each(context.Background(), sub, func(_ context.Context, m pubsub.Message[int]) error {
			switch m.Value {
			case 2, 3:
				return errors.New("cannot")
			case 1501:
				close(reached)
				<-goOn
			}
			return nil
		}, consume.Options[int]{
			Retry:   func() backoff.BackOff { return backoff.WithMaxRetries(&backoff.ZeroBackOff{}, 1) },
			GiveUp:  func(context.Context, pubsub.Message[int], error) error { return nil },
			OnLoss:  func(*pubsub.Discontinuity) error { return nil },
			Monitor: monitor,
		})
	}()
	<-reached // one is in flight
	read := func() (doc handled) {
		require.NoError(t, json.Unmarshal(get(t, h, "/?format=json", "").Body.Bytes(), &doc))
		return doc
	}
	doc := read()
	require.Len(t, doc.Handlers, 2)
	require.Equal(t, "idle", doc.Handlers[1].Name)
	require.Zero(t, doc.Handlers[1].Taken)
	got := doc.Handlers[0]
	require.Positive(t, got.Oldest)
	require.Equal(t, "<i>orders</i>", got.Name)
	require.Equal(t, []uint64{1500, 1497, 2, 0, 4, 2, 1, 2},
		[]uint64{got.Taken, got.Handled, got.GivenUp, got.Dropped, got.Failed, got.Retried, got.Holes, got.Lost})
	require.Equal(t, []int{1, 1, 0}, []int{got.InFlight, got.Busy, got.Waiting})
	body := get(t, h, "/", "").Body.String()
	for _, want := range []string{
		"<bdi>&lt;i&gt;orders&lt;/i&gt;</bdi>", "1 in flight, the oldest for", "nothing in flight",
		`data-rate="handlers 0 handled">1,497<`, `<dt>Lost</dt><dd class="bad">2 <small>in 1 hole</small>`,
	} {
		require.Contains(t, body, want)
	}

	close(goOn)
	require.NoError(t, sub.Drain(t.Context()))
	require.NoError(t, <-done)
	got = read().Handlers[0]
	require.Equal(t, []uint64{1500, 1498, 2}, []uint64{got.Taken, got.Handled, got.GivenUp})
	require.NotContains(t, get(t, h, "/", "").Body.String(), "1 in flight")

	require.NotContains(t, get(t, plain, "/", "").Body.String(), "orders", "WithMonitor leaves its page as it was")
	require.JSONEq(t, "[]", string(mustField(t, get(t, plain, "/?format=json", "").Body.Bytes(), "handlers")))
	require.PanicsWithValue(t, `pubsubdebug: WithMonitor("x"): the Monitor is nil`, func() { plain.WithMonitor("x", nil) })
}

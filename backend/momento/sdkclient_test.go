package momento_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/momento"
)

// The SDK must be at rest before its client is closed, however long that
// takes: here a log handler holds up the goroutine that allots streams. The
// race detector would complain, and now and then the process would panic.
func TestCloseWaitsForTheSDK(t *testing.T) {
	srv := newServer(t)
	h := slowHandler{slog.DiscardHandler, make(chan struct{}, 10)}
	b := open(t, srv, momento.WithLogger(slog.New(h)), momento.WithMaxSubscriptions(100))
	listen(t, b, "topic")
	for range 2 {
		<-h.allotted // the second time for nobody yet
	}
	require.NoError(t, b.Publish(t.Context(), "topic", text("x")))
	require.NoError(t, b.Close())
}

// Deliveries that do not return keep their places in the pool. Those are given
// back for it to come to rest, which a full one does not.
func TestCloseWithAFullPoolAndDeliveriesThatHang(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long")
	}
	const room = 100
	srv := newServer(t)
	b := open(t, srv, momento.WithMaxSubscriptions(room))
	release := make(chan struct{})
	var delivering, receiving sync.WaitGroup
	for i := range room {
		name := fmt.Sprint("topic-", i)
		s, err := b.Subscribe(t.Context(), name, pubsub.Start{})
		require.NoError(t, err)
		delivering.Add(1)
		receiving.Go(func() {
			hang := sync.OnceFunc(func() { delivering.Done(); <-release })
			_ = s.Receive(func(context.Context, pubsub.Frame) error { hang(); return nil })
		})
		_, err = srv.Topic("cache", name).Publish(text("x"))
		require.NoError(t, err)
	}
	delivering.Wait()
	began := time.Now()
	require.NoError(t, b.Close())
	took := time.Since(began)
	close(release)
	receiving.Wait()
	require.Less(t, took, 5*time.Second)
}

type slowHandler struct {
	slog.Handler
	allotted chan struct{}
}

func (h slowHandler) Enabled(context.Context, slog.Level) bool { return true }

func (h slowHandler) Handle(_ context.Context, r slog.Record) error {
	switch {
	case strings.HasPrefix(r.Message, "Current number of active subscriptions"):
		time.Sleep(350 * time.Millisecond)
	case strings.HasPrefix(r.Message, "Starting new subscription on grpc channel"):
		h.allotted <- struct{}{}
	}
	return nil
}

func (h slowHandler) WithAttrs([]slog.Attr) slog.Handler { return h }
func (h slowHandler) WithGroup(string) slog.Handler      { return h }

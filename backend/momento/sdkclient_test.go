package momento_test

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
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

// Package early uses a bus before main begins, as a program does that opens its
// subscriptions in init.
package early

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/memory"
	"github.com/topicbus/pubsub/backend/momento"
	"github.com/topicbus/pubsub/backend/momento/momentotest"
	"github.com/topicbus/pubsub/codec"
)

// received is what was read before main began, or what failed.
var received = map[string]string{}

func init() {
	received["memory"] = early(func() (pubsub.Backend, func() error, error) {
		b := memory.New()
		return b, b.Close, nil
	})
	received["momento"] = early(func() (pubsub.Backend, func() error, error) {
		server, err := momentotest.NewServer(momentotest.WithCaches("cache"))
		if err != nil {
			return nil, nil, err
		}
		b, err := momento.New("cache", momento.WithCredentials(server.Credentials()))
		return b, func() error { defer server.Close(); return b.Close() }, err
	})
}

func early(open func() (pubsub.Backend, func() error, error)) string {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	backend, closeBackend, err := open()
	if err != nil {
		return err.Error()
	}
	bus := pubsub.New(backend, codec.String())
	s, err := bus.Subscribe(ctx, "orders")
	if err != nil {
		return err.Error()
	}
	if err := bus.Publish(ctx, "orders", "tea"); err != nil {
		return err.Error()
	}
	m, ok := <-s.C()
	if err := bus.Drain(ctx); err != nil {
		return err.Error()
	}
	if err := closeBackend(); err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%s %v", m.Value, ok)
}

func TestSubscribeInInit(t *testing.T) {
	require.Equal(t, map[string]string{"memory": "tea true", "momento": "tea true"}, received)
}

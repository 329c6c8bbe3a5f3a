package memory_test

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/memory"
)

func TestPublishReachesStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := memory.New()
		defer b.Close()
		ctx, cancel := context.WithCancel(t.Context())
		s, err := b.Subscribe(ctx, "a", pubsub.Position{})
		require.NoError(t, err)
		require.NoError(t, b.Publish(ctx, "a", pubsub.Payload{Data: []byte("1")}))
		var got []pubsub.Frame
		done := make(chan error, 1)
		go func() {
			done <- s.Receive(func(_ context.Context, f pubsub.Frame) error { got = append(got, f); return nil })
		}()
		synctest.Wait()
		for range 4 {
			require.NoError(t, b.Publish(ctx, "a", pubsub.Payload{Data: []byte("1")}))
		}
		cancel()
		require.NoError(t, <-done)
		require.Len(t, got, 5)
		for i, f := range got {
			require.Equal(t, pubsub.Position{Page: 1, Sequence: uint64(i + 1)}, f.Position)
		}
	})
}

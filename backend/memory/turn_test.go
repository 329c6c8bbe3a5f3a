package memory_test

import (
	"context"
	"encoding/binary"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/memory"
)

// Publishers that wait without a deadline all get their turn, whether they
// win the race for it or not.
func TestEveryPublisherGetsItsTurn(t *testing.T) {
	const publishers, messages = 16, 400
	b := memory.New(memory.WithPage(1))
	a := &auditor{last: at(1, 0), from: map[uint32]uint32{}}
	s, err := b.Subscribe(t.Context(), "a", pubsub.Start{})
	require.NoError(t, err)
	ended := make(chan error, 1)
	go func() {
		ended <- s.Receive(func(ctx context.Context, f pubsub.Frame) error {
			runtime.Gosched() // long enough for the others to queue up
			return a.deliver(ctx, f)
		})
	}()
	var senders sync.WaitGroup
	for p := range uint32(publishers) {
		senders.Add(1)
		go func() {
			defer senders.Done()
			for n := range uint32(messages) {
				data := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, p), n+1)
				if err := b.Publish(context.Background(), "a", pubsub.Payload{Data: data}); err != nil {
					t.Error(err)
				}
			}
		}()
	}
	all := make(chan struct{})
	go func() { defer close(all); senders.Wait() }()
	select {
	case <-all:
	case <-time.After(20 * time.Second):
		t.Fatal("a publisher was forgotten in the queue")
	}
	require.NoError(t, b.Close())
	require.ErrorIs(t, <-ended, pubsub.ErrClosed)
	require.Empty(t, a.problems)
	require.Equal(t, uint64(publishers*messages), a.delivered)
}

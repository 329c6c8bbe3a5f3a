package memory_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/memory"
)

// nested publishes once from inside the delivery of the first message.
func nested(b *memory.Backend, topic string, result chan<- error) func(context.Context, pubsub.Frame) error {
	done := false
	return func(_ context.Context, f pubsub.Frame) error {
		if f.Kind == pubsub.KindMessage && !done {
			done = true
			result <- b.Publish(context.Background(), topic, text("nested"))
		}
		return nil
	}
}

// A codec that publishes to its own topic, with a ctx that does not end, gets
// an error rather than wait for itself for ever.
func TestPublishInsideADeliveryOfTheTopic(t *testing.T) {
	for _, history := range []int{0, 10} {
		bubble(t, func(t *testing.T, b *memory.Backend) {
			for _, way := range []string{"slow", "short", "batch"} {
				result := make(chan error, 1)
				r := open(t, b, "a", pubsub.Position{}).start(nested(b, "a", result))
				synctest.Wait()
				if way == "short" {
					publish(t, b, "other", "x")
				}
				began := time.Now()
				n, err := batcher(t, b, "a").PublishBatch(t.Context(), texts("1", "2"))
				require.NoError(t, err)
				require.Equal(t, 2, n)
				err = <-result
				require.ErrorIs(t, err, pubsub.ErrUnavailable)
				require.ErrorContains(t, err, "must do so on another goroutine")
				require.Equal(t, pubsub.NotAccepted, pubsub.OutcomeOf(err))
				require.Equal(t, 5*time.Second, time.Since(began))
				require.Len(t, r.log(), 2)
				r.cancel()
				require.NoError(t, <-r.done)
			}
		}, memory.WithHistory(history))
	}
}

// In a replay it need not wait: the message comes behind the replay.
func TestPublishInsideAReplay(t *testing.T) {
	bubble(t, func(t *testing.T, b *memory.Backend) {
		publish(t, b, "a", "1", "2")
		result := make(chan error, 1)
		r := openFrom(t, b, "a", oldest).start(nested(b, "a", result))
		require.NoError(t, <-result)
		synctest.Wait()
		publish(t, b, "a", "4")
		require.Equal(t, []string{"1/1=1", "1/2=2", "1/3=nested", "1/4=4"}, r.log())
	}, memory.WithHistory(10))
}

// Those who wait long, but not inside a delivery, wait on.
func TestLongWaitForATurn(t *testing.T) {
	bubble(t, func(t *testing.T, b *memory.Backend) {
		block, release := stall()
		r := open(t, b, "a", pubsub.Position{}).start(block)
		synctest.Wait()
		results := make(chan error, 2)
		for range 2 {
			go func() { results <- b.Publish(context.Background(), "a", text("x")) }()
			synctest.Wait()
		}
		time.Sleep(time.Hour)
		require.Empty(t, results)
		release()
		require.NoError(t, <-results)
		require.NoError(t, <-results)
		require.Equal(t, []string{"1/1=x", "1/2=x"}, r.log())
	})
}

// selfish publishes what it decodes to the topic that it decodes for.
type selfish struct {
	bus    *pubsub.Bus[string]
	result chan error
}

func (selfish) Encode(s string) (pubsub.Payload, error) { return text(s), nil }

func (c selfish) Decode(p pubsub.Payload) (string, error) {
	if s := string(p.Data); s == "first" {
		c.result <- (*c.bus).Publish(context.Background(), "a", "from Decode")
	}
	return string(p.Data), nil
}

func TestCodecThatPublishesToItsTopic(t *testing.T) {
	bubble(t, func(t *testing.T, b *memory.Backend) {
		c := selfish{new(pubsub.Bus[string]), make(chan error, 1)}
		bus := pubsub.New(b, c)
		*c.bus = bus
		defer bus.Close()
		sub, err := bus.Subscribe(t.Context(), "a")
		require.NoError(t, err)
		for _, s := range []string{"zero", "first", "last"} {
			require.NoError(t, bus.Publish(t.Context(), "a", s))
		}
		err = <-c.result
		require.ErrorIs(t, err, pubsub.ErrUnavailable)
		require.ErrorContains(t, err, "publishes to its own topic")
		require.Equal(t, pubsub.NotAccepted, pubsub.OutcomeOf(err))
		for _, want := range []string{"zero", "first", "last"} {
			e, err := sub.Next(t.Context())
			require.NoError(t, err)
			require.Equal(t, want, e.Message.Value)
		}
	})
}

// Who gave up to wait for itself is not in the way of those who come later.
func TestSelfWaitLeavesTheQueue(t *testing.T) {
	bubble(t, func(t *testing.T, b *memory.Backend) {
		block, release := stall()
		defer release()
		result := make(chan error, 1)
		publishOnce := nested(b, "a", result)
		r := open(t, b, "a", pubsub.Position{}).start(func(ctx context.Context, f pubsub.Frame) error {
			if string(f.Payload.Data) == "1" {
				return publishOnce(ctx, f)
			}
			return block(ctx, f)
		})
		synctest.Wait()
		publish(t, b, "a", "1")
		require.ErrorIs(t, <-result, pubsub.ErrUnavailable)
		results := make(chan error, 2)
		for range 2 {
			go func() { results <- b.Publish(context.Background(), "a", text("x")) }()
			synctest.Wait()
		}
		release()
		synctest.Wait()
		require.Len(t, results, 2)
		require.Equal(t, []string{"1/1=1", "1/2=x", "1/3=x"}, r.log())
	})
}

package memory

import (
	"context"
	"strconv"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub"
)

// Of two streams that end together both find the topic idle, and the second
// may come to say so when the topic has long been forgotten. That must not be
// taken to be about the topic that has the name by then.
func TestLateNewsOfAForgottenTopicIsNotOfItsNamesake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New()
		defer b.Close()
		visit := func(name string) {
			ctx, cancel := context.WithCancel(t.Context())
			s, err := b.Subscribe(ctx, name, pubsub.Start{})
			require.NoError(t, err)
			cancel()
			require.NoError(t, s.Receive(func(context.Context, pubsub.Frame) error { return nil }))
		}
		forgetAllIdle := func(prefix string) {
			for i := range maxIdle {
				visit(prefix + strconv.Itoa(i))
			}
		}
		var got []string
		listen := func(who string) {
			s, err := b.Subscribe(t.Context(), "a", pubsub.Start{})
			require.NoError(t, err)
			go func() {
				_ = s.Receive(func(_ context.Context, f pubsub.Frame) error {
					got = append(got, who+" "+string(f.Payload.Data))
					return nil
				})
			}()
			synctest.Wait()
		}
		publish := func(data string) {
			require.NoError(t, b.Publish(t.Context(), "a", pubsub.Payload{Data: []byte(data)}))
			synctest.Wait()
		}

		count := func() (n int) {
			for range b.engine.topics.Range {
				n++
			}
			return n
		}

		h := b.Topic(b, "a").(*handle)
		visit("a") // the first of the two
		gone, err := b.engine.topic("a")
		require.NoError(t, err)
		forgetAllIdle("b")
		require.True(t, gone.gone)
		h.topic.Store(gone)
		require.NoError(t, h.Publish(t.Context(), pubsub.Payload{}))
		require.Nil(t, h.topic.Load()) // it does not keep what was forgotten

		listen("1") // makes the namesake
		topics := count()
		b.engine.retire(gone) // the second of the two, late
		forgetAllIdle("c")
		publish("x")
		listen("2")
		publish("y")
		require.Equal(t, []string{"1 x", "1 y", "2 y"}, got)
		require.Equal(t, topics, count()) // all of "b" made room for all of "c"
	})
}

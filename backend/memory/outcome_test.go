package memory_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/memory"
)

// Each error of a publish says what became of its message.
func TestOutcomes(t *testing.T) {
	boom := errors.New("boom")
	// stick has a publisher hold the topic's turn until release.
	stick := func(t *testing.T, b *memory.Backend) (release func()) {
		block, release := stall()
		open(t, b, "a", pubsub.Position{}).start(block)
		synctest.Wait()
		go b.Publish(context.Background(), "a", text("x"))
		synctest.Wait()
		return release
	}
	for _, c := range []struct {
		name    string
		topic   string
		payload string
		before  func(*testing.T, *memory.Backend) (release func())
		during  func(*testing.T, *memory.Backend) // once the publish waits
		is      error
		text    string
		want    pubsub.Outcome
	}{
		{name: "blank topic", topic: " ", is: pubsub.ErrInvalidTopic, text: "blank", want: pubsub.NotAccepted},
		{name: "topic not UTF-8", topic: "a\xff", is: pubsub.ErrInvalidTopic, text: "UTF-8", want: pubsub.NotAccepted},
		{name: "too large", payload: "12345", is: pubsub.ErrPayloadTooLarge, text: "5 bytes, the limit is 4", want: pubsub.NotAccepted},
		{
			name:   "closed",
			before: func(t *testing.T, b *memory.Backend) func() { require.NoError(t, b.Close()); return nil },
			is:     pubsub.ErrClosed, text: "backend closed", want: pubsub.NotAccepted,
		},
		{
			name: "closed topic",
			before: func(t *testing.T, b *memory.Backend) func() {
				open(t, b, "a", pubsub.Position{})
				require.NoError(t, b.Close())
				return nil
			},
			is: pubsub.ErrClosed, text: "backend closed", want: pubsub.NotAccepted,
		},
		{
			name:   "made to fail",
			before: func(_ *testing.T, b *memory.Backend) func() { b.FailPublishes(1, nil); return nil },
			is:     pubsub.ErrUnavailable, text: "made to fail", want: pubsub.NotAccepted,
		},
		{
			name:   "made to fail with an error",
			before: func(_ *testing.T, b *memory.Backend) func() { b.FailPublishes(1, boom); return nil },
			is:     boom, text: "boom", want: pubsub.NotAccepted,
		},
		{
			name: "made to fail with an outcome",
			before: func(_ *testing.T, b *memory.Backend) func() {
				b.FailPublishes(1, pubsub.WithOutcome(boom, pubsub.OutcomeUnknown))
				return nil
			},
			is: boom, text: "boom", want: pubsub.OutcomeUnknown,
		},
		{
			name:   "accepted and made to fail",
			before: func(_ *testing.T, b *memory.Backend) func() { b.FailAcceptedPublishes(1, nil); return nil },
			is:     pubsub.ErrUnavailable, text: "made to fail", want: pubsub.OutcomeUnknown,
		},
		{
			name: "accepted and made to fail with an outcome",
			before: func(_ *testing.T, b *memory.Backend) func() {
				b.FailAcceptedPublishes(1, pubsub.WithOutcome(boom, pubsub.Accepted))
				return nil
			},
			is: boom, text: "boom", want: pubsub.Accepted,
		},
		{
			name:   "ctx ended during a delay",
			before: func(_ *testing.T, b *memory.Backend) func() { b.DelayPublishes(time.Hour); return nil },
			is:     context.DeadlineExceeded, text: "not accepted, publishing is delayed by 1h0m0s", want: pubsub.NotAccepted,
		},
		{
			name:   "closed during a delay",
			before: func(_ *testing.T, b *memory.Backend) func() { b.DelayPublishes(time.Hour); return nil },
			during: func(t *testing.T, b *memory.Backend) { require.NoError(t, b.Close()) },
			is:     pubsub.ErrClosed, text: "backend closed", want: pubsub.NotAccepted,
		},
		{
			name: "ctx ended before its turn", before: stick,
			is: context.DeadlineExceeded, text: `not accepted, topic "a" was busy`, want: pubsub.NotAccepted,
		},
		{
			name: "closed before its turn", before: stick,
			during: func(t *testing.T, b *memory.Backend) { require.NoError(t, b.Close()) },
			is:     pubsub.ErrClosed, text: "not accepted", want: pubsub.NotAccepted,
		},
		{
			name: "ctx ended in a stream",
			before: func(t *testing.T, b *memory.Backend) func() {
				block, release := stall()
				open(t, b, "a", pubsub.Position{}).start(block)
				synctest.Wait()
				return release
			},
			is: context.DeadlineExceeded, text: "accepted, but 1 of 1 streams did not take it in time", want: pubsub.Accepted,
		},
		{
			name: "ctx ended before a stream was ready",
			before: func(t *testing.T, b *memory.Backend) func() {
				block, release := stall()
				require.NoError(t, b.Publish(t.Context(), "a", text("0")))
				openFrom(t, b, "a", oldest).start(block)
				synctest.Wait()
				return release
			},
			is: context.DeadlineExceeded, text: "accepted, but 1 of 1 streams did not take it in time", want: pubsub.Accepted,
		},
		{
			name: "closed in a stream",
			before: func(t *testing.T, b *memory.Backend) func() {
				block, release := stall()
				open(t, b, "a", pubsub.Position{}).start(block)
				synctest.Wait()
				time.AfterFunc(time.Second/2, release)
				return release
			},
			during: func(t *testing.T, b *memory.Backend) { require.NoError(t, b.Close()) },
			is:     pubsub.ErrClosed, text: "accepted, but perhaps not delivered", want: pubsub.Accepted,
		},
	} {
		for way, publish := range map[string]func(context.Context, *memory.Backend, string, pubsub.Payload) error{
			"by name": func(ctx context.Context, b *memory.Backend, topic string, p pubsub.Payload) error {
				return b.Publish(ctx, topic, p)
			},
			"handle": func(ctx context.Context, b *memory.Backend, topic string, p pubsub.Payload) error {
				return b.Topic(b, topic).Publish(ctx, p)
			},
			"batch": func(ctx context.Context, b *memory.Backend, topic string, p pubsub.Payload) error {
				n, err := b.Topic(b, topic).(pubsub.BatchPublisher).PublishBatch(ctx, []pubsub.Payload{p})
				if err != nil && n != 0 {
					return errors.New("the error is not about the first message")
				}
				return err
			},
		} {
			t.Run(c.name+"/"+way, func(t *testing.T) {
				bubble(t, func(t *testing.T, b *memory.Backend) {
					var release func()
					if c.before != nil {
						release = c.before(t, b)
					}
					if release != nil {
						defer release()
					}
					topic := c.topic
					if topic == "" {
						topic = "a"
					}
					accepted := b.Stats(topic).Accepted
					ctx, cancel := context.WithTimeout(context.Background(), time.Second)
					defer cancel()
					result := make(chan error, 1)
					go func() { result <- publish(ctx, b, topic, text(c.payload)) }()
					synctest.Wait()
					if c.during != nil {
						c.during(t, b)
					}
					err := <-result
					require.ErrorIs(t, err, c.is)
					require.ErrorContains(t, err, c.text)
					require.Equal(t, c.want, pubsub.OutcomeOf(err))
					switch c.want {
					case pubsub.Accepted:
						require.Equal(t, accepted+1, b.Stats(topic).Accepted)
					case pubsub.NotAccepted:
						require.Equal(t, accepted, b.Stats(topic).Accepted)
					}
				}, memory.WithMaxPayload(4), memory.WithHistory(10))
			})
		}
	}
}

// A refusal is told on the short way as well, which is without a history.
func TestOutcomeOnTheShortWay(t *testing.T) {
	for _, streams := range []int{1, 2} {
		bubble(t, func(t *testing.T, b *memory.Backend) {
			var rs []*receiver
			for i := range streams {
				rs = append(rs, open(t, b, "a", pubsub.Position{}).start(func(ctx context.Context, f pubsub.Frame) error {
					if i == 0 && string(f.Payload.Data) == "no" {
						<-ctx.Done()
						return ctx.Err()
					}
					return nil
				}))
			}
			synctest.Wait()
			try := func(ps ...string) (int, error) {
				ctx, cancel := context.WithTimeout(context.Background(), time.Second)
				defer cancel()
				if len(ps) == 1 {
					return 0, b.Publish(ctx, "a", text(ps[0]))
				}
				return batcher(t, b, "a").PublishBatch(ctx, texts(ps...))
			}
			_, err := try("1")
			require.NoError(t, err)
			for _, ps := range [][]string{{"2"}, {"3", "4", "5"}} {
				n, err := try(ps...)
				require.NoError(t, err)
				require.Contains(t, []int{0, len(ps)}, n)
			}
			for _, ps := range [][]string{{"no"}, {"no", "8"}} {
				n, err := try(ps...)
				require.Zero(t, n)
				require.ErrorIs(t, err, context.DeadlineExceeded)
				require.Equal(t, pubsub.Accepted, pubsub.OutcomeOf(err))
			}
			_, err = try("9")
			require.NoError(t, err)
			require.Equal(t, []string{"1/1=1", "1/2=2", "1/3=3", "1/4=4", "1/5=5", "1/8=9"}, rs[0].log())
		})
	}
}

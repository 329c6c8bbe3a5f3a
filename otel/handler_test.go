package pubsubotel_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/codes"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/memory"
	"github.com/topicbus/pubsub/codec"
	"github.com/topicbus/pubsub/consume"
	pubsubotel "github.com/topicbus/pubsub/otel"
)

// A message has a span for each try, all with the link of its publish, and the
// monitor's figures are metrics.
func TestHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		bus := pubsub.New(memory.New(), codec.String())
		defer bus.Close()
		sub, err := bus.Subscribe(t.Context(), "orders")
		require.NoError(t, err)
		monitor := new(consume.Monitor)
		registration, err := l.RegisterMonitor("shop", monitor)
		require.NoError(t, err)

		failed := fmt.Errorf("database: %w", pubsub.ErrUnavailable)
		var at pubsub.Position
		handler := func(ctx context.Context, m pubsub.Message[string]) error {
			at = m.Position
			_, child := l.tracer.Start(ctx, "save")
			time.Sleep(time.Second)
			child.End()
			switch {
			case m.Value == "tea" && consume.Try(ctx) == 1, m.Value == "coffee":
				return failed
			case m.Value == "milk":
				time.Sleep(time.Hour)
			}
			return nil
		}
		done := make(chan error, 1)
		ctx, parent := l.tracer.Start(t.Context(), "worker")
		go func() {
			done <- consume.Each(ctx, sub, pubsubotel.Handler[string](l.Telemetry)(handler), consume.Options[string]{
				Monitor: monitor,
				Retry:   func() backoff.BackOff { return backoff.WithMaxRetries(backoff.NewConstantBackOff(time.Minute), 1) },
				GiveUp:  func(context.Context, pubsub.Message[string], error) error { return nil },
			})
		}()
		require.NoError(t, bus.Publish(t.Context(), "orders", "tea"))
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		spans := l.spans.Ended()
		require.Len(t, spans, 4)
		first, second := spans[1], spans[3]
		require.Equal(t, first.SpanContext().SpanID(), spans[0].Parent().SpanID())
		require.Equal(t, parent.SpanContext().SpanID(), first.Parent().SpanID())
		require.Contains(t, render(first.Attributes()), "pubsub.consume.try=1")
		require.Contains(t, render(first.Attributes()), "error.type=unavailable")
		require.Equal(t, codes.Error, first.Status().Code)
		require.Contains(t, render(second.Attributes()), "pubsub.consume.try=2")
		require.Contains(t, render(second.Attributes()), "message.id="+at.String())
		require.Equal(t, codes.Unset, second.Status().Code)
		require.Equal(t, time.Minute, second.StartTime().Sub(first.EndTime()))
		require.Equal(t, first.Links()[0].SpanContext, second.Links()[0].SpanContext)
		require.Equal(t, l.Link("orders", at).SpanContext, first.Links()[0].SpanContext)

		require.NoError(t, bus.Publish(t.Context(), "orders", "coffee"))
		time.Sleep(5 * time.Minute)
		require.NoError(t, bus.Publish(t.Context(), "orders", "milk"))
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		about := func(s string) bool { return !strings.HasPrefix(s, "pubsub.consume.") }
		require.Equal(t, []string{
			"pubsub.consume.busy{client.id=shop} 1 {handler}",
			"pubsub.consume.failures{client.id=shop} 3 {try}",
			"pubsub.consume.in_flight{client.id=shop} 1 {message}",
			"pubsub.consume.messages{client.id=shop pubsub.consume.outcome=dropped} 0 {message}",
			"pubsub.consume.messages{client.id=shop pubsub.consume.outcome=given_up} 1 {message}",
			"pubsub.consume.messages{client.id=shop pubsub.consume.outcome=handled} 1 {message}",
			"pubsub.consume.oldest{client.id=shop} 300 s",
			"pubsub.consume.retries{client.id=shop} 2 {try}",
			"pubsub.consume.waiting{client.id=shop} 0 {message}",
		}, slices.DeleteFunc(l.metrics(), about))
		require.NotContains(t, strings.Join(l.metrics(), "\n"), "consume.try", "a try is no attribute of a metric")
		require.NoError(t, sub.Drain(t.Context()))
		require.NoError(t, <-done)
		require.NoError(t, registration.Unregister())
		require.Empty(t, slices.DeleteFunc(l.metrics(), about))
	})
}

func TestRegisterNoMonitor(t *testing.T) {
	_, err := newLab(t).RegisterMonitor("", nil)
	require.ErrorContains(t, err, "nil")
}

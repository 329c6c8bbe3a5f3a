package pubsubotel

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.39.0"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/consume"
)

// Attributes of what package consume does.
const (
	tryKey     = attribute.Key("pubsub.consume.try")
	outcomeKey = attribute.Key("pubsub.consume.outcome")
)

// Handler is a [consume.Middleware]: it has each call of a handler in a span and
// measured, as [Process] does. A message that is tried again has a span for each
// try. They have the same link, and pubsub.consume.try tells them apart.
//
//	consume.Each(ctx, sub, pubsubotel.Handler[Order](telemetry)(save), options)
func Handler[T any](t *Telemetry) consume.Middleware[T] {
	return func(h consume.Handler[T]) consume.Handler[T] {
		return func(ctx context.Context, m pubsub.Message[T]) error {
			return process(ctx, t, m, h, tryKey.Int(consume.Try(ctx)))
		}
	}
}

// RegisterMonitor has the monitor's Stats read whenever metrics are collected,
// until the registration is undone. The name tells several monitors of a process
// apart; it becomes messaging.client.id.
func (t *Telemetry) RegisterMonitor(name string, m *consume.Monitor) (metric.Registration, error) {
	if m == nil {
		return nil, errors.New("pubsubotel: the Monitor given to RegisterMonitor is nil")
	}
	common := t.common
	if name != "" {
		common = slices.Concat(common, []attribute.KeyValue{semconv.MessagingClientID(name)})
	}
	var errs [7]error
	counter := func(i int, name, unit, what string) metric.Int64ObservableCounter {
		c, err := t.meter.Int64ObservableCounter(name, metric.WithUnit(unit), metric.WithDescription(what))
		errs[i] = err
		return c
	}
	level := func(i int, name, unit, what string) metric.Int64ObservableUpDownCounter {
		c, err := t.meter.Int64ObservableUpDownCounter(name, metric.WithUnit(unit), metric.WithDescription(what))
		errs[i] = err
		return c
	}
	finished := counter(0, "pubsub.consume.messages", "{message}", "Messages that handlers are done with, by outcome")
	failures := counter(1, "pubsub.consume.failures", "{try}", "Tries of handlers that failed")
	retries := counter(2, "pubsub.consume.retries", "{try}", "Tries behind the first one of a message")
	busy := level(3, "pubsub.consume.busy", "{handler}", "Handlers that run")
	inFlight := level(4, "pubsub.consume.in_flight", "{message}", "Messages that were taken and are not finished")
	waiting := level(5, "pubsub.consume.waiting", "{message}", "Messages that wait for their next try")
	oldest, err := t.meter.Float64ObservableGauge("pubsub.consume.oldest", metric.WithUnit("s"),
		metric.WithDescription("Since when the oldest message in flight has been so"))
	errs[6] = err
	if err := errors.Join(errs[:]...); err != nil {
		return nil, fmt.Errorf("pubsubotel: %w", err)
	}
	read := func(_ context.Context, o metric.Observer) error {
		st := m.Stats()
		with := func(more ...attribute.KeyValue) metric.ObserveOption {
			return metric.WithAttributeSet(attribute.NewSet(slices.Concat(common, more)...))
		}
		o.ObserveInt64(finished, int64(st.Handled), with(outcomeKey.String("handled")))
		o.ObserveInt64(finished, int64(st.GivenUp), with(outcomeKey.String("given_up")))
		o.ObserveInt64(finished, int64(st.Dropped), with(outcomeKey.String("dropped")))
		o.ObserveInt64(failures, int64(st.Failed), with())
		o.ObserveInt64(retries, int64(st.Retried), with())
		o.ObserveInt64(busy, int64(st.Busy), with())
		o.ObserveInt64(inFlight, int64(st.InFlight), with())
		o.ObserveInt64(waiting, int64(st.Waiting), with())
		o.ObserveFloat64(oldest, st.Oldest.Seconds(), with())
		return nil
	}
	return t.meter.RegisterCallback(read, finished, failures, retries, busy, inFlight, waiting, oldest)
}

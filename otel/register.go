package pubsubotel

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.39.0"

	"github.com/topicbus/pubsub"
)

// Source is what Register reads: any [pubsub.Bus].
type Source interface{ Stats() pubsub.Stats }

// Register has the bus's Stats read whenever metrics are collected, until the
// registration is undone. The name tells several buses of a process apart; it
// becomes messaging.client.id.
func (t *Telemetry) Register(name string, bus Source) (metric.Registration, error) {
	if bus == nil {
		return nil, errors.New("pubsubotel: the bus given to Register is nil")
	}
	common := t.common
	if name != "" {
		common = slices.Concat(common, []attribute.KeyValue{semconv.MessagingClientID(name)})
	}
	r := &reader{t: t, bus: bus, common: common}
	var errs [7]error
	r.consumed, errs[0] = t.meter.Int64ObservableCounter("messaging.client.consumed.messages", metric.WithUnit("{message}"),
		metric.WithDescription("Messages delivered to the subscriptions of the bus"))
	r.subscriptions, errs[1] = t.meter.Int64ObservableUpDownCounter("pubsub.subscriptions", metric.WithUnit("{subscription}"),
		metric.WithDescription("Live subscriptions"))
	r.streams, errs[2] = t.meter.Int64ObservableUpDownCounter("pubsub.streams", metric.WithUnit("{stream}"),
		metric.WithDescription("Open upstream streams, by state"))
	r.reconnects, errs[3] = t.meter.Int64ObservableCounter("pubsub.stream.reconnects", metric.WithUnit("{reconnect}"),
		metric.WithDescription("Streams that broke and came back"))
	r.downtime, errs[4] = t.meter.Float64ObservableCounter("pubsub.stream.downtime", metric.WithUnit("s"),
		metric.WithDescription("How long streams that came back had been away"))
	r.lag, errs[5] = t.meter.Int64ObservableGauge("pubsub.subscription.lag", metric.WithUnit("{message}"),
		metric.WithDescription("Lag of the topic's subscription that is most behind"))
	r.dropped, errs[6] = t.meter.Int64ObservableCounter("pubsub.dropped.messages", metric.WithUnit("{message}"),
		metric.WithDescription("Messages that ends of subscriptions threw away unread"))
	if err := errors.Join(errs[:]...); err != nil {
		return nil, fmt.Errorf("pubsubotel: %w", err)
	}
	return t.meter.RegisterCallback(r.read, r.consumed, r.dropped, r.subscriptions, r.streams, r.reconnects, r.downtime, r.lag)
}

// reader reads the Stats of one bus.
type reader struct {
	t      *Telemetry
	bus    Source
	common []attribute.KeyValue

	consumed      metric.Int64ObservableCounter
	dropped       metric.Int64ObservableCounter
	subscriptions metric.Int64ObservableUpDownCounter
	streams       metric.Int64ObservableUpDownCounter
	reconnects    metric.Int64ObservableCounter
	downtime      metric.Float64ObservableCounter
	lag           metric.Int64ObservableGauge
}

func (r *reader) read(_ context.Context, o metric.Observer) error {
	st := r.bus.Stats()
	with := func(more ...attribute.KeyValue) metric.ObserveOption {
		return metric.WithAttributeSet(attribute.NewSet(slices.Concat(r.common, more)...))
	}
	var down int64
	lags := make(map[attribute.KeyValue]int64)
	for _, topic := range st.Topics {
		if topic.State.State == pubsub.Reconnecting && !topic.Ended {
			down++
		}
		destination := r.t.destination(topic.Topic)
		if !destination.Valid() {
			continue
		}
		for _, s := range topic.Subscriptions {
			lags[destination] = max(lags[destination], int64(s.Lag))
		}
	}
	o.ObserveInt64(r.consumed, int64(st.Delivered), with(semconv.MessagingOperationName("receive"), semconv.MessagingOperationTypeReceive))
	o.ObserveInt64(r.dropped, int64(min(st.Dropped, math.MaxInt64)), with())
	o.ObserveInt64(r.subscriptions, int64(st.Subscriptions), with())
	o.ObserveInt64(r.streams, int64(st.Streams)-down, with(streamStateKey.String("up")))
	o.ObserveInt64(r.streams, down, with(streamStateKey.String("down")))
	o.ObserveInt64(r.reconnects, int64(st.Reconnects), with())
	o.ObserveFloat64(r.downtime, st.Downtime.Seconds(), with())
	for destination, lag := range lags {
		o.ObserveInt64(r.lag, lag, with(destination))
	}
	return nil
}

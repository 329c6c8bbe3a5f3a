package pubsubotel_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/memory"
	"github.com/topicbus/pubsub/codec"
	pubsubotel "github.com/topicbus/pubsub/otel"
)

// lab is a telemetry whose metrics and spans stay in memory.
type lab struct {
	*pubsubotel.Telemetry
	t      *testing.T
	reader *metric.ManualReader
	spans  *tracetest.SpanRecorder
	tracer trace.Tracer // the application's own
}

func newLab(t *testing.T, opts ...pubsubotel.Option) *lab {
	l := &lab{t: t, reader: metric.NewManualReader(), spans: tracetest.NewSpanRecorder()}
	tracers := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(l.spans))
	l.tracer = tracers.Tracer("app")
	var err error
	l.Telemetry, err = pubsubotel.New(append([]pubsubotel.Option{
		pubsubotel.WithMeterProvider(metric.NewMeterProvider(metric.WithReader(l.reader))), pubsubotel.WithTracerProvider(tracers),
	}, opts...)...)
	require.NoError(t, err)
	return l
}

// metrics renders the data points of all metrics: "name{attributes} value".
// Of histograms it gives the number of values and their sum.
func (l *lab) metrics() []string {
	var data metricdata.ResourceMetrics
	require.NoError(l.t, l.reader.Collect(l.t.Context(), &data))
	var list []string
	add := func(m metricdata.Metrics, set attribute.Set, format string, args ...any) {
		list = append(list, fmt.Sprintf("%s{%s} %s %s", m.Name, render(set.ToSlice()), fmt.Sprintf(format, args...), m.Unit))
	}
	for _, s := range data.ScopeMetrics {
		require.Equal(l.t, "github.com/topicbus/pubsub/otel", s.Scope.Name)
		require.Contains(l.t, s.Scope.SchemaURL, "opentelemetry.io/schemas/")
		for _, m := range s.Metrics {
			require.NotEmpty(l.t, m.Description)
			switch d := m.Data.(type) {
			case metricdata.Sum[int64]:
				for _, p := range d.DataPoints {
					add(m, p.Attributes, "%d", p.Value)
				}
			case metricdata.Sum[float64]:
				for _, p := range d.DataPoints {
					add(m, p.Attributes, "%g", p.Value)
				}
			case metricdata.Gauge[int64]:
				for _, p := range d.DataPoints {
					add(m, p.Attributes, "%d", p.Value)
				}
			case metricdata.Gauge[float64]:
				for _, p := range d.DataPoints {
					add(m, p.Attributes, "%g", p.Value)
				}
			case metricdata.Histogram[float64]:
				for _, p := range d.DataPoints {
					add(m, p.Attributes, "%d values, sum %g", p.Count, p.Sum)
				}
			default:
				l.t.Fatalf("%s is a %T", m.Name, d)
			}
		}
	}
	slices.Sort(list)
	return list
}

// render leaves out what all have.
func render(attributes []attribute.KeyValue) string {
	var list []string
	for _, a := range attributes {
		if a.Key != "messaging.system" {
			list = append(list, fmt.Sprintf("%s=%s", strings.TrimPrefix(string(a.Key), "messaging."), a.Value.String()))
		}
	}
	slices.Sort(list)
	return strings.Join(list, " ")
}

func TestPublish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, pubsubotel.WithSystem("memory"), pubsubotel.WithNamespace("shop"))
		backend := memory.New()
		var own int
		bus := pubsub.New(backend, codec.String(), pubsub.WithObserver(l.Observer()),
			pubsub.WithObserver(pubsub.Observer{Published: func(context.Context, string, time.Duration, error) { own++ }}))
		defer bus.Close()

		ctx, request := l.tracer.Start(t.Context(), "POST /orders")
		backend.DelayPublishes(2 * time.Second)
		require.NoError(t, bus.Publish(ctx, "orders", "tea"))
		backend.DelayPublishes(0)
		backend.FailPublishes(1, fmt.Errorf("service: %w", pubsub.ErrUnavailable))
		require.Error(t, bus.Publish(ctx, "orders", "coffee"))
		require.Error(t, bus.Publish(t.Context(), " ", "juice"))
		//lint:ignore SA1012 nil on purpose: the tracer must not see it
		require.Error(t, bus.Publish(nil, "orders", "milk"))
		request.End()
		require.Equal(t, 4, own, "an Observer of the application's own is told as well")

		spans := l.spans.Ended()
		require.Len(t, spans, 5)
		published := spans[0]
		require.Equal(t, "publish orders", published.Name())
		require.Equal(t, trace.SpanKindClient, published.SpanKind())
		require.Equal(t, request.SpanContext().SpanID(), published.Parent().SpanID(), "a child of what the application was at")
		require.Equal(t, 2*time.Second, published.EndTime().Sub(published.StartTime()))
		require.Equal(t, codes.Unset, published.Status().Code)
		require.Equal(t, "destination.name=orders operation.name=publish operation.type=send pubsub.namespace=shop", render(published.Attributes()))
		require.Contains(t, published.Attributes(), attribute.String("messaging.system", "memory"))
		failed := spans[1]
		require.Equal(t, codes.Error, failed.Status().Code)
		require.Contains(t, failed.Status().Description, "service: unavailable")
		require.Contains(t, render(failed.Attributes()), "error.type=unavailable")

		at := func(topic, failure string) string {
			if failure != "" {
				failure = "error.type=" + failure + " "
			}
			return "{destination.name=" + topic + " " + failure + "operation.name=publish operation.type=send pubsub.namespace=shop} "
		}
		require.ElementsMatch(t, []string{
			"messaging.client.operation.duration" + at(" ", "invalid_topic") + "1 values, sum 0 s",
			"messaging.client.operation.duration" + at("orders", "") + "1 values, sum 2 s",
			"messaging.client.operation.duration" + at("orders", "invalid_argument") + "1 values, sum 0 s",
			"messaging.client.operation.duration" + at("orders", "unavailable") + "1 values, sum 0 s",
			"messaging.client.sent.messages" + at(" ", "invalid_topic") + "1 {message}",
			"messaging.client.sent.messages" + at("orders", "") + "1 {message}",
			"messaging.client.sent.messages" + at("orders", "invalid_argument") + "1 {message}",
			"messaging.client.sent.messages" + at("orders", "unavailable") + "1 {message}",
		}, l.metrics())
	})
}

func TestRegister(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		backend := memory.New()
		bus := pubsub.New(backend, codec.String(), pubsub.WithBuffer(4), pubsub.WithObserver(l.Observer()))
		registration, err := l.Register("orders", bus)
		require.NoError(t, err)
		idle := pubsub.New(backend, codec.String())
		defer idle.Close()
		_, err = l.Register("", idle)
		require.NoError(t, err)

		fast, err := bus.Subscribe(t.Context(), "a")
		require.NoError(t, err)
		_, err = bus.Subscribe(t.Context(), "a")
		require.NoError(t, err)
		_, err = bus.Subscribe(t.Context(), "b")
		require.NoError(t, err)
		synctest.Wait()
		backend.Disconnect(errors.New("down"), "b")
		backend.Disconnect(errors.New("down"), "a")
		time.Sleep(3 * time.Second)
		backend.Lose(2, "a")
		backend.Reconnect("a")
		for range 6 {
			require.NoError(t, bus.Publish(t.Context(), "a", "x"))
		}
		for range 2 + 1 + 1 + 1 { // away and back, two holes, messages
			_, err := fast.Next(t.Context())
			require.NoError(t, err)
		}
		st := bus.Stats()
		want := []string{
			"messaging.client.consumed.messages{client.id=orders operation.name=receive operation.type=receive} " + fmt.Sprint(st.Delivered) + " {message}",
			"messaging.client.consumed.messages{operation.name=receive operation.type=receive} 0 {message}",
			"pubsub.dropped.messages{client.id=orders} 0 {message}",
			"pubsub.dropped.messages{} 0 {message}",
			"pubsub.lost.messages{destination.name=a pubsub.loss.cause=overflow} 4 {message}",
			"pubsub.stream.downtime{client.id=orders} 3 s",
			"pubsub.stream.downtime{} 0 s",
			"pubsub.stream.reconnects{client.id=orders} 1 {reconnect}",
			"pubsub.stream.reconnects{} 0 {reconnect}",
			"pubsub.streams{client.id=orders pubsub.stream.state=down} 1 {stream}",
			"pubsub.streams{client.id=orders pubsub.stream.state=up} 1 {stream}",
			"pubsub.streams{pubsub.stream.state=down} 0 {stream}",
			"pubsub.streams{pubsub.stream.state=up} 0 {stream}",
			"pubsub.subscription.lag{client.id=orders destination.name=a} 6 {message}",
			"pubsub.subscription.lag{client.id=orders destination.name=b} 0 {message}",
			"pubsub.subscriptions{client.id=orders} 3 {subscription}",
			"pubsub.subscriptions{} 0 {subscription}",
		}
		got := slices.DeleteFunc(l.metrics(), func(s string) bool {
			return strings.HasPrefix(s, "messaging.client.operation") || strings.HasPrefix(s, "messaging.client.sent")
		})
		require.Equal(t, want, got)
		require.NotZero(t, st.Delivered)

		bus.Close()
		require.Contains(t, l.metrics(), want[0], "a counter outlives what it counted")
		require.NotZero(t, bus.Stats().Dropped)
		require.Contains(t, l.metrics(), fmt.Sprintf("pubsub.dropped.messages{client.id=orders} %d {message}", bus.Stats().Dropped))
		require.NoError(t, registration.Unregister())
		require.NotContains(t, strings.Join(l.metrics(), "\n"), "client.id=orders")
	})
}

// A counter that goes back, or below zero, is taken for one that began anew.
func TestAbsurdHoles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		backend := memory.New()
		bus := pubsub.New(backend, codec.String(), pubsub.WithObserver(l.Observer()))
		_, err := l.Register("", bus)
		require.NoError(t, err)
		var subs []*pubsub.Subscription[string]
		for range 3 {
			s, err := bus.Subscribe(t.Context(), "a")
			require.NoError(t, err)
			subs = append(subs, s)
		}
		backend.Lose(1<<62, "a")
		backend.Lose(math.MaxUint64, "a")
		for _, s := range subs[:2] {
			for range 2 {
				_, err := s.Next(t.Context())
				require.NoError(t, err)
			}
		}
		bus.Close() // drops the holes of the third
		metrics := l.metrics()
		require.Contains(t, metrics, fmt.Sprintf("pubsub.lost.messages{destination.name=a pubsub.loss.cause=reset} %d {message}", uint64(4<<32)))
		require.Contains(t, metrics, fmt.Sprintf("pubsub.dropped.messages{} %d {message}", math.MaxInt64))
	})
}

type statsFunc func() pubsub.Stats

func (f statsFunc) Stats() pubsub.Stats { return f() }

// A stream that gave up is not one that is down.
func TestEndedStream(t *testing.T) {
	l := newLab(t)
	_, err := l.Register("", statsFunc(func() pubsub.Stats {
		return pubsub.Stats{Topics: []pubsub.TopicStats{{Topic: "t", Ended: true, State: pubsub.StateChange{State: pubsub.Reconnecting}}}}
	}))
	require.NoError(t, err)
	require.Contains(t, l.metrics(), "pubsub.streams{pubsub.stream.state=down} 0 {stream}")
	require.Contains(t, l.metrics(), "pubsub.streams{pubsub.stream.state=up} 0 {stream}")
}

func TestProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, pubsubotel.WithNamespace("shop"))
		m := pubsub.Message[string]{Value: "tea", Topic: "orders", Position: pubsub.Position{Page: 3, Sequence: 7}}
		ctx, parent := l.tracer.Start(t.Context(), "worker")
		require.NoError(t, pubsubotel.Process(ctx, l.Telemetry, m, func(ctx context.Context, got pubsub.Message[string]) error {
			require.Equal(t, m, got)
			_, child := l.tracer.Start(ctx, "save")
			time.Sleep(time.Second)
			child.End()
			return nil
		}))
		out := fmt.Errorf("database: %w", pubsub.ErrUnavailable)
		require.Same(t, out, pubsubotel.Process(ctx, l.Telemetry, m, func(context.Context, pubsub.Message[string]) error { return out }))
		m.Position = pubsub.Position{}
		require.PanicsWithValue(t, "poison", func() {
			pubsubotel.Process(ctx, l.Telemetry, m, func(context.Context, pubsub.Message[string]) error { panic("poison") })
		})
		parent.End()

		spans := l.spans.Ended()
		require.Len(t, spans, 5)
		child, processed, failed, panicked := spans[0], spans[1], spans[2], spans[3]
		require.Equal(t, "process orders", processed.Name())
		require.Equal(t, trace.SpanKindConsumer, processed.SpanKind())
		require.Equal(t, parent.SpanContext().SpanID(), processed.Parent().SpanID())
		require.Equal(t, processed.SpanContext().SpanID(), child.Parent().SpanID())
		require.Equal(t, time.Second, processed.EndTime().Sub(processed.StartTime()))
		require.Equal(t, "destination.name=orders message.id=3/7 operation.name=process operation.type=process pubsub.namespace=shop", render(processed.Attributes()))
		require.Equal(t, codes.Unset, processed.Status().Code)
		require.Equal(t, codes.Error, failed.Status().Code)
		require.Contains(t, render(failed.Attributes()), "error.type=unavailable")
		require.Equal(t, codes.Error, panicked.Status().Code)
		require.Contains(t, render(panicked.Attributes()), "error.type=_OTHER")
		require.NotContains(t, render(panicked.Attributes()), "message.id")
		require.Empty(t, panicked.Links(), "without a position there is nothing to link by")

		at := "operation.name=process operation.type=process pubsub.namespace=shop} "
		require.ElementsMatch(t, []string{
			"messaging.process.duration{destination.name=orders " + at + "1 values, sum 1 s",
			"messaging.process.duration{destination.name=orders error.type=_OTHER " + at + "1 values, sum 0 s",
			"messaging.process.duration{destination.name=orders error.type=unavailable " + at + "1 values, sum 0 s",
		}, l.metrics())
	})
}

// Two processes, which share nothing but the names of things, link alike.
func TestSpansLinkByPosition(t *testing.T) {
	backend := memory.New(memory.WithPage(1), memory.WithHistory(1))
	defer backend.Close()
	require.NoError(t, backend.Publish(t.Context(), "orders", pubsub.Payload{Data: []byte("tea")}))
	process := func() (pubsub.Position, sdktrace.Link) {
		l := newLab(t, pubsubotel.WithSystem("momento"), pubsubotel.WithNamespace("shop"))
		bus := pubsub.New(backend, codec.String())
		defer bus.Close()
		s, err := bus.Subscribe(t.Context(), "orders", pubsub.ResumeAfter(pubsub.Position{Page: 1}))
		require.NoError(t, err)
		e, err := s.Next(t.Context())
		require.NoError(t, err)
		require.Equal(t, "tea", e.Message.Value)
		require.NoError(t, pubsubotel.Process(t.Context(), l.Telemetry, e.Message, func(context.Context, pubsub.Message[string]) error { return nil }))
		spans := l.spans.Ended()
		require.Len(t, spans, 1)
		require.Len(t, spans[0].Links(), 1)
		return e.Message.Position, spans[0].Links()[0]
	}
	p, a := process()
	_, b := process()
	require.True(t, a.SpanContext.IsValid())
	require.True(t, a.SpanContext.Equal(b.SpanContext))
	require.Equal(t, "destination.name=orders message.id="+p.String(), render(a.Attributes))

	l := newLab(t, pubsubotel.WithSystem("momento"), pubsubotel.WithNamespace("shop"))
	require.True(t, l.Link("orders", p).SpanContext.Equal(a.SpanContext))
	for name, other := range map[string]trace.Link{
		"topic":     l.Link("order", p),
		"page":      l.Link("orders", pubsub.Position{Page: p.Page + 1, Sequence: p.Sequence}),
		"sequence":  l.Link("orders", pubsub.Position{Page: p.Page, Sequence: p.Sequence + 1}),
		"namespace": newLab(t, pubsubotel.WithSystem("momento")).Link("orders", p),
		"system":    newLab(t, pubsubotel.WithNamespace("shop")).Link("orders", p),
	} {
		require.NotEqual(t, a.SpanContext.TraceID(), other.SpanContext.TraceID(), name)
	}
	require.False(t, l.Link("orders", pubsub.Position{}).SpanContext.IsValid())
}

func TestTemplate(t *testing.T) {
	l := newLab(t, pubsubotel.WithTemplate(func(topic string) string {
		if strings.HasPrefix(topic, "user.") {
			return "user.{id}"
		}
		return ""
	}))
	bus := pubsub.New(memory.New(), codec.String(), pubsub.WithObserver(l.Observer()))
	defer bus.Close()
	_, err := l.Register("", bus)
	require.NoError(t, err)
	for i, topic := range []string{"user.1", "user.2", "other"} {
		_, err := bus.Subscribe(t.Context(), topic)
		require.NoError(t, err)
		for range i + 1 {
			require.NoError(t, bus.Publish(t.Context(), topic, "x"))
		}
	}
	all := strings.Join(l.metrics(), "\n")
	require.NotContains(t, all, "user.1")
	require.NotContains(t, all, "other")
	require.Contains(t, all, "messaging.client.sent.messages{destination.template=user.{id} operation.name=publish operation.type=send} 3 {message}")
	require.Contains(t, all, "messaging.client.sent.messages{operation.name=publish operation.type=send} 3 {message}")
	require.Contains(t, all, "pubsub.subscription.lag{destination.template=user.{id}} 2 {message}", "of those alike, the most")
	spans := l.spans.Ended()
	require.Equal(t, "publish user.{id}", spans[0].Name())
	require.Equal(t, "destination.name=user.1 destination.template=user.{id} operation.name=publish operation.type=send", render(spans[0].Attributes()))
	require.Equal(t, "publish", spans[5].Name())
}

func TestBadArguments(t *testing.T) {
	_, err := pubsubotel.New(nil)
	require.ErrorContains(t, err, "nil Option")
	_, err = pubsubotel.New(pubsubotel.WithSystem(""))
	require.ErrorContains(t, err, "messaging.system")
	_, err = newLab(t).Register("x", nil)
	require.ErrorContains(t, err, "nil")
	_, err = pubsubotel.New()
	require.NoError(t, err, "the global providers")
}

package pubsubotel

import (
	"errors"
	"fmt"
	"slices"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.39.0"
	"go.opentelemetry.io/otel/trace"
)

// scope is the name of the instrumentation scope.
const scope = "github.com/topicbus/pubsub/otel"

// Attributes that the semantic conventions have no name for.
const (
	namespaceKey   = attribute.Key("pubsub.namespace")
	lossCauseKey   = attribute.Key("pubsub.loss.cause")
	streamStateKey = attribute.Key("pubsub.stream.state")
)

// Option configures a [Telemetry].
type Option func(*options)

type options struct {
	meters    metric.MeterProvider
	tracers   trace.TracerProvider
	system    string
	namespace string
	template  func(topic string) string
}

// WithMeterProvider sets where metrics go. The default is that of
// [otel.GetMeterProvider] when New is called.
func WithMeterProvider(p metric.MeterProvider) Option { return func(o *options) { o.meters = p } }

// WithTracerProvider sets where spans go. The default is that of
// [otel.GetTracerProvider] when New is called.
func WithTracerProvider(p trace.TracerProvider) Option { return func(o *options) { o.tracers = p } }

// WithSystem sets messaging.system, which tells backends apart: "momento",
// say. The default is "pubsub".
func WithSystem(name string) Option { return func(o *options) { o.system = name } }

// WithNamespace sets the attribute pubsub.namespace: what the topics are in,
// such as the name of the Momento cache. Topics of the same name in different
// namespaces are different topics.
func WithNamespace(name string) Option { return func(o *options) { o.namespace = name } }

// WithTemplate has metrics, and the names of spans, tell templates of topics
// instead of topics: the function makes "user.{id}" of "user.42", say, so that
// a million topics are one. Metrics then have messaging.destination.template
// in place of messaging.destination.name; spans have both. A topic for which
// it returns "" is left out of both.
//
// It is called from many goroutines at once.
func WithTemplate(f func(topic string) string) Option { return func(o *options) { o.template = f } }

// Telemetry measures and traces buses. Its methods may be called from many
// goroutines at once.
type Telemetry struct {
	options
	meter  metric.Meter
	tracer trace.Tracer
	common []attribute.KeyValue // of everything

	published metric.Float64Histogram
	sent      metric.Int64Counter
	lost      metric.Int64Counter
	processed metric.Float64Histogram
}

// New makes the instruments. It starts nothing and has no end.
func New(opts ...Option) (*Telemetry, error) {
	t := &Telemetry{options: options{system: "pubsub"}}
	for _, o := range opts {
		if o == nil {
			return nil, errors.New("pubsubotel: nil Option")
		}
		o(&t.options)
	}
	if t.system == "" {
		return nil, errors.New(`pubsubotel: WithSystem(""): the conventions want a messaging.system`)
	}
	if t.meters == nil {
		t.meters = otel.GetMeterProvider()
	}
	if t.tracers == nil {
		t.tracers = otel.GetTracerProvider()
	}
	t.meter = t.meters.Meter(scope, metric.WithSchemaURL(semconv.SchemaURL))
	t.tracer = t.tracers.Tracer(scope, trace.WithSchemaURL(semconv.SchemaURL))
	t.common = []attribute.KeyValue{semconv.MessagingSystemKey.String(t.system)}
	if t.namespace != "" {
		t.common = append(t.common, namespaceKey.String(t.namespace))
	}

	// The boundaries that the conventions advise.
	boundaries := metric.WithExplicitBucketBoundaries(0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
	var errs [4]error
	t.published, errs[0] = t.meter.Float64Histogram("messaging.client.operation.duration", metric.WithUnit("s"), boundaries,
		metric.WithDescription("Duration of Publish"))
	t.sent, errs[1] = t.meter.Int64Counter("messaging.client.sent.messages", metric.WithUnit("{message}"),
		metric.WithDescription("Messages that were attempted to be published"))
	t.lost, errs[2] = t.meter.Int64Counter("pubsub.lost.messages", metric.WithUnit("{message}"),
		metric.WithDescription("Messages that were reported lost to subscriptions, at least"))
	t.processed, errs[3] = t.meter.Float64Histogram("messaging.process.duration", metric.WithUnit("s"), boundaries,
		metric.WithDescription("Duration of the application's work on a message"))
	if err := errors.Join(errs[:]...); err != nil {
		return nil, fmt.Errorf("pubsubotel: %w", err)
	}
	return t, nil
}

// measured returns the attributes of a topic's metrics.
func (t *Telemetry) measured(topic string, more ...attribute.KeyValue) metric.MeasurementOption {
	list := slices.Concat(t.common, more)
	if a := t.destination(topic); a.Valid() {
		list = append(list, a)
	}
	return metric.WithAttributeSet(attribute.NewSet(list...))
}

// destination is the attribute that tells a topic in metrics.
func (t *Telemetry) destination(topic string) attribute.KeyValue {
	if t.template == nil {
		return semconv.MessagingDestinationName(topic)
	}
	if s := t.template(topic); s != "" {
		return semconv.MessagingDestinationTemplate(s)
	}
	return attribute.KeyValue{}
}

// traced returns the name and the attributes of a topic's span.
func (t *Telemetry) traced(operation, topic string, more ...attribute.KeyValue) (string, trace.SpanStartEventOption) {
	name := operation
	list := slices.Concat(t.common, more)
	list = append(list, semconv.MessagingDestinationName(topic))
	if a := t.destination(topic); a.Valid() {
		name += " " + a.Value.AsString()
		if a.Key == semconv.MessagingDestinationTemplateKey {
			list = append(list, a)
		}
	}
	return name, trace.WithAttributes(list...)
}

package pubsubotel

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.39.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/topicbus/pubsub"
)

// Observer returns functions for [pubsub.WithObserver], which may be given it
// besides others. One Telemetry may serve several buses.
func (t *Telemetry) Observer() pubsub.Observer {
	return pubsub.Observer{Published: t.observePublished, Discontinuity: t.observeDiscontinuity}
}

func (t *Telemetry) observePublished(ctx context.Context, topic string, d time.Duration, err error) {
	end := time.Now()
	about := []attribute.KeyValue{semconv.MessagingOperationName("publish"), semconv.MessagingOperationTypeSend}
	if err != nil {
		about = append(about, semconv.ErrorTypeKey.String(errorType(err)))
	}
	name, attributes := t.traced("publish", topic, about...)
	// Made when it is over: nothing takes its ctx along.
	ctx, span := t.tracer.Start(ctx, name, attributes, trace.WithSpanKind(trace.SpanKindClient), trace.WithTimestamp(end.Add(-d)))
	if err != nil {
		span.SetStatus(codes.Error, err.Error())
	}
	span.End(trace.WithTimestamp(end))

	measured := t.measured(topic, about...)
	t.published.Record(ctx, d.Seconds(), measured)
	t.sent.Add(ctx, 1, measured)
}

// maxHole is how many lost messages a hole counts for at most. What a service
// says is missing may be absurd. A counter wraps around at 1<<63, and adds up the
// holes of all subscriptions.
const maxHole = 1 << 32

func (t *Telemetry) observeDiscontinuity(d *pubsub.Discontinuity) {
	t.lost.Add(context.Background(), int64(min(d.Lost, maxHole)), t.measured(d.Topic, lossCauseKey.String(d.Cause.String())))
}

// errorTypes are the values of error.type, which must be few. The first that
// errors.Is finds counts.
var errorTypes = []struct {
	err  error
	name string
}{
	{context.Canceled, "canceled"},
	{context.DeadlineExceeded, "deadline_exceeded"},
	{pubsub.ErrClosed, "closed"},
	{pubsub.ErrInvalidTopic, "invalid_topic"},
	{pubsub.ErrInvalidPayload, "invalid_payload"},
	{pubsub.ErrPayloadTooLarge, "payload_too_large"},
	{pubsub.ErrInvalidArgument, "invalid_argument"},
	{pubsub.ErrNotFound, "not_found"},
	{pubsub.ErrUnauthenticated, "unauthenticated"},
	{pubsub.ErrPermissionDenied, "permission_denied"},
	{pubsub.ErrLimitExceeded, "limit_exceeded"},
	{pubsub.ErrUnavailable, "unavailable"},
	{pubsub.ErrOverflow, "overflow"},
	{pubsub.ErrCodec, "codec_failed"},
}

func errorType(err error) string {
	for _, e := range errorTypes {
		if errors.Is(err, e.err) {
			return e.name
		}
	}
	return semconv.ErrorTypeOther.Value.AsString()
}

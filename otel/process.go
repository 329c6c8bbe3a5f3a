package pubsubotel

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.39.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/topicbus/pubsub"
)

// Process calls f, the application's work on message m, within a span, and
// measures how long it takes. It returns f's error, which the span records;
// so does it a panic, which it passes on.
func Process[T any](ctx context.Context, t *Telemetry, m pubsub.Message[T], f func(context.Context, pubsub.Message[T]) error) (err error) {
	return process(ctx, t, m, f)
}

// process adds attributes to the span.
func process[T any](ctx context.Context, t *Telemetry, m pubsub.Message[T], f func(context.Context, pubsub.Message[T]) error,
	more ...attribute.KeyValue) (err error) {
	ctx, end := t.process(ctx, m.Topic, m.Position, more...)
	returned := false
	defer func() {
		if !returned {
			err = fmt.Errorf("panicked or left by runtime.Goexit")
		}
		end(err)
	}()
	err = f(ctx, m)
	returned = true
	return err
}

func (t *Telemetry) process(ctx context.Context, topic string, p pubsub.Position, more ...attribute.KeyValue) (context.Context, func(error)) {
	start := time.Now()
	about := []attribute.KeyValue{semconv.MessagingOperationName("process"), semconv.MessagingOperationTypeProcess}
	name, attributes := t.traced("process", topic, about...)
	options := []trace.SpanStartOption{attributes, trace.WithAttributes(more...), trace.WithSpanKind(trace.SpanKindConsumer), trace.WithTimestamp(start)}
	if !p.IsZero() {
		options = append(options, trace.WithLinks(t.Link(topic, p)), trace.WithAttributes(semconv.MessagingMessageID(p.String())))
	}
	ctx, span := t.tracer.Start(ctx, name, options...)
	return ctx, func(err error) {
		if err != nil {
			failed := semconv.ErrorTypeKey.String(errorType(err))
			about = append(about, failed)
			span.SetAttributes(failed)
			span.SetStatus(codes.Error, err.Error())
		}
		span.End()
		t.processed.Record(ctx, time.Since(start).Seconds(), t.measured(topic, about...))
	}
}

// Link returns the link that stands for the message at position p of a topic:
// its ids are a hash of system, namespace, topic and position, the same in
// every process. It is for spans that the application makes itself; those of
// [Process] have it. The link of a zero Position says nothing.
func (t *Telemetry) Link(topic string, p pubsub.Position) trace.Link {
	if p.IsZero() {
		return trace.Link{}
	}
	h := sha256.New()
	for _, s := range []string{t.system, t.namespace, topic} {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(s))))
		h.Write([]byte(s))
	}
	h.Write(binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, p.Page), p.Sequence))
	sum := h.Sum(nil)
	return trace.Link{
		SpanContext: trace.NewSpanContext(trace.SpanContextConfig{
			TraceID: trace.TraceID(sum[:16]), SpanID: trace.SpanID(sum[16:24]), Remote: true,
		}),
		Attributes: []attribute.KeyValue{semconv.MessagingDestinationName(topic), semconv.MessagingMessageID(p.String())},
	}
}

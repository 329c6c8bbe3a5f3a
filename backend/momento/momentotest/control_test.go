package momentotest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func TestControlHeadersFailCalls(t *testing.T) {
	t.Parallel()
	ctx, srv := testContext(t), newServer(t)
	c := newRawClient(t, srv)

	always := headers(ctx, "request-id", "1", "return-error", "unavailable", "error-rpcs", "get topic-publish")
	for range 3 {
		require.Equal(t, codes.Unavailable, status.Code(c.publish(always, text("x"))))
	}
	c.subscribe(always, 0, 0).want("heartbeat") // not named

	// Counts are kept for a session, and for each method of it.
	twice := headers(ctx, "request-id", "2", "return-error", "resource-exhausted", "error-rpcs", "topic-publish topic-subscribe", "error-count", "2")
	for range 2 {
		require.Equal(t, codes.ResourceExhausted, status.Code(c.publish(twice, text("x"))))
		c.subscribe(twice, 0, 0).wantEnd(codes.ResourceExhausted)
	}
	require.NoError(t, c.publish(twice, text("x")))
	c.subscribe(twice, 0, 10).want("heartbeat")
	other := headers(ctx, "request-id", "3", "return-error", "internal", "error-rpcs", "topic-publish", "error-count", "1")
	require.Equal(t, codes.Internal, status.Code(c.publish(other, text("x"))))

	for _, ignored := range [][]string{
		{"return-error", "internal", "error-rpcs", "topic-publish"}, // no session
		{"request-id", "4", "return-error", "internal"},
		{"request-id", "5", "return-error", "no-such", "error-rpcs", "topic-publish"},
	} {
		require.NoError(t, c.publish(headers(ctx, ignored...), text("x")))
	}
}

func TestControlHeadersKnowEveryCode(t *testing.T) {
	t.Parallel()
	known := make(map[codes.Code]bool)
	for _, code := range controlCodes {
		known[code] = true
	}
	require.Len(t, known, len(controlCodes))
	require.Len(t, known, int(codes.Unauthenticated)+1)
}

func TestControlHeadersDelayCalls(t *testing.T) {
	t.Parallel()
	ctx, srv := testContext(t), newServer(t)
	c := newRawClient(t, srv)
	const d = 50 * time.Millisecond
	once := headers(ctx, "request-id", "1", "delay-rpcs", "topic-publish", "delay-ms", "50", "delay-count", "1",
		"return-error", "internal", "error-rpcs", "topic-publish", "error-count", "1")
	start := time.Now()
	require.Equal(t, codes.Internal, status.Code(c.publish(once, text("x"))))
	require.GreaterOrEqual(t, time.Since(start), d)
	require.NoError(t, c.publish(headers(ctx, "request-id", "1", "delay-rpcs", "topic-publish", "delay-ms", "3600000", "delay-count", "1"), text("x")))
}

func TestControlHeadersEndStreams(t *testing.T) {
	t.Parallel()
	ctx, srv := testContext(t), newServer(t)
	c := newRawClient(t, srv)
	ctx = headers(ctx, "request-id", "1", "stream-error", "not-found", "stream-error-rpcs", "topic-subscribe", "stream-error-message-limit", "3")
	for i := range uint64(2) { // each stream anew
		s := c.subscribe(ctx, 1, 10*i)
		s.want("heartbeat")
		if i == 0 {
			fill(t, srv.Topic(cache, topic), "a", "b", "c")
		}
		s.want("item 10/1 text a", "item 10/2 text b")
		s.wantEnd(codes.NotFound)
	}
}

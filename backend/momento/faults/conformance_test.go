package faults_test

import (
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/momentohq/client-sdk-go/config"
	"github.com/momentohq/client-sdk-go/config/logger"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/momento"
	"github.com/topicbus/pubsub/backend/momento/momentotest"
	"github.com/topicbus/pubsub/pubsubtest"
)

// TestConformance runs the whole suite: nothing is left out.
func TestConformance(t *testing.T) {
	const retention, maxPayload = 1000, 4096
	pubsubtest.Run(t, pubsubtest.Harness{New: func(t testing.TB) pubsubtest.Target {
		srv, err := momentotest.NewServer(
			momentotest.WithCaches("cache"),
			momentotest.WithRetention(retention),
			momentotest.WithMaxPayload(maxPayload),
			// Where a topic stands is told to a new stream by the number of the
			// next message. Where it is that of the last one, a stream that breaks
			// before its first message cannot tell, and begins one message early
			// in place of losing one.
			momentotest.WithInclusiveAnnouncements(),
		)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, srv.Close()) })
		b, err := momento.New("cache",
			momento.WithCredentials(srv.Credentials()),
			momento.WithLogger(slog.New(slog.DiscardHandler)),
			momento.WithSubscribeTimeout(30*time.Second), // only a busy machine comes near them
			momento.WithPublishTimeout(30*time.Second),
			momento.WithRefusalPatience(0), // the suite has a refusal end a stream at once
			// One connection of a kind, which the suite sees come into being;
			// more would count as left behind.
			momento.WithConfiguration(config.TopicsDefaultWithLogger(logger.NewNoopMomentoLoggerFactory()).
				WithNumStreamGrpcChannels(1).WithNumUnaryGrpcChannels(1)),
		)
		require.NoError(t, err)
		topic := func(name string) *momentotest.Topic { return srv.Topic("cache", name) }
		return pubsubtest.Target{
			Backend:    b,
			Numbered:   true,
			History:    retention,
			MaxPayload: maxPayload,
			Disconnect: srv.Stop,
			Reconnect:  func() { require.NoError(t, srv.Restart()) },
			Publish: func(name string, p pubsub.Payload) error {
				_, err := topic(name).Publish(p)
				return err
			},
			Lose:      func(name string, n int) { topic(name).Lose(uint64(n), momentotest.Announced) },
			Reset:     func(name string) { topic(name).Reset(momentotest.Announced) },
			Heartbeat: func(name string) { require.NoError(t, topic(name).Send(momentotest.Heartbeat())) },
			EndStreams: func(sentinel error) {
				srv.EndStreams(failure(t, sentinel))
			},
			FailPublish: func(sentinel error) { srv.FailNext(momentotest.Publish, 1, failure(t, sentinel)) },
			FailSubscribe: func(sentinel error) {
				srv.FailNext(momentotest.Subscribe, 1, failure(t, sentinel))
			},
			Streams: func() int { return srv.Stats().Streams },
		}
	}, Timeout: time.Minute, Seed: *seed, Rounds: *rounds})
}

// failure returns what the service says where the backend reports a sentinel.
func failure(t testing.TB, sentinel error) momentotest.Failure {
	for _, f := range []struct {
		sentinel error
		code     codes.Code
	}{
		{pubsub.ErrNotFound, codes.NotFound},
		{pubsub.ErrUnauthenticated, codes.Unauthenticated},
		{pubsub.ErrPermissionDenied, codes.PermissionDenied},
		{pubsub.ErrInvalidArgument, codes.InvalidArgument},
		{pubsub.ErrLimitExceeded, codes.ResourceExhausted},
		{pubsub.ErrUnavailable, codes.Unavailable},
	} {
		if errors.Is(sentinel, f.sentinel) {
			return momentotest.Fail(f.code, "scripted")
		}
	}
	t.Fatalf("no gRPC status stands for %v", sentinel)
	return momentotest.Failure{}
}

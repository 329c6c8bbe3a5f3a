package momento_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/momentohq/client-sdk-go/config"
	"github.com/momentohq/client-sdk-go/config/logger"
	sdk "github.com/momentohq/client-sdk-go/momento"
	"github.com/stretchr/testify/require"
	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/momento/momentotest"
)

// The benchmarks come in pairs: the SDK alone, and the Backend on it.

func rawClient(b *testing.B, srv *momentotest.Server) sdk.TopicClient {
	c, err := sdk.NewTopicClient(config.TopicsDefaultWithLogger(logger.NewNoopMomentoLoggerFactory()), srv.Credentials())
	require.NoError(b, err)
	b.Cleanup(c.Close)
	return c
}

func benchServer(b *testing.B) *momentotest.Server {
	srv, err := momentotest.NewServer(momentotest.WithCaches("cache"), momentotest.WithRetention(1<<20))
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, srv.Close()) })
	return srv
}

func BenchmarkPublish(b *testing.B) {
	payload := make([]byte, 100)
	b.Run("sdk", func(b *testing.B) {
		c := rawClient(b, benchServer(b))
		b.ReportAllocs()
		b.ResetTimer()
		b.RunParallel(func(p *testing.PB) {
			for p.Next() {
				_, err := c.Publish(context.Background(), &sdk.TopicPublishRequest{CacheName: "cache", TopicName: "topic", Value: sdk.Bytes(payload)})
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	})
	b.Run("backend", func(b *testing.B) {
		c := open(b, benchServer(b))
		b.ReportAllocs()
		b.ResetTimer()
		b.RunParallel(func(p *testing.PB) {
			for p.Next() {
				if err := c.Publish(context.Background(), "topic", pubsub.Payload{Data: payload}); err != nil {
					b.Fatal(err)
				}
			}
		})
	})
}

// BenchmarkReceive receives b.N messages that wait at the server, so that the
// receiver is what limits.
func BenchmarkReceive(b *testing.B) {
	prepare := func(b *testing.B, text bool) *momentotest.Server {
		srv := benchServer(b)
		p := pubsub.Payload{Data: make([]byte, 100)}
		if text {
			p.Format = pubsub.Text
		}
		for range b.N + 1 {
			_, err := srv.Topic("cache", "topic").Publish(p)
			require.NoError(b, err)
		}
		return srv
	}
	for _, text := range []bool{false, true} {
		b.Run(fmt.Sprintf("text=%v/sdk", text), func(b *testing.B) {
			srv := prepare(b, text)
			c := rawClient(b, srv)
			page := srv.Topic("cache", "topic").Position().Page
			b.ReportAllocs()
			b.ResetTimer()
			ctx, cancel := context.WithCancel(context.Background())
			sub, err := c.Subscribe(ctx, &sdk.TopicSubscribeRequest{CacheName: "cache", TopicName: "topic", ResumeAtTopicSequenceNumber: 2, SequencePage: page})
			require.NoError(b, err)
			for n := 0; n < b.N; {
				ev, err := sub.Event(ctx)
				if err != nil {
					b.Fatal(err)
				}
				if _, ok := ev.(sdk.TopicItem); ok {
					n++
				}
			}
			b.StopTimer()
			cancel()
		})
		b.Run(fmt.Sprintf("text=%v/backend", text), func(b *testing.B) {
			srv := prepare(b, text)
			c := open(b, srv)
			page := srv.Topic("cache", "topic").Position().Page
			b.ReportAllocs()
			b.ResetTimer()
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			s, err := c.Subscribe(ctx, "topic", pubsub.Start{After: pubsub.Position{Page: page, Sequence: 1}})
			require.NoError(b, err)
			n := 0
			_ = s.Receive(func(_ context.Context, f pubsub.Frame) error {
				if f.Kind == pubsub.KindMessage {
					if n++; n == b.N {
						cancel()
					}
				}
				return nil
			})
			b.StopTimer()
			require.Equal(b, b.N, n)
		})
	}
}

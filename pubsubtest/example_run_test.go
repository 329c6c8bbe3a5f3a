package pubsubtest_test

import (
	"context"
	"testing"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/memory"
	"github.com/topicbus/pubsub/pubsubtest"
)

// Example of a backend's test of conformance. It is all that is needed.
func ExampleRun() {
	_ = func(t *testing.T) {
		pubsubtest.Run(t, pubsubtest.Harness{
			New: func(testing.TB) pubsubtest.Target {
				b := memory.New(memory.WithHistory(100), memory.WithMaxPayload(4096))
				return pubsubtest.Target{
					Backend:    b,
					Numbered:   true,
					History:    100,
					MaxPayload: 4096,
					Disconnect: func() { b.Disconnect(nil) },
					Reconnect:  func() { b.Reconnect() },
					Publish: func(topic string, p pubsub.Payload) error {
						return b.Publish(context.Background(), topic, p)
					},
					Streams: b.Streams,
				}
			},
			// This backend could do more; a run without it says so.
			Without: []string{"EndStreams", "FailPublish", "FailSubscribe", "Heartbeat", "Lose", "Reset"},
		})
	}
}

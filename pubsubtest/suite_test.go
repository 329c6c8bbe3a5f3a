package pubsubtest

import (
	"context"
	"flag"
	"testing"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/memory"
)

// target is a memory backend with every capability.
func target(b *memory.Backend) Target {
	return Target{
		Backend:    b,
		Numbered:   true,
		History:    memoryHistory,
		MaxPayload: memoryMaxPayload,
		Disconnect: func() { b.Disconnect(nil) },
		Reconnect:  func() { b.Reconnect() },
		Publish: func(topic string, p pubsub.Payload) error {
			return b.Publish(context.Background(), topic, p)
		},
		Lose:          func(topic string, n int) { b.Lose(uint64(n), topic) },
		Reset:         func(topic string) { b.ResetPage(topic) },
		Heartbeat:     func(topic string) { b.Heartbeat(topic) },
		EndStreams:    func(err error) { b.EndStreams(err) },
		FailPublish:   func(err error) { b.FailPublishes(1, err) },
		FailSubscribe: func(err error) { b.FailSubscribes(1, err) },
		FailAccepted:  func(err error) { b.FailAcceptedPublishes(1, err) },
		Streams:       b.Streams,
	}
}

const (
	memoryHistory    = 20
	memoryMaxPayload = 4096
)

var (
	seed   = flag.Uint64("seed", 0, "seed of the first random schedule; 0: random")
	rounds = flag.Int("rounds", 0, "number of random schedules; 0: the default")
)

func TestMemoryWithHistory(t *testing.T) {
	Run(t, Harness{
		New: func(testing.TB) Target {
			return target(memory.New(memory.WithHistory(memoryHistory), memory.WithMaxPayload(memoryMaxPayload)))
		},
		Seed:   *seed,
		Rounds: *rounds,
	})
}

// Without a history memory takes other paths.
func TestMemoryWithoutHistory(t *testing.T) {
	Run(t, Harness{
		New: func(testing.TB) Target {
			tg := target(memory.New(memory.WithMaxPayload(memoryMaxPayload)))
			tg.History = 0
			return tg
		},
		Without: []string{"History"},
		Seed:    *seed,
		Rounds:  *rounds,
	})
}

package engine

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/memory"
)

// Memory is backend/memory.
func Memory() Engine {
	return Engine{
		Name: "memory",
		Open: func(string, time.Duration, *slog.Logger) (Backend, error) {
			return memory.New(memory.WithHistory(64)), nil
		},
		Faults: func(b Backend) []Fault {
			return memoryFaults(b.(*memory.Backend))
		},
	}
}

func memoryFaults(b *memory.Backend) []Fault {
	broken := errors.New("soak: broken on purpose")
	return []Fault{
		{Name: "disconnect", Every: 3, Do: func(r *rand.Rand, topic string) func() {
			topics := some(r, topic)
			b.Disconnect(fmt.Errorf("%w: %w", pubsub.ErrUnavailable, broken), topics...)
			return func() { b.Reconnect(topics...) }
		}},
		{Name: "disconnect again", Do: func(r *rand.Rand, topic string) func() {
			b.Disconnect(broken, topic)
			b.Disconnect(broken, topic)
			return func() { b.Reconnect() }
		}},
		{Name: "lose", Every: 3, Do: func(r *rand.Rand, topic string) func() {
			b.Lose(1+r.Uint64N(40), some(r, topic)...)
			return nil
		}},
		{Name: "reset", Every: 0.5, Do: func(r *rand.Rand, topic string) func() {
			b.ResetPage(some(r, topic)...)
			return nil
		}},
		{Name: "heartbeat", Do: func(r *rand.Rand, topic string) func() { b.Heartbeat(some(r, topic)...); return nil }},
		{Name: "duplicate", Do: func(r *rand.Rand, topic string) func() { b.Duplicate(1+r.IntN(70), some(r, topic)...); return nil }},
		{Name: "failed publishes", Do: func(r *rand.Rand, _ string) func() {
			b.FailPublishes(1+r.IntN(20), broken)
			return nil
		}},
		{Name: "failed subscribes", Do: func(r *rand.Rand, _ string) func() {
			b.FailSubscribes(1+r.IntN(3), fmt.Errorf("%w: %w", pubsub.ErrUnavailable, broken))
			return nil
		}},
		{Name: "slow publishes", Every: 0.5, Do: func(r *rand.Rand, _ string) func() {
			b.DelayPublishes(time.Duration(1+r.IntN(400)) * time.Millisecond)
			return func() { b.DelayPublishes(0) }
		}},
	}
}

package peers

import (
	EventBus "github.com/asaskevich/EventBus"
	"github.com/topicbus/pubsub/bench/shape"
)

func eventBusAsync() Peer {
	return Peer{
		Contender: shape.Contender[[]byte]{Name: "EventBus-async", Open: openEventBus(true)},
		Module:    "github.com/asaskevich/EventBus",
		Stuck:     Blocks,
		Bubble:    true,
		Loss:      "nothing is lost",
		Resume:    "no",
		Remarks:   "SubscribeAsync, transactional: a goroutine per callback, one at a time.",
	}
}

func eventBusSync() Peer {
	return Peer{
		Contender: shape.Contender[[]byte]{Name: "EventBus-sync", Open: openEventBus(false)},
		Module:    "github.com/asaskevich/EventBus",
		Stuck:     Blocks,
		Bubble:    true,
		Loss:      "nothing is lost",
		Resume:    "no",
		Remarks:   "Subscribe: a call by reflection on the publisher's goroutine, under the lock of the bus. Nothing is queued, nothing runs in parallel.",
	}
}

type eventBusSystem struct {
	EventBus.Bus
	async  bool
	topics []string
}

func openEventBus(async bool) func(shape.Fleet) (shape.System[[]byte], error) {
	return func(f shape.Fleet) (shape.System[[]byte], error) {
		return &eventBusSystem{Bus: EventBus.New(), async: async, topics: f.TopicNames()}, nil
	}
}

func (e *eventBusSystem) Subscribe(topic int, s *shape.Sink[[]byte]) error {
	if e.async {
		return e.SubscribeAsync(e.topics[topic], s.Take, true)
	}
	return e.Bus.Subscribe(e.topics[topic], s.Take)
}

func (e *eventBusSystem) Publish(topic int, v []byte) error {
	e.Bus.Publish(e.topics[topic], v)
	return nil
}

func (e *eventBusSystem) Close() error {
	e.WaitAsync()
	return nil
}

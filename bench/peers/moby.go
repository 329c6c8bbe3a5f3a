package peers

import (
	"time"

	"github.com/moby/pubsub"
	"github.com/topicbus/pubsub/bench/shape"
)

func moby() Peer {
	return Peer{
		Contender: shape.Contender[[]byte]{Name: "moby", Open: openMoby},
		Module:    "github.com/moby/pubsub",
		Stuck:     Blocks,
		Bubble:    true,
		Loss:      "dropped silently after the timeout",
		Resume:    "no",
		Remarks: "No topics: a publisher for each here. The timeout is an hour here. " +
			"A goroutine and a timer per message and subscriber.",
	}
}

type mobySystem struct {
	topics []*pubsub.Publisher
	readers
}

func openMoby(f shape.Fleet) (shape.System[[]byte], error) {
	m := new(mobySystem)
	for range f.Topics {
		m.topics = append(m.topics, pubsub.NewPublisher(time.Hour, buffer))
	}
	return m, nil
}

func (m *mobySystem) Subscribe(topic int, s *shape.Sink[[]byte]) error {
	read(&m.readers, m.topics[topic].Subscribe(), func(v interface{}) { s.Take(v.([]byte)) })
	return nil
}

func (m *mobySystem) Publish(topic int, v []byte) error {
	m.topics[topic].Publish(v)
	return nil
}

func (m *mobySystem) Close() error {
	for _, topic := range m.topics {
		topic.Close()
	}
	m.Wait()
	return nil
}

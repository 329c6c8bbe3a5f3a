package peers

import (
	"errors"

	"github.com/dustin/go-broadcast"
	"github.com/topicbus/pubsub/bench/shape"
)

func goBroadcast() Peer {
	return Peer{
		Contender: shape.Contender[[]byte]{Name: "go-broadcast", Open: openGoBroadcast},
		Module:    "github.com/dustin/go-broadcast",
		Stuck:     Blocks,
		Bubble:    true,
		Loss:      "nothing is lost",
		Resume:    "no",
		Remarks:   "No topics: a broadcaster for each here.",
	}
}

type goBroadcastSystem struct {
	topics   []broadcast.Broadcaster
	channels [][]chan interface{}
	readers
}

func openGoBroadcast(f shape.Fleet) (shape.System[[]byte], error) {
	g := &goBroadcastSystem{channels: make([][]chan interface{}, f.Topics)}
	for range f.Topics {
		g.topics = append(g.topics, broadcast.NewBroadcaster(buffer))
	}
	return g, nil
}

func (g *goBroadcastSystem) Subscribe(topic int, s *shape.Sink[[]byte]) error {
	ch := make(chan interface{}, buffer)
	g.channels[topic] = append(g.channels[topic], ch)
	g.topics[topic].Register(ch)
	read(&g.readers, ch, func(v interface{}) { s.Take(v.([]byte)) })
	return nil
}

func (g *goBroadcastSystem) Publish(topic int, v []byte) error {
	g.topics[topic].Submit(v)
	return nil
}

// Close leaves closing the channels to their owners.
func (g *goBroadcastSystem) Close() error {
	var errs error
	for i, topic := range g.topics {
		for _, ch := range g.channels[i] {
			topic.Unregister(ch)
			close(ch)
		}
		errs = errors.Join(errs, topic.Close())
	}
	g.Wait()
	return errs
}

package peers

import (
	"github.com/ethereum/go-ethereum/event"
	"github.com/topicbus/pubsub/bench/shape"
)

func ethereum() Peer {
	return Peer{
		Contender: shape.Contender[[]byte]{Name: "ethereum", Open: openEthereum},
		Module:    "github.com/ethereum/go-ethereum/event",
		Stuck:     Blocks,
		Typed:     true,
		Bubble:    true,
		Loss:      "nothing is lost",
		Resume:    "no",
		Remarks:   "FeedOf. No topics: a feed for each here. Sends by reflection; publishers of a feed wait for each other.",
	}
}

type ethereumSystem struct {
	feeds    []event.FeedOf[[]byte]
	channels []chan []byte
	subs     []event.Subscription
	readers
}

func openEthereum(f shape.Fleet) (shape.System[[]byte], error) {
	return &ethereumSystem{feeds: make([]event.FeedOf[[]byte], f.Topics)}, nil
}

func (e *ethereumSystem) Subscribe(topic int, s *shape.Sink[[]byte]) error {
	ch := make(chan []byte, buffer)
	e.channels = append(e.channels, ch)
	e.subs = append(e.subs, e.feeds[topic].Subscribe(ch))
	read(&e.readers, ch, s.Take)
	return nil
}

func (e *ethereumSystem) Publish(topic int, v []byte) error {
	e.feeds[topic].Send(v)
	return nil
}

// Close leaves closing the channels to their owners.
func (e *ethereumSystem) Close() error {
	for i, sub := range e.subs {
		sub.Unsubscribe()
		close(e.channels[i])
	}
	e.Wait()
	return nil
}

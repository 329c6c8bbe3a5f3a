package peers

import (
	"github.com/cskr/pubsub/v2"
	"github.com/topicbus/pubsub/bench/shape"
)

func cskr() Peer {
	return Peer{
		Contender: shape.Contender[[]byte]{Name: "cskr", Open: openCskr},
		Module:    "github.com/cskr/pubsub/v2",
		Stuck:     Blocks,
		Typed:     true,
		Bubble:    true,
		Loss:      "TryPub drops silently",
		Resume:    "no",
		Remarks:   "One goroutine serves all topics.",
	}
}

type cskrSystem struct {
	*pubsub.PubSub[string, []byte]
	topics []string
	readers
}

func openCskr(f shape.Fleet) (shape.System[[]byte], error) {
	return &cskrSystem{PubSub: pubsub.New[string, []byte](buffer), topics: f.TopicNames()}, nil
}

func (c *cskrSystem) Subscribe(topic int, s *shape.Sink[[]byte]) error {
	read(&c.readers, c.Sub(c.topics[topic]), s.Take)
	return nil
}

func (c *cskrSystem) Publish(topic int, v []byte) error {
	c.Pub(v, c.topics[topic])
	return nil
}

func (c *cskrSystem) Close() error {
	c.Shutdown()
	c.Wait()
	return nil
}

package peers

import (
	"errors"

	events "github.com/docker/go-events"
	"github.com/topicbus/pubsub/bench/shape"
)

func goEvents() Peer {
	return Peer{
		Contender: shape.Contender[[]byte]{Name: "go-events", Open: openGoEvents},
		Module:    "github.com/docker/go-events",
		Stuck:     Blocks,
		Bubble:    true,
		Loss:      "nothing is lost",
		Resume:    "no",
		Remarks: "A Broadcaster to Channels. No topics: a Broadcaster for each here. " +
			"With a Queue before each Channel nobody waits, and memory grows. Logs by logrus.",
	}
}

type goEventsSystem struct {
	topics []*events.Broadcaster
	readers
}

func openGoEvents(f shape.Fleet) (shape.System[[]byte], error) {
	g := new(goEventsSystem)
	for range f.Topics {
		g.topics = append(g.topics, events.NewBroadcaster())
	}
	return g, nil
}

func (g *goEventsSystem) Subscribe(topic int, s *shape.Sink[[]byte]) error {
	ch := events.NewChannel(buffer)
	g.Go(func() {
		for {
			select {
			case e := <-ch.C:
				s.Take(e.([]byte))
			case <-ch.Done():
				return
			}
		}
	})
	return g.topics[topic].Add(ch)
}

func (g *goEventsSystem) Publish(topic int, v []byte) error {
	return g.topics[topic].Write(v)
}

func (g *goEventsSystem) Close() error {
	var errs error
	for _, topic := range g.topics {
		errs = errors.Join(errs, topic.Close())
	}
	g.Wait()
	return errs
}

package peers

import (
	"fmt"

	"github.com/topicbus/pubsub/bench/shape"
	"tailscale.com/util/eventbus"
)

func tailscale() Peer {
	return Peer{
		Contender: shape.Contender[[]byte]{Name: "tailscale", Open: openTailscale},
		Module:    "tailscale.com/util/eventbus",
		Stuck:     Unbounded,
		Typed:     true,
		Bubble:    true,
		Loss:      "nothing is lost",
		Resume:    "no",
		Remarks:   "The type is the topic: a bus for each topic here.",
	}
}

// tailscaleEvent is a type, which this bus has in place of topics.
type tailscaleEvent struct{ body []byte }

type tailscaleSystem struct {
	buses      []*eventbus.Bus
	publishers []*eventbus.Publisher[tailscaleEvent]
	readers
}

func openTailscale(f shape.Fleet) (shape.System[[]byte], error) {
	t := new(tailscaleSystem)
	for range f.Topics {
		bus := eventbus.New()
		t.buses = append(t.buses, bus)
		t.publishers = append(t.publishers, eventbus.Publish[tailscaleEvent](bus.Client("publisher")))
	}
	return t, nil
}

func (t *tailscaleSystem) Subscribe(topic int, s *shape.Sink[[]byte]) error {
	sub := eventbus.Subscribe[tailscaleEvent](t.buses[topic].Client(fmt.Sprint("subscriber", topic)))
	t.Go(func() {
		for {
			select {
			case e := <-sub.Events():
				s.Take(e.body)
			case <-sub.Done():
				return
			}
		}
	})
	return nil
}

func (t *tailscaleSystem) Publish(topic int, v []byte) error {
	t.publishers[topic].Publish(tailscaleEvent{v})
	return nil
}

func (t *tailscaleSystem) Close() error {
	for _, bus := range t.buses {
		bus.Close()
	}
	t.Wait()
	return nil
}

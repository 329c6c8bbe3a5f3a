package peers

import (
	"errors"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/p2p/host/eventbus"
	"github.com/topicbus/pubsub/bench/shape"
)

func libp2p() Peer {
	return Peer{
		Contender: shape.Contender[[]byte]{Name: "libp2p", Open: openLibp2p},
		Module:    "github.com/libp2p/go-libp2p/p2p/host/eventbus",
		Stuck:     Blocks,
		Bubble:    true,
		Loss:      "nothing is lost",
		Resume:    "the last event, if Stateful",
		Remarks:   "The type is the topic: a bus for each topic here. Subscribers get any. Logs when a subscriber is slow.",
	}
}

// libp2pEvent is a type, which this bus has in place of topics.
type libp2pEvent []byte

type libp2pSystem struct {
	buses    []event.Bus
	emitters []event.Emitter
	subs     []event.Subscription
	readers
}

func openLibp2p(f shape.Fleet) (shape.System[[]byte], error) {
	l := new(libp2pSystem)
	for range f.Topics {
		bus := eventbus.NewBus()
		emitter, err := bus.Emitter(new(libp2pEvent))
		if err != nil {
			return nil, err
		}
		l.buses = append(l.buses, bus)
		l.emitters = append(l.emitters, emitter)
	}
	return l, nil
}

func (l *libp2pSystem) Subscribe(topic int, s *shape.Sink[[]byte]) error {
	sub, err := l.buses[topic].Subscribe(new(libp2pEvent), eventbus.BufSize(buffer))
	if err != nil {
		return err
	}
	l.subs = append(l.subs, sub)
	read(&l.readers, sub.Out(), func(v any) { s.Take(v.(libp2pEvent)) })
	return nil
}

func (l *libp2pSystem) Publish(topic int, v []byte) error {
	return l.emitters[topic].Emit(libp2pEvent(v))
}

func (l *libp2pSystem) Close() error {
	var errs error
	for _, sub := range l.subs {
		errs = errors.Join(errs, sub.Close())
	}
	for _, emitter := range l.emitters {
		errs = errors.Join(errs, emitter.Close())
	}
	l.Wait()
	return errs
}

package peers

import (
	"context"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/gochannel"
	"github.com/topicbus/pubsub/bench/shape"
)

func watermill() Peer {
	return Peer{
		Contender: shape.Contender[[]byte]{Name: "watermill", Open: openWatermill},
		Module:    "github.com/ThreeDotsLabs/watermill/pubsub/gochannel",
		Stuck:     Blocks,
		Bubble:    true,
		Loss:      "nothing is lost",
		Resume:    "Persistent replays all, from the start",
		Remarks: "With BlockPublishUntilSubscriberAck; without it every message of every subscriber " +
			"is a goroutine, and order is lost.",
	}
}

type watermillSystem struct {
	*gochannel.GoChannel
	topics []string
	readers
}

func openWatermill(f shape.Fleet) (shape.System[[]byte], error) {
	c := gochannel.NewGoChannel(gochannel.Config{
		OutputChannelBuffer:            buffer,
		BlockPublishUntilSubscriberAck: true,
	}, nil)
	return &watermillSystem{GoChannel: c, topics: f.TopicNames()}, nil
}

func (w *watermillSystem) Subscribe(topic int, s *shape.Sink[[]byte]) error {
	messages, err := w.GoChannel.Subscribe(context.Background(), w.topics[topic])
	if err != nil {
		return err
	}
	read(&w.readers, messages, func(m *message.Message) {
		s.Take(m.Payload)
		m.Ack()
	})
	return nil
}

func (w *watermillSystem) Publish(topic int, v []byte) error {
	// A UUID per message is usual, but not needed, and would cost more.
	return w.GoChannel.Publish(w.topics[topic], message.NewMessage("", v))
}

func (w *watermillSystem) Close() error {
	err := w.GoChannel.Close()
	w.Wait()
	return err
}

package matrix

import (
	"context"
	"log/slog"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/momento"
)

// busClient is a [pubsub.Bus] over the Momento backend.
type busClient struct {
	backend *momento.Backend
	bus     pubsub.Bus[pubsub.Payload]
	options []pubsub.SubscribeOption // of the subscriptions to come
}

func newBusClient(row Row, backendOptions []momento.Option) (*busClient, error) {
	b, err := momento.New(cacheName, append(backendOptions, row.Backend...)...)
	if err != nil {
		return nil, err
	}
	return &busClient{backend: b, bus: pubsub.New(b, payloads{}, append([]pubsub.Option{pubsub.WithLogger(discard)}, row.Bus...)...)}, nil
}

var (
	discard = slog.New(slog.DiscardHandler)
	quiet   = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
)

func (c *busClient) subscribe(ctx context.Context, topic string, j *journal) (reader, error) {
	s, err := c.bus.Subscribe(ctx, topic, c.options...)
	if err != nil {
		return nil, err
	}
	go func() {
		for {
			e, err := s.Next(context.Background())
			if err != nil {
				j.end(s.Err())
				return
			}
			switch e.Kind {
			case pubsub.KindMessage:
				j.add(entry{at: e.Message.Position, payload: e.Message.Value})
			case pubsub.KindDiscontinuity:
				j.add(entry{hole: e.Discontinuity})
			}
		}
	}()
	return busReader{s}, nil
}

type busReader struct {
	*pubsub.Subscription[pubsub.Payload]
}

func (r busReader) close() { r.Close() }

func (c *busClient) publish(ctx context.Context, topic string, p pubsub.Payload) error {
	return c.bus.Publish(ctx, topic, p)
}

func (c *busClient) close() {
	c.bus.Close()
	c.backend.Close()
}

// payloads is a codec that leaves a payload as it is.
type payloads struct{}

func (payloads) Encode(p pubsub.Payload) (pubsub.Payload, error) { return p, nil }
func (payloads) Decode(p pubsub.Payload) (pubsub.Payload, error) { return p, nil }

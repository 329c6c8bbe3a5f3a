package matrix

import (
	"context"
	"errors"
	"log/slog"
	"sync"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/nats"
	"github.com/topicbus/pubsub/codec"
)

var start = pubsub.Start{}

func ignore(context.Context, pubsub.Frame) error { return nil }

// client is what a row is played on.
type client interface {
	// subscribe reads what the topic's stream accepts from now on.
	subscribe(ctx context.Context, t *topic) error
	close()
}

// busClient is a Bus over the backend, with a buffer that holds a row.
type busClient struct {
	backend *nats.Backend
	bus     pubsub.Bus[[]byte]
	reading sync.WaitGroup
}

func newBusClient(url string, opts []nats.Option) (*busClient, error) {
	b, err := nats.New(url, opts...)
	if err != nil {
		return nil, err
	}
	return &busClient{backend: b, bus: pubsub.New(b, codec.Bytes(), pubsub.WithLogger(slog.New(slog.DiscardHandler)))}, nil
}

func (c *busClient) subscribe(ctx context.Context, t *topic) error {
	s, err := c.bus.Subscribe(ctx, t.name, pubsub.Overflow(pubsub.Block))
	if err != nil {
		return err
	}
	c.reading.Go(func() {
		for m, err := range s.All() {
			var d *pubsub.Discontinuity
			switch {
			case errors.As(err, &d):
				t.hole(int(d.Lost), d.Cause == pubsub.CauseReset)
			case err == nil:
				t.message(m.Value)
			}
		}
	})
	return nil
}

func (c *busClient) close() {
	_ = c.bus.Close()
	_ = c.backend.Close()
	c.reading.Wait()
}

// orderedClient is the client library's OrderedConsumer, as its documentation
// shows: with the defaults of all that it does not have to be told.
type orderedClient struct {
	nc *natsgo.Conn
	js jetstream.JetStream

	consuming []jetstream.ConsumeContext
}

func newOrderedClient(url string) (*orderedClient, error) {
	nc, err := natsgo.Connect(url, natsgo.ErrorHandler(func(*natsgo.Conn, *natsgo.Subscription, error) {}))
	if err != nil {
		return nil, err
	}
	js, err := jetstream.New(nc)
	return &orderedClient{nc: nc, js: js}, err
}

func (c *orderedClient) subscribe(ctx context.Context, t *topic) error {
	consumer, err := c.js.OrderedConsumer(ctx, t.stream.CachedInfo().Config.Name, jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverNewPolicy})
	if err != nil {
		return err
	}
	consuming, err := consumer.Consume(func(m jetstream.Msg) { t.message(m.Data()) })
	if err == nil {
		c.consuming = append(c.consuming, consuming)
	}
	return err
}

func (c *orderedClient) close() {
	for _, consuming := range c.consuming {
		consuming.Stop()
	}
	c.nc.Close()
}

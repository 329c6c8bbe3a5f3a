package bench

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/momentohq/client-sdk-go/config"
	"github.com/momentohq/client-sdk-go/config/logger"
	sdk "github.com/momentohq/client-sdk-go/momento"
	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/momento"
	"github.com/topicbus/pubsub/backend/momento/momentotest"
	"github.com/topicbus/pubsub/bench/shape"
	"github.com/topicbus/pubsub/codec"
)

const momentoCache = "bench"

// newMomento starts a server on the loopback interface. It retains enough
// that no subscriber is too slow for it.
func newMomento() (*momentotest.Server, error) {
	return momentotest.NewServer(momentotest.WithCaches(momentoCache), momentotest.WithRetention(1<<21))
}

func openBackend(srv *momentotest.Server) (*momento.Backend, error) {
	return momento.New(momentoCache, momento.WithCredentials(srv.Credentials()), momento.WithLogger(slog.New(slog.DiscardHandler)))
}

func openSDK(srv *momentotest.Server) (sdk.TopicClient, error) {
	return sdk.NewTopicClient(config.TopicsDefaultWithLogger(logger.NewNoopMomentoLoggerFactory()), srv.Credentials())
}

// momentoContenders are the SDK by itself, and the library over it, each with
// a server of its own. Publishing goes through them, or happens within the
// server, so that receiving is what limits.
func momentoContenders(publishWithin bool) contenders {
	return contenders{
		onMomento("sdk", publishWithin, func(f shape.Fleet, srv *momentotest.Server) (shape.System[[]byte], error) {
			client, err := openSDK(srv)
			if err != nil {
				return nil, err
			}
			s := &sdkSystem{client: client, topics: f.TopicNames()}
			s.ctx, s.cancel = context.WithCancel(context.Background())
			return s, nil
		}),
		onMomento("All", publishWithin, func(f shape.Fleet, srv *momentotest.Server) (shape.System[[]byte], error) {
			return shape.Bus[[]byte]{
				Name:   "All",
				Codec:  codec.Bytes(),
				Read:   shape.All[[]byte],
				Policy: pubsub.Block,
				Backend: func() (pubsub.Backend, func() error, error) {
					b, err := openBackend(srv)
					if err != nil {
						return nil, nil, err
					}
					return b, b.Close, nil
				},
			}.Contender().Open(f)
		}),
	}
}

func onMomento(name string, publishWithin bool, open func(shape.Fleet, *momentotest.Server) (shape.System[[]byte], error)) shape.Contender[[]byte] {
	return shape.Contender[[]byte]{Name: name, Open: func(f shape.Fleet) (shape.System[[]byte], error) {
		srv, err := newMomento()
		if err != nil {
			return nil, err
		}
		s, err := open(f, srv)
		if err != nil {
			return nil, errors.Join(err, srv.Close())
		}
		m := &momentoSystem{System: s, server: srv}
		if publishWithin {
			for _, name := range f.TopicNames() {
				m.within = append(m.within, srv.Topic(momentoCache, name))
			}
		}
		return m, nil
	}}
}

// momentoSystem is a system with the server it uses.
type momentoSystem struct {
	shape.System[[]byte]
	server *momentotest.Server
	within []*momentotest.Topic // if set, published to
}

func (m *momentoSystem) Publish(topic int, v []byte) error {
	if m.within == nil {
		return m.System.Publish(topic, v)
	}
	_, err := m.within[topic].Publish(pubsub.Payload{Data: v})
	return err
}

func (m *momentoSystem) Close() error {
	return errors.Join(m.System.Close(), m.server.Close())
}

// sdkSystem is the SDK, used as its documentation shows.
type sdkSystem struct {
	client  sdk.TopicClient
	topics  []string
	ctx     context.Context
	cancel  context.CancelFunc
	subs    []sdk.TopicSubscription
	readers sync.WaitGroup
}

func (s *sdkSystem) Subscribe(topic int, k *shape.Sink[[]byte]) error {
	sub, err := s.client.Subscribe(s.ctx, &sdk.TopicSubscribeRequest{CacheName: momentoCache, TopicName: s.topics[topic]})
	if err != nil {
		return err
	}
	s.subs = append(s.subs, sub)
	s.readers.Go(func() {
		for {
			event, err := sub.Event(s.ctx)
			if err != nil {
				if s.ctx.Err() == nil {
					k.Fail(err)
				}
				return
			}
			switch e := event.(type) {
			case sdk.TopicItem:
				k.Take([]byte(e.GetValue().(sdk.Bytes)))
			case sdk.TopicDiscontinuity:
				k.Fail(fmt.Errorf("unexpected: %v", e))
			}
		}
	})
	return nil
}

func (s *sdkSystem) Publish(topic int, v []byte) error {
	_, err := s.client.Publish(s.ctx, &sdk.TopicPublishRequest{CacheName: momentoCache, TopicName: s.topics[topic], Value: sdk.Bytes(v)})
	return err
}

func (s *sdkSystem) Close() error {
	s.cancel()
	for _, sub := range s.subs {
		sub.Close()
	}
	s.client.Close()
	s.readers.Wait()
	return nil
}

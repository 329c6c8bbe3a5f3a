package peers

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/topicbus/pubsub/bench/shape"
	"gocloud.dev/pubsub"
	gocloud "gocloud.dev/pubsub/mempubsub"
)

func mempubsub() Peer {
	return Peer{
		Contender: shape.Contender[[]byte]{Name: "mempubsub", Open: openMempubsub, Unordered: true},
		Module:    "gocloud.dev/pubsub/mempubsub",
		Stuck:     Unbounded,
		Loss:      "nothing is lost",
		Resume:    "unacknowledged messages come again",
		Remarks: "For tests, says its documentation. Polls every 250 ms when idle. " +
			"Goroutines of Receive outlive Shutdown.",
	}
}

type mempubsubSystem struct {
	ctx    context.Context
	cancel context.CancelFunc
	topics []*pubsub.Topic
	subs   []*pubsub.Subscription
	readers
}

func openMempubsub(f shape.Fleet) (shape.System[[]byte], error) {
	m := new(mempubsubSystem)
	m.ctx, m.cancel = context.WithCancel(context.Background())
	for range f.Topics {
		m.topics = append(m.topics, gocloud.NewTopic())
	}
	return m, nil
}

func (m *mempubsubSystem) Subscribe(topic int, s *shape.Sink[[]byte]) error {
	sub := gocloud.NewSubscription(m.topics[topic], time.Hour)
	m.subs = append(m.subs, sub)
	m.Go(func() {
		for {
			msg, err := sub.Receive(m.ctx)
			if err != nil {
				if m.ctx.Err() == nil {
					s.Fail(err)
				}
				return
			}
			s.Take(msg.Body)
			msg.Ack()
		}
	})
	return nil
}

func (m *mempubsubSystem) Publish(topic int, v []byte) error {
	return m.topics[topic].Send(m.ctx, &pubsub.Message{Body: v})
}

func (m *mempubsubSystem) Close() error {
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		errs error
	)
	shutdown := func(f func(context.Context) error) {
		wg.Go(func() {
			if err := f(context.Background()); err != nil {
				mu.Lock()
				errs = errors.Join(errs, err)
				mu.Unlock()
			}
		})
	}
	m.cancel()
	m.Wait()
	for _, sub := range m.subs {
		shutdown(sub.Shutdown)
	}
	for _, topic := range m.topics {
		shutdown(topic.Shutdown)
	}
	wg.Wait()
	return errs
}

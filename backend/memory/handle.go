package memory

import (
	"context"
	"sync/atomic"

	"github.com/topicbus/pubsub"
)

// handle publishes to one topic, which it has looked up before. It implements
// pubsub.TopicPublisher and pubsub.BatchPublisher.
//
// Of a topic that nobody listens to it keeps nothing.
type handle struct {
	engine *engine
	max    int // engine.maxPayload
	topic  atomic.Pointer[topic]
	void   atomic.Uint64 // there was no topic, and no hook, as of that news
	name   string
}

// Publish implements pubsub.TopicPublisher.
func (h *handle) Publish(ctx context.Context, p pubsub.Payload) error {
	if len(p.Data) <= h.max {
		if t := h.topic.Load(); t != nil {
			return t.publish(ctx, p, h)
		}
		if h.void.Load() == h.engine.news.Load() {
			return nil
		}
	}
	return h.publishAnew(ctx, p)
}

func (h *handle) publishAnew(ctx context.Context, p pubsub.Payload) error {
	_, err := h.PublishBatch(ctx, []pubsub.Payload{p})
	return err
}

// PublishBatch implements pubsub.BatchPublisher.
func (h *handle) PublishBatch(ctx context.Context, ps []pubsub.Payload) (int, error) {
	for i, p := range ps {
		if len(p.Data) > h.max {
			n, err := h.publishAll(ctx, ps[:i])
			if err == nil {
				err = h.engine.tooLarge(p)
			}
			return n, err
		}
	}
	return h.publishAll(ctx, ps)
}

func (h *handle) publishAll(ctx context.Context, ps []pubsub.Payload) (int, error) {
	if len(ps) == 0 {
		return 0, nil
	}
	t := h.topic.Load()
	if t == nil {
		if h.void.Load() == h.engine.news.Load() {
			return len(ps), nil
		}
		var err error
		if t, err = h.find(); err != nil {
			return 0, err
		}
		if t == nil {
			return h.engine.publishToNobody(ctx, h.name, len(ps))
		}
	}
	return t.publishAll(ctx, ps, h)
}

// find looks the topic up, nil if a message has no effect.
func (h *handle) find() (*topic, error) {
	e := h.engine
	news := e.news.Load()
	hooked := e.publishing.Load() != nil
	t := e.find(h.name)
	if t == nil {
		var err error
		if t, err = e.lookup(h.name); err != nil {
			return nil, err
		}
	}
	switch {
	case t != nil:
		h.topic.Store(t)
	case !hooked:
		h.void.Store(news)
	}
	return t, nil
}

// renew looks the topic up again, which was forgotten. h may be nil.
func (t *topic) renew(h *handle) (*topic, error) {
	if h == nil {
		h = &handle{engine: t.engine, name: t.name}
	}
	h.topic.CompareAndSwap(t, nil)
	return h.find()
}

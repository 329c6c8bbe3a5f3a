package pubsubtest

import (
	"context"
	"errors"
	"io"
	"reflect"
	"time"

	"github.com/topicbus/pubsub"
)

func topicCases() []testCase {
	return []testCase{{
		name:   "Topic/other-via",
		clause: "If via is another Backend than the one that is asked, Topic returns nil.",
		needs:  []capability{topicBackend},
		run: func(e *env) {
			// It may have a Publish of its own, which the handle would pass by.
			around := struct{ pubsub.Backend }{e.Backend}
			if p := e.Backend.(pubsub.TopicBackend).Topic(around, e.topic("via")); !isNil(p) {
				e.Errorf("Topic of a Backend that embeds this one returned a publisher: %T", p)
			}
		},
	}, {
		name:   "Topic/same",
		clause: "Publish of a TopicPublisher does what Backend.Publish does, to the topic of that name, whether or not somebody has listened there before.",
		needs:  []capability{topicBackend},
		run: func(e *env) {
			topic := e.topic("Same") // taken literally
			h := e.handle(topic)
			send := func(p pubsub.Payload) {
				e.Helper()
				if err := e.call("Publish", func(ctx context.Context) error { return h.Publish(ctx, p) }); err != nil {
					e.Fatalf("Publish: %v", err)
				}
			}
			send(id{1, 1}.payload())
			for round := range 2 {
				s := e.tap(topic)
				text := pubsub.Payload{Format: pubsub.Text, Data: []byte(id{1, round + 2}.String())}
				send(text)
				l := s.awaitMessage(id{1, round + 2})
				if got := l[len(l)-1].payload; got.Format != pubsub.Text {
					e.Errorf("published Text, got %v", got.Format)
				}
				if breach := s.law(l, 1, 1); breach != "" {
					e.Errorf("%s%s", breach, l.tail())
				}
				s.cancel()
				s.ends("its ctx ended")
				send(id{2, round}.payload()) // nobody listens
			}
		},
	}, {
		name:   "Topic/order",
		clause: "Messages of one caller keep their order, whether published by name, by handle or by another handle.",
		needs:  []capability{topicBackend},
		run: func(e *env) {
			topic := e.topic("order")
			s := e.tap(topic)
			a, b := e.handle(topic), e.handle(topic)
			const n = 30
			for i := 1; i <= n; i++ {
				p := id{1, i}.payload()
				err := e.call("Publish", func(ctx context.Context) error {
					switch i % 3 {
					case 0:
						return e.Backend.Publish(ctx, topic, p)
					case 1:
						return a.Publish(ctx, p)
					default:
						return b.Publish(ctx, p)
					}
				})
				if err != nil {
					e.Fatalf("Publish: %v", err)
				}
			}
			s.awaitLaw(n)
			if breach := s.entries().order(); breach != "" {
				e.Errorf("%s", breach)
			}
		},
	}, {
		name:   "Topic/ctx",
		clause: "Publish of a TopicPublisher returns soon after its ctx ends, with an error in which errors.Is finds ctx's error.",
		needs:  []capability{topicBackend},
		run: func(e *env) {
			topic := e.topic("ctx")
			h := e.handle(topic)
			s := e.subscribe(topic, pubsub.Position{})
			s.hook = func(ctx context.Context, _ pubsub.Frame) error { return hold(ctx, s.ctx, nil) }
			s.receive()
			for i := range 4 {
				e.cutShort(time.Duration(i)*5*time.Millisecond, "Publish", func(ctx context.Context) error {
					var err error
					for n := 0; err == nil && ctx.Err() == nil && n < 10_000; n++ {
						err = h.Publish(ctx, id{i, n}.payload())
					}
					return err
				})
			}
		},
	}, {
		name:   "Topic/error",
		clause: "Errors of a TopicPublisher match the sentinels of package pubsub where one fits.",
		needs:  []capability{topicBackend, failPublish},
		run: func(e *env) {
			topic := e.topic("errors")
			e.tap(topic)
			h := e.handle(topic)
			for _, sentinel := range serviceErrors() {
				e.FailPublish(sentinel)
				if err := e.call("Publish", func(ctx context.Context) error { return h.Publish(ctx, id{1, 1}.payload()) }); !errors.Is(err, sentinel) {
					e.Errorf("Publish failed for the reason %q; errors.Is does not find it in: %v", sentinel, err)
				}
			}
		},
	}, {
		name:   "Topic/closed",
		clause: "After Close a TopicPublisher fails with ErrClosed, whether or not it was used before.",
		needs:  []capability{topicBackend, closing},
		run: func(e *env) {
			used, unused := e.handle(e.topic("used")), e.handle(e.topic("unused"))
			if err := e.call("Publish", func(ctx context.Context) error { return used.Publish(ctx, id{1, 1}.payload()) }); err != nil {
				e.Fatalf("Publish: %v", err)
			}
			e.within("Close", func() { _ = e.Backend.(io.Closer).Close() })
			for _, h := range []pubsub.TopicPublisher{used, unused} {
				if err := e.call("Publish", func(ctx context.Context) error { return h.Publish(ctx, id{1, 1}.payload()) }); !errors.Is(err, pubsub.ErrClosed) {
					e.Errorf("Publish after Close: want ErrClosed, got: %v", err)
				}
			}
		},
	}}
}

// handle returns a publisher to the topic, nil if the backend gives none.
func (e *env) handle(topic string) pubsub.TopicPublisher {
	b, ok := e.Backend.(pubsub.TopicBackend)
	if !ok {
		return nil
	}
	p := b.Topic(e.Backend, topic)
	if isNil(p) {
		return nil
	}
	return p
}

// isNil finds a nil pointer in an interface, too.
func isNil(p pubsub.TopicPublisher) bool {
	if p == nil {
		return true
	}
	v := reflect.ValueOf(p)
	return v.Kind() == reflect.Pointer && v.IsNil()
}

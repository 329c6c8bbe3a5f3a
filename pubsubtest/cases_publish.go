package pubsubtest

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/topicbus/pubsub"
)

func publishCases() []testCase {
	return []testCase{{
		name:   "Publish/order",
		clause: "Messages of one caller keep their order.",
		run: func(e *env) {
			topic := e.topic("order")
			s := e.tap(topic)
			e.publishAll(topic, 1, 1, 64)
			if breach := s.awaitMessage(id{1, 64}).order(); breach != "" {
				e.Errorf("%s", breach)
			}
		},
	}, {
		name:   "Publish/order-of-each",
		clause: "Messages of one caller keep their order, also while others publish.",
		run: func(e *env) {
			const publishers, n = 4, 51
			topic := e.topic("order")
			s := e.tap(topic)
			e.publishers(topic, publishers, n)
			e.publish(topic, id{publishers, 1}.payload())
			if breach := s.awaitMessage(id{publishers, 1}).order(); breach != "" {
				e.Errorf("%s", breach)
			}
		},
	}, {
		name:   "Publish/one-order",
		clause: "All streams of a topic get its messages in the same order, the topic's.",
		run: func(e *env) {
			const publishers, n = 4, 51
			topic := e.topic("order")
			a, b := e.tap(topic), e.tap(topic)
			e.publishers(topic, publishers, n)
			last := id{publishers, 1}
			e.publish(topic, last.payload())
			la, lb := a.awaitMessage(last), b.awaitMessage(last)
			if ia, ib := both(la.ids(), lb.ids()), both(lb.ids(), la.ids()); !slices.Equal(ia, ib) {
				e.Errorf("two streams got the same messages in different orders:\n\t%v\n\t%v", ia, ib)
			}
		},
	}, {
		name:   "Publish/delivered-or-marked",
		clause: "A nil error means that the message was accepted; the stream then delivers it or marks it lost.",
		run: func(e *env) {
			const n = 64
			topic := e.topic("accepted")
			s := e.tap(topic)
			e.publishAll(topic, 1, 1, n)
			s.awaitLaw(n)
		},
	}, {
		name:   "Publish/every-stream",
		clause: "Each stream of the topic delivers an accepted message or marks it lost.",
		run: func(e *env) {
			const n = 8
			topic := e.topic("fan-out")
			streams := []*tap{e.tap(topic), e.tap(topic), e.tap(topic)}
			e.publishAll(topic, 1, 1, n)
			for _, s := range streams {
				s.awaitLaw(n)
			}
		},
	}, {
		name:   "Publish/no-stream",
		clause: "Publish to a topic without streams is accepted.",
		run: func(e *env) {
			e.publishAll(e.topic("nobody"), 1, 1, 3)
		},
	}, {
		name:   "Publish/topics-apart",
		clause: "A message reaches the streams of its topic only, and a topic's name is taken literally.",
		run: func(e *env) {
			names := []string{"a", "A", "a.b", "a.*", "a.>", "*", "a/b", "a/+", "#", "a b", " a", "ä", "日本語", "a%2Fb", "a\x00b"}
			var taps []*tap
			var topics []string
			for _, name := range names {
				// All but the name's end is the same, so that only it tells.
				if e.h.Topic != nil {
					name = e.h.Topic(name)
				}
				topics = append(topics, name+e.label)
				taps = append(taps, e.tap(name+e.label))
			}
			for i, topic := range topics {
				e.publish(topic, id{i, 1}.payload())
			}
			for i, s := range taps {
				// The second comes behind whatever strayed here before it.
				e.publish(topics[i], id{i, 2}.payload())
				for _, got := range s.awaitMessage(id{i, 2}).unique() {
					switch from := got.id.publisher; {
					case from == i:
					case from >= 0 && from < len(names):
						e.Errorf("the stream of %q got what was published to %q", names[i], names[from])
					default:
						e.Errorf("the stream of %q got %s, which was published to none of the topics", names[i], quote(got.data))
					}
				}
			}
		},
	}, {
		name:   "Publish/ctx",
		clause: "Calls return soon after their ctx ends, with an error in which errors.Is finds ctx's error.",
		run: func(e *env) {
			topic := e.topic("ctx")
			s := e.subscribe(topic, pubsub.Position{})
			// A stream that takes nothing makes publishers wait, if anything does.
			s.hook = func(ctx context.Context, _ pubsub.Frame) error { return hold(ctx, s.ctx, nil) }
			s.receive()
			for i := range 8 {
				e.cutShort(time.Duration(i)*5*time.Millisecond, "Publish", func(ctx context.Context) error {
					var err error
					for n := 0; err == nil && ctx.Err() == nil && n < 10_000; n++ {
						err = e.Backend.Publish(ctx, topic, id{i, n}.payload())
					}
					return err
				})
			}
		},
	}, {
		name:   "Publish/error",
		clause: "Errors match the sentinels of package pubsub where one fits.",
		needs:  []capability{failPublish},
		run: func(e *env) {
			topic := e.topic("errors")
			e.tap(topic)
			for _, sentinel := range serviceErrors() {
				e.FailPublish(sentinel)
				if err := e.tryPublish(topic, id{1, 2}.payload()); !errors.Is(err, sentinel) {
					e.Errorf("Publish failed for the reason %q; errors.Is does not find it in: %v", sentinel, err)
				}
			}
			e.publish(topic, id{1, 3}.payload())
		},
	}}
}

// serviceErrors are the sentinels of what a service can refuse.
func serviceErrors() []error {
	return []error{pubsub.ErrNotFound, pubsub.ErrUnauthenticated, pubsub.ErrPermissionDenied, pubsub.ErrLimitExceeded, pubsub.ErrUnavailable}
}

// hold waits until release is closed, as deliver may: no longer than the ctx
// it is given lasts. It gives up, without an error, when the stream ends.
func hold(ctx, stream context.Context, release <-chan struct{}) error {
	select {
	case <-release:
		return nil
	case <-stream.Done():
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// cutShort calls f with a ctx that is canceled after d, and another whose
// deadline passes then. It checks that f comes back, with ctx's error if any.
func (e *env) cutShort(d time.Duration, what string, f func(context.Context) error) {
	e.Helper()
	canceled, cancel := context.WithCancel(context.Background())
	defer cancel()
	timer := time.AfterFunc(d, cancel)
	defer timer.Stop()
	expired, stop := context.WithTimeout(context.Background(), d+time.Microsecond)
	defer stop()
	for _, ctx := range []context.Context{canceled, expired} {
		if ctx.Err() != nil {
			continue // the Bus would not call
		}
		var err error
		if !e.within(what+" whose ctx ended", func() { err = f(ctx) }) {
			e.FailNow()
		}
		if err != nil && !errors.Is(err, ctx.Err()) {
			e.Errorf("%s: ctx ended with %q; errors.Is does not find that in: %v", what, ctx.Err(), err)
		}
	}
}

package pubsubtest

import (
	"context"
	"errors"
	"time"

	"github.com/topicbus/pubsub"
)

func outcomeCases() []testCase {
	return []testCase{{
		name:   "Outcome/refused",
		clause: "An error of Publish that tells NotAccepted means that nobody gets the message; one that tells Accepted, that they do.",
		needs:  []capability{failPublish, maxPayload},
		run: func(e *env) {
			topic := e.topic("outcome")
			s := e.tap(topic)
			var errs []error
			for p, sentinel := range serviceErrors() {
				e.FailPublish(sentinel)
				errs = append(errs, e.tryPublish(topic, id{p, 1}.payload()))
			}
			large := e.tryPublish(topic, pubsub.Payload{Data: make([]byte, e.MaxPayload+1)})
			if pubsub.OutcomeOf(large) == pubsub.Accepted {
				e.Errorf("a payload that is too large was told to be accepted: %v", large)
			}
			last := id{100, 1}
			if !e.poll(func() bool { return e.tryPublish(topic, last.payload()) == nil }) {
				e.Fatalf("Publish does not work again")
			}
			l := s.awaitMessage(last)
			for p, err := range errs {
				e.outcome(l, nil, id{p, 1}, pubsub.OutcomeOf(err), err)
			}
		},
	}, {
		name:   "Outcome/accepted",
		clause: "An error of Publish does not tell NotAccepted where the message was accepted and only the answer was lost.",
		needs:  []capability{failAccepted},
		run: func(e *env) {
			topic := e.topic("outcome")
			s := e.tap(topic)
			for p, sentinel := range serviceErrors() {
				e.FailAccepted(sentinel)
				err := e.tryPublish(topic, id{p, 1}.payload())
				if !errors.Is(err, sentinel) {
					e.Errorf("Publish failed for the reason %q; errors.Is does not find it in: %v", sentinel, err)
				}
				e.outcome(s.awaitMessage(id{p, 1}), nil, id{p, 1}, pubsub.OutcomeOf(err), err)
			}
		},
	}, {
		name:   "Outcome/ctx",
		clause: "Where ctx cut Publish short, an error that tells NotAccepted means that nobody gets the message; one that tells Accepted, that they do.",
		run: func(e *env) {
			topic := e.topic("outcome")
			s := e.subscribe(topic, pubsub.Position{})
			release := make(chan struct{})
			refused := refusals{}
			s.hook = func(ctx context.Context, f pubsub.Frame) error {
				i, err := parseID(f.Payload)
				if err != nil || i.publisher != 1 {
					return nil
				}
				return refused.note(i, hold(ctx, s.ctx, release))
			}
			s.receive().begin()
			const n = 6
			var errs [n]error
			for i := range n {
				ctx, cancel := context.WithTimeout(context.Background(), time.Duration(i+1)*time.Millisecond)
				ok := e.within("Publish whose ctx ended", func() { errs[i] = e.Backend.Publish(ctx, topic, id{1, i + 1}.payload()) })
				cancel()
				if !ok {
					e.FailNow()
				}
			}
			close(release)
			e.publish(topic, id{2, 1}.payload())
			l := s.awaitMessage(id{2, 1})
			for i, err := range errs {
				e.outcome(l, &refused, id{1, i + 1}, pubsub.OutcomeOf(err), err)
			}
		},
	}}
}

package pubsubtest

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/topicbus/pubsub"
)

func runCases() []testCase {
	return []testCase{{
		name:   "Runs/positions",
		clause: "ReceiveRuns does what Receive does; in a run, the positions of the messages follow that of the first.",
		needs:  []capability{runStream},
		run: func(e *env) {
			topic := e.topic("runs")
			s := e.subscribe(topic, pubsub.Position{}).receiveRuns(nil).tap
			s.begin()
			e.publishAll(topic, 1, 1, 10)
			n := 10
			if batch, ok := e.handle(topic).(pubsub.BatchPublisher); ok {
				e.batch(batch, 1, 11, 40)
				n = 40
			}
			l := s.awaitMessage(id{1, n})
			breaches := []string{l.order(), l.duplicates(), l.holes(), s.law(l, n, n)}
			if e.Numbered {
				breaches = append(breaches, l.positions())
			}
			for _, breach := range breaches {
				if breach != "" {
					e.Errorf("%s", breach)
				}
			}
		},
	}, {
		name:   "Runs/refused",
		clause: "If run returns an error then it took the first so many, did not take the next one, and marked the place of that itself; the backend delivers none of them again.",
		needs:  []capability{runStream},
		run: func(e *env) {
			topic := e.topic("runs")
			var refused atomic.Int32
			r := e.subscribe(topic, pubsub.Position{}).receiveRuns(func(i id) error {
				if i == (id{1, 5}) {
					refused.Add(1)
					return errors.New("refused by the test")
				}
				return nil
			})
			r.begin()
			if batch, ok := e.handle(topic).(pubsub.BatchPublisher); ok {
				ps := payloads(1, 1, 10)
				_ = e.call("PublishBatch", func(ctx context.Context) error {
					_, err := batch.PublishBatch(ctx, ps)
					return err
				}) // it may say that a stream refused one
			} else {
				for n := 1; n <= 10; n++ {
					_ = e.tryPublish(topic, id{1, n}.payload())
				}
			}
			e.publishAll(topic, 1, 11, 12)
			l := r.awaitMessage(id{1, 12})
			if n := refused.Load(); n != 1 {
				e.Errorf("the message that was refused was delivered %d times", n)
			}
			if len(l.reports()) > 0 {
				e.Errorf("the backend marked the place of the message that was refused, or of what it went on without:%s", l.tail())
			}
			for _, breach := range []string{l.order(), l.duplicates()} {
				if breach != "" {
					e.Errorf("%s", breach)
				}
			}
			for n := 1; n <= 4; n++ {
				if !l.has(id{1, n}) {
					e.Errorf("message %d is missing, which was taken before message 5 was refused", n)
				}
			}
		},
	}}
}

// runs is a tap that takes runs.
type runs struct{ *tap }

// receiveRuns starts to read the stream by ReceiveRuns. refuse, which may be nil,
// returns an error of a message that is not to be taken.
func (s *tap) receiveRuns(refuse func(id) error) runs {
	if refuse == nil {
		refuse = func(id) error { return nil }
	}
	s.hook = func(_ context.Context, f pubsub.Frame) error {
		i, err := parseID(f.Payload)
		if f.Kind != pubsub.KindMessage || err != nil {
			return nil
		}
		return refuse(i)
	}
	run := func(ctx context.Context, at pubsub.Position, ps []pubsub.Payload) (int, error) {
		if len(ps) == 0 {
			s.e.note("run was called without a message")
		}
		for i, p := range ps {
			f := pubsub.Frame{Kind: pubsub.KindMessage, Payload: p, Position: at}
			if err := s.deliver(ctx, f); err != nil {
				return i, err
			}
			if !at.IsZero() {
				at.Sequence++
			}
		}
		return len(ps), nil
	}
	s.e.goroutine(func() { s.end(s.opened.(pubsub.RunStream).ReceiveRuns(s.deliver, run)) })
	return runs{s}
}

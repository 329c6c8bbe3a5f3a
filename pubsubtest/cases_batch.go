package pubsubtest

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"time"

	"github.com/topicbus/pubsub"
)

func batchCases() []testCase {
	return []testCase{{
		name:   "Batch/order",
		clause: "PublishBatch publishes the payloads in their order, behind what its caller published before, and does not keep the slice.",
		needs:  []capability{batches},
		run: func(e *env) {
			topic := e.topic("batch")
			s := e.tap(topic)
			h := e.handle(topic)
			e.batch(h.(pubsub.BatchPublisher), 1, 1, 20)
			e.publish(topic, id{1, 21}.payload())
			e.batch(h.(pubsub.BatchPublisher), 1, 22, 41)
			if err := e.call("Publish", func(ctx context.Context) error { return h.Publish(ctx, id{1, 42}.payload()) }); err != nil {
				e.Fatalf("Publish: %v", err)
			}
			s.awaitLaw(42)
			l := s.entries()
			for _, breach := range []string{l.order(), l.duplicates(), l.holes()} {
				if breach != "" {
					e.Errorf("%s", breach)
				}
			}
		},
	}, {
		name:   "Batch/prefix",
		clause: "PublishBatch returns how many were accepted: with an error the first so many. The error is about the payload at that index; those behind it were not accepted, unless the error's outcome is unknown.",
		needs:  []capability{batches, maxPayload},
		run: func(e *env) {
			topic := e.topic("prefix")
			s := e.tap(topic)
			for p, bad := range []int{0, 3, 5} {
				ps := payloads(p, 1, 6)
				ps[bad] = pubsub.Payload{Data: bytes.Repeat([]byte{'x'}, e.MaxPayload+1)}
				accepted, err := e.tryBatch(topic, ps)
				if accepted != bad || !errors.Is(err, pubsub.ErrPayloadTooLarge) {
					e.Errorf("of 6 payloads the one at %d was too large: want %d and ErrPayloadTooLarge, got %d and: %v", bad, bad, accepted, err)
				}
				last := id{100 + p, 1}
				e.publish(topic, last.payload())
				e.told(s.awaitMessage(last), nil, p, 6, accepted, err)
			}
		},
	}, {
		name:   "Batch/error",
		clause: "An error of PublishBatch matches the sentinel of package pubsub, and the number accepted is right.",
		needs:  []capability{batches, failPublish},
		run: func(e *env) {
			topic := e.topic("errors")
			s := e.tap(topic)
			for p, sentinel := range serviceErrors() {
				e.FailPublish(sentinel)
				accepted, err := e.tryBatch(topic, payloads(p, 1, 3))
				if !errors.Is(err, sentinel) {
					e.Errorf("PublishBatch failed for the reason %q; errors.Is does not find it in: %v", sentinel, err)
				}
				if accepted == 3 {
					e.Errorf("PublishBatch failed and says that all were accepted: %v", err)
				}
				last := id{100 + p, 1}
				if !e.poll(func() bool { return e.tryPublish(topic, last.payload()) == nil }) {
					e.Fatalf("Publish does not work again")
				}
				e.told(s.awaitMessage(last), nil, p, 3, accepted, err)
			}
		},
	}, {
		name:   "Batch/ctx",
		clause: "PublishBatch returns soon after its ctx ends, with an error in which errors.Is finds ctx's error and the number that were accepted.",
		needs:  []capability{batches},
		run: func(e *env) {
			const n = 10
			topic := e.topic("ctx")
			s := e.subscribe(topic, pubsub.Position{})
			release := make(chan struct{})
			refused := refusals{}
			s.hook = func(ctx context.Context, f pubsub.Frame) error {
				i, err := parseID(f.Payload)
				if err != nil || i.publisher != 1 || i.n < 4 {
					return nil
				}
				return refused.note(i, hold(ctx, s.ctx, release))
			}
			s.receive().begin()
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
			defer cancel()
			accepted, err := 0, error(nil)
			if !e.within("PublishBatch whose ctx ended", func() {
				accepted, err = e.handle(topic).(pubsub.BatchPublisher).PublishBatch(ctx, payloads(1, 1, n))
			}) {
				e.FailNow()
			}
			close(release)
			switch {
			case err != nil && !errors.Is(err, context.DeadlineExceeded):
				e.Errorf("ctx ended with %q; errors.Is does not find that in: %v", ctx.Err(), err)
			case err == nil && accepted != n, err != nil && accepted >= n:
				e.Errorf("PublishBatch of %d payloads returned %d and: %v", n, accepted, err)
			}
			e.publish(topic, id{2, 1}.payload())
			e.told(s.awaitMessage(id{2, 1}), &refused, 1, n, accepted, err)
		},
	}}
}

// payloads are the messages first to last of a publisher.
func payloads(publisher, first, last int) (ps []pubsub.Payload) {
	for n := first; n <= last; n++ {
		ps = append(ps, id{publisher, n}.payload())
	}
	return ps
}

// batch publishes messages at once, or fails the test. Then it does with the
// slice as it likes.
func (e *env) batch(b pubsub.BatchPublisher, publisher, first, last int) {
	e.Helper()
	ps := payloads(publisher, first, last)
	accepted := 0
	err := e.call("PublishBatch", func(ctx context.Context) (err error) {
		accepted, err = b.PublishBatch(ctx, ps)
		return err
	})
	if err != nil || accepted != len(ps) {
		e.Fatalf("PublishBatch of %d payloads returned %d and: %v", len(ps), accepted, err)
	}
	for i := range ps {
		ps[i] = id{publisher, 9000 + i}.payload()
	}
}

func (e *env) tryBatch(topic string, ps []pubsub.Payload) (accepted int, err error) {
	e.Helper()
	err = e.call("PublishBatch", func(ctx context.Context) (err error) {
		accepted, err = e.handle(topic).(pubsub.BatchPublisher).PublishBatch(ctx, ps)
		return err
	})
	return accepted, err
}

// refusals are the messages that a stream was given and did not take.
type refusals struct {
	mu   sync.Mutex
	list map[id]bool
}

// note passes err on.
func (r *refusals) note(i id, err error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		if r.list == nil {
			r.list = make(map[id]bool)
		}
		r.list[i] = true
	}
	return err
}

// has reports whether a message was refused. r may be nil.
func (r *refusals) has(i id) bool {
	if r == nil {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.list[i]
}

// told checks that a publisher was told what became of its n messages.
func (e *env) told(l ledger, refused *refusals, publisher, n, accepted int, err error) {
	e.Helper()
	for i := range n {
		m := id{publisher, i + 1}
		outcome := pubsub.Accepted
		switch {
		case err == nil || i < accepted:
		case i == accepted:
			outcome = pubsub.OutcomeOf(err)
		case pubsub.OutcomeOf(err) == pubsub.OutcomeUnknown:
			outcome = pubsub.OutcomeUnknown
		default:
			outcome = pubsub.NotAccepted
		}
		e.outcome(l, refused, m, outcome, err)
	}
}

// outcome checks that what became of a message is what its publisher was told.
func (e *env) outcome(l ledger, refused *refusals, m id, told pubsub.Outcome, err error) {
	e.Helper()
	came := l.has(m) || refused.has(m)
	switch {
	case told == pubsub.NotAccepted && came:
		e.Errorf("message %v was told to be %v, and was delivered. The error: %v", m, told, err)
	case told == pubsub.Accepted && !came && len(l.reports()) == 0:
		e.Errorf("message %v was told to be %v, and was neither delivered nor reported lost. The error: %v", m, told, err)
	}
}

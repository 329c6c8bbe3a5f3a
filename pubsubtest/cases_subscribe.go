package pubsubtest

import (
	"context"
	"errors"
	"time"

	"github.com/topicbus/pubsub"
)

func subscribeCases() []testCase {
	return []testCase{{
		name:   "Subscribe/join-point",
		clause: "A nil error of Subscribe means that the stream is established: everything accepted after it returned reaches the Stream.",
		run: func(e *env) {
			for range 16 {
				topic := e.topic("join")
				s := e.subscribe(topic, pubsub.Position{})
				e.publishAll(topic, 1, 1, 2) // before anybody receives
				s.receive()
				e.publishAll(topic, 1, 3, 4)
				s.awaitLaw(4)
				s.cancel()
			}
		},
	}, {
		name:   "Subscribe/present",
		clause: "A zero after starts with what is accepted from now on.",
		run: func(e *env) {
			topic := e.topic("present")
			first := e.tap(topic) // so that the topic lives on
			e.publishAll(topic, 1, 1, 10)
			s := e.subscribe(topic, pubsub.Position{}).receive()
			s.flowing()
			e.publish(topic, id{1, 11}.payload())
			if got := s.awaitMessage(id{1, 11}).unique(); len(got) > 1 {
				e.Errorf("the stream delivered message %v, which was accepted before Subscribe was called", got[0].id)
			}
			first.awaitMessage(id{1, 11})
		},
	}, {
		name:   "Subscribe/after",
		clause: "Otherwise the Stream starts behind the position after: with what the backend still has of the messages that follow it, and a discontinuity for those it has not.",
		needs:  []capability{numbered},
		run: func(e *env) {
			e.resumeAt(2, 20+e.History)
		},
	}, {
		name:   "Subscribe/after-history",
		clause: "A Stream that starts behind a position starts with what the backend still has of the messages that follow it.",
		needs:  []capability{numbered, history},
		run: func(e *env) {
			n := min(e.History, 8) // with the message at the end
			l := e.resumeAt(5, 4+n)
			if holes := l.count(func(n entry) bool { return n.kind == pubsub.KindDiscontinuity }); holes > 0 {
				e.Errorf("a history of %d messages did not cover the newest %d: %v", e.History, n, l)
			}
		},
	}, {
		name:   "Subscribe/after-newest",
		clause: "A Stream that starts behind the newest message misses nothing and repeats nothing.",
		needs:  []capability{numbered},
		run: func(e *env) {
			l := e.resumeAt(10, 10)
			if holes := l.count(func(n entry) bool { return n.kind == pubsub.KindDiscontinuity }); holes > 0 {
				e.Errorf("a discontinuity came though nothing is missing: %v", l)
			}
		},
	}, {
		name:   "Subscribe/ctx",
		clause: "Subscribe returns soon after its ctx ends, with an error in which errors.Is finds ctx's error; a Stream that it returned nevertheless ends.",
		run: func(e *env) {
			topic := e.topic("ctx")
			e.tap(topic)
			for i := range 8 {
				e.cutShort(time.Duration(i*i)*50*time.Microsecond, "Subscribe", func(ctx context.Context) error {
					for ctx.Err() == nil {
						s, err := careful{e}.Subscribe(ctx, topic, pubsub.Start{})
						if err != nil {
							return err
						}
						// As the Bus does, whatever became of ctx.
						err = s.Receive(func(context.Context, pubsub.Frame) error { return nil })
						if err != nil {
							return err
						}
						if ctx.Err() == nil {
							e.note(errEarly.Error())
							return nil
						}
					}
					return nil
				})
			}
		},
	}, {
		name:   "Subscribe/ctx-life",
		clause: "ctx governs the Stream's whole life: that of no other, and of nothing else.",
		run: func(e *env) {
			topic := e.topic("apart")
			a, b := e.tap(topic), e.tap(topic)
			a.cancel()
			a.ends("its ctx ended")
			e.publishAll(topic, 1, 1, 5)
			b.awaitMessage(id{1, 5})
			if l := a.entries(); len(l.unique()) > 0 {
				e.Errorf("a stream whose Receive had returned delivered a message")
			}
		},
	}, {
		name:   "Subscribe/fail-fast",
		clause: "Subscribe fails fast: it does not retry a first failure for long. A backend that cannot be reached is ErrUnavailable.",
		needs:  []capability{disconnect, reconnect},
		run: func(e *env) {
			e.tap(e.topic("before"))
			e.Disconnect()
			_, err := e.trySubscribe(e.topic("during"), pubsub.Position{})
			e.Reconnect()
			switch {
			case err == nil:
				e.Errorf("Subscribe succeeded without a connection")
			case !errors.Is(err, pubsub.ErrUnavailable):
				e.Errorf("Subscribe without a connection: want ErrUnavailable, got: %v", err)
			}
		},
	}, {
		name:   "Subscribe/error",
		clause: "Errors match the sentinels of package pubsub where one fits.",
		needs:  []capability{failSubscribe},
		run: func(e *env) {
			topic := e.topic("errors")
			e.tap(topic)
			for _, sentinel := range serviceErrors() {
				e.FailSubscribe(sentinel)
				if _, err := e.trySubscribe(topic, pubsub.Position{}); !errors.Is(err, sentinel) {
					e.Errorf("Subscribe failed for the reason %q; errors.Is does not find it in: %v", sentinel, err)
				}
			}
			e.tap(topic)
		},
	}}
}

// resumeAt publishes messages up to the nth, opens a stream behind the one
// numbered at, publishes another message, and checks what comes.
func (e *env) resumeAt(at, n int) ledger {
	e.Helper()
	topic := e.topic("resume")
	first := e.tap(topic)
	e.publishAll(topic, 1, 1, n)
	var after pubsub.Position
	for _, m := range first.awaitMessage(id{1, n}) {
		if m.id == (id{1, at}) {
			after = m.pos
		}
	}
	if after.IsZero() {
		e.Fatalf("message %d has not come or bears no position", at)
	}
	s := e.subscribe(topic, after).receive()
	e.publish(topic, id{1, n + 1}.payload())
	l := s.awaitMessage(id{1, n + 1})
	if got := l.unique()[0]; got.pos.Compare(after) <= 0 {
		e.Errorf("a stream that starts behind %v delivered the message at %v", after, got.pos)
	}
	for _, breach := range []string{l.holes(), l.order(), s.law(l, n+1-at, n+1-at)} {
		if breach != "" {
			e.Errorf("after %v: %s", after, breach)
		}
	}
	return l
}

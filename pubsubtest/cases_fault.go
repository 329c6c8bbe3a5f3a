package pubsubtest

import (
	"errors"
	"io"
	"sync/atomic"
	"time"

	"github.com/topicbus/pubsub"
)

func faultCases() []testCase {
	isHole := func(n entry) bool { return n.kind == pubsub.KindDiscontinuity }
	return []testCase{{
		name:   "Receive/gap-place",
		clause: "Behind a hole the backend delivers a discontinuity first, then the message that follows the hole.",
		needs:  []capability{lose},
		run: func(e *env) {
			s, l := e.losing(3)
			if !l.holeBetween(id{1, 5}, id{1, 6}) {
				e.Errorf("messages were lost between 1:5 and 1:6, and no discontinuity stands there:%s", l.around(id{1, 6}))
			}
			s.cancel()
		},
	}, {
		name:   "Receive/gap-count",
		clause: "A discontinuity tells how many messages are missing; unless Exact is true that is a lower bound.",
		needs:  []capability{lose},
		run: func(e *env) {
			s, l := e.losing(3)
			if breach := s.law(l, 10+3, 10+3); breach != "" {
				e.Errorf("%s%s", breach, l.around(id{1, 6}))
			}
		},
	}, {
		name:   "Receive/reset",
		clause: "When the numbering begins anew a discontinuity of CauseReset stands before the first message, whose Page is greater.",
		needs:  []capability{numbered, reset},
		run: func(e *env) {
			topic := e.topic("reset")
			s := e.tap(topic)
			e.publishAll(topic, 1, 1, 3)
			s.awaitMessage(id{1, 3})
			e.Reset(topic)
			e.publishAll(topic, 1, 4, 6)
			l := s.awaitMessage(id{1, 6})
			if l.count(func(n entry) bool { return isHole(n) && n.hole.Cause == pubsub.CauseReset }) != 1 || !l.holeBetween(id{1, 3}, id{1, 4}) {
				e.Errorf("want one discontinuity of CauseReset, between 1:3 and 1:4, got:%s", l.around(id{1, 4}))
			}
			if breach := l.positions(); breach != "" {
				e.Errorf("%s", breach)
			}
			if m := l.unique(); m[0].pos.Page >= m[len(m)-1].pos.Page {
				e.Errorf("the page was %d and is %d after the reset", m[0].pos.Page, m[len(m)-1].pos.Page)
			}
		},
	}, {
		name:   "Receive/heartbeat",
		clause: "A heartbeat of the service arrives as KindHeartbeat, and does nothing else.",
		needs:  []capability{heartbeat},
		run: func(e *env) {
			isHeartbeat := func(n entry) bool { return n.kind == pubsub.KindHeartbeat }
			topic := e.topic("heartbeat")
			s := e.tap(topic)
			before := s.entries().count(isHeartbeat)
			e.Heartbeat(topic)
			s.until("a heartbeat", func(l ledger) bool { return l.count(isHeartbeat) > before })
			e.publish(topic, id{1, 1}.payload())
			if l := s.awaitMessage(id{1, 1}); l.count(isHole) > 0 {
				e.Errorf("a heartbeat came with a discontinuity:%s", l.tail())
			}
		},
	}, {
		name:   "Receive/state",
		clause: "A break of the stream arrives as KindState: Reconnecting with the reason and the attempt's number, and Resumed when the stream is back.",
		needs:  []capability{disconnect, reconnect},
		run: func(e *env) {
			s := e.tap(e.topic("state"))
			e.Disconnect()
			broken := s.awaitState(pubsub.Reconnecting)
			if broken.Err == nil || broken.Attempt < 1 {
				e.Errorf("Reconnecting: want an Err and an Attempt of at least 1, got Err %v and Attempt %d", broken.Err, broken.Attempt)
			}
			e.Reconnect()
			s.awaitState(pubsub.Resumed)
		},
	}, {
		name:   "Receive/reconnect",
		clause: "Passing breaks are the backend's to mend: the stream goes on, with what passed meanwhile or a discontinuity for it.",
		needs:  []capability{disconnect, reconnect, publish},
		run: func(e *env) {
			s, l := e.outage(5)
			for _, breach := range []string{s.law(l, 20, 20), l.order(), l.holes()} {
				if breach != "" {
					e.Errorf("%s", breach)
				}
			}
		},
	}, {
		name:   "Receive/reconnect-once",
		clause: "A backend never delivers a message twice, across breaks of the stream too.",
		needs:  []capability{disconnect, reconnect, publish},
		run: func(e *env) {
			_, l := e.outage(5)
			if breach := l.duplicates(); breach != "" {
				e.Errorf("%s", breach)
			}
		},
	}, {
		name:   "Receive/reconnect-history",
		clause: "After a break a stream resumes at the next message, as far as the backend still has it.",
		needs:  []capability{disconnect, reconnect, publish, numbered, history},
		run: func(e *env) {
			missed := min(5, max(1, e.History/2))
			_, l := e.outage(missed)
			for n := 11; n <= 10+missed; n++ {
				if !l.has(id{1, n}) {
					e.Errorf("message %d of the %d that were accepted during the break has not come, though the history holds %d", n-10, missed, e.History)
				}
			}
		},
	}, {
		name:   "Receive/permanent-error",
		clause: "Receive returns the permanent error that ended the stream, which matches the sentinel of package pubsub.",
		needs:  []capability{endStreams},
		run: func(e *env) {
			for _, sentinel := range []error{pubsub.ErrNotFound, pubsub.ErrUnauthenticated, pubsub.ErrPermissionDenied} {
				topic := e.topic("end")
				s := e.tap(topic)
				e.publishAll(topic, 1, 1, 3)
				s.awaitMessage(id{1, 3})
				e.EndStreams(sentinel)
				if err := s.ends("EndStreams"); !errors.Is(err, sentinel) {
					e.Errorf("the stream ended for the reason %q; errors.Is does not find it in what Receive returned: %v", sentinel, err)
				}
			}
		},
	}}
}

func closeCases() []testCase {
	return []testCase{{
		name:   "Close/later-calls",
		clause: "After Close all calls fail with ErrClosed, and Close does nothing.",
		needs:  []capability{closing},
		run: func(e *env) {
			topic := e.topic("closed")
			s := e.tap(topic)
			e.closeTwice()
			s.ends("Close")
			if err := e.tryPublish(topic, id{1, 1}.payload()); !errors.Is(err, pubsub.ErrClosed) {
				e.Errorf("Publish after Close: want ErrClosed, got: %v", err)
			}
			if _, err := e.trySubscribe(topic, pubsub.Position{}); !errors.Is(err, pubsub.ErrClosed) {
				e.Errorf("Subscribe after Close: want ErrClosed, got: %v", err)
			}
		},
	}, {
		name:   "Close/streams",
		clause: "Close ends all streams: their Receive returns ErrClosed.",
		needs:  []capability{closing},
		run: func(e *env) {
			topic := e.topic("closed")
			idle, unread := e.tap(topic), e.subscribe(topic, pubsub.Position{})
			e.closeTwice()
			unread.receive()
			for _, s := range []*tap{idle, unread} {
				if err := s.ends("Close"); !errors.Is(err, pubsub.ErrClosed) {
					e.Errorf("want ErrClosed, got: %v", err)
				}
			}
		},
	}, {
		name:   "Close/busy",
		clause: "Close may be called at any time; calls that are under way end soon, with ErrClosed if with an error.",
		needs:  []capability{closing},
		run: func(e *env) {
			const publishers = 4
			topic := e.topic("closed")
			s := e.tap(topic)
			var errs [publishers]error
			var done []<-chan struct{}
			var closed atomic.Bool
			ctx, cancel := e.deadline()
			defer cancel()
			for p := range publishers {
				done = append(done, e.goroutine(func() {
					for n := 1; errs[p] == nil && ctx.Err() == nil; n++ {
						if n%64 == 0 {
							time.Sleep(time.Duration(n/64) * time.Millisecond) // in a bubble, for time to pass
						}
						late := closed.Load()
						errs[p] = e.Backend.Publish(ctx, topic, id{p, n}.payload())
						if late && errs[p] == nil {
							return
						}
					}
				}))
			}
			s.until("some messages", func(l ledger) bool { return len(l) > 10 })
			e.closeTwice()
			closed.Store(true)
			for p := range publishers {
				e.returned("Publish during Close", done[p])
				switch {
				case errs[p] == nil:
					e.Errorf("Publish still succeeds after Close")
				case !errors.Is(errs[p], pubsub.ErrClosed):
					e.Errorf("Publish during Close: want nil or ErrClosed, got: %v", errs[p])
				}
			}
			s.ends("Close")
		},
	}, {
		name:   "Close/leak",
		clause: "Nothing is left behind when a backend has been closed.",
		needs:  []capability{closing},
		run: func(e *env) {
			own, _ := e.goroutines()
			topic := e.topic("closed")
			a, b := e.tap(topic), e.tap(topic)
			e.closeTwice()
			a.ends("Close")
			b.ends("Close")
			left := 0
			var stacks string
			if !e.poll(func() bool { left, stacks = e.goroutines(); return left <= own }) {
				e.Errorf("%d goroutines are left behind:\n%s", left-own, stacks)
			}
		},
	}}
}

// losing has a stream see messages 1 to 5, lose n, and see 6 to 10.
func (e *env) losing(n int) (*tap, ledger) {
	e.Helper()
	topic := e.topic("lose")
	s := e.tap(topic)
	e.publishAll(topic, 1, 1, 5)
	s.awaitMessage(id{1, 5})
	e.Lose(topic, n)
	e.publishAll(topic, 1, 6, 10)
	return s, s.awaitMessage(id{1, 10})
}

// outage has a stream see 10 messages, break while missed more are accepted,
// and come back for the rest of 15+missed.
func (e *env) outage(missed int) (*tap, ledger) {
	e.Helper()
	topic := e.topic("outage")
	s := e.tap(topic)
	e.publishAll(topic, 1, 1, 10)
	s.awaitMessage(id{1, 10})
	e.Disconnect()
	for n := 11; n <= 10+missed; n++ {
		if err := e.Target.Publish(topic, id{1, n}.payload()); err != nil {
			e.Fatalf("Target.Publish: %v", err)
		}
	}
	e.Reconnect()
	s.flowing()
	last := 15 + missed
	e.publishAll(topic, 1, 11+missed, last)
	return s, s.awaitMessage(id{1, last})
}

// closeTwice closes the backend, and once more.
func (e *env) closeTwice() {
	e.Helper()
	for _, call := range []string{"Close", "the second Close"} {
		var err error
		if !e.within(call, func() { err = e.Backend.(io.Closer).Close() }) {
			e.FailNow()
		}
		if err != nil {
			e.Errorf("%s: %v", call, err)
		}
	}
}

// holeBetween reports whether a discontinuity stands between two messages.
func (l ledger) holeBetween(a, b id) bool {
	inside := false
	for _, n := range l {
		switch {
		case n.kind == pubsub.KindMessage && n.id == a:
			inside = true
		case n.kind == pubsub.KindMessage && n.id == b:
			return false
		case inside && n.kind == pubsub.KindDiscontinuity:
			return true
		}
	}
	return false
}

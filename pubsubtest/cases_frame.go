package pubsubtest

import (
	"fmt"

	"github.com/topicbus/pubsub"
)

func frameCases() []testCase {
	return []testCase{{
		name:   "Receive/kind",
		clause: "Every frame has a Kind, which tells which fields are set.",
		needs:  []capability{heartbeat, lose, disconnect, reconnect},
		run: func(e *env) {
			topic := e.topic("kind")
			s := e.tap(topic)
			e.publishAll(topic, 1, 1, 3)
			s.awaitMessage(id{1, 3})
			e.Heartbeat(topic)
			e.Lose(topic, 2)
			e.publishAll(topic, 1, 4, 5)
			s.awaitMessage(id{1, 5})
			e.Disconnect()
			s.until("a frame that tells of the break", func(l ledger) bool { return !l[len(l)-1].isMessage() })
			e.Reconnect()
			s.flowing()
			for i, n := range s.entries() {
				if breach := fields(n.frame); breach != "" {
					e.Errorf("frame %d: %s", i+1, breach)
				}
			}
		},
	}, {
		name:   "Receive/more",
		clause: "More promises, of a message, that deliver is called with another one at once.",
		run: func(e *env) {
			topic := e.topic("more")
			s := e.subscribe(topic, pubsub.Position{})
			e.publishAll(topic, 1, 1, 8) // queued, if anything is
			s.receive()
			e.publishAll(topic, 1, 9, 12)
			s.kept(id{1, 12})
			if e.capabilities()[lose] {
				e.Lose(topic, 2)
			}
			e.publishAll(topic, 1, 13, 20)
			s.kept(id{1, 20})
			if batch, ok := e.handle(topic).(pubsub.BatchPublisher); ok {
				e.batch(batch, 1, 21, 40)
				s.kept(id{1, 40})
			}
		},
	}, {
		name:   "Receive/more-replayed",
		clause: "More promises, of a message that is replayed too, that deliver is called with another one at once.",
		needs:  []capability{numbered, history},
		run: func(e *env) {
			topic := e.topic("more")
			first := e.tap(topic)
			e.publishAll(topic, 1, 1, 6)
			after := first.awaitMessage(id{1, 6}).unique()[0].pos
			s := e.subscribe(topic, after).receive()
			s.kept(id{1, 6})
			e.publishAll(topic, 1, 7, 8)
			s.kept(id{1, 8})
		},
	}}
}

// kept waits for a message, behind which nothing follows, and checks that what
// More promised was kept.
func (s *tap) kept(last id) {
	s.e.Helper()
	l := s.awaitMessage(last)
	for i, n := range l {
		switch {
		case !n.frame.More:
		case n.kind != pubsub.KindMessage:
			s.e.Errorf("More is set on a frame that is no message: %v", n)
		case i+1 == len(l):
			s.e.Errorf("the last message, %v, promises more", n)
		case l[i+1].kind != pubsub.KindMessage:
			s.e.Errorf("message %v promises another one, and what follows is: %v", n, l[i+1])
		}
	}
}

// fields looks for what is wrong with a frame's Kind.
func fields(f pubsub.Frame) string {
	other := func(hole, state bool) string {
		switch {
		case hole && f.Discontinuity != nil, state && f.State != nil:
			return fmt.Sprintf("its Kind is %v, and another kind's field is set: %+v", f.Kind, f)
		case f.Kind != pubsub.KindMessage && len(f.Payload.Data) > 0:
			return fmt.Sprintf("its Kind is %v, and it has a payload", f.Kind)
		}
		return ""
	}
	switch f.Kind {
	case pubsub.KindMessage:
		return other(true, true)
	case pubsub.KindHeartbeat:
		return other(true, true)
	case pubsub.KindDiscontinuity:
		if f.Discontinuity == nil {
			return "its Kind is discontinuity, and its Discontinuity is nil"
		}
		return other(false, true)
	case pubsub.KindState:
		if f.State == nil {
			return "its Kind is state, and its State is nil"
		}
		return other(true, false)
	}
	return fmt.Sprintf("it has no known Kind: %+v", f)
}

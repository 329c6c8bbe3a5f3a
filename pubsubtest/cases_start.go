package pubsubtest

import (
	"slices"

	"github.com/topicbus/pubsub"
)

func startCases() []testCase {
	return []testCase{{
		name:   "Start/place",
		clause: "Start is the position that the stream begins behind. It does not change.",
		needs:  []capability{numbered, starts},
		run: func(e *env) {
			topic := e.topic("place")
			first := e.tap(topic)
			e.publishAll(topic, 1, 1, 5)
			first.awaitMessage(id{1, 5})
			s := e.subscribeFrom(topic, pubsub.Start{})
			start := s.opened.Start()
			s.receive()
			e.publishAll(topic, 1, 6, 8)
			s.awaitMessage(id{1, 8}).beginsBehind(e, start)
			if now := s.opened.Start(); now != start {
				e.Errorf("Start told %v before the first message, and %v later", start, now)
			}
		},
	}, {
		name:   "Start/empty",
		clause: "On a topic without messages Start has the topic's page and Sequence 0, and a later Subscribe behind it gets what came since or a discontinuity.",
		needs:  []capability{numbered, emptyStarts},
		run: func(e *env) {
			topic := e.topic("empty")
			s := e.subscribeFrom(topic, pubsub.Start{})
			start := s.opened.Start()
			if start.Sequence != 0 {
				e.Errorf("Start of a topic without messages is %v, want Sequence 0", start)
			}
			s.receive()
			e.publishAll(topic, 1, 1, 3)
			s.awaitMessage(id{1, 3}).beginsBehind(e, start)
			later := e.subscribe(topic, start).receive()
			e.publish(topic, id{1, 4}.payload())
			l := later.awaitMessage(id{1, 4})
			if breach := later.law(l, 4, 4); breach != "" {
				e.Errorf("after %v: %s%s", start, breach, l.tail())
			}
		},
	}, {
		name:   "Start/resume",
		clause: "A later Subscribe with a stream's Start as Start.After gets the same messages, as far as they are still there.",
		needs:  []capability{numbered, history, starts},
		run: func(e *env) {
			for _, from := range []pubsub.Start{{}, {Last: 2}, {Oldest: true}} {
				topic := e.topic("resume")
				first := e.tap(topic)
				e.publishAll(topic, 1, 1, 4)
				first.awaitMessage(id{1, 4})
				s := e.subscribeFrom(topic, from).receive()
				e.publishAll(topic, 1, 5, 6)
				want := s.awaitMessage(id{1, 6}).places()
				again := e.subscribe(topic, s.opened.Start()).receive()
				l := again.awaitMessage(id{1, 6})
				got := l.places()
				lost, exact := lossOf(l.reports())
				missing := uint64(len(want) - len(got))
				if !slices.Equal(got, want[max(0, len(want)-len(got)):]) || exact && lost != missing || lost > missing {
					e.Errorf("a stream from %+v got the messages at %v; one behind its Start, %v, got those at %v and %d reported lost", from, want, s.opened.Start(), got, lost)
				}
				if e.History >= len(want) && lost > 0 {
					e.Errorf("a history of %d messages did not cover the %d since %v", e.History, len(want), s.opened.Start())
				}
			}
		},
	}, {
		name:   "Start/last",
		clause: "Start.Last begins with up to so many of the newest messages, as many as the backend still has; what is older is not reported lost.",
		needs:  []capability{numbered, history, starts},
		run: func(e *env) {
			n := min(e.History, 3)
			for _, last := range []int{1, n} {
				e.beginsWith(pubsub.Start{Last: uint64(last)}, 6, last, last)
			}
			e.beginsWith(pubsub.Start{Last: 1 << 62}, 6, min(e.History, 6), 6)
			e.beginsWith(pubsub.Start{Last: 2}, 0, 0, 0)
		},
	}, {
		name:   "Start/oldest",
		clause: "Start.Oldest begins with the oldest message that the backend still has; what is older is not reported lost.",
		needs:  []capability{numbered, history, starts},
		run: func(e *env) {
			n := min(e.History+5, 30)
			e.beginsWith(pubsub.Start{Oldest: true}, n, min(e.History, n), n)
			e.beginsWith(pubsub.Start{Oldest: true}, 0, 0, 0)
		},
	}, {
		name:   "Start/other-life",
		clause: "A position from another life of the topic is not believed: a discontinuity of CauseReset stands before the first message.",
		needs:  []capability{numbered, starts},
		run: func(e *env) {
			topic := e.topic("life")
			first := e.tap(topic)
			e.publish(topic, id{1, 1}.payload())
			page := first.awaitMessage(id{1, 1}).unique()[0].pos.Page
			n := 1
			for _, after := range []pubsub.Position{{Page: page - 1, Sequence: 300}, {Page: page + 1, Sequence: 1}, {Page: page + 1, Sequence: 300}} {
				if after.Page == 0 {
					continue // a page that nobody has
				}
				s := e.subscribe(topic, after).receive()
				n++
				e.publish(topic, id{1, n}.payload())
				l := s.awaitMessage(id{1, n})
				if first := l[0]; first.kind != pubsub.KindDiscontinuity || first.hole.Cause != pubsub.CauseReset {
					e.Errorf("behind %v, of another life than page %d, want a discontinuity of CauseReset first, got:%s", after, page, l.show(0, 3))
				}
				if resets := len(l.reports()); resets > 1 {
					e.Errorf("behind %v, of another life, %d discontinuities came, want 1:%s", after, resets, l.tail())
				}
			}
		},
	}}
}

// beginsWith publishes n messages, opens a stream and publishes one more. The
// stream must begin with the newest of the n, from least to most of them, and
// report nothing lost.
func (e *env) beginsWith(from pubsub.Start, n, least, most int) {
	e.Helper()
	topic := e.topic("begin")
	if n > 0 {
		first := e.tap(topic)
		e.publishAll(topic, 1, 1, n)
		first.awaitMessage(id{1, n})
	}
	s := e.subscribeFrom(topic, from).receive()
	e.publish(topic, id{1, n + 1}.payload())
	l := s.awaitMessage(id{1, n + 1})
	got := l.ids()
	for i, m := range got {
		if want := n + 2 - len(got) + i; m.n != want {
			e.Errorf("from %+v, behind %d messages: got %v, want the newest in their order", from, n, got)
			break
		}
	}
	if old := len(got) - 1; old < least || old > most {
		e.Errorf("from %+v, behind %d messages of which the backend has %d: got %d of them, want %d to %d", from, n, min(e.History, n), old, least, most)
	}
	if reports := l.reports(); len(reports) > 0 {
		e.Errorf("from %+v: what is older was reported lost: %v", from, reports[0])
	}
	l.beginsBehind(e, s.opened.Start())
}

// beginsBehind checks that the first message is the one behind start. Where the
// backend cannot tell there is nothing to check.
func (l ledger) beginsBehind(e *env, start pubsub.Position) {
	e.Helper()
	i := slices.IndexFunc(l, func(n entry) bool { return n.kind == pubsub.KindMessage })
	if start.IsZero() || i < 0 {
		return
	}
	if want := (pubsub.Position{Page: start.Page, Sequence: start.Sequence + 1}); l[i].pos != want {
		e.Errorf("Start is %v and the first message is at %v, want %v:%s", start, l[i].pos, want, l.show(0, 3))
	}
}

// places are the positions of all messages.
func (l ledger) places() (list []pubsub.Position) {
	for _, n := range l {
		if n.kind == pubsub.KindMessage {
			list = append(list, n.pos)
		}
	}
	return list
}

// reports are all discontinuities.
func (l ledger) reports() (list []*pubsub.Discontinuity) {
	for _, n := range l {
		if n.kind == pubsub.KindDiscontinuity {
			list = append(list, n.hole)
		}
	}
	return list
}

package pubsubtest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/topicbus/pubsub"
)

func lawCases() []testCase {
	return []testCase{{
		name:   "Law",
		clause: "delivered + reported lost = accepted, in order, without duplicates, each hole in its place; whoever publishes, joins, leaves, is slow or breaks.",
		run: func(e *env) {
			seed, rounds, clause := e.h.Seed, e.h.Rounds, e.clause
			if seed == 0 {
				seed = rand.Uint64()
			}
			if rounds <= 0 {
				rounds = 3
			}
			for i := range uint64(rounds) {
				e.clause = fmt.Sprintf("%s\nrepeat with Harness{Seed: %d, Rounds: 1}", clause, seed+i)
				newSchedule(e, seed+i).run()
			}
		},
	}}
}

// schedule is one random run of publishers, readers and faults over a bus. It
// takes one step at a time, and what goes on within a step goes on at once, so
// that it knows at every step what was accepted.
type schedule struct {
	e      *env
	rng    *rand.Rand
	bus    pubsub.Bus[id]
	topics []*lawTopic
}

// lawTopic is a topic of a schedule. Between steps, from least to most
// messages have been accepted; the two differ by Publish calls that failed,
// whose outcome is unknown.
type lawTopic struct {
	name        string
	least, most int
	publishers  int // names used so far
	readers     []*lawReader

	// settled is what least was when all readers had got everything. A reader
	// that joins the stream of others may get what is newer.
	settled int
}

// lawReader is a reader, and what had been accepted when it joined.
type lawReader struct {
	*reader
	least, most int
}

func newSchedule(e *env, seed uint64) *schedule {
	s := &schedule{e: e, rng: rand.New(rand.NewPCG(seed, 0))}
	s.bus = e.bus(pubsub.WithBuffer(4 << s.rng.IntN(7)))
	for range 2 {
		s.topics = append(s.topics, &lawTopic{name: e.topic("law")})
	}
	return s
}

func (s *schedule) run() {
	for range 25 {
		t := s.topics[s.rng.IntN(len(s.topics))]
		switch s.rng.IntN(8) {
		case 0, 1:
			s.settle(t)
			t.readers = append(t.readers, s.open(t))
		case 2:
			s.leave(t)
		case 3:
			s.fault(t)
		default:
			s.burst(t)
		}
	}
	for _, t := range s.topics {
		s.settle(t)
		for _, r := range t.readers {
			l := r.entries()
			s.check(l)
			if breach := l.law(t.least-r.most, t.most-r.least); breach != "" {
				s.e.Errorf("%s", breach)
			}
		}
	}
	_ = s.e.promptly("Bus.Close", s.bus.Close)
}

// burst has several publishers publish at once, and now and then a reader
// join meanwhile.
func (s *schedule) burst(t *lawTopic) {
	least, most := t.settled, t.most
	counts := make([]int, 1+s.rng.IntN(3))
	accepted := make([]int, len(counts))
	var done []<-chan struct{}
	for p := range counts {
		counts[p] = 1 + s.rng.IntN(60)
		name := t.publishers
		t.publishers++
		done = append(done, s.e.goroutine(func() { accepted[p] = s.publish(t, name, counts[p]) }))
	}
	if s.rng.IntN(3) == 0 {
		r := s.open(t)
		for p := range counts {
			most += counts[p]
		}
		// At most this was accepted before it joined, so it is owed the rest.
		r.least, r.most = least, most
		t.readers = append(t.readers, r)
	}
	for p := range counts {
		s.e.returned("Publish", done[p])
		t.least += accepted[p]
		t.most += accepted[p]
		if accepted[p] < counts[p] {
			t.most++ // the one that failed
		}
	}
}

// publish publishes n messages, or fewer if one fails, and returns how many
// were accepted.
func (s *schedule) publish(t *lawTopic, publisher, n int) int {
	ctx, cancel := s.e.deadline()
	defer cancel()
	for i := range n {
		if s.bus.Publish(ctx, t.name, id{publisher, i + 1}) != nil {
			return i
		}
	}
	return n
}

// open has a reader join, of any policy, form and speed.
func (s *schedule) open(t *lawTopic) *lawReader {
	opts := []pubsub.SubscribeOption{pubsub.Overflow([]pubsub.OverflowPolicy{pubsub.DropOldest, pubsub.Block}[s.rng.IntN(2)])}
	if s.rng.IntN(4) == 0 {
		opts = append(opts, pubsub.Private())
	}
	r := &lawReader{s.e.openCtx(context.Background(), s.bus, t.name, opts...), t.settled, t.most}
	if s.rng.IntN(2) == 0 {
		slow := rand.New(rand.NewPCG(s.rng.Uint64(), 0))
		r.hook = func() {
			if slow.IntN(8) == 0 {
				time.Sleep(time.Duration(slow.IntN(300)) * time.Microsecond)
			}
		}
	}
	r.read([]func(*reader){readNext, readAll, readEvents}[s.rng.IntN(3)])
	return r
}

// leave has a reader leave, and checks what it got by then.
func (s *schedule) leave(t *lawTopic) {
	if len(t.readers) == 0 {
		return
	}
	i := s.rng.IntN(len(t.readers))
	r := t.readers[i]
	t.readers = slices.Delete(t.readers, i, i+1)
	_ = s.e.promptly("Close", r.sub.Close)
	r.ends("Close")
	l := r.entries()
	s.check(l)
	if breach := l.law(0, t.most-r.least); breach != "" {
		s.e.Errorf("%s", breach)
	}
}

// fault does one of the things that the target is capable of.
func (s *schedule) fault(t *lawTopic) {
	have := s.e.capabilities()
	switch c := []capability{heartbeat, lose, reset, disconnect}[s.rng.IntN(4)]; {
	case !have[c]:
	case c == heartbeat:
		s.e.Heartbeat(t.name)
	case c == lose:
		n := 1 + s.rng.IntN(5)
		s.e.Lose(t.name, n)
		t.least += n
		t.most += n
	case c == reset:
		s.e.Reset(t.name)
	case have[reconnect] && have[publish]:
		// A stream that breaks before its first message may not know for certain
		// where it began: then it could not tell what it missed.
		for _, t := range s.topics {
			s.settle(t)
		}
		s.e.Disconnect()
		name, n := t.publishers, s.rng.IntN(20)
		t.publishers++
		for i := range n {
			if err := s.e.Target.Publish(t.name, id{name, i + 1}.payload()); err != nil {
				s.e.Fatalf("Target.Publish: %v", err)
			}
		}
		t.least += n
		t.most += n
		s.e.Reconnect()
		for _, t := range s.topics {
			s.settle(t)
		}
		s.e.subscribable()
	}
}

// settle returns when all readers of the topic have got everything.
func (s *schedule) settle(t *lawTopic) {
	for end := time.Now().Add(s.e.timeout); ; {
		name := t.publishers
		t.publishers++
		t.most++
		var accepted int
		s.e.returned("Publish", s.e.goroutine(func() { accepted = s.publish(t, name, 1) }))
		if accepted == 0 {
			if time.Now().After(end) {
				s.e.Fatalf("Publish fails for %v", s.e.timeout)
			}
			time.Sleep(10 * time.Millisecond)
			continue
		}
		t.least++
		for _, r := range t.readers {
			r.awaitMessage(id{name, 1})
		}
		t.settled = t.least
		return
	}
}

// check looks for breaches of all but the law.
func (s *schedule) check(l ledger) {
	for _, breach := range []string{l.duplicates(), l.order(), l.holes()} {
		if breach != "" {
			s.e.Errorf("%s", breach)
		}
	}
	if s.e.Numbered {
		if breach := l.positions(); breach != "" {
			s.e.Errorf("%s", breach)
		}
	}
}

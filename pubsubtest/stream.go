package pubsubtest

import (
	"time"

	"github.com/topicbus/pubsub"
)

// stream is what a case knows of a stream or subscription that it reads.
type stream struct {
	journal[entry]
	e     *env
	topic string

	// What the stream owes begins behind the entries up to start and the
	// probes up to probes.
	start, probes int
}

// flowing publishes probes until one comes through.
func (s *stream) flowing() {
	s.e.Helper()
	before := len(s.e.probes)
	flows := func(l []entry) bool { return ledger(l).probeAfter(before) >= 0 }
	for end := time.Now().Add(s.e.timeout); time.Now().Before(end); {
		if !s.e.probe(s.topic) {
			time.Sleep(10 * time.Millisecond) // the way is not open yet
			continue
		}
		if s.await(s.e.timeout/5, flows) {
			return
		}
		if err, ended := s.awaitEnd(0); ended {
			s.e.Fatalf("the stream of %q has ended (%v) before it delivered what was published%s", s.topic, err, ledger(s.snapshot()).tail())
		}
	}
	s.e.Fatalf("the stream of %q delivers nothing%s", s.topic, ledger(s.snapshot()).tail())
}

// begin is flowing, and what came by then is not looked at any more: cases
// that are not about the join point are not bothered by its faults.
func (s *stream) begin() {
	s.e.Helper()
	before := len(s.e.probes)
	s.flowing()
	l := ledger(s.snapshot())
	s.start = l.probeAfter(before) + 1
	s.probes = min(l[s.start-1].id.n, len(s.e.probes)) // it may be none of ours
}

// probe publishes a probe and reports whether it was accepted.
func (e *env) probe(topic string) bool {
	e.Helper()
	n := len(e.probes)
	e.probes = append(e.probes, probed{topic: topic})
	e.probes[n].accepted = e.tryPublish(topic, id{probe, n + 1}.payload()) == nil
	return e.probes[n].accepted
}

// probed is what became of a probe.
type probed struct {
	topic    string
	accepted bool
}

// entries returns what was delivered since the stream began to owe.
func (s *stream) entries() ledger { return s.snapshot()[s.start:] }

// until waits until cond holds for what was delivered, and fails the test
// otherwise.
func (s *stream) until(what string, cond func(ledger) bool) ledger {
	s.e.Helper()
	if !s.await(s.e.timeout, func(l []entry) bool { return cond(l[s.start:]) }) {
		err, ended := s.awaitEnd(0)
		s.e.Fatalf("%s has not come within %v; stream ended: %v (%v); last came:%s", what, s.e.timeout, ended, err, s.entries().tail())
	}
	return s.entries()
}

// awaitMessage waits for one message.
func (s *stream) awaitMessage(i id) ledger {
	s.e.Helper()
	return s.until("message "+i.String(), func(l ledger) bool { return l.has(i) })
}

// awaitState waits for a change of state.
func (s *stream) awaitState(state pubsub.State) pubsub.StateChange {
	s.e.Helper()
	var change pubsub.StateChange
	s.until("the state "+state.String(), func(l ledger) bool {
		for _, n := range l {
			if n.kind == pubsub.KindState && n.state.State == state {
				change = *n.state
				return true
			}
		}
		return false
	})
	return change
}

// law checks that from least to most messages are accounted for, and probes
// besides.
func (s *stream) law(l ledger, least, most int) string {
	for _, p := range s.e.probes[s.probes:] {
		if p.topic != s.topic {
			continue
		}
		most++
		if p.accepted {
			least++
		}
	}
	return l.law(least, most)
}

// awaitLaw waits until the n messages that were accepted for the stream are
// accounted for.
func (s *stream) awaitLaw(n int) {
	s.e.Helper()
	s.await(s.e.timeout, func(l []entry) bool { return s.law(l[s.start:], n, n) == "" })
	if breach := s.law(s.entries(), n, n); breach != "" {
		s.e.Errorf("%s", breach)
	}
}

// ends waits for the end of the stream and returns its error.
func (s *stream) ends(why string) error {
	s.e.Helper()
	err, ended := s.awaitEnd(s.e.timeout)
	if !ended {
		s.e.Fatalf("the stream has not ended %v after %s", s.e.timeout, why)
	}
	return err
}

// probeAfter returns the index of the first probe behind the nth, or -1.
func (l ledger) probeAfter(n int) int {
	for i, m := range l {
		if m.kind == pubsub.KindMessage && m.id.publisher == probe && m.id.n > n {
			return i
		}
	}
	return -1
}

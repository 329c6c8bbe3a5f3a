package consume

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/topicbus/pubsub"
)

// Monitor counts what [Each] does. The zero value works. Several calls of Each
// may share one; it then has their sums. It may be used from many goroutines at
// once, and must not be copied.
type Monitor struct {
	taken, handled, failed, retried, gaveUp, dropped, holes, lost atomic.Uint64
	busy, waiting                                                 atomic.Int64

	mu      sync.Mutex
	running map[*clock]struct{}
}

// clock tells since when a call of Each has had its oldest message; zero if it
// has none.
type clock struct{ oldest func() time.Time }

// Stats is a snapshot of a [Monitor]. Counters never decrease. When no Each
// runs, Taken = Handled + GivenUp + Dropped. If all calls of Each are over that
// ever read a subscription, then Taken is what its Stats call Delivered, and
// Lost what they call Lost.
type Stats struct {
	Taken   uint64 // messages taken from subscriptions
	Handled uint64 // their handler returned nil
	GivenUp uint64 // their GiveUp returned nil
	Dropped uint64 // taken and not handled at the end: those of an UnhandledError
	Failed  uint64 // tries that failed
	Retried uint64 // tries behind the first one of a message
	Holes   uint64 // discontinuities
	Lost    uint64 // messages that these reported lost, at least

	InFlight int           // messages taken and not finished now
	Busy     int           // handlers that run now
	Waiting  int           // messages that wait for their next try now
	Oldest   time.Duration // since when the oldest message in flight has been so
}

// Stats returns a snapshot.
func (m *Monitor) Stats() Stats {
	// What is finished before what was taken, so that it is never more.
	s := Stats{Handled: m.handled.Load(), GivenUp: m.gaveUp.Load(), Dropped: m.dropped.Load()}
	s.Taken = m.taken.Load()
	s.InFlight = int(s.Taken - s.Handled - s.GivenUp - s.Dropped)
	s.Failed, s.Retried = m.failed.Load(), m.retried.Load()
	s.Holes, s.Lost = m.holes.Load(), m.lost.Load()
	s.Busy, s.Waiting = int(m.busy.Load()), int(m.waiting.Load())
	m.mu.Lock()
	defer m.mu.Unlock()
	for c := range m.running {
		if t := c.oldest(); !t.IsZero() {
			s.Oldest = max(s.Oldest, time.Since(t))
		}
	}
	return s
}

// The methods below work on a nil Monitor, and do nothing then.

func (m *Monitor) watch(c *clock) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.running == nil {
		m.running = make(map[*clock]struct{})
	}
	m.running[c] = struct{}{}
}

func (m *Monitor) unwatch(c *clock) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.running, c)
}

func (m *Monitor) take() {
	if m != nil {
		m.taken.Add(1)
	}
}

func (m *Monitor) hole(d *pubsub.Discontinuity) {
	if m != nil {
		m.holes.Add(1)
		for lost := m.lost.Load(); !m.lost.CompareAndSwap(lost, lost+min(d.Lost, math.MaxUint64-lost)); {
			lost = m.lost.Load()
		}
	}
}

func (m *Monitor) start(try int) {
	if m != nil {
		m.busy.Add(1)
		if try > 1 {
			m.retried.Add(1)
		}
	}
}

// stop is called when a handler has returned, before what it did is counted.
func (m *Monitor) stop() {
	if m != nil {
		m.busy.Add(-1)
	}
}

func (m *Monitor) fail() {
	if m != nil {
		m.failed.Add(1)
	}
}

func (m *Monitor) wait(n int64) {
	if m != nil {
		m.waiting.Add(n)
	}
}

func (m *Monitor) finish(o outcome) {
	if m == nil {
		return
	}
	switch o {
	case handled:
		m.handled.Add(1)
	case gaveUp:
		m.gaveUp.Add(1)
	default:
		m.dropped.Add(1)
	}
}

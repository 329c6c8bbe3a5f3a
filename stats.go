package pubsub

import (
	"slices"
	"strings"
	"sync"
	"time"
)

// Stats is a snapshot of a [Bus]. Counters cover its whole life and never
// decrease, except that Delivered counts a message from when it is taken to be
// decoded, and takes back one that then turns out not to decode.
type Stats struct {
	Published     uint64 // successful Publish calls
	PublishErrors uint64 // failed ones
	Delivered     uint64 // messages handed to subscriptions' readers
	Lost          Losses // reported to subscriptions' readers
	Subscriptions int    // live ones
	Streams       int    // open upstream streams
	Reconnects    uint64 // streams that broke and came back
	Downtime      time.Duration
	Topics        []TopicStats // by topic; one per open stream, and per ended one with subscriptions that still read
	Incidents     []Incident   // the last 64, newest first
}

func (b *bus[T]) Stats() Stats {
	st := Stats{
		Published:     b.published.Load(),
		PublishErrors: b.failed.Load(),
		Incidents:     b.incidents.newestFirst(),
	}
	// In one go with b.mu, so that nothing is missed that moves from the live
	// to the past.
	b.mu.Lock()
	defer b.mu.Unlock()
	total, gone := b.past, b.gone
	delivered := total.delivered()
	for t := range b.listed {
		ts := t.snapshot()
		for _, s := range ts.Subscriptions {
			delivered += s.Delivered
			total.lost.sum(s.Lost)
		}
		st.Subscriptions += len(ts.Subscriptions)
		gone.reconnects += ts.Reconnects
		gone.downtime += ts.Downtime
		if !t.finished {
			st.Streams++
		}
		st.Topics = append(st.Topics, ts)
	}
	slices.SortFunc(st.Topics, func(a, b TopicStats) int { return strings.Compare(a.Topic, b.Topic) })
	st.Delivered, st.Lost = delivered, total.lost
	st.Reconnects, st.Downtime = gone.reconnects, gone.downtime
	return st
}

// snapshot is called with bus.mu held.
func (t *topic[T]) snapshot() TopicStats {
	c := t.stats.snapshot()
	ts := TopicStats{
		Topic:      t.name,
		Private:    t.private,
		Block:      t.block,
		State:      c.state,
		Reconnects: c.reconnects,
		Downtime:   c.downtime,
		Received:   t.ring.head.Load(),
		Buffer:     t.bus.cfg.buffer,
		Ended:      t.finished,
	}
	for _, s := range t.ring.subscriptions() {
		ts.Subscriptions = append(ts.Subscriptions, s.Stats())
	}
	return ts
}

// Losses counts messages reported lost, by [Cause]. Discontinuities that could
// not count exactly contribute their lower bound.
type Losses struct {
	Overflow, Backend, Reset, Reconnect, Decode uint64
}

// Total is the sum over all causes.
func (l Losses) Total() uint64 {
	return l.Overflow + l.Backend + l.Reset + l.Reconnect + l.Decode
}

func (l *Losses) add(d *Discontinuity) {
	switch d.Cause {
	case CauseOverflow:
		l.Overflow += d.Lost
	case CauseReset:
		l.Reset += d.Lost
	case CauseReconnect:
		l.Reconnect += d.Lost
	case CauseDecode:
		l.Decode += d.Lost
	default:
		l.Backend += d.Lost
	}
}

func (l *Losses) sum(m Losses) {
	l.Overflow += m.Overflow
	l.Backend += m.Backend
	l.Reset += m.Reset
	l.Reconnect += m.Reconnect
	l.Decode += m.Decode
}

// TopicStats is a snapshot of one upstream stream.
type TopicStats struct {
	Topic         string
	Private       bool        // serves one subscription only
	Block         bool        // serves the subscriptions with back-pressure
	State         StateChange // the last one
	Ended         bool        // the stream is over; its subscriptions still read what is queued
	Reconnects    uint64
	Downtime      time.Duration
	Received      uint64 // messages
	Buffer        int    // capacity of the ring
	Subscriptions []SubscriptionStats
}

// SubscriptionStats is a snapshot of one [Subscription].
type SubscriptionStats struct {
	Topic     string
	Policy    OverflowPolicy
	State     StateChange // of its stream, the last one
	Delivered uint64      // messages handed to the reader; to C and Events counts as such
	Lost      Losses      // reported to the reader
	Lag       uint64      // messages waiting in the ring now; those it will report lost included
	MaxLag    uint64      // the worst lag found by Stats, or by a reader, which looks at least every 32 messages
}

// Stats returns a snapshot of the subscription.
func (s *Subscription[T]) Stats() SubscriptionStats {
	var lag uint64
	s.mu.Lock()
	if !s.ended.Load() {
		// The cursor first: the head never falls behind it.
		cursor := s.cursor.Load()
		lag = s.topic.ring.head.Load() - cursor
	}
	s.maxLag = max(s.maxLag, lag)
	maxLag, c := s.maxLag, s.counted()
	s.mu.Unlock()
	return SubscriptionStats{Topic: s.topic.name, Policy: s.cfg.policy, State: s.topic.stats.snapshot().state, Delivered: c.delivered(), Lost: c.lost, Lag: lag, MaxLag: maxLag}
}

// counts is what a subscription counts, or many together.
type counts struct {
	taken       uint64 // messages the cursor passed, without those it jumped over
	undecodable uint64 // those of them that were not delivered
	lost        Losses
}

func (c *counts) delivered() uint64 { return c.taken - c.undecodable }

func (c *counts) add(d counts) {
	c.taken += d.taken
	c.undecodable += d.undecodable
	c.lost.sum(d.lost)
}

// counted is called with s.mu held.
func (s *Subscription[T]) counted() counts {
	c := s.counts
	if !s.settled {
		c.taken = s.cursor.Load() - s.start
	}
	return c
}

// settle adds what s counted to the past, with bus.mu held.
func (s *Subscription[T]) settle() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts.taken = s.cursor.Swap(noLimit) - s.start // nobody takes any more
	s.settled = true
	s.topic.bus.past.add(s.counts)
}

// recount has f change what s counts. A reader may be at it that s did not wait
// for when it ended.
func (s *Subscription[T]) recount(f func(*counts)) {
	s.mu.Lock()
	f(&s.counts)
	settled := s.settled
	s.mu.Unlock()
	if b := s.topic.bus; settled {
		b.mu.Lock()
		f(&b.past)
		b.mu.Unlock()
	}
}

// streamCounts is what a stream counts.
type streamCounts struct {
	reconnects uint64
	downtime   time.Duration
	state      StateChange
}

func (c *streamCounts) add(d streamCounts) {
	c.reconnects += d.reconnects
	c.downtime += d.downtime
}

type streamStats struct {
	mu     sync.Mutex
	counts streamCounts
}

func (s *streamStats) changed(st StateChange) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts.state = st
	if st.State == Resumed {
		s.counts.reconnects++
		s.counts.downtime += st.Downtime
	}
}

func (s *streamStats) snapshot() streamCounts {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts
}

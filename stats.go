package pubsub

import (
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/topicbus/pubsub/internal/ring"
)

// Stats is a snapshot of a [Bus]. Counters cover its whole life and never
// decrease, with one exception: Delivered counts a message when its decoding
// begins, and gives it back if it cannot be decoded.
type Stats struct {
	_ struct{} // fields will be added: use their names

	Published     uint64 // successful Publish calls
	PublishErrors uint64 // failed ones
	Delivered     uint64 // messages handed to subscriptions' readers
	Lost          Losses // reported to subscriptions' readers
	Dropped       uint64 // messages that ends of subscriptions threw away unread
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
		PublishErrors: b.failures.Load(),
		Incidents:     b.incidents.newestFirst(),
	}
	// Nobody waits for Stats: under the lock nothing is done but copying sums and
	// the streams' pointers. The readers are listed before the sums, so that nobody
	// is missed who moves from the ones to the others, and whoever had done so when
	// the sums were copied is left out.
	readers := make(map[*stream[T]][]*ring.Cursor[T, side])
	streams, _, _, _ := b.books()
	for _, t := range streams {
		readers[t] = t.log.Readers()
	}
	streams, total, gone, settled := b.books()
	st.Delivered, st.Lost, st.Dropped = total.delivered(), total.lost, total.dropped
	for _, t := range streams {
		cursors, ok := readers[t]
		if !ok {
			cursors = t.log.Readers()
		}
		ts := t.snapshot()
		if !ts.Ended {
			st.Streams++
		}
		ts.Subscriptions = slices.Grow(ts.Subscriptions, len(cursors))
		for _, c := range cursors {
			stats, at := c.Owner.(*Subscription[T]).snapshot()
			if at == 0 {
				st.Subscriptions++
				ts.Subscriptions = append(ts.Subscriptions, stats)
			}
			if at == 0 || at > settled {
				st.Delivered += stats.Delivered
				st.Lost.sum(stats.Lost)
				st.Dropped = plus(st.Dropped, stats.Dropped)
			}
		}
		gone.reconnects += ts.Reconnects
		gone.downtime += ts.Downtime
		st.Topics = append(st.Topics, ts)
	}
	slices.SortFunc(st.Topics, func(a, b TopicStats) int { return strings.Compare(a.Topic, b.Topic) })
	st.Reconnects, st.Downtime = gone.reconnects, gone.downtime
	return st
}

// books returns the streams, what ended subscriptions and streams have counted,
// and how many subscriptions had settled by then.
func (b *bus[T]) books() (streams []*stream[T], past counts, gone streamCounts, settled uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	streams = make([]*stream[T], 0, len(b.listed))
	for t := range b.listed {
		streams = append(streams, t)
	}
	return streams, b.past, b.gone, b.settled
}

// snapshot is all but the subscriptions.
func (st *stream[T]) snapshot() TopicStats {
	st.bus.mu.Lock()
	dropped, finished := st.dropped, st.finished
	st.bus.mu.Unlock()
	c := st.stats.snapshot()
	return TopicStats{
		Topic:      st.name,
		Private:    st.private,
		Block:      st.block,
		State:      c.state,
		Reconnects: c.reconnects,
		Downtime:   c.downtime,
		Received:   st.log.Len(),
		Dropped:    dropped,
		Buffer:     st.bus.cfg.buffer,
		Ended:      finished,
	}
}

// Losses counts messages reported lost, by [Cause]. Discontinuities that could
// not count exactly contribute their lower bound.
type Losses struct {
	Overflow, Backend, Reset, Reconnect, Decode uint64
}

// Total is the sum over all causes.
func (l Losses) Total() uint64 {
	return plus(plus(plus(l.Overflow, l.Backend), plus(l.Reset, l.Reconnect)), l.Decode)
}

func (l *Losses) add(d *Discontinuity) {
	switch d.Cause {
	case CauseOverflow:
		l.Overflow = plus(l.Overflow, d.Lost)
	case CauseReset:
		l.Reset = plus(l.Reset, d.Lost)
	case CauseReconnect:
		l.Reconnect = plus(l.Reconnect, d.Lost)
	case CauseDecode:
		l.Decode = plus(l.Decode, d.Lost)
	default:
		l.Backend = plus(l.Backend, d.Lost)
	}
}

// take takes back what add added.
func (l *Losses) take(d *Discontinuity) {
	minus := Losses{}
	minus.add(d)
	l.Overflow -= min(l.Overflow, minus.Overflow)
	l.Backend -= min(l.Backend, minus.Backend)
	l.Reset -= min(l.Reset, minus.Reset)
	l.Reconnect -= min(l.Reconnect, minus.Reconnect)
	l.Decode -= min(l.Decode, minus.Decode)
}

func (l *Losses) sum(m Losses) {
	l.Overflow = plus(l.Overflow, m.Overflow)
	l.Backend = plus(l.Backend, m.Backend)
	l.Reset = plus(l.Reset, m.Reset)
	l.Reconnect = plus(l.Reconnect, m.Reconnect)
	l.Decode = plus(l.Decode, m.Decode)
}

// plus is a sum that does not wrap around: what a backend reports lost may be
// absurd.
func plus(a, b uint64) uint64 {
	if sum := a + b; sum >= a {
		return sum
	}
	return math.MaxUint64
}

// TopicStats is a snapshot of one upstream stream. Its counters are the stream's:
// they begin at 0 when the topic's next stream is opened. Those of [Stats] go on.
type TopicStats struct {
	_ struct{} // fields will be added: use their names

	Topic         string
	Private       bool        // serves one subscription only
	Block         bool        // serves the subscriptions with back-pressure
	State         StateChange // the last one
	Ended         bool        // the stream is over; its subscriptions still read what is queued
	Reconnects    uint64
	Downtime      time.Duration
	Received      uint64 // messages
	Dropped       uint64 // messages that ends of its subscriptions threw away unread; gone with the stream, but for Stats.Dropped
	Buffer        int    // capacity of the ring
	Subscriptions []SubscriptionStats
}

// SubscriptionStats is a snapshot of one [Subscription].
type SubscriptionStats struct {
	_ struct{} // fields will be added: use their names

	Topic     string
	Name      string // see [Named]
	Policy    OverflowPolicy
	State     StateChange // of its stream, the last one
	Delivered uint64      // messages handed to the reader; to C and Events counts as such
	Lost      Losses      // reported to the reader
	Dropped   uint64      // thrown away unread when it ended
	Lag       uint64      // messages waiting in the ring now; those it will report lost included
	MaxLag    uint64      // the worst lag found by Stats, or by a reader, which looks at least every 32 messages
}

// Stats returns a snapshot of the subscription. After its end it stays.
func (s *Subscription[T]) Stats() SubscriptionStats {
	st, _ := s.snapshot()
	return st
}

// snapshot also tells when the subscription settled, 0 if it has not.
func (s *Subscription[T]) snapshot() (st SubscriptionStats, settled uint64) {
	s.mu.Lock()
	c := s.counts
	if st.MaxLag = s.maxLag; s.settled == 0 {
		cs := s.cursor.Stats()
		c.taken, st.Lag, st.MaxLag = cs.Taken, cs.Lag, cs.MaxLag
	}
	settled = s.settled
	s.mu.Unlock()
	st.Topic, st.Name, st.Policy = s.name, s.Name(), s.cfg.policy
	st.State = s.stream.stats.snapshot().state
	st.Delivered, st.Lost, st.Dropped = c.delivered(), c.lost, c.dropped
	return st, settled
}

// counts is what a subscription counts, or many together.
type counts struct {
	taken       uint64 // messages the cursor passed, without those it jumped over
	undelivered uint64 // those of them that could not be decoded, or had nowhere to go
	dropped     uint64
	lost        Losses
}

func (c *counts) delivered() uint64 { return c.taken - c.undelivered }

func (c *counts) add(d counts) {
	c.taken += d.taken
	c.undelivered += d.undelivered
	c.dropped = plus(c.dropped, d.dropped)
	c.lost.sum(d.lost)
}

// settle takes s out of its log and adds what it counted to the past. The
// backend holds so many messages back for it. bus.mu is held.
func (s *Subscription[T]) settle(held uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.maxLag = s.cursor.Stats().MaxLag
	taken, dropped := s.cursor.Leave()
	b := s.stream.bus
	b.settled++
	s.settled = b.settled
	if s.unseen {
		return
	}
	s.counts.taken = taken
	s.counts.dropped = plus(s.counts.dropped, plus(dropped, held))
	b.past.add(s.counts)
	s.stream.dropped = plus(s.stream.dropped, s.counts.dropped)
}

// dropped is how many messages the end of s threw away.
func (s *Subscription[T]) dropped() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts.dropped
}

// recount has f change what s counts. A reader may be at it that s did not wait
// for when it ended.
func (s *Subscription[T]) recount(f func(*counts)) {
	s.mu.Lock()
	f(&s.counts)
	settled := s.settled != 0
	s.mu.Unlock()
	if b := s.stream.bus; settled {
		b.mu.Lock()
		before := b.past.dropped
		f(&b.past)
		s.stream.dropped = plus(s.stream.dropped, b.past.dropped-before)
		b.mu.Unlock()
	}
}

// undelivered counts a message that was taken and had nowhere to go, because the
// subscription was killed. It is false, to be returned by a sink.
func (s *Subscription[T]) undelivered() bool {
	s.recount(func(c *counts) { c.undelivered++; c.dropped = plus(c.dropped, 1) })
	return false
}

// untold counts what a note reported lost, which had nowhere to go.
func (s *Subscription[T]) untold(n *note) bool {
	if d := n.discontinuity; d != nil && len(s.cfg.onDiscontinuity) == 0 {
		s.recount(func(c *counts) { c.lost.take(d); c.dropped = plus(c.dropped, d.Lost) })
	}
	return false
}

// dropNote counts a note that is not handed out any more.
func (s *Subscription[T]) dropNote(n *note) {
	if d := n.discontinuity; d != nil {
		s.recount(func(c *counts) { c.dropped = plus(c.dropped, d.Lost) })
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

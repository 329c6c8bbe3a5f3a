package pubsub

import (
	"slices"
	"sync"
	"time"
)

// maxIncidents is how many incidents a bus remembers.
const maxIncidents = 64

// alikeFor is how soon another incident must follow to join one like it, so
// that a subscription which cannot keep up does not push out all else.
const alikeFor = time.Second

// Incident is a rare thing that happened on a bus. It is one of these:
//   - a hole in a stream or of a subscription: Discontinuity is set;
//   - a change of a stream's state: State is set;
//   - the permanent error that ended a stream: Err is set;
//   - messages that an end left unread: Dropped is set.
//
// What happens to a stream is listed once, however many subscriptions share it,
// and before anybody has read that far.
//
// Incidents of one topic that are alike become one: holes of the same cause, or
// drops, that follow each other within a second, and the attempts to reconnect.
type Incident struct {
	_ struct{} // fields will be added: use their names

	Topic string
	// First is when it began, Last when something was last joined to it. Count
	// is how many were joined.
	First, Last time.Time
	Count       uint64
	// Dropped is how many messages the end of that Subscription (see [Named])
	// threw away unread. Err is why it ended then, nil for Close. What the end of
	// the bus threw away is one incident, without a Topic and Subscription.
	Dropped      uint64
	Subscription string
	// Discontinuity is the hole. Of several, it begins where the first one began,
	// and its Lost is their sum. Of an overflow, Lost counts only messages: holes
	// of the stream among them are incidents of their own. There is no Payload.
	//
	// State is the change, of several attempts to reconnect the last one.
	Discontinuity *Discontinuity
	State         *StateChange
	Err           error
}

// incidentLog keeps the newest incidents, those that were last added to last.
type incidentLog struct {
	mu   sync.Mutex
	list []Incident
}

func (l *incidentLog) discontinuity(d *Discontinuity) {
	c := *d
	c.Payload = nil
	l.add(Incident{Topic: d.Topic, Discontinuity: &c})
}

func (l *incidentLog) add(n Incident) {
	n.First = time.Now()
	n.Last, n.Count = n.First, 1
	l.mu.Lock()
	defer l.mu.Unlock()
	if i := l.alike(&n); i >= 0 {
		n.join(&l.list[i])
		l.list = slices.Delete(l.list, i, i+1)
	}
	if len(l.list) == maxIncidents {
		l.list = slices.Delete(l.list, 0, 1)
	}
	l.list = append(l.list, n)
}

// alike returns the index of the incident that n is to be joined with, or -1.
func (l *incidentLog) alike(n *Incident) int {
	for i := len(l.list) - 1; i >= 0; i-- {
		switch o := &l.list[i]; {
		case o.Topic != n.Topic:
		case n.Dropped > 0 && o.Dropped > 0:
			if n.First.Sub(o.Last) <= alikeFor {
				return i
			}
			return -1
		case n.State != nil && o.State != nil:
			if n.State.State == Reconnecting && o.State.State == Reconnecting {
				return i
			}
			return -1
		case n.Discontinuity != nil && o.Discontinuity != nil && n.Discontinuity.Cause == o.Discontinuity.Cause:
			if n.First.Sub(o.Last) <= alikeFor {
				return i
			}
			return -1
		}
	}
	return -1
}

// join adds an older incident to n, which nobody else has seen yet.
func (n *Incident) join(older *Incident) {
	n.First, n.Count = older.First, older.Count+1
	n.Dropped = plus(n.Dropped, older.Dropped)
	if d := n.Discontinuity; d != nil {
		d.join(older.Discontinuity)
	}
}

// newestFirst returns what the log holds.
func (l *incidentLog) newestFirst() []Incident {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := slices.Clone(l.list)
	slices.Reverse(list)
	return list
}

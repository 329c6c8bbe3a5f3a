package pubsubdebug

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/consume"
)

// snapshot is the JSON that tools get, and what the page is made of.
type snapshot struct {
	Time     time.Time  `json:"time"`
	Buses    []bus      `json:"buses"`
	Handlers []handlers `json:"handlers"`
}

type bus struct {
	Name          string     `json:"name"`
	Published     uint64     `json:"published"`
	PublishErrors uint64     `json:"publishErrors"`
	Delivered     uint64     `json:"delivered"`
	Lost          losses     `json:"lost"`
	Dropped       uint64     `json:"dropped"` // by ends of subscriptions, unread
	Subscriptions int        `json:"subscriptions"`
	Streams       int        `json:"streams"`
	StreamsDown   int        `json:"streamsDown"`
	Reconnects    uint64     `json:"reconnects"`
	Downtime      seconds    `json:"downtime"`
	Topics        []topic    `json:"topics"`
	Incidents     []incident `json:"incidents"`
}

type topic struct {
	Topic         string         `json:"topic"`
	Private       bool           `json:"private"`
	Block         bool           `json:"block"`
	State         string         `json:"state"` // "connected", "reconnecting", "resumed" or "ended"
	Error         string         `json:"error,omitempty"`
	Attempt       int            `json:"attempt,omitempty"`
	Down          seconds        `json:"down,omitempty"` // of the present or last outage
	Reconnects    uint64         `json:"reconnects"`
	Downtime      seconds        `json:"downtime"`
	Received      uint64         `json:"received"`
	Dropped       uint64         `json:"dropped"`
	Buffer        int            `json:"buffer"`
	Subscriptions []subscription `json:"subscriptions"`
}

type subscription struct {
	Name      string `json:"name"` // or the file and line that subscribed
	Policy    string `json:"policy"`
	Delivered uint64 `json:"delivered"`
	Lost      losses `json:"lost"`
	Lag       uint64 `json:"lag"`
	MaxLag    uint64 `json:"maxLag"`
}

type losses struct {
	Total     uint64 `json:"total"`
	Overflow  uint64 `json:"overflow"`
	Backend   uint64 `json:"backend"`
	Reset     uint64 `json:"reset"`
	Reconnect uint64 `json:"reconnect"`
	Decode    uint64 `json:"decode"`
}

type incident struct {
	Kind    string    `json:"kind"` // "discontinuity", "state", "dropped" or "end"
	Topic   string    `json:"topic"`
	Name    string    `json:"name,omitempty"` // of the subscription that dropped
	Dropped uint64    `json:"dropped,omitempty"`
	First   time.Time `json:"first"`
	Last    time.Time `json:"last"`
	Count   uint64    `json:"count"`
	Cause   string    `json:"cause,omitempty"`
	Lost    uint64    `json:"lost,omitempty"`
	Exact   bool      `json:"exact,omitempty"`
	After   string    `json:"after,omitempty"`
	Resume  string    `json:"resume,omitempty"`
	State   string    `json:"state,omitempty"`
	Attempt int       `json:"attempt,omitempty"`
	Down    seconds   `json:"down,omitempty"`
	Error   string    `json:"error,omitempty"`
}

// handlers is what a Monitor counts.
type handlers struct {
	Name     string  `json:"name"`
	Taken    uint64  `json:"taken"`
	Handled  uint64  `json:"handled"`
	GivenUp  uint64  `json:"givenUp"`
	Dropped  uint64  `json:"dropped"` // taken and not handled at the end
	Failed   uint64  `json:"failed"`  // tries
	Retried  uint64  `json:"retried"`
	Holes    uint64  `json:"holes"`
	Lost     uint64  `json:"lost"`
	InFlight int     `json:"inFlight"`
	Busy     int     `json:"busy"`
	Waiting  int     `json:"waiting"` // for their next try
	Oldest   seconds `json:"oldest"`  // of those in flight
}

func newHandlers(name string, st consume.Stats) handlers {
	return handlers{
		Name: name, Taken: st.Taken, Handled: st.Handled, GivenUp: st.GivenUp, Dropped: st.Dropped,
		Failed: st.Failed, Retried: st.Retried, Holes: st.Holes, Lost: st.Lost,
		InFlight: st.InFlight, Busy: st.Busy, Waiting: st.Waiting, Oldest: seconds(st.Oldest.Seconds()),
	}
}

// seconds is a duration that tools can calculate with.
type seconds float64

func newBus(name string, st pubsub.Stats, filter string, now time.Time) bus {
	b := bus{
		Name: name, Published: st.Published, PublishErrors: st.PublishErrors, Delivered: st.Delivered, Lost: newLosses(st.Lost), Dropped: st.Dropped,
		Subscriptions: st.Subscriptions, Streams: st.Streams, Reconnects: st.Reconnects, Downtime: seconds(st.Downtime.Seconds()),
		Topics: []topic{}, Incidents: []incident{},
	}
	for _, ts := range st.Topics {
		t := newTopic(ts)
		if ts.State.State == pubsub.Reconnecting && !ts.Ended {
			b.StreamsDown++
			t.Down = max(t.Down, downSince(ts.Topic, st.Incidents, now))
		}
		if strings.Contains(ts.Topic, filter) {
			b.Topics = append(b.Topics, t)
		}
	}
	slices.SortStableFunc(b.Topics, func(a, b topic) int { // rows keep their places from one snapshot to the next
		return cmp.Or(strings.Compare(a.Topic, b.Topic), compareBool(a.Private, b.Private), compareBool(a.Block, b.Block), cmp.Compare(b.Received, a.Received))
	})
	for _, n := range st.Incidents {
		if strings.Contains(n.Topic, filter) {
			b.Incidents = append(b.Incidents, newIncident(n))
		}
	}
	return b
}

// downSince is how long the topic has been down. What its stream last told of
// that is as old as the last attempt to reconnect.
func downSince(topic string, incidents []pubsub.Incident, now time.Time) seconds {
	for _, n := range incidents {
		if n.Topic == topic && n.State != nil {
			return seconds(now.Sub(n.First).Seconds())
		}
	}
	return 0
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	default:
		return +1
	}
}

func newTopic(ts pubsub.TopicStats) topic {
	t := topic{
		Topic: ts.Topic, Private: ts.Private, Block: ts.Block,
		State: ts.State.State.String(), Error: text(ts.State.Err), Attempt: ts.State.Attempt, Down: seconds(ts.State.Downtime.Seconds()),
		Reconnects: ts.Reconnects, Downtime: seconds(ts.Downtime.Seconds()),
		Received: ts.Received, Dropped: ts.Dropped, Buffer: ts.Buffer, Subscriptions: []subscription{},
	}
	if ts.Ended {
		t.State, t.Error, t.Attempt = "ended", "", 0
	}
	for _, s := range ts.Subscriptions {
		t.Subscriptions = append(t.Subscriptions, subscription{
			Name: s.Name, Policy: s.Policy.String(), Delivered: s.Delivered, Lost: newLosses(s.Lost), Lag: s.Lag, MaxLag: s.MaxLag,
		})
	}
	slices.SortStableFunc(t.Subscriptions, func(a, b subscription) int { // the worst first
		return cmp.Or(cmp.Compare(b.Lag, a.Lag), cmp.Compare(b.Lost.Total, a.Lost.Total))
	})
	return t
}

func newLosses(l pubsub.Losses) losses {
	return losses{l.Total(), l.Overflow, l.Backend, l.Reset, l.Reconnect, l.Decode}
}

func newIncident(n pubsub.Incident) incident {
	v := incident{Topic: n.Topic, First: n.First, Last: n.Last, Count: n.Count}
	switch {
	case n.Discontinuity != nil:
		d := n.Discontinuity
		v.Kind, v.Cause, v.Lost, v.Exact, v.Error = "discontinuity", d.Cause.String(), d.Lost, d.Exact, text(d.Err)
		v.After, v.Resume = d.After.String(), d.Resume.String()
	case n.State != nil:
		s := n.State
		v.Kind, v.State, v.Attempt, v.Down, v.Error = "state", s.State.String(), s.Attempt, seconds(s.Downtime.Seconds()), text(s.Err)
	case n.Dropped > 0:
		v.Kind, v.Name, v.Dropped, v.Error = "dropped", n.Subscription, n.Dropped, text(n.Err)
	default:
		v.Kind, v.Error = "end", text(n.Err)
	}
	return v
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// names finds a different name for each bus.
func names(sources []Source) []string {
	list := make([]string, len(sources))
	seen := make(map[string]int)
	for i, s := range sources {
		name := typeName(s)
		if n, ok := s.(named); ok {
			name = n.name
		}
		seen[name]++
		if n := seen[name]; n > 1 {
			name = fmt.Sprintf("%s (%d)", name, n)
		}
		list[i] = name
	}
	return list
}

var importPath = regexp.MustCompile(`[\w.~-]+/`)

// typeName is "Bus[quotes.Quote]" for a bus made by pubsub.New.
func typeName(s Source) string {
	name := importPath.ReplaceAllString(fmt.Sprintf("%T", s), "")
	if t, ok := strings.CutPrefix(name, "*pubsub.bus["); ok {
		name = "Bus[" + t
	}
	return name
}

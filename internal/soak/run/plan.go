package run

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// finBase is what the numbers of a round's last messages are greater than.
func (rd *round) finBase() uint64 { return rd.Number * 1000 }

// order is what the driver tells a node, as one line of JSON.
type order struct {
	Round *round `json:",omitempty"` // begin a round
	Fin   string `json:",omitempty"` // publish the last message of this topic
	End   bool   `json:",omitempty"` // the round is over: end what is left, and tell how you are
}

// round is a node's part in a round.
type round struct {
	Number uint64
	Seed   uint64
	Topics []string
	Length time.Duration
	Pubs   []publisher
	Subs   []subscriber
	Faults bool   // make faults of your own
	Flag   string // of its subscriptions, for the checker
}

// publisher publishes to a topic for a whole round.
type publisher struct {
	Name, Topic string
	Every       time.Duration // on average
	Batch       int           // up to so many at once, then a pause
	Way         string        // "name", "handle" or "all"
	Patience    time.Duration // of a publish
}

// subscriber reads a topic.
type subscriber struct {
	Name, Topic string
	Form        string // "all", "messages", "next", "c" or "events"
	Policy      string // "drop", "block" or "fail"
	Private     bool
	Shared      bool
	Eventually  bool
	Begin       string        // "", "oldest" or "last"
	After       string        // a position to resume after, or ""
	Pause       time.Duration // after each Stride messages
	Stride      int
	From        time.Duration // into the round
	Life        time.Duration // 0: up to the last message
	End         string        // what ends its life: "close", "drain" or "ctx"
}

// Names that the driver, the nodes and the checker agree on.
const (
	lastPublisher = "fin"
	serviceName   = "service"
)

var forms = []string{"all", "messages", "next", "c", "events"}

// pick draws one of a list.
func pick[T any](r *rand.Rand, list ...T) T { return list[r.IntN(len(list))] }

// between draws a duration.
func between(r *rand.Rand, low, high time.Duration) time.Duration {
	return low + time.Duration(r.Int64N(int64(high-low)))
}

// plan draws what the nodes do in a round. Node 0 publishes, and so does each
// third; the others subscribe, and where there is only one it does everything.
func plan(r *rand.Rand, number int, nodes int, topics []string, length time.Duration, rate float64) []*round {
	rounds := make([]*round, nodes)
	for i := range rounds {
		rounds[i] = &round{Number: uint64(number), Seed: r.Uint64(), Topics: topics, Length: length}
	}
	var publishing, subscribing []*round
	for i, rd := range rounds {
		if i%3 == 0 {
			publishing = append(publishing, rd)
		}
		if i%3 != 0 || nodes == 1 {
			subscribing = append(subscribing, rd)
		}
	}
	for ti, topic := range topics {
		n := 1 + r.IntN(3)
		for i := range n {
			rd := publishing[(ti+i)%len(publishing)]
			batch := pick(r, 1, 1, 20, 400)
			rd.Pubs = append(rd.Pubs, publisher{
				Name: fmt.Sprintf("r%d.t%d.p%d", number, ti, i), Topic: topic, Batch: batch, Way: pick(r, "name", "handle", "all"),
				Every:    time.Duration(float64(time.Second) * float64(n) / rate),
				Patience: pick(r, 300*time.Millisecond, time.Second, 5*time.Second),
			})
		}
	}
	block := r.IntN(2) == 0 // in half of the rounds, since it makes all wait
	for ni, rd := range subscribing {
		for ti, topic := range topics {
			for i := range 1 + r.IntN(3) {
				s := subscriber{Name: fmt.Sprintf("r%d.n%d.t%d.s%d", number, ni, ti, i), Topic: topic, Form: pick(r, forms...), Policy: "drop", Private: r.IntN(5) == 0,
					Begin: pick(r, "", "", "", "oldest", "last"), Eventually: r.IntN(5) == 0}
				if block && r.IntN(4) == 0 {
					s.Policy = "block"
				} else if r.IntN(10) == 0 {
					s.Policy = "fail"
				}
				if r.IntN(3) == 0 { // slower than what comes
					s.Stride = 1 + r.IntN(100)
					s.Pause = min(between(r, time.Millisecond, 50*time.Millisecond), time.Duration(s.Stride)*8*time.Millisecond)
					if s.Policy == "block" {
						s.Stride, s.Pause = 100, time.Millisecond
					}
				}
				rd.Subs = append(rd.Subs, s)
			}
			for i := range r.IntN(6) { // come and go
				from := between(r, 0, length)
				rd.Subs = append(rd.Subs, subscriber{
					Name: fmt.Sprintf("r%d.n%d.t%d.v%d", number, ni, ti, i), Topic: topic, Form: pick(r, forms...), Policy: "drop", Private: r.IntN(5) == 0,
					Begin: pick(r, "", "", "", "oldest", "last"), Eventually: r.IntN(5) == 0, From: from, Life: between(r, time.Millisecond, length/3), End: pick(r, "close", "drain", "ctx"),
				})
			}
		}
	}
	return rounds
}

// heirs are the subscriptions with which a node that was killed goes on: each
// where the one before was.
func heirs(r *rand.Rand, subs []subscriber, generation int, last func(name string) string, began func(name string) bool) []subscriber {
	var next []subscriber
	for _, s := range subs {
		if s.Life > 0 || s.Policy == "fail" {
			continue
		}
		s.From = 0
		if began(s.Name) {
			s.After, s.Begin = last(s.Name), ""
			s.Shared = !s.Private && r.IntN(3) == 0
		}
		if s.After == "-" { // nothing was received, and it did not say where it began
			s.After, s.Shared = "", false
		}
		s.Name = fmt.Sprintf("%s.g%d", s.Name, generation)
		next = append(next, s)
	}
	return next
}

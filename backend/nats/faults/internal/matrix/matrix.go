// Package matrix is the fault matrix of the NATS backend: each [Row] is one
// thing that goes wrong, played over TCP against a real server.
//
// A row is played on [Bus], which is this module's whole stack, or on [Ordered],
// the client library's OrderedConsumer with its defaults. Messages are published
// past both, so that it is known what the server accepted; the [Outcome] says
// what became of it.
package matrix

import (
	"fmt"
	"strings"
	"time"
)

// Kind names what a row is played on.
type Kind string

// What a row can be played on.
const (
	Bus     Kind = "pubsub"
	Ordered Kind = "OrderedConsumer"
)

// Row is one fault.
type Row struct {
	Group, Name string
	Topics      int
	Long        bool // only the document plays it
	Racy        bool // the server has a data race there, so not under the race detector
	Cluster     bool // there are three servers, with three replicas of each stream
	Play        func(*Run)
	Want        Want // of Bus

	limit time.Duration // of its time, if it takes longer than others
}

// ID returns the row's group and name.
func (r Row) ID() string { return r.Group + ": " + r.Name }

// Want is what a row requires, besides what every row does: that each message
// is delivered once, in order, or reported lost, and that nothing is left.
type Want struct {
	Lost  bool // messages are lost, and reported with their exact number
	Reset bool // the numbers begin anew: of what was lost with the old ones no number is known
}

// Outcome is what came of a row. Messages are counted over all topics.
type Outcome struct {
	Accepted   int
	Delivered  int
	Told       int // reported lost
	Resets     int // reported
	Missing    int // neither came
	Duplicates int
	Disorder   int
	Stuck      int           // topics to which nothing more came
	Recovered  time.Duration // from the fault's end to the last topic's first message; 0: there was none
	Refused    int           // publishes that the server refused, and their publisher was told
	Left       string        // goroutines, consumers and connections
	Failed     string        // why it could not be played
}

// Breaches compares an outcome with what the row wants of Bus.
func (r Row) Breaches(o Outcome) (list []string) {
	breach := func(bad bool, format string, args ...any) {
		if bad {
			list = append(list, fmt.Sprintf(format, args...))
		}
	}
	breach(o.Failed != "", "it could not be played: %s", o.Failed)
	breach(o.Duplicates > 0, "%d messages came twice", o.Duplicates)
	breach(o.Disorder > 0, "%d messages came out of order", o.Disorder)
	breach(o.Stuck > 0, "nothing more came to %d topics", o.Stuck)
	breach(o.Left != "", "left behind: %s", o.Left)
	if !r.Want.Reset {
		breach(o.Missing != o.Told, "%d messages are missing, and %d were reported lost", o.Missing, o.Told)
		breach(o.Resets > 0, "%d resets were reported, and there was none", o.Resets)
	} else {
		breach(o.Told > o.Missing, "%d messages are missing, and %d were reported lost", o.Missing, o.Told)
		breach(o.Resets == 0, "no reset was reported")
	}
	breach(!r.Want.Lost && !r.Want.Reset && o.Missing > 0, "%d messages are missing", o.Missing)
	breach(r.Want.Lost && o.Missing == 0, "no message was lost, so the row shows nothing")
	return list
}

// Text describes an outcome in words that do not depend on timing.
func (r Row) Text(o Outcome) string {
	var say []string
	add := func(when bool, format string, args ...any) {
		if when {
			say = append(say, fmt.Sprintf(format, args...))
		}
	}
	add(o.Failed != "", "cannot be played: %s", o.Failed)
	silent := o.Missing - o.Told
	add(o.Missing == 0 && o.Failed == "", "all delivered")
	add(o.Told > 0 && silent == 0, "what is lost is reported, exactly")
	add(o.Resets > 0 && silent > 0, "the reset is reported, how many went with it is not known")
	add(o.Resets > 0 && silent == 0, "the reset is reported")
	add(r.Want.Reset && o.Resets == 0, "**the reset is not told**")
	add(silent > 0 && o.Resets == 0 && o.Stuck == 0, "**lost silently**")
	add(o.Duplicates > 0, "**duplicates**")
	add(o.Disorder > 0, "**out of order**")
	add(o.Refused > 0, "the publisher is told")
	add(o.Stuck > 0, "**nothing more comes within %v**", Patience)
	add(o.Recovered > 0 && o.Stuck == 0, "back within %v", bucket(o.Recovered))
	add(o.Left != "", "**left behind**: %s", o.Left)
	return strings.Join(say, "; ")
}

// bucket rounds a time up so far that it seldom differs between runs.
func bucket(d time.Duration) time.Duration {
	for _, limit := range []time.Duration{500 * time.Millisecond, time.Second, 3 * time.Second, 10 * time.Second, 30 * time.Second} {
		if d <= limit {
			return limit
		}
	}
	return time.Minute
}

// Package matrix is the fault matrix of the Momento backend: each [Row] is one
// thing that goes wrong, played over TCP against a loopback server.
//
// A row is played on [Bus], which is this module's whole stack, or on [SDK],
// the official SDK with its default configuration. Either way the server says
// which messages it accepted, and the [Outcome] says what became of them. Tests
// hold the outcome on Bus against the row's [Want]; docs/faults.md shows both.
package matrix

import (
	"fmt"
	"time"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/momento"
	"github.com/topicbus/pubsub/backend/momento/momentotest"
)

// Row is one fault.
type Row struct {
	Group string
	Name  string
	Play  func(*Run)
	Want  Want // of Bus

	Server   []momentotest.Option
	Backend  []momento.Option
	Bus      []pubsub.Option
	Refresh  bool   // the backend has a function that knows the newest token
	Relay    bool   // there is a relay between client and server
	Between  bool   // there is a proxy between them
	Repeat   int    // how often the document plays it, to show the slowest recovery; 0: once
	Vague    bool   // counts depend on timing: the document does not tell them
	SDKLacks string // why the row cannot be played on the SDK, "" if it can
}

// ID returns the row's group and name.
func (r Row) ID() string { return r.Group + ": " + r.Name }

// Want is what a row requires, besides what every row does: that each message
// the server accepted is delivered or reported lost, in its place and in
// order, that none comes twice or altered, that every call returns promptly,
// and that no stream, connection or goroutine is left. Errors are given as
// [Outcome] names them.
type Want struct {
	Lost      int           // how many messages are reported lost; Some is any number but 0
	Inexact   bool          // the reports do not know how many
	InTime    bool          // they do if the stream is back soon enough, which a busy machine may prevent
	Cause     pubsub.Cause  // of all reports; 0 if there are none
	Ended     string        // the error that ends the subscriptions
	Refused   string        // the error of the Subscribe calls that fail
	Unheard   string        // the error of the Publish calls that fail
	Chance    bool          // all of the above, and what is missing at an end, is left to chance
	Unbroken  bool          // no stream is opened a second time
	Recovered time.Duration // from the fault's end to the first message after it; the default is 30 s
}

// Some is a [Want].Lost that does not say how many.
const Some = -1

// Breaches compares an outcome with what the row wants of Bus. It returns what
// is wrong, nil if nothing is.
func (r Row) Breaches(o Outcome) []string {
	var breaches []string
	breach := func(bad bool, format string, args ...any) {
		if bad {
			breaches = append(breaches, fmt.Sprintf(format, args...))
		}
	}
	w := r.Want
	breach(o.Failed != "", "the row could not be played: %s", o.Failed)
	breach(o.Silent > 0, "%d messages were lost silently", o.Silent)
	breach(o.Missing > 0 && !w.Chance, "%d messages neither came nor were reported lost", o.Missing)
	breach(o.Overtold > 0, "%d messages were reported lost that were not", o.Overtold)
	breach(o.Duplicates > 0, "%d messages came twice", o.Duplicates)
	breach(o.Disorder > 0, "%d messages came out of order", o.Disorder)
	breach(o.Foreign > 0, "%d messages came that were never accepted", o.Foreign)
	breach(o.Altered > 0, "%d messages came altered", o.Altered)
	breach(o.SilentResets > 0, "%d times the numbers began anew, and nothing said so", o.SilentResets)
	if !w.Chance {
		r.compare(o, breach)
	}
	breach(w.Unbroken && o.Reopened > 0, "streams were opened again %d times, want none", o.Reopened)
	limit := w.Recovered
	if limit == 0 {
		limit = 30 * time.Second
	}
	breach(o.Recovered > limit, "back %v after the fault's end, want at most %v", o.Recovered, limit)
	for _, call := range o.Late {
		breach(true, "%s within %v", call, promptly)
	}
	breach(o.Streams > 0, "%d streams are left at the server", o.Streams)
	breach(o.Connections > 0, "%d connections are left at the server", o.Connections)
	breach(o.Goroutines != "", "goroutines are left:\n%s", o.Goroutines)
	return breaches
}

// compare compares what differs from row to row.
func (r Row) compare(o Outcome, breach func(bool, string, ...any)) {
	w := r.Want
	breach(w.Lost != Some && o.Lost != w.Lost, "%d messages were reported lost, want %d", o.Lost, w.Lost)
	breach(w.Lost == Some && o.Lost == 0, "no message was reported lost, want some")
	breach(o.Inexact != w.Inexact && !w.InTime, "reports without an exact count: %v, want %v", o.Inexact, w.Inexact)
	cause := ""
	if w.Cause != 0 {
		cause = w.Cause.String()
	}
	breach(o.Causes != cause, "the causes of the reports are %q, want %q", o.Causes, cause)
	breach(o.Ended != w.Ended, "subscriptions ended with %q, want %q", o.Ended, w.Ended)
	breach(o.Refused != w.Refused, "subscribing failed with %q, want %q", o.Refused, w.Refused)
	breach(o.Unheard != w.Unheard, "publishing failed with %q, want %q", o.Unheard, w.Unheard)
}

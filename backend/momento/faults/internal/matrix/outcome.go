package matrix

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	sdk "github.com/momentohq/client-sdk-go/momento"

	"github.com/topicbus/pubsub"
)

// Outcome is what came of a row. Messages are counted over all subscriptions.
type Outcome struct {
	Opened    int // subscriptions
	Accepted  int // messages that the server accepted for them
	Delivered int // of these

	Lost      int    // reported lost
	Inexact   bool   // a report did not know how many
	Uncounted int    // missing where such a report stands, beyond Lost
	Causes    string // of the reports

	Silent       int // missing though later ones came, and nothing said so
	Missing      int // nothing came after them, within the time limit
	Overtold     int // reported lost, and were not
	Duplicates   int
	Disorder     int
	Foreign      int // delivered, but never accepted
	Altered      int
	SilentResets int // the numbers began anew, and nothing said so

	Ended     string // the errors that ended subscriptions by themselves
	Refused   string // the errors of Subscribe
	Refusals  int
	Unheard   string   // the errors of Publish
	Late      []string // calls that did not return promptly, and subscriptions that did not end
	Reopened  int      // Subscribe requests beyond the first of each subscription
	Healed    bool     // the fault had an end ...
	Recovered time.Duration
	Stuck     int // ... but nothing more came to this many subscriptions

	Streams     int    // left at the server after all was closed
	Connections int    // likewise
	Goroutines  string // the stacks of those left

	Failed string // why the row could not be played
}

func (o *Outcome) report(d *pubsub.Discontinuity) {
	o.Lost += int(d.Lost)
	o.Inexact = o.Inexact || !d.Exact
	if d.Cause != 0 {
		o.Causes = join(o.Causes, d.Cause.String())
	}
}

// join adds s to a list of different strings.
func join(list, s string) string {
	if list == "" {
		return s
	}
	all := strings.Split(list, ", ")
	if !slices.Contains(all, s) {
		all = append(all, s)
		slices.Sort(all)
	}
	return strings.Join(all, ", ")
}

var names = []struct {
	err  error
	name string
}{
	{context.Canceled, "context.Canceled"},
	{context.DeadlineExceeded, "context.DeadlineExceeded"},
	{pubsub.ErrClosed, "ErrClosed"},
	{pubsub.ErrInvalidArgument, "ErrInvalidArgument"},
	{pubsub.ErrInvalidPayload, "ErrInvalidPayload"},
	{pubsub.ErrPayloadTooLarge, "ErrPayloadTooLarge"},
	{pubsub.ErrNotFound, "ErrNotFound"},
	{pubsub.ErrUnauthenticated, "ErrUnauthenticated"},
	{pubsub.ErrPermissionDenied, "ErrPermissionDenied"},
	{pubsub.ErrLimitExceeded, "ErrLimitExceeded"},
	{pubsub.ErrUnavailable, "ErrUnavailable"},
}

// errorName returns what errors.Is and errors.As find in err: the sentinel's
// name and the SDK's code, such as "ErrNotFound (NotFoundError)".
func errorName(err error) string {
	if err == nil {
		return ""
	}
	sentinel := ""
	for _, n := range names {
		if errors.Is(err, n.err) {
			sentinel = n.name
			break
		}
	}
	code := ""
	var me sdk.MomentoError
	if errors.As(err, &me) {
		code = me.Code()
	}
	switch {
	case sentinel != "" && code != "":
		return fmt.Sprintf("%s (%s)", sentinel, code)
	case sentinel != "" || code != "":
		return sentinel + code
	default:
		return err.Error()
	}
}

// Text describes the outcome of a row in words that do not depend on timing
// more than the outcome itself does.
func (r Row) Text(o Outcome) string {
	count := func(n int) string {
		if r.Vague {
			return "some"
		}
		return fmt.Sprint(n)
	}
	var say []string
	add := func(when bool, format string, args ...any) {
		if when {
			say = append(say, fmt.Sprintf(format, args...))
		}
	}
	add(o.Failed != "", "cannot be played: %s", o.Failed)
	add(o.Refusals > 0 && o.Opened == 0, "Subscribe fails: %s", o.Refused)
	add(o.Refusals > 0 && o.Opened > 0, "%d of %d Subscribes fail: %s", o.Refusals, o.Refusals+o.Opened, o.Refused)
	add(o.Unheard != "", "Publish fails: %s", o.Unheard)
	switch {
	case o.Accepted == 0:
	case o.Delivered == o.Accepted:
		add(true, "all delivered")
	default:
		add(o.Lost > 0, "%s reported lost", count(o.Lost))
		add(o.Lost == 0 && o.Uncounted > 0, "a gap told, its size not (%s lost)", count(o.Uncounted))
		add(o.Lost > 0 && o.Uncounted > 0, "%s more not counted", count(o.Uncounted))
		add(o.Silent > 0, "**%s lost silently**", count(o.Silent))
		add(o.Missing > 0 && o.Ended == "", "**%s never came**", count(o.Missing))
		add(o.Missing > 0 && o.Ended != "", "**%s missing at its end**", count(o.Missing))
		add(o.Silent+o.Missing == 0, "all others delivered")
	}
	add(o.SilentResets > 0, "**not told that the numbers began anew**")
	add(o.Inexact && o.Lost == 0 && o.Causes == pubsub.CauseReset.String() && o.Delivered == o.Accepted, "told of the new page")
	add(o.Overtold > 0, "**%s reported lost that were not**", count(o.Overtold))
	add(o.Duplicates > 0 && o.Duplicates <= 10*o.Opened, "**duplicates**: %d", o.Duplicates)
	add(o.Duplicates > 10*o.Opened, "**duplicates again and again**")
	add(o.Disorder > 0, "**out of order**: %s", count(o.Disorder))
	add(o.Foreign > 0, "**stale ones delivered**: %s", count(o.Foreign))
	add(o.Altered > 0, "**altered**: %s", count(o.Altered))
	add(o.Ended != "", "ends with %s", o.Ended)
	add(o.Healed && o.Stuck > 0 && o.Stuck == o.Opened, "**nothing more comes within %v**", PatienceSDK)
	add(o.Healed && o.Stuck > 0 && o.Stuck < o.Opened, "**%d subscriptions stay silent for %v**", o.Stuck, PatienceSDK)
	add(o.Healed && o.Stuck == 0, "back within %s", bucket(o.Recovered))
	for _, call := range o.Late {
		add(true, "**%s within %v**", call, promptlySDK)
	}
	add(o.Streams > 0, "**streams left open**: %s", count(o.Streams))
	if len(say) == 0 {
		return "each gets its own"
	}
	return strings.Join(say, "; ")
}

// bucket rounds a time up so far that it seldom differs between runs.
func bucket(d time.Duration) string {
	for _, limit := range []time.Duration{time.Second, 3 * time.Second, 10 * time.Second, 30 * time.Second} {
		if d <= limit {
			return limit.String()
		}
	}
	return "a minute or more"
}

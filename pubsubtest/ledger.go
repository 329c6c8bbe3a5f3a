package pubsubtest

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/topicbus/pubsub"
)

// id names a message: the nth of a publisher, from 1.
type id struct{ publisher, n int }

// probe is the publisher of messages that only try whether a stream flows.
const probe = -1

func (i id) String() string { return fmt.Sprintf("%d:%d", i.publisher, i.n) }

func (i id) payload() pubsub.Payload {
	return pubsub.Payload{Data: []byte(i.String())}
}

func parseID(p pubsub.Payload) (i id, err error) {
	publisher, n, found := strings.Cut(string(p.Data), ":")
	if !found {
		return i, errNoID
	}
	if i.publisher, err = strconv.Atoi(publisher); err != nil {
		return id{}, err
	}
	if i.n, err = strconv.Atoi(n); err != nil {
		return id{}, err
	}
	return i, nil
}

var errNoID = errors.New("the payload bears no id")

// entry is one thing that a stream or a subscription delivered.
type entry struct {
	kind    pubsub.Kind
	id      id // KindMessage; zero if the payload bears none
	pos     pubsub.Position
	hole    *pubsub.Discontinuity // KindDiscontinuity
	state   *pubsub.StateChange   // KindState
	payload pubsub.Payload        // as it was delivered
	data    string                // a copy of its bytes, made then
	frame   pubsub.Frame          // of a Stream: all of it
}

func (e entry) isMessage() bool { return e.kind == pubsub.KindMessage && e.id.publisher != probe }

func (e entry) String() string {
	switch e.kind {
	case pubsub.KindMessage:
		return fmt.Sprintf("%v at %v", e.id, e.pos)
	case pubsub.KindDiscontinuity:
		return e.hole.Error()
	case pubsub.KindState:
		return e.state.State.String()
	default:
		return e.kind.String()
	}
}

// ledger is what a stream delivered, in order. Its methods look for breaches
// of one clause each, and do not mind those of others. They return "" if they
// find none.
type ledger []entry

// has reports whether a message was delivered.
func (l ledger) has(i id) bool {
	for _, e := range l {
		if e.kind == pubsub.KindMessage && e.id == i {
			return true
		}
	}
	return false
}

func (l ledger) count(match func(entry) bool) (n int) {
	for _, e := range l {
		if match(e) {
			n++
		}
	}
	return n
}

// unique returns the messages without repetitions and probes.
func (l ledger) unique() []entry {
	seen := make(map[id]bool)
	var list []entry
	for _, e := range l {
		if e.isMessage() && !seen[e.id] {
			seen[e.id] = true
			list = append(list, e)
		}
	}
	return list
}

// ids returns the ids of unique.
func (l ledger) ids() (ids []id) {
	for _, e := range l.unique() {
		ids = append(ids, e.id)
	}
	return ids
}

// both returns the ids of a that are in b too.
func both(a, b []id) []id {
	return slices.DeleteFunc(slices.Clone(a), func(i id) bool { return !slices.Contains(b, i) })
}

// duplicates looks for messages that came twice.
func (l ledger) duplicates() string {
	seen := make(map[id]bool)
	for _, e := range l {
		if e.kind != pubsub.KindMessage {
			continue
		}
		if seen[e.id] {
			return fmt.Sprintf("message %v came twice%s", e, l.around(e.id))
		}
		seen[e.id] = true
	}
	return ""
}

// order looks for messages that came before earlier ones of their publisher.
func (l ledger) order() string {
	last := make(map[int]id)
	for _, e := range l.unique() {
		if prev, ok := last[e.id.publisher]; ok && e.id.n < prev.n {
			return fmt.Sprintf("message %v came after %v of the same publisher%s", e.id, prev, l.around(e.id))
		}
		last[e.id.publisher] = e.id
	}
	return ""
}

// positions looks for messages whose position does not follow the one before,
// where no hole stands between them.
func (l ledger) positions() string {
	var last *entry
	seen := make(map[id]bool)
	hole := false
	for _, e := range l {
		switch {
		case e.kind == pubsub.KindDiscontinuity:
			hole = true
		case e.kind != pubsub.KindMessage || seen[e.id]:
		default:
			seen[e.id] = true
			next := pubsub.Position{}
			if last != nil {
				next = pubsub.Position{Page: last.pos.Page, Sequence: last.pos.Sequence + 1}
			}
			switch {
			case e.pos.IsZero():
				return fmt.Sprintf("message %v has no position", e.id)
			case last == nil, !hole && e.pos == next, hole && e.pos.Compare(last.pos) > 0:
			default:
				return fmt.Sprintf("message %v came after %v%s", e, *last, l.around(e.id))
			}
			last, hole = &e, false
		}
	}
	return ""
}

// holes looks for messages that are missing without a report between their
// neighbours, and for reports that contradict these.
func (l ledger) holes() string {
	type mark struct{ n, reports int }
	last := make(map[int]mark) // by publisher: its last message, and the reports up to it
	reports := 0
	var prev *entry // the message before
	var since []*pubsub.Discontinuity
	for _, e := range l {
		if e.kind == pubsub.KindDiscontinuity {
			reports++
			since = append(since, e.hole)
			continue
		}
		if e.kind != pubsub.KindMessage {
			continue
		}
		m := last[e.id.publisher]
		if e.isMessage() && e.id.n > m.n+1 && reports == m.reports && m.n > 0 {
			return fmt.Sprintf("nothing between %v and %v reports what is missing there%s", id{e.id.publisher, m.n}, e.id, l.around(e.id))
		}
		if e.id.n > m.n {
			last[e.id.publisher] = mark{e.id.n, reports}
		}
		if s := contradiction(prev, since, e); s != "" {
			return s + l.around(e.id)
		}
		prev, since = &e, nil
	}
	return ""
}

// contradiction compares the reports between two messages with the messages.
func contradiction(prev *entry, reports []*pubsub.Discontinuity, next entry) string {
	if len(reports) == 0 || next.pos.IsZero() {
		return ""
	}
	first, last := reports[0], reports[len(reports)-1]
	if prev != nil && !first.After.IsZero() && first.After != prev.pos {
		return fmt.Sprintf("%q stands behind the message at %v", first, prev.pos)
	}
	if !last.Resume.IsZero() && last.Resume != next.pos {
		return fmt.Sprintf("%q stands before the message at %v", last, next.pos)
	}
	if prev == nil || prev.pos.Page != next.pos.Page || next.pos.Sequence <= prev.pos.Sequence {
		return ""
	}
	lost, exact := lossOf(reports)
	missing := next.pos.Sequence - prev.pos.Sequence - 1
	if exact && lost != missing || lost > missing {
		return fmt.Sprintf("%q tells of %d messages, but %d are missing", first, lost, missing)
	}
	return ""
}

// lossOf adds up what reports say, and tells whether that is exact.
func lossOf(reports []*pubsub.Discontinuity) (lost uint64, exact bool) {
	exact = true
	for _, d := range reports {
		lost += d.Lost
		exact = exact && d.Exact
	}
	return lost, exact
}

// law checks that delivered + reported lost = accepted, where from least to
// most messages were accepted for the stream, probes included.
func (l ledger) law(least, most int) string {
	var reports []*pubsub.Discontinuity
	seen := make(map[id]bool)
	for _, e := range l {
		switch e.kind {
		case pubsub.KindMessage:
			seen[e.id] = true
		case pubsub.KindDiscontinuity:
			reports = append(reports, e.hole)
		}
	}
	delivered := len(seen)
	lost, exact := lossOf(reports)
	total := delivered + int(lost)
	if total <= most && (total >= least || !exact) {
		return ""
	}
	accepted := fmt.Sprint(least)
	if most > least {
		accepted = fmt.Sprintf("%d to %d", least, most)
	}
	return fmt.Sprintf("%d delivered + %d reported lost (exact: %v) = %d, but %s were accepted", delivered, lost, exact, total, accepted)
}

// around shows the surroundings of a message, where it came last.
func (l ledger) around(i id) string {
	at := 0
	for k, e := range l {
		if e.kind == pubsub.KindMessage && e.id == i {
			at = k
		}
	}
	return l.show(at-4, at+3)
}

// tail shows what came last.
func (l ledger) tail() string { return l.show(len(l)-5, len(l)) }

func (l ledger) show(from, to int) string {
	var b strings.Builder
	for k := max(0, from); k < min(len(l), to); k++ {
		fmt.Fprintf(&b, "\n\t%d. %v", k+1, l[k])
	}
	return b.String()
}

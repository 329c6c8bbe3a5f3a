package quickstart

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/topicbus/pubsub"
)

// screen prints lines to one stream and, if that is a terminal, a progress
// line to the other.
type screen struct {
	mu       sync.Mutex
	out      io.Writer
	progress io.Writer // nil if nobody watches
}

func newScreen(stdout, stderr io.Writer) *screen {
	s := &screen{out: stdout}
	if f, ok := stderr.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
			s.progress = stderr
		}
	}
	return s
}

const eraseLine = "\r\x1b[K"

func (s *screen) update(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.progress != nil {
		fmt.Fprint(s.progress, eraseLine, text)
	}
}

func (s *screen) clear() { s.update("") }

func (s *screen) line(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.progress != nil {
		fmt.Fprint(s.progress, eraseLine)
	}
	fmt.Fprintln(s.out, text)
}

// tally counts what the backend accepted, by topic.
type tally struct {
	expected int
	screen   *screen

	mu     sync.Mutex
	total  int
	counts map[string]uint64
}

func newTally(expected int, s *screen) *tally {
	return &tally{expected: expected, screen: s, counts: make(map[string]uint64)}
}

// add is an Observer.Published.
func (t *tally) add(_ context.Context, topic string, _ time.Duration, err error) {
	if err != nil {
		return
	}
	t.mu.Lock()
	t.total++
	t.counts[topic]++
	text := fmt.Sprintf("published %d of %d quotes", t.total, t.expected)
	t.mu.Unlock()
	t.screen.update(text)
}

func (t *tally) of(topic string) uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.counts[topic]
}

func printSummary(w io.Writer, readers []*reader, published *tally, took time.Duration) {
	readers = slices.Clone(readers)
	slices.SortStableFunc(readers, func(a, b *reader) int { return cmp.Compare(a.topic, b.topic) })
	fmt.Fprintln(w)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "topic\tsubscriber\treads\tpublished\tdelivered\tlost\tfound\twhere lost")
	var delivered, lost, missing uint64
	for _, r := range readers {
		fmt.Fprintf(table, "%s\t%s\t%s\t%d\t%d\t%d\t%s\t%s\n", r.topic, r.name, r.form,
			published.of(r.topic), r.delivered, r.lost(), cmp.Or(r.found, "-"), cmp.Or(where(r.holes), "-"))
		delivered += r.delivered
		lost += r.lost()
		if want, seen := published.of(r.topic), r.delivered+r.lost(); want > seen {
			missing += want - seen
		}
	}
	table.Flush()
	fmt.Fprintf(w, "\n%d quotes published in %v to %d subscribers: %d delivered, %d reported lost, %d unaccounted for\n",
		published.total, took.Round(time.Millisecond), len(readers), delivered, lost, missing)
	for _, r := range readers {
		if err := r.sub.Err(); err != nil {
			fmt.Fprintf(w, "%s on %s ended early: %v\n", r.name, r.topic, err)
		}
	}
}

// where lists the places of holes.
func where(holes []pubsub.Discontinuity) string {
	var places []string
	for _, d := range holes {
		first, last := d.After, d.Resume
		first.Sequence++
		last.Sequence--
		plain := d.Exact && !d.After.IsZero() && first.Page == last.Page && first.Sequence+d.Lost-1 == last.Sequence
		switch {
		case plain && d.Lost == 1:
			places = append(places, first.String())
		case plain:
			places = append(places, fmt.Sprintf("%v-%d", first, last.Sequence))
		default: // not numbered, or more than a plain gap
			places = append(places, fmt.Sprintf("after %v (%v)", d.After, d.Cause))
		}
	}
	return strings.Join(places, ", ")
}

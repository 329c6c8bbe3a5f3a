package check

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Flags of a subscription, joined by commas. Others mean nothing to the checker.
const (
	// Direct: nothing stands between publisher and subscriber, so what was
	// accepted is there.
	Direct = "direct"
	// Resumed: it was asked to begin behind its position. Others only say where
	// they began, and a hole that was reported before their time is none of
	// theirs.
	Resumed = "resumed"
)

// Tally counts what was checked.
type Tally struct {
	Accepted, Refused, Unknown   uint64 // publishes
	Subscriptions                uint64
	Received, Lost, Dropped      uint64
	Gaps, Uncounted              uint64 // gaps in all, and those without an exact count
	Overflow, Reset, Undecodable uint64 // messages reported lost by cause
}

// Add adds what another checker counted.
func (t *Tally) Add(o Tally) {
	t.Accepted += o.Accepted
	t.Refused += o.Refused
	t.Unknown += o.Unknown
	t.Subscriptions += o.Subscriptions
	t.Received += o.Received
	t.Lost += o.Lost
	t.Dropped += o.Dropped
	t.Gaps += o.Gaps
	t.Uncounted += o.Uncounted
	t.Overflow += o.Overflow
	t.Reset += o.Reset
	t.Undecodable += o.Undecodable
}

// Checker takes the records of one round. It is for one goroutine.
type Checker struct {
	last      string // the publisher of a topic's last message
	publishes map[string]map[id]publish
	subs      map[string]*subscription
	order     []*subscription // as they began

	tally      Tally
	violations []string
}

// New returns an empty Checker. The publisher named last publishes the last
// message of each topic, as often as it takes.
func New(last string) *Checker {
	return &Checker{last: last, publishes: make(map[string]map[id]publish), subs: make(map[string]*subscription)}
}

// Add takes one line.
func (c *Checker) Add(line string) error {
	f := &fields{list: strings.SplitN(line, " ", 8)}
	switch kind := f.text(); kind {
	case "P", "O":
		topic := f.text()
		m := id{f.text(), f.number()}
		p := publish{f.text(), f.number(), f.time(), f.time(), kind == "O"}
		if c.publishes[topic] == nil {
			c.publishes[topic] = make(map[id]publish)
		}
		if _, twice := c.publishes[topic][m]; twice {
			return fmt.Errorf("%s was published twice", m)
		}
		c.publishes[topic][m] = p
	case "S":
		s := &subscription{name: f.text(), topic: f.text(), form: f.text(), after: f.position(), begin: f.time(), flags: f.text()}
		if c.subs[s.name] != nil {
			return fmt.Errorf("two subscriptions are named %s", s.name)
		}
		c.subs[s.name] = s
		c.order = append(c.order, s)
	default:
		s := c.subs[f.text()]
		if s == nil {
			return fmt.Errorf("no such subscription: %q", line)
		}
		if s.ended != "" {
			return fmt.Errorf("%s goes on after its end: %q", s.name, line)
		}
		switch kind {
		case "M":
			s.steps = append(s.steps, step{id: id{f.text(), f.number()}, at: f.position(), sum: f.number()})
		case "G":
			s.steps = append(s.steps, step{gap: true, cause: f.text(), lost: f.number(), exact: f.text() == "true", after: f.position(), resume: f.position()})
		case "E":
			s.ended, s.end, s.delivered, s.lost, s.dropped = f.text(), f.time(), f.number(), f.number(), f.text()
			var err error
			s.err, err = strconv.Unquote(f.text())
			f.note(err)
		default:
			return fmt.Errorf("not a record: %q", line)
		}
	}
	if f.err != nil {
		return fmt.Errorf("%q: %w", line, f.err)
	}
	return nil
}

// Last returns the position of the last message that a subscription received.
func (c *Checker) Last(sub string) string {
	s := c.subs[sub]
	if s == nil {
		return "-"
	}
	for _, st := range slices.Backward(s.steps) {
		if !st.gap {
			return st.at.String()
		}
	}
	return s.after.String()
}

// Open returns the names of the subscriptions that have not ended.
func (c *Checker) Open() []string {
	var open []string
	for _, s := range c.order {
		if s.ended == "" {
			open = append(open, s.name)
		}
	}
	return open
}

// Finish applies the rules. It returns what was violated, in words, and counts.
func (c *Checker) Finish() ([]string, Tally) {
	places := c.places()
	for _, topic := range slices.Sorted(maps.Keys(c.publishes)) {
		for _, p := range c.publishes[topic] {
			switch {
			case p.old:
			case p.outcome == "ok":
				c.tally.Accepted++
			case p.outcome == "no":
				c.tally.Refused++
			default:
				c.tally.Unknown++
			}
		}
	}
	for _, s := range c.order {
		c.tally.Subscriptions++
		c.checkSteps(s)
		c.checkStart(s, places[s.topic])
		c.checkEnd(s)
		c.checkCounters(s)
	}
	return c.violations, c.tally
}

func (c *Checker) violated(s *subscription, rule, format string, args ...any) {
	c.violations = append(c.violations, fmt.Sprintf("%s: %s (%s of %s, %s): %s", rule, s.name, s.form, s.topic, s.flags, fmt.Sprintf(format, args...)))
}

// place is a message whose position somebody saw.
type place struct {
	at position
	id id
}

// places lists the positions of each topic that anybody saw, in their order.
func (c *Checker) places() map[string][]place {
	seen := make(map[string]map[position]id)
	for _, s := range c.order {
		m := seen[s.topic]
		if m == nil {
			m = make(map[position]id)
			seen[s.topic] = m
		}
		for _, st := range s.steps {
			if st.gap || st.at == (position{}) {
				continue
			}
			if other, ok := m[st.at]; ok && other != st.id {
				c.violated(s, "one place", "%v is %v, and %v for others", st.at, st.id, other)
			}
			m[st.at] = st.id
		}
	}
	places := make(map[string][]place)
	for topic, m := range seen {
		for at, i := range m {
			places[topic] = append(places[topic], place{at, i})
		}
		slices.SortFunc(places[topic], func(a, b place) int {
			if a.at.before(b.at) {
				return -1
			}
			return +1
		})
	}
	return places
}

// hole is what was reported between two messages.
type hole struct {
	gaps      int
	lost      uint64
	uncounted bool
}

// checkSteps applies the rules about what a subscription received, one after the
// other.
func (c *Checker) checkSteps(s *subscription) {
	at := s.after // of the message before, known or not
	newest := make(map[string]uint64)
	seen := make(map[id]bool)
	var h, total hole
	var missing uint64
	paged := false // nobody can count over all, since the page changed
	first := true
	for _, st := range s.steps {
		if st.gap {
			c.tally.Gaps++
			c.tally.Lost += st.lost
			switch st.cause {
			case "overflow":
				c.tally.Overflow += st.lost
			case "reset":
				c.tally.Reset += st.lost
			case "decode":
				c.tally.Undecodable += st.lost
			}
			if !st.exact {
				c.tally.Uncounted++
			}
			for _, h := range []*hole{&h, &total} {
				h.gaps++
				h.lost += st.lost
				h.uncounted = h.uncounted || !st.exact
			}
			if s.form == "c" { // the callback may run ahead of the channel
				continue
			}
			if st.after != (position{}) && at != (position{}) && st.after.before(at) {
				c.violated(s, "holes", "a gap after %v, when %v was received", st.after, at)
			}
			if st.after != (position{}) && st.resume != (position{}) && !st.after.before(st.resume) {
				c.violated(s, "holes", "a gap from %v to %v", st.after, st.resume)
			}
			continue
		}
		c.tally.Received++
		c.checkSource(s, st)
		if seen[st.id] {
			c.violated(s, "order", "%v twice", st.id)
		}
		seen[st.id] = true
		// What a publish that failed left on its way may arrive at any time.
		if st.id.n < newest[st.id.publisher] && c.publishes[s.topic][st.id].outcome == "ok" {
			c.violated(s, "order", "%v after #%d", st.id, newest[st.id.publisher])
		}
		newest[st.id.publisher] = max(st.id.n, newest[st.id.publisher])
		switch {
		case at == (position{}): // the first one: see checkStart
		case !at.before(st.at):
			c.violated(s, "order", "%v at %v after %v", st.id, st.at, at)
		case first && !s.resumed():
			if s.form != "c" && at.page == st.at.page && h.lost > st.at.seq-at.seq-1 {
				c.violated(s, "holes", "%d reported lost between %v and %v", h.lost, at, st.at)
			}
			paged = true
		case at.page == st.at.page:
			n := st.at.seq - at.seq - 1
			missing += n
			if s.form != "c" {
				c.checkHole(s, h, n, at, st.at)
			}
		default:
			paged = true
			if s.form != "c" && h.gaps == 0 {
				c.violated(s, "holes", "the page changes from %v to %v, and nothing was reported", at, st.at)
			}
		}
		at, h, first = st.at, hole{}, false
	}
	// C hands messages and gaps out in two ways, so only the sums can be compared.
	// Gaps behind the last message belong to nothing that was received.
	if s.form == "c" && !paged && s.ended == "fin" && s.after != (position{}) {
		c.checkHole(s, total, missing, s.after, at)
	}
}

func (c *Checker) checkHole(s *subscription, h hole, missing uint64, from, to position) {
	switch {
	case missing > 0 && h.gaps == 0:
		c.violated(s, "holes", "%d missing between %v and %v, and nothing was reported", missing, from, to)
	case h.uncounted && h.lost > missing:
		c.violated(s, "holes", "at least %d reported lost between %v and %v, where %d are missing", h.lost, from, to, missing)
	case !h.uncounted && h.lost != missing:
		c.violated(s, "holes", "%d reported lost between %v and %v, where %d are missing", h.lost, from, to, missing)
	}
}

func (c *Checker) checkSource(s *subscription, st step) {
	p, ok := c.publishes[s.topic][st.id]
	switch {
	case !ok:
		c.violated(s, "source", "%v was not published", st.id)
	case p.outcome == "no":
		c.violated(s, "source", "%v was received, and its publish said that it was not accepted", st.id)
	case p.sum != st.sum:
		c.violated(s, "source", "%v was changed on its way", st.id)
	}
}

// checkStart looks at what a subscription began with.
func (c *Checker) checkStart(s *subscription, places []place) {
	if s.resumed() || len(s.steps) == 0 || s.steps[0].gap || s.steps[0].at == (position{}) {
		return // checkSteps has looked, or losses were reported, or nobody can tell
	}
	first := s.steps[0].at
	i, _ := slices.BinarySearchFunc(places, first, func(p place, at position) int {
		switch {
		case p.at.before(at):
			return -1
		case p.at == at:
			return 0
		}
		return +1
	})
	for _, p := range slices.Backward(places[:i]) {
		if !s.after.before(p.at) {
			return
		}
		begun := c.publishes[s.topic][p.id].begin
		if begun > s.begin {
			c.violated(s, "start", "began with %v, and %v at %v, published %d µs after Subscribe had returned, is missing", first, p.id, p.at, (begun-s.begin)/1000)
			return
		}
		if begun < s.begin-int64(5e9) {
			return
		}
	}
}

// checkEnd looks at what a subscription ended with.
func (c *Checker) checkEnd(s *subscription) {
	switch s.ended {
	case "fin":
		if n := len(s.steps); n == 0 || s.steps[n-1].id.publisher != c.last {
			c.violated(s, "end", "read to the end without the last message")
		}
	case "stuck":
		c.violated(s, "end", "the last message did not come, nor was it reported lost: %s", s.err)
	case "failed":
		c.violated(s, "end", "ended by itself: %s", s.err)
	case "drained", "closed", "ctx":
		if s.has(Direct) {
			c.checkAccepted(s)
		}
	}
}

// checkAccepted looks whether everything is accounted for that was accepted
// before the application ended the subscription: received, lost or dropped. Who was told of a loss without a
// count may miss anything, and so may who never was connected (see Eventually):
// such a subscription neither knows where it begins nor hears anything.
func (c *Checker) checkAccepted(s *subscription) {
	if s.after == (position{}) && len(s.steps) == 0 {
		return
	}
	got := make(map[id]bool)
	var lost uint64
	for _, st := range s.steps {
		if st.gap && !st.exact {
			return
		}
		lost += st.lost
		got[st.id] = true
	}
	var missing uint64
	var example id
	for m, p := range c.publishes[s.topic] {
		if p.outcome == "ok" && p.begin > s.begin && p.end < s.end && !got[m] {
			missing++
			example = m
		}
	}
	dropped, _ := strconv.ParseUint(s.dropped, 10, 64)
	if missing > lost+dropped {
		c.violated(s, "end", "%d messages were accepted before the end and not received, such as %v; %d were reported lost, %d dropped", missing, example, lost, dropped)
	}
}

// checkCounters compares what the library counts with what happened.
func (c *Checker) checkCounters(s *subscription) {
	if s.ended == "" || s.ended == "killed" {
		return
	}
	var received, lost uint64
	for _, st := range s.steps {
		if st.gap {
			lost += st.lost
		} else {
			received++
		}
	}
	if s.form != "c" && s.form != "events" { // what is in the channels counts as delivered
		if s.delivered != received {
			c.violated(s, "counters", "%d delivered, %d received", s.delivered, received)
		}
		if s.lost != lost {
			c.violated(s, "counters", "%d counted as lost, %d reported", s.lost, lost)
		}
	}
	if n, err := strconv.ParseUint(s.dropped, 10, 64); err == nil {
		c.tally.Dropped += n
	}
}

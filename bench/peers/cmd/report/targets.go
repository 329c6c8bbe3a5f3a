package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/topicbus/pubsub/bench/internal/rounds"
)

// target is what a figure was to be at most.
type target struct {
	what string // a contender, and how many of what
	most float64
	said string // how it was set, if not by most alone
	got  func(*table) []float64
	unit string // of got; "" for a ratio
}

// targets are those of each section of the page.
var targets = map[string][]target{
	"one": {
		ratio("`All()`, 1 subscriber", 1, "FanOut/subs=1/All", "FanOut/subs=1/chan256", "ns/delivery"),
		ratio("`Messages()`, 1 subscriber", 1, "FanOut/subs=1/Messages", "FanOut/subs=1/chan256", "ns/delivery"),
		ratio("`C()`, 1 subscriber", 1.5, "FanOut/subs=1/C", "FanOut/subs=1/chan256", "ns/delivery"),
	},
	"many": {
		before("`All()`, 10 subscribers", 0.15, "0.15", "FanOut/subs=10/All"),
		before("`All()`, 100 subscribers", 0.06, "0.06", "FanOut/subs=100/All"),
		before("`All()`, 1000 subscribers", 0.05, "0.05", "FanOut/subs=1000/All"),
		before("`C()`, 10 subscribers", 1, "0.4 to 1", "FanOut/subs=10/C"),
		before("`C()`, 100 subscribers", 0.9, "0.35 to 0.9", "FanOut/subs=100/C"),
		before("`C()`, 1000 subscribers", 0.6, "0.3 to 0.6", "FanOut/subs=1000/C"),
	},
	"batch": {
		ratio("`All()`, `PublishAll` of 64, 1 subscriber", 0.35, "Batch/subs=1/All-64", "Batch/subs=1/chan256", "ns/delivery"),
	},
	"topics": {
		ratio("`All()`, 1000 topics", 2, thousand+"All", thousand+"chan256", "ns/delivery"),
		ratio("`C()`, 1000 topics", 2.5, thousand+"C", thousand+"chan256", "ns/delivery"),
	},
	"nobody": {
		ratio("through a handle, against by name", 0.5, "PublishNobody/Bytes", "PublishNobody/Bytes-by-name", "ns/op"),
	},
	"stalled": {
		ratio("through a handle, against by name", 0.6, "PublishStalled/subs=1", "PublishStalled/subs=1-by-name", "ns/op"),
	},
	"unloaded": {
		unloaded("`All()`", 1.4, 1, "All"), unloaded("`All()`", 1.4, 100, "All"),
		unloaded("`Next()`", 1.4, 1, "Next"), unloaded("`Next()`", 1.4, 100, "Next"),
		unloaded("`C()`", 2, 1, "C"), unloaded("`C()`", 2, 100, "C"),
	},
	"idle": {
		size("a subscription by `All()` or `Next()`", 1<<10, "Idle/subscription/All", ""),
		size("a subscription by `C()`", 7<<10, "Idle/subscription/C", ""),
		size("a new topic, less its subscription", 4<<10, "Idle/topic/new", "Idle/subscription/All"),
		size("a used topic, less its subscription", 4<<10, "Idle/topic/used", "Idle/subscription/All"),
	},
	"close": {
		closing("a million, each by itself", "Close/subs=1000000/each"),
		closing("a million, by the end of the bus", "Close/subs=1000000/bus"),
	},
}

const thousand = "Topics/topics=1000/pubs=8/subs=1/"

// ratio is a target for a row's ratio to another row.
func ratio(what string, most float64, row, base, unit string) target {
	return target{what: what, most: most, got: func(t *table) []float64 { return t.Ratios(row, base, unit) }}
}

// before is a target that was to be no worse than it had been.
func before(what string, most float64, said, row string) target {
	t := ratio(what, most, row, row[:strings.LastIndex(row, "/")]+"/chan256", "ns/delivery")
	t.said = "no worse than before: " + said
	return t
}

func unloaded(form string, most float64, subscribers int, contender string) target {
	group := fmt.Sprintf("Unloaded/subs=%d/", subscribers)
	return ratio(fmt.Sprintf("%s, %d at rest", form, subscribers), most, group+contender, group+"chan256", "p50-ns")
}

// size is a target for the memory of a row, less that of another.
func size(what string, most float64, row, less string) target {
	return target{what: what, most: most, unit: "bytes", got: func(t *table) []float64 {
		vs := slices.Clone(t.Samples[row]["bytes/each"])
		for i := range vs {
			if less != "" {
				vs[i] -= t.median(less, "bytes/each")
			}
		}
		return vs
	}}
}

func closing(what, row string) target {
	return target{what: what, most: 5e9, unit: "ns", got: func(t *table) []float64 { return t.Samples[row]["close-ns"] }}
}

// Targets renders a section's targets, one a line, each met or missed by the
// figure that was measured.
func (t *table) Targets(section string) (string, error) {
	if targets[section] == nil {
		return "", fmt.Errorf("no targets of %q", section)
	}
	var b strings.Builder
	for _, g := range targets[section] {
		measured, verdict := g.judge(t)
		fmt.Fprintf(&b, "- %s: target %s, measured %s: %s\n", g.what, cmp.Or(g.said, g.format(g.most)), measured, verdict)
	}
	return b.String(), nil
}

// judge takes the figure as it is shown, so that nobody sees 0.05 miss 0.05.
func (g target) judge(t *table) (measured, verdict string) {
	vs := g.got(t)
	if len(vs) == 0 {
		return "nothing", "unknown"
	}
	v := rounds.Median(vs)
	if measured = g.format(v); v <= g.most || measured == g.format(g.most) {
		return measured, "met"
	}
	return measured, "**missed**"
}

func (g target) format(v float64) string {
	if g.unit == "" {
		return fmt.Sprintf("%.2f", v)
	}
	return format(v, g.unit)
}

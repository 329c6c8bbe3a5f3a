package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/topicbus/pubsub/bench/internal/rounds"
)

// table is what a package's benchmarks measured.
type table struct {
	rounds.Samples
	Names []string // of the rows, as they came first
}

func newTable() *table { return &table{Samples: make(rounds.Samples)} }

func (t *table) add(r rounds.Row) {
	if t.Samples[r.Name] == nil {
		t.Names = append(t.Names, r.Name)
	}
	t.Add(r)
}

func (t *table) median(name, unit string) float64 { return rounds.Median(t.Samples[name][unit]) }

// in returns the contenders of a group, the rows "group/contender".
func (t *table) in(group string) []string {
	var cs []string
	for _, name := range t.Names {
		if c, ok := strings.CutPrefix(name, group+"/"); ok {
			cs = append(cs, c)
		}
	}
	return cs
}

// Matrix renders the rows "group/contender" of several groups: a line per
// contender, a column per group. The groups are the pattern with each column
// in place of its %s. Cells are medians with their spread and, in
// parentheses, their ratio to the baseline's; the least of a column is bold.
func (t *table) Matrix(pattern, columns, unit, baseline string) string {
	cols := strings.Fields(columns)
	groups := make([]string, len(cols))
	for i, c := range cols {
		groups[i] = strings.ReplaceAll(pattern, "%s", c)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "| |%s|\n|---|%s\n", strings.Join(cols, "|"), strings.Repeat("---:|", len(cols)))
	for _, c := range t.in(groups[0]) {
		fmt.Fprintf(&b, "| %s |", label(c))
		for _, g := range groups {
			b.WriteString(" " + t.cell(g, c, unit, baseline) + " |")
		}
		b.WriteString("\n")
	}
	return b.String()
}

func (t *table) cell(group, contender, unit, baseline string) string {
	vs := t.Samples[group+"/"+contender][unit]
	if len(vs) == 0 {
		return "–"
	}
	text := format(rounds.Median(vs), unit)
	if best, _ := t.best(group, unit); best == contender {
		text = "**" + text + "**"
	}
	if len(vs) > 1 {
		text += fmt.Sprintf(" ±%.0f%%", 100*rounds.Spread(vs))
	}
	if ratios := t.Ratios(group+"/"+contender, group+"/"+baseline, unit); len(ratios) > 0 && contender != baseline {
		text += fmt.Sprintf(" (%.2f)", rounds.Median(ratios))
	}
	return text
}

// best returns the contender of a group with the least median.
func (t *table) best(group, unit string) (contender string, least float64) {
	for _, c := range t.in(group) {
		if m := t.median(group+"/"+c, unit); m > 0 && (contender == "" || m < least) {
			contender, least = c, m
		}
	}
	return contender, least
}

// Quantiles renders latencies: a line per group and contender.
func (t *table) Quantiles(pattern, columns string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "| | |%s|\n|---|---|%s\n", strings.Join(quantileNames, "|"), strings.Repeat("---:|", len(quantileNames)))
	for _, column := range strings.Fields(columns) {
		group := strings.ReplaceAll(pattern, "%s", column)
		for _, c := range t.in(group) {
			fmt.Fprintf(&b, "| %s | %s |", column, label(c))
			for _, q := range quantileNames {
				b.WriteString(" " + t.cell(group, c, q+"-ns", "") + " |")
			}
			b.WriteString("\n")
		}
	}
	return b.String()
}

var quantileNames = []string{"p50", "p90", "p99", "p99.9", "max"}

// List renders all rows of a benchmark: a line each, a column per unit.
func (t *table) List(benchmark string, units ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "| |%s|\n|---|%s\n", strings.Join(units, "|"), strings.Repeat("---:|", len(units)))
	for _, c := range t.in(benchmark) {
		fmt.Fprintf(&b, "| %s |", c)
		for _, unit := range units {
			text := "–"
			if vs := t.Samples[benchmark+"/"+c][unit]; len(vs) > 0 {
				text = format(rounds.Median(vs), unit)
			}
			b.WriteString(" " + text + " |")
		}
		b.WriteString("\n")
	}
	return b.String()
}

// Behind tells who has a lesser median than one of ours: one line for each of
// ours and group; see Matrix for the arguments.
func (t *table) Behind(pattern, columns, unit string) string {
	var b strings.Builder
	for _, column := range strings.Fields(columns) {
		group := strings.ReplaceAll(pattern, "%s", column)
		for _, mine := range t.in(group) {
			if _, ok := ours[mine]; !ok {
				continue
			}
			if ahead := t.ahead(group, mine, unit); len(ahead) > 0 {
				fmt.Fprintf(&b, "- %s: %s has %s; %s.\n", group,
					label(mine), format(t.median(group+"/"+mine, unit), unit), strings.Join(ahead, ", "))
			}
		}
	}
	return b.String()
}

// ahead returns which of the others have a lesser median than mine, the least
// first, with their medians.
func (t *table) ahead(group, mine, unit string) []string {
	var others []string
	for _, c := range t.in(group) {
		m := t.median(group+"/"+c, unit)
		if _, ok := ours[c]; !ok && m > 0 && m < t.median(group+"/"+mine, unit) {
			others = append(others, c)
		}
	}
	slices.SortStableFunc(others, func(a, b string) int {
		return cmp.Compare(t.median(group+"/"+a, unit), t.median(group+"/"+b, unit))
	})
	for i, c := range others {
		others[i] = label(c) + " " + format(t.median(group+"/"+c, unit), unit)
	}
	return others
}

// ours are the contenders that are this library.
var ours = map[string]string{"All": "`All()`", "Messages": "`Messages()`", "All-64": "`All()`, `PublishAll` of 64", "Next": "`Next()`", "C": "`C()`", "Events": "`Events()`"}

func label(contender string) string {
	if l, ok := ours[contender]; ok {
		return l
	}
	if size, ok := strings.CutPrefix(contender, "chan"); ok {
		if bare, ok := strings.CutSuffix(size, "-bare"); ok {
			return "raw channels of " + bare + ", of the value alone"
		}
		return "raw channels of " + size
	}
	if contender == "sdk" {
		return "Momento's SDK"
	}
	return contender
}

func format(v float64, unit string) string {
	switch {
	case strings.Contains(unit, "ns"):
		return duration(v)
	case strings.HasPrefix(unit, "bytes"), unit == "B/op":
		return fmt.Sprintf("%.0f B", v)
	case v == float64(int64(v)):
		return fmt.Sprintf("%.0f", v)
	default:
		return fmt.Sprintf("%.1f", v)
	}
}

// duration writes ns nanoseconds with two or three digits.
func duration(ns float64) string {
	for _, u := range []struct {
		name string
		ns   float64
	}{{"s", float64(time.Second)}, {"ms", float64(time.Millisecond)}, {"µs", float64(time.Microsecond)}, {"ns", 1}} {
		v := ns / u.ns
		switch {
		case v >= 100:
			return fmt.Sprintf("%.0f %s", v, u.name)
		case v >= 1, u.ns == 1:
			return fmt.Sprintf("%.3g %s", v, u.name)
		}
	}
	return ""
}

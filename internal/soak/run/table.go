package run

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// table prints the figures of all engines, for a page of the documentation.
func table(out io.Writer, results []result) {
	row := func(name string, cell func(result) string) {
		cells := []string{name}
		for _, r := range results {
			cells = append(cells, cell(r))
		}
		fmt.Fprintf(out, "| %s |\n", strings.Join(cells, " | "))
	}
	number := func(f func(result) uint64) func(result) string {
		return func(r result) string { return grouped(f(r)) }
	}
	fmt.Fprintln(out)
	row("", func(r result) string { return r.engine })
	row("---", func(result) string { return "---:" })
	row("time", func(r result) string { return r.took.Round(time.Second).String() })
	row("rounds", number(func(r result) uint64 { return uint64(r.rounds) }))
	row("processes killed", number(func(r result) uint64 { return uint64(r.kills) }))
	row("faults", number(func(r result) uint64 {
		n := 0
		for _, m := range r.faults {
			n += m
		}
		return uint64(n)
	}))
	row("messages accepted", number(func(r result) uint64 { return r.tally.Accepted }))
	row("refused", number(func(r result) uint64 { return r.tally.Refused }))
	row("of unknown outcome", number(func(r result) uint64 { return r.tally.Unknown }))
	row("subscriptions", number(func(r result) uint64 { return r.tally.Subscriptions }))
	row("messages received", number(func(r result) uint64 { return r.tally.Received }))
	row("reported lost", number(func(r result) uint64 { return r.tally.Lost }))
	row("of these by overflow", number(func(r result) uint64 { return r.tally.Overflow }))
	row("gaps reported", number(func(r result) uint64 { return r.tally.Gaps }))
	row("of these without a count", number(func(r result) uint64 { return r.tally.Uncounted }))
	row("dropped by an end", number(func(r result) uint64 { return r.tally.Dropped }))
	row("goroutines after the first, last round", func(r result) string { return fmt.Sprintf("%d, %d", r.first.goroutines, r.last.goroutines) })
	row("heap after the first, last round", func(r result) string {
		return fmt.Sprintf("%.1f, %.1f MB", float64(r.first.heap)/1e6, float64(r.last.heap)/1e6)
	})
	row("**violations**", number(func(r result) uint64 { return uint64(r.violations) }))
	for _, r := range results {
		fmt.Fprintf(out, "\nFaults of %s: %s.\n", r.engine, r.faultNames())
	}
}

// grouped is a number with its digits in groups.
func grouped(n uint64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

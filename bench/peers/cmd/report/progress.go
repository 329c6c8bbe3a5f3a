package main

import (
	"fmt"
	"os"
	"time"
)

// progress shows how far the rounds are: on a terminal every row in place of
// the one before, elsewhere a line per round.
type progress struct {
	start    time.Time
	budget   time.Duration
	terminal bool
	rows     int
}

func newProgress(budget time.Duration) *progress {
	info, err := os.Stderr.Stat()
	return &progress{
		start:    time.Now(),
		budget:   budget,
		terminal: err == nil && info.Mode()&os.ModeCharDevice != 0,
	}
}

func (p *progress) row(round int, name string) {
	p.rows++
	if p.terminal {
		fmt.Fprintf(os.Stderr, "\r\033[K%v of %v, round %d, %d rows: %s", p.elapsed(), p.budget, round, p.rows, name)
	}
}

func (p *progress) round(n int) {
	clear := ""
	if p.terminal {
		clear = "\r\033[K"
	}
	fmt.Fprintf(os.Stderr, "%s%v of %v, %d rounds, %d rows\n", clear, p.elapsed(), p.budget, n, p.rows)
}

func (p *progress) elapsed() time.Duration { return time.Since(p.start).Round(time.Second) }

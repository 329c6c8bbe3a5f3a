// Command report measures everything and writes docs/benchmarks.md with its
// pictures:
//
//	cd bench/peers && go run ./cmd/report
//
// It runs the benchmarks of bench and bench/peers in rounds for as long as
// -time allows, compiling not included, and reports medians and spreads over
// the rounds. What was measured goes to bench/results.json; -render makes the
// page from there. The machine should have nothing else to do meanwhile.
//
// -quick makes it one short round, to see that all is in order, and writes to
// a temporary directory: its figures are worth nothing.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"time"

	"github.com/topicbus/pubsub/bench/internal/rounds"
)

func main() {
	var o options
	flag.StringVar(&o.docs, "docs", "../../docs", "directory of the page and its pictures")
	flag.StringVar(&o.results, "results", "../results.json", "file of what was measured")
	flag.DurationVar(&o.budget, "time", 7*time.Minute, "start no round that would end later than this")
	flag.BoolVar(&o.quick, "quick", false, "one short round, written to a temporary directory")
	flag.BoolVar(&o.render, "render", false, "measure nothing, take what is in the results file")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "report:", err)
		os.Exit(1)
	}
}

type options struct {
	docs, results string
	budget        time.Duration
	quick, render bool
}

func run(ctx context.Context, o options) error {
	r := new(report)
	if o.render {
		if err := r.load(o.results); err != nil {
			return err
		}
	} else {
		if o.quick {
			dir, err := os.MkdirTemp("", "benchmarks")
			if err != nil {
				return err
			}
			o.docs, o.results = dir, filepath.Join(dir, "results.json")
		}
		if err := r.measure(ctx, o.budget, o.quick); err != nil {
			return err
		}
		if err := r.save(o.results); err != nil {
			return err
		}
	}
	if err := errors.Join(r.draw(o.docs), r.write(o.docs)); err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, "written to", o.docs)
	return nil
}

// part is a run of a binary within a round.
type part struct {
	binary *rounds.Binary
	rounds.Selection
	into  *table
	every int // how many rounds; 1 is all
}

// parts gives rows that need it more time than the others: quantiles need
// many messages, the buffers of a thousand topics must have been filled once
// where they grow as they fill, and who polls every 250 ms needs a few of those.
func (r *report) parts(bench, peers *rounds.Binary) []part {
	const (
		short, long = 100 * time.Millisecond, time.Second
		polling     = "^Benchmark(FanOut|Unloaded)$/.*/mempubsub|^BenchmarkTopics$/.*/.*/.*/mempubsub"
		topics      = "^BenchmarkTopics$"
		scale       = "^Benchmark(ManyTopics|Close|CloseBesideStats)$" // as few as there may be: they are large
	)
	return []part{
		{bench, rounds.Selection{Bench: ".", Skip: "Paced|Recovery|" + topics + "|" + scale, Time: short}, r.Bench, 1},
		{bench, rounds.Selection{Bench: topics, Time: long}, r.Bench, 1},
		{bench, rounds.Selection{Bench: scale, Time: time.Millisecond}, r.Bench, 1},
		{bench, rounds.Selection{Bench: "Paced", Time: 4 * short}, r.Bench, 1},
		{bench, rounds.Selection{Bench: "Recovery", Time: time.Millisecond}, r.Bench, 1},
		{peers, rounds.Selection{Bench: ".", Skip: polling + "|" + topics, Time: short}, r.Peers, 1},
		{peers, rounds.Selection{Bench: topics, Skip: polling, Time: long}, r.Peers, 1},
		{peers, rounds.Selection{Bench: polling, Time: long}, r.Peers, 3},
	}
}

// measure fills r.
func (r *report) measure(ctx context.Context, budget time.Duration, quick bool) error {
	dir, err := os.MkdirTemp("", "report")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	fmt.Fprintln(os.Stderr, "compiling ...")
	bench, err := rounds.Build(ctx, "github.com/topicbus/pubsub/bench", dir)
	if err != nil {
		return err
	}
	peers, err := rounds.Build(ctx, "github.com/topicbus/pubsub/bench/peers", dir)
	if err != nil {
		return err
	}
	*r = report{Machine: thisMachine(), Bench: newTable(), Peers: newTable()}
	show := newProgress(budget)
	var longest time.Duration
	for time.Since(show.start)+longest < budget {
		start := time.Now()
		for _, p := range r.parts(bench, peers) {
			if r.Rounds%p.every != 0 {
				continue
			}
			p.Procs = runtime.GOMAXPROCS(0)
			if quick {
				p.Time /= 10
			}
			err := p.binary.Round(ctx, p.Selection, func(row rounds.Row) {
				p.into.add(row)
				show.row(r.Rounds+1, row.Name)
			})
			if err != nil {
				return err
			}
		}
		r.Rounds++
		longest = max(longest, time.Since(start))
		show.round(r.Rounds)
		if quick {
			break
		}
	}
	r.Took = show.elapsed().String()
	return nil
}

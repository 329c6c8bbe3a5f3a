// Command mutants tests the tests of a package: it makes small faults in the
// package's code, one at a time, and sees whether a test fails.
//
//	go run -C internal/mutants . [-n 100] [-seed 1] ../../consume
//
// All faults, the mutants, are compiled into one test binary, and an environment
// variable turns one of them on. So a mutant costs no build. A first pass runs
// each test alone and notes which mutants it reaches; a mutant then meets only
// the tests that reach it, the quickest first, until one fails. The same tests
// must pass again without the mutant, or their failure does not count.
//
// A test that fails in the first pass, with no mutant on, is named and left out.
// That happens to tests that count allocations, as the switches stop the
// compiler from inlining.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
}

func run(args []string, out io.Writer) (err error) {
	flags := flag.NewFlagSet("mutants", flag.ContinueOnError)
	n := flags.Int("n", 0, "try a random sample of so many mutants that tests reach; 0 tries all")
	seed := flags.Uint64("seed", 1, "of the sample")
	skip := flags.String("skip", "^$", "`regexp` of tests to leave out")
	at := flags.String("at", "", "only mutants at these `places`, file.go or file.go:line, with commas between")
	uncovered := flags.Bool("uncovered", false, "name the mutants that no test reaches")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return nil
	} else if err != nil {
		return err
	}
	if flags.NArg() != 1 {
		return errors.New("give the directory of one package")
	}
	skipped, err := regexp.Compile(*skip)
	if err != nil {
		return err
	}
	pkg, err := load(flags.Arg(0))
	if err != nil {
		return err
	}
	work, err := os.MkdirTemp("", "mutants")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	start := time.Now()
	b, err := build(pkg, work)
	if err != nil {
		return err
	}
	if err := b.survey(skipped, out); err != nil {
		return err
	}
	fmt.Fprintf(out, "%d mutants of %s, %d tests, built and surveyed in %.0fs\n", len(pkg.mutants), pkg.path, len(b.tests), time.Since(start).Seconds())

	var reached, missed []mutant
	for _, m := range pkg.mutants {
		if !m.isAt(*at) {
			continue
		}
		if len(b.reaching(m)) > 0 {
			reached = append(reached, m)
		} else {
			missed = append(missed, m)
		}
	}
	of := fmt.Sprintf("all %d", len(reached))
	if *n > 0 && *n < len(reached) {
		of = fmt.Sprintf("%d of %d, seed %d", *n, len(reached), *seed)
		random := rand.New(rand.NewPCG(*seed, 0))
		random.Shuffle(len(reached), func(i, j int) { reached[i], reached[j] = reached[j], reached[i] })
		reached = reached[:*n]
		slices.SortFunc(reached, func(a, b mutant) int { return a.id - b.id })
	}
	if *uncovered {
		for _, m := range missed {
			fmt.Fprintf(out, "NOT COVERED %s\n", m)
		}
	}
	count := map[verdict]int{}
	for _, m := range reached {
		v, err := b.try(m, out)
		if err != nil {
			return err
		}
		count[v]++
		if v != killed {
			fmt.Fprintf(out, "%s %s\n", strings.ToUpper(string(v)), m)
		}
	}
	fmt.Fprintf(out, "%s: %d killed, %d lived, %d timed out (%s that tests reach), %d not covered, in %.0fs\n",
		filepath.Base(pkg.path), count[killed], count[lived], count[timedOut], of, len(missed), time.Since(start).Seconds())
	return nil
}

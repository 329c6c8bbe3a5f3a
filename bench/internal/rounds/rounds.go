// Package rounds runs benchmarks several times over and keeps what they
// measured. A round is every benchmark once, so that what disturbs the machine
// for a while disturbs the rows of one round alike, and ratios within a round
// stay meaningful.
package rounds

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Binary is a compiled package of benchmarks.
type Binary struct {
	path string
	dir  string // of the package, where it runs
}

// Build compiles the benchmarks of the package into dir. Where the package is
// in another module than the working directory, that module's rules apply.
func Build(ctx context.Context, pkg, dir string) (*Binary, error) {
	out, err := output(exec.CommandContext(ctx, "go", "list", "-f", "{{.Dir}}", pkg))
	if err != nil {
		return nil, err
	}
	b := &Binary{
		path: filepath.Join(dir, filepath.Base(pkg)+".test"),
		dir:  strings.TrimSpace(string(out)),
	}
	build := exec.CommandContext(ctx, "go", "test", "-c", "-o", b.path, ".")
	build.Dir = b.dir
	if _, err := output(build); err != nil {
		return nil, err
	}
	return b, nil
}

// Selection is which benchmarks to run, and how.
type Selection struct {
	Bench string        // pattern of those that run
	Skip  string        // pattern of those that do not; may be empty
	Time  time.Duration // about how long each runs
	Procs int           // GOMAXPROCS
}

// Round runs the selected benchmarks once. It calls each for every row, as it
// comes.
func (b *Binary) Round(ctx context.Context, s Selection, each func(Row)) error {
	cmd := exec.CommandContext(ctx, b.path, "-test.run=^$",
		"-test.bench="+s.Bench, "-test.skip="+s.Skip, "-test.benchtime="+s.Time.String(), "-test.cpu="+strconv.Itoa(s.Procs))
	cmd.Dir = b.dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	var rest strings.Builder
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		if row, ok := parse(lines.Text(), s.Procs); ok {
			each(row)
		} else {
			fmt.Fprintln(&rest, lines.Text())
		}
	}
	_, _ = io.Copy(io.Discard, stdout) // a line too long for the scanner
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("%s: %w\n%s%s", filepath.Base(b.path), err, &rest, &stderr)
	}
	return nil
}

// Row is what a benchmark measured, by unit.
type Row struct {
	Name   string // without "Benchmark"
	Values map[string]float64
}

// parse reads a line such as "BenchmarkX/a=1-2   100   12.5 ns/op   3 allocs/op".
func parse(line string, procs int) (Row, bool) {
	fields := strings.Fields(line)
	name, ok := strings.CutPrefix(line, "Benchmark")
	if !ok || len(fields) < 4 || len(fields)%2 != 0 {
		return Row{}, false
	}
	name, _, _ = strings.Cut(name, " ")
	name, _, _ = strings.Cut(name, "\t")
	if procs > 1 {
		name = strings.TrimSuffix(name, "-"+strconv.Itoa(procs))
	}
	row := Row{Name: name, Values: make(map[string]float64)}
	for i := 2; i < len(fields); i += 2 {
		v, err := strconv.ParseFloat(fields[i], 64)
		if err != nil {
			return Row{}, false
		}
		row.Values[fields[i+1]] = v
	}
	return row, true
}

// Samples are the rows of several rounds: a value per round, by name and unit.
type Samples map[string]map[string][]float64

// Add adds a row.
func (s Samples) Add(r Row) {
	if s[r.Name] == nil {
		s[r.Name] = make(map[string][]float64)
	}
	for unit, v := range r.Values {
		s[r.Name][unit] = append(s[r.Name][unit], v)
	}
}

// Ratios returns a row's values over those of another, round by round.
func (s Samples) Ratios(name, baseline, unit string) []float64 {
	vs, base := s[name][unit], s[baseline][unit]
	ratios := make([]float64, min(len(vs), len(base)))
	for i := range ratios {
		ratios[i] = vs[i] / base[i]
	}
	return ratios
}

// Median returns the middle of vs, or 0 if there are none.
func Median(vs []float64) float64 { return quantile(vs, 0.5) }

// Spread returns half the distance between the quartiles, as a share of the
// median.
func Spread(vs []float64) float64 {
	m := Median(vs)
	if m == 0 {
		return 0
	}
	return (quantile(vs, 0.75) - quantile(vs, 0.25)) / 2 / m
}

func quantile(vs []float64, q float64) float64 {
	if len(vs) == 0 {
		return 0
	}
	vs = slices.Sorted(slices.Values(vs))
	at := q * float64(len(vs)-1)
	i := int(at)
	if i == len(vs)-1 {
		return vs[i]
	}
	return vs[i] + (at-float64(i))*(vs[i+1]-vs[i])
}

// output runs cmd, whose errors are on stderr.
func output(cmd *exec.Cmd) ([]byte, error) {
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, &stderr)
	}
	return out, nil
}

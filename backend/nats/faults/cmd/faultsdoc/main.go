// Command faultsdoc plays the fault matrix on this module and on the client
// library's OrderedConsumer, and writes what it saw as a table into a document,
// between the lines that begin with <!-- faults and <!-- end of faults.
//
//	cd backend/nats && go run ./faults/cmd/faultsdoc -o ../../docs/nats.md
//
// Each row is played in a process of its own. Some minutes go by. The program
// fails, and writes nothing, if a row on this module does not end as it must.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/topicbus/pubsub/backend/nats/faults/internal/matrix"
)

// limit is how long a row may take.
const limit = 10 * time.Minute

const begin, end = "<!-- faults", "<!-- end of faults"

func main() {
	out := flag.String("o", "", "the `file` to write into; none: print")
	only := flag.String("run", "", "play the rows that match this `regexp`")
	parallel := flag.Int("parallel", 2, "how many rows are played at once")
	play := flag.Int("play", -1, "play one row in this process (used by the program itself)")
	rate := flag.Int("rate", -1, "count the requests in one way of misbehaving in this process (used by the program itself)")
	on := flag.String("on", "", "what to play it on (used by the program itself)")
	flag.Parse()
	if *rate >= 0 {
		_ = json.NewEncoder(os.Stdout).Encode(matrix.PlayRate(matrix.Rates()[*rate]))
		return
	}
	if err := run(*out, *only, *parallel, *play, matrix.Kind(*on)); err != nil {
		fmt.Fprintln(os.Stderr, "faultsdoc:", err)
		os.Exit(1)
	}
}

func run(out, only string, parallel, play int, on matrix.Kind) error {
	rows := matrix.Rows()
	if play >= 0 {
		return json.NewEncoder(os.Stdout).Encode(matrix.Play(rows[play], on))
	}
	filter, err := regexp.Compile(only)
	if err != nil {
		return err
	}
	lines, err := playAll(rows, filter, parallel)
	if err != nil {
		return err
	}
	rates, err := countAll(filter, parallel)
	if err != nil {
		return err
	}
	table := append(render(lines), renderRates(rates)...)
	if out == "" {
		_, err := os.Stdout.Write(table)
		return err
	}
	document, err := os.ReadFile(out)
	if err != nil {
		return err
	}
	from, to := bytes.Index(document, []byte(begin)), bytes.Index(document, []byte(end))
	if from < 0 || to < from {
		return fmt.Errorf("%s has no lines that begin with %q and %q", out, begin, end)
	}
	from += bytes.IndexByte(document[from:], '\n') + 1
	return os.WriteFile(out, append(append(bytes.Clone(document[:from]), table...), document[to:]...), 0o644)
}

// line is a row of the table.
type line struct {
	row  matrix.Row
	text map[matrix.Kind]string
}

func playAll(rows []matrix.Row, filter *regexp.Regexp, parallel int) (lines []line, err error) {
	var (
		errs  []error
		mu    sync.Mutex
		wg    sync.WaitGroup
		slots = make(chan struct{}, parallel)
	)
	for i, row := range rows {
		if !filter.MatchString(row.ID()) {
			continue
		}
		l := line{row, make(map[matrix.Kind]string)}
		lines = append(lines, l)
		for _, on := range []matrix.Kind{matrix.Bus, matrix.Ordered} {
			slots <- struct{}{}
			wg.Go(func() {
				defer func() { <-slots }()
				var o matrix.Outcome
				err := child(&o, "-play", fmt.Sprint(i), "-on", string(on))
				if breaches := row.Breaches(o); err == nil && on == matrix.Bus && len(breaches) > 0 {
					err = errors.New(strings.Join(breaches, "; "))
				}
				mu.Lock()
				defer mu.Unlock()
				l.text[on] = row.Text(o)
				fmt.Fprintf(os.Stderr, "%s, %s: %s\n", row.ID(), on, l.text[on])
				if err != nil {
					errs = append(errs, fmt.Errorf("%s: %w", row.ID(), err))
				}
			})
		}
	}
	wg.Wait()
	return lines, errors.Join(errs...)
}

// rateLine is a row of the table of requests.
type rateLine struct {
	name    string
	outcome matrix.RateOutcome
}

func countAll(filter *regexp.Regexp, parallel int) (lines []*rateLine, err error) {
	var (
		errs  = make([]error, len(matrix.Rates()))
		wg    sync.WaitGroup
		slots = make(chan struct{}, parallel)
	)
	for i, rate := range matrix.Rates() {
		if !filter.MatchString("Requests: " + rate.Name) {
			continue
		}
		l := &rateLine{name: rate.Name}
		lines = append(lines, l)
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			err := child(&l.outcome, "-rate", fmt.Sprint(i))
			if breaches := rate.Breaches(l.outcome); err == nil && len(breaches) > 0 {
				err = errors.New(strings.Join(breaches, "; "))
			}
			fmt.Fprintf(os.Stderr, "%s: %+v\n", rate.Name, l.outcome)
			if err != nil {
				errs[i] = fmt.Errorf("%s: %w", rate.Name, err)
			}
		})
	}
	wg.Wait()
	return lines, errors.Join(errs...)
}

// child plays something in another process.
func child(outcome any, args ...string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, self, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%w: %s", err, stderr.String())
	}
	return json.Unmarshal(stdout.Bytes(), outcome)
}

func renderRates(lines []*rateLine) []byte {
	var b bytes.Buffer
	if len(lines) == 0 {
		return nil
	}
	fmt.Fprintf(&b, `### Requests

How often %d streams ask for a consumer while the server misbehaves for %v, rounded up. Each attempt to come back is one such request. It
may be followed by one for the stream's information, one for messages, and one that has an old consumer forgotten.

| the server | requests in the worst second | in a second of the last third, on average |
|---|---|---|
`, matrix.RateStreams, matrix.RateTime)
	for _, l := range lines {
		worst, later := l.outcome.Text()
		fmt.Fprintf(&b, "| %s | %s | %s |\n", l.name, worst, later)
	}
	b.WriteByte('\n')
	return b.Bytes()
}

func render(lines []line) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, `
Written by `+"`go run ./faults/cmd/faultsdoc`"+` with nats.go %s and nats-server %s, on %s/%s with %d processors. Times are
upper bounds of what was seen, rounded up. "All delivered" means: each message that the server accepted came once, in order.
`, version("github.com/nats-io/nats.go"), version("github.com/nats-io/nats-server/v2"), runtime.GOOS, runtime.GOARCH, runtime.NumCPU())
	group := ""
	for _, l := range lines {
		if l.row.Group != group {
			group = l.row.Group
			fmt.Fprintf(&b, "\n### %s\n\n| fault | pubsub | OrderedConsumer |\n|---|---|---|\n", group)
		}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", l.row.Name, l.text[matrix.Bus], l.text[matrix.Ordered])
	}
	b.WriteByte('\n')
	return b.Bytes()
}

// version returns the version of a module that this program is built with.
func version(path string) string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			if m.Path == path {
				return m.Version
			}
		}
	}
	return "(version unknown)"
}

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
const limit = 5 * time.Minute

const begin, end = "<!-- faults", "<!-- end of faults"

func main() {
	out := flag.String("o", "", "the `file` to write into; none: print")
	only := flag.String("run", "", "play the rows that match this `regexp`")
	parallel := flag.Int("parallel", 2, "how many rows are played at once")
	play := flag.Int("play", -1, "play one row in this process (used by the program itself)")
	on := flag.String("on", "", "what to play it on (used by the program itself)")
	flag.Parse()
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
	table := render(lines)
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
				o, err := child(i, on)
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

// child plays a row in another process.
func child(i int, on matrix.Kind) (o matrix.Outcome, err error) {
	self, err := os.Executable()
	if err != nil {
		return o, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, self, "-play", fmt.Sprint(i), "-on", string(on))
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return o, fmt.Errorf("%w: %s", err, stderr.String())
	}
	return o, json.Unmarshal(stdout.Bytes(), &o)
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

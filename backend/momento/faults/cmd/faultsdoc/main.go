// Command faultsdoc plays the fault matrix on this module and on the official
// SDK alone, and writes what it saw as a Markdown table.
//
//	go run ./backend/momento/faults/cmd/faultsdoc -o docs/faults.md
//
// Each row is played in a process of its own, because the SDK can end the
// process, and with a time limit. A few minutes go by. The program fails, and
// writes nothing, if a row on this module does not end as it must.
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
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/topicbus/pubsub/backend/momento/faults/internal/matrix"
)

// limit is how long a row may take.
const limit = 2 * time.Minute

func main() {
	var (
		out      = flag.String("o", "docs/faults.md", "the `file` to write")
		only     = flag.String("run", "", "play the rows that match this `regexp`, and the ways of the table of rates, and print them")
		parallel = flag.Int("parallel", 8, "how many rows are played at once")
		play     = flag.Int("play", -1, "play one row in this process (used by the program itself)")
		on       = flag.String("on", "", "the client to play it on (used by the program itself)")
	)
	flag.Parse()
	if *play >= 0 {
		o := matrix.Play(matrix.Rows(true)[*play], matrix.Kind(*on))
		if err := json.NewEncoder(os.Stdout).Encode(o); err != nil {
			fail(err)
		}
		return
	}
	filter, err := regexp.Compile(*only)
	if err != nil {
		fail(err)
	}
	lines, err := playAll(filter, *parallel)
	if err != nil {
		fail(err)
	}
	rates, err := measureRates(filter)
	if err != nil {
		fail(err)
	}
	if *only != "" {
		for _, l := range lines {
			fmt.Printf("%s\n\tpubsub: %s\n\tSDK:    %s\n", l.row.ID(), l.bus, l.sdk)
		}
		for _, r := range rates {
			fmt.Printf("| %s | %v |\n", r.name, r.Rate)
		}
		return
	}
	if err := os.WriteFile(*out, document(lines, rates), 0o644); err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "faultsdoc:", err)
	os.Exit(1)
}

// line is a row of the table.
type line struct {
	row      matrix.Row
	bus, sdk string
}

// playAll plays the rows whose ID matches, on both clients.
func playAll(filter *regexp.Regexp, parallel int) ([]line, error) {
	var (
		errs  []error
		mu    sync.Mutex
		wg    sync.WaitGroup
		slots = make(chan struct{}, parallel)
	)
	rows := matrix.Rows(true)
	lines := make([]line, len(rows))
	play := func(i int, on matrix.Kind, text *string) {
		wg.Add(1)
		slots <- struct{}{}
		go func() {
			defer func() { <-slots; wg.Done() }()
			s, err := playRow(rows[i], i, on)
			mu.Lock()
			defer mu.Unlock()
			*text = s
			if err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", rows[i].ID(), err))
			}
		}()
	}
	for i, row := range rows {
		if !filter.MatchString(row.ID()) {
			continue
		}
		lines[i].row = row
		play(i, matrix.Bus, &lines[i].bus)
		if row.SDKLacks != "" {
			lines[i].sdk = row.SDKLacks
			continue
		}
		play(i, matrix.SDK, &lines[i].sdk)
	}
	wg.Wait()
	lines = slices.DeleteFunc(lines, func(l line) bool { return l.row.Play == nil })
	return lines, errors.Join(errs...)
}

// playRow plays a row, as often as it wants, and describes the last outcome,
// but with the slowest recovery.
func playRow(row matrix.Row, i int, on matrix.Kind) (string, error) {
	var slowest matrix.Outcome
	for range max(1, row.Repeat) {
		o, crash, err := child(i, on)
		switch {
		case err != nil:
			return "", err
		case crash != "" && on == matrix.SDK:
			return "**the process dies**: " + crash, nil
		case crash != "":
			return "", errors.New(crash)
		}
		if breaches := row.Breaches(o); on == matrix.Bus && len(breaches) > 0 {
			return "", errors.New(strings.Join(breaches, "; "))
		}
		o.Recovered = max(o.Recovered, slowest.Recovered)
		slowest = o
	}
	return row.Text(slowest), nil
}

// child plays a row in another process. If that dies by a panic, crash says
// which.
func child(i int, on matrix.Kind) (o matrix.Outcome, crash string, err error) {
	self, err := os.Executable()
	if err != nil {
		return o, "", err
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, self, "-play", fmt.Sprint(i), "-on", string(on))
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		for text := range strings.Lines(stderr.String()) {
			if strings.HasPrefix(text, "panic: ") || strings.HasPrefix(text, "fatal error: ") {
				return o, strings.TrimSpace(text), nil
			}
		}
		if ctx.Err() != nil {
			return o, "", fmt.Errorf("not done within %v", limit)
		}
		return o, "", fmt.Errorf("%w: %s", err, stderr.String())
	}
	return o, "", json.Unmarshal(stdout.Bytes(), &o)
}

// rate is a line of the table of rates.
type rate struct {
	name string
	matrix.Rate
}

// measureRates has services misbehave in the ways that match, all at the same
// time.
func measureRates(filter *regexp.Regexp) ([]rate, error) {
	ways := slices.DeleteFunc(matrix.Misbehaviours(), func(m matrix.Misbehaviour) bool {
		return !filter.MatchString("rates: " + m.Name)
	})
	rates, errs := make([]rate, len(ways)), make([]error, len(ways))
	var wg sync.WaitGroup
	for i, m := range ways {
		wg.Go(func() {
			rates[i].name = m.Name
			rates[i].Rate, errs[i] = m.Measure(context.Background())
		})
	}
	wg.Wait()
	return rates, errors.Join(errs...)
}

// document renders the tables.
func document(lines []line, rates []rate) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, `<!-- Written by go run ./backend/momento/faults/cmd/faultsdoc; do not edit. -->

# What happens when things go wrong

Each row is a fault, played over TCP against the loopback server of
backend/momento/momentotest. The server numbers what it accepts, so that it is
known which messages a subscription should have got. "All delivered" means: all
that the server accepted, each once, in order, with its bytes unchanged.

- **pubsub** is a Bus over backend/momento. The tests of backend/momento/faults
  play the same rows under the race detector and require more than the table
  says: that each hole is reported in its place with the right count, that no
  call hangs, and that no goroutine, stream or connection is left.
- **SDK alone** is %s %s,
  the official SDK, with its default configuration and
  its own reconnecting: a loop over Event. It hands out the service's
  discontinuities with the numbers in them, but leaves it to the application to
  find out what is missing; the table calls that a gap whose size is not told.
  Each row ran in a process of its own. Where nothing more came, the program
  waited %v.

Times are upper bounds of what was seen, rounded up: of %s on %s/%s with
%d processors, several rows at a time.

`, sdkPath, version(sdkPath), matrix.PatienceSDK, runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU())
	group := ""
	for _, l := range lines {
		if l.row.Group != group {
			group = l.row.Group
			fmt.Fprintf(&b, "\n## %s\n\n%s| fault | pubsub | SDK alone |\n|---|---|---|\n", group, matrix.Note(group))
		}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", l.row.Name, cell(l.bus), cell(l.sdk))
	}
	fmt.Fprintf(&b, `
## How often a service is asked, at worst

%d streams of one backend break, and then the service answers each Subscribe in
the same way for %v. It is asked so often in the worst second, and so often a
second in the last %v. A stream that breaks tries once by itself, and again when
another one that is back for a fifth of a second wakes those that are down; that
takes from a budget of four tries for each stream and forty besides. Otherwise
streams take turns. TestWorstRequestRates of backend/momento holds 400 streams
against limits, in fake time.

Calls of Publish come as often as the application makes them. With
WithPublishRetry each call follows its policy; they take no turns. The last line
has %[1]d calls at once.

| the service | worst second | later, a second |
|---|---|---|
`, matrix.RateStreams, matrix.RateTime, matrix.RateLater)
	for _, r := range rates {
		fmt.Fprintf(&b, "| %s | %v |\n", r.name, r.Rate)
	}
	b.WriteString(`
## Not in the tables

- TestInterleavings of backend/momento/faults: 1,000 random interleavings (500
  unless -faults.full is given) of ends (cancel, Close, Drain, Bus.Close, Backend.Close) while a subscription
  connects, streams, backs off and resumes.
- TestRecoveryTime of backend/momento/faults measures the recovery from outages
  of 1 s and 30 s over TCP, TestRecoveryTimeDoesNotDependOnTheOutage of
  backend/momento from 10 minutes in fake time.
- TestPermanence of backend/momento/faults: which refusals end a subscription,
  and which are taken for something between that will pass.
- TestOutcomeOfEveryCode and TestOutcomeOfOtherErrors of backend/momento: what
  became of a message whose Publish failed.
- TestConformance of backend/momento/faults runs pubsubtest in full.
- The soak runs all engines for minutes with faults at random: [its figures](security.md#the-soak). The faults of NATS are in
  [nats.md](nats.md).
`)
	return b.Bytes()
}

func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }

const sdkPath = "github.com/momentohq/client-sdk-go"

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

// Command gate tells whether the library has become slower:
//
//	go run ./bench/cmd/gate
//
// It compares times with those of raw Go channels in the same run, which do
// the same work on the same machine, and these ratios with the ones committed
// in bench/ratios.json. A row fails if its ratio is beyond the committed one
// times the tolerance there. Noise is met by repeating: what counts is the best
// of several rounds, of each side, and while a row fails more rounds are run, up
// to -rounds. Ratios within a round would not do: raw channels with 100
// subscribers have been seen to take four times as long in one round as in the
// next. A pass takes about 20 seconds, a failure about a minute.
//
// With -update it runs all rounds and writes what it measured to the file. Do
// that on a quiet machine, and say in the commit why the ratios changed.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"math"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"

	"github.com/topicbus/pubsub/bench/internal/rounds"
)

const (
	baseline = "chan256"
	pattern  = "^Benchmark(FanOut|Unloaded)$/^subs=/^(chan256|All|Messages|Next|C)$"
	enough   = 5 // rounds, unless a row fails
)

// committed is the content of the file.
type committed struct {
	// Procs is GOMAXPROCS of the measurement, and of every comparison.
	Procs     int                `json:"procs"`
	Tolerance float64            `json:"tolerance"`
	Ratios    map[string]float64 `json:"ratios"`
}

func main() {
	file := flag.String("file", "bench/ratios.json", "committed ratios")
	update := flag.Bool("update", false, "write the ratios instead of comparing them")
	most := flag.Int("rounds", 12, "give up on a row after that many rounds")
	benchtime := flag.Duration("benchtime", 50*time.Millisecond, "time of a row in a round")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *file, *update, *most, *benchtime); err != nil {
		fmt.Fprintln(os.Stderr, "gate:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, file string, update bool, most int, benchtime time.Duration) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var want committed
	if err := json.Unmarshal(data, &want); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	dir, err := os.MkdirTemp("", "gate")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	bench, err := rounds.Build(ctx, "github.com/topicbus/pubsub/bench", dir)
	if err != nil {
		return err
	}
	selection := rounds.Selection{Bench: pattern, Time: benchtime, Procs: want.Procs}
	samples := make(rounds.Samples)
	var got map[string]float64
	for round := 1; round <= most; round++ {
		if err := bench.Round(ctx, selection, samples.Add); err != nil {
			return err
		}
		got = ratios(samples)
		slow := slower(want, got)
		fmt.Printf("round %d: %d of %d rows beyond tolerance\n", round, len(slow), len(want.Ratios))
		if round >= enough && !update && len(slow) == 0 {
			break
		}
	}
	if update {
		want.Ratios = got
		return write(file, want)
	}
	for _, name := range slices.Sorted(maps.Keys(want.Ratios)) {
		fmt.Printf("%-24s committed %5.2f  measured %5.2f  (times chan256)\n", name, want.Ratios[name], got[name])
	}
	if slow := slower(want, got); len(slow) > 0 {
		return fmt.Errorf("slower than committed by more than %.2f times: %s", want.Tolerance, strings.Join(slow, ", "))
	}
	return nil
}

// ratios returns the ratio of every row's best time to that of the baseline of
// its group.
func ratios(s rounds.Samples) map[string]float64 {
	got := make(map[string]float64)
	for name := range s {
		group := name[:strings.LastIndex(name, "/")]
		unit := "ns/delivery"
		if strings.HasPrefix(name, "Unloaded") {
			unit = "p50-ns"
		}
		if base := group + "/" + baseline; name != base {
			got[name] = math.Round(slices.Min(s[name][unit])/slices.Min(s[base][unit])*1000) / 1000
		}
	}
	return got
}

// slower returns the committed rows that are missing or beyond tolerance.
func slower(want committed, got map[string]float64) []string {
	var slow []string
	for _, name := range slices.Sorted(maps.Keys(want.Ratios)) {
		if r, ok := got[name]; !ok || r > want.Ratios[name]*want.Tolerance {
			slow = append(slow, name)
		}
	}
	return slow
}

func write(file string, c committed) error {
	data, err := json.MarshalIndent(c, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(data, '\n'), 0o644)
}

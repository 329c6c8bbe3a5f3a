package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/topicbus/pubsub/bench/internal/rounds"
)

// measured is a table of two rounds.
func measured(rows map[string][]float64, order ...string) *table {
	t := newTable()
	for round := range 2 {
		for _, name := range order {
			t.add(rounds.Row{Name: name, Values: map[string]float64{"ns/delivery": rows[name][round]}})
		}
	}
	return t
}

func TestMatrix(t *testing.T) {
	table := measured(map[string][]float64{
		"FanOut/subs=1/chan256": {100, 200}, "FanOut/subs=1/All": {50, 100}, "FanOut/subs=1/moby": {1500, 1500},
		"FanOut/subs=10/chan256": {10, 10}, "FanOut/subs=10/All": {20, 20},
	}, "FanOut/subs=1/chan256", "FanOut/subs=1/All", "FanOut/subs=1/moby", "FanOut/subs=10/chan256", "FanOut/subs=10/All")
	require.Equal(t, `| |1|10|
|---|---:|---:|
| raw channels of 256 | 150 ns ±17% | **10 ns** ±0% |
| `+"`All()`"+` | **75 ns** ±17% (0.50) | 20 ns ±0% (2.00) |
| moby | 1.5 µs ±0% (11.25) | – |
`, table.Matrix("FanOut/subs=%s", "1 10", "ns/delivery", "chan256"))
	require.Equal(t, "- FanOut/subs=10: `All()` has 20 ns; raw channels of 256 10 ns.\n",
		table.Behind("FanOut/subs=%s", "1 10", "ns/delivery"))
	require.Equal(t, "| |ns/delivery|none|\n|---|---:|---:|\n| chan256 | 10 ns | – |\n| All | 20 ns | – |\n",
		table.List("FanOut/subs=10", "ns/delivery", "none"))
}

func TestTargets(t *testing.T) {
	table := measured(map[string][]float64{
		"FanOut/subs=1/chan256": {100, 100}, "FanOut/subs=1/All": {160, 164}, "FanOut/subs=1/C": {150, 150.8},
	}, "FanOut/subs=1/chan256", "FanOut/subs=1/All", "FanOut/subs=1/C")
	got, err := table.Targets("one")
	require.NoError(t, err)
	require.Equal(t, "- `All()`, 1 subscriber: target 1.00, measured 1.62: **missed**\n"+
		"- `Messages()`, 1 subscriber: target 1.00, measured nothing: unknown\n"+
		"- `C()`, 1 subscriber: target 1.50, measured 1.50: met\n", got, "as shown, 1.504 is 1.50")

	for name, bytes := range map[string]float64{"subscription/All": 955, "subscription/C": 7169, "topic/new": 5050, "topic/used": 5052} {
		table.add(rounds.Row{Name: "Idle/" + name, Values: map[string]float64{"bytes/each": bytes}})
	}
	got, err = table.Targets("idle")
	require.NoError(t, err)
	require.Equal(t, "- a subscription by `All()` or `Next()`: target 1024 B, measured 955 B: met\n"+
		"- a subscription by `C()`: target 7168 B, measured 7169 B: **missed**\n"+
		"- a new topic, less its subscription: target 4096 B, measured 4095 B: met\n"+
		"- a used topic, less its subscription: target 4096 B, measured 4097 B: **missed**\n", got)

	_, err = table.Targets("none such")
	require.Error(t, err)
}

func TestDuration(t *testing.T) {
	for ns, want := range map[float64]string{
		0.4: "0.4 ns", 3.14159: "3.14 ns", 314.159: "314 ns", 3141.59: "3.14 µs", 31415926: "31.4 ms", 3e9: "3 s",
	} {
		require.Equal(t, want, duration(ns))
	}
}

func TestLabel(t *testing.T) {
	for contender, want := range map[string]string{
		"chan64": "raw channels of 64", "chan256-bare": "raw channels of 256, of the value alone", "C": "`C()`", "moby": "moby",
	} {
		require.Equal(t, want, label(contender))
	}
}

func TestLabelsKeepApart(t *testing.T) {
	ys := []float64{1, 1.1, 1.2, 5, 9.9, 10}
	apart(ys, 1, 0, 10)
	for i := 1; i < len(ys); i++ {
		require.GreaterOrEqual(t, ys[i]-ys[i-1], 0.99, "%v", ys)
	}
	require.GreaterOrEqual(t, ys[0], 0.0)
	require.LessOrEqual(t, ys[5], 10.0)
	require.InDelta(t, 5, ys[3], 0.01, "had no need to move")
}

// The committed results must make the committed page, so that nobody edits
// the page, and a change of the template takes effect.
func TestPageIsUpToDate(t *testing.T) {
	r := new(report)
	require.NoError(t, r.load("../../../results.json"))
	dir := t.TempDir()
	require.NoError(t, r.draw(dir))
	require.NoError(t, r.write(dir))
	for _, name := range []string{"benchmarks.md", "fanout.svg", "latency-memory.svg", "latency-momento.svg", "recovery.svg"} {
		want, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		got, err := os.ReadFile(filepath.Join("../../../../docs", name))
		require.NoError(t, err)
		require.Equal(t, string(want), string(got), "%s: run go run ./cmd/report -render", name)
	}
}

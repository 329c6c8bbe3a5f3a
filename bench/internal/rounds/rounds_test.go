package rounds

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParse(t *testing.T) {
	row, ok := parse("BenchmarkFanOut/subs=10/All-2  \t 100\t  31.5 ns/op\t 0 allocs/op", 2)
	require.True(t, ok)
	require.Equal(t, Row{Name: "FanOut/subs=10/All", Values: map[string]float64{"ns/op": 31.5, "allocs/op": 0}}, row)

	row, ok = parse("BenchmarkX/pointers-8 \t 1\t 2 ns/op", 1)
	require.True(t, ok)
	require.Equal(t, "X/pointers-8", row.Name, "with one processor there is no suffix")

	for _, line := range []string{"", "PASS", "goos: linux", "BenchmarkX", "BenchmarkX-2 1", "BenchmarkX-2 1 a b", "--- FAIL: BenchmarkX"} {
		_, ok := parse(line, 2)
		require.False(t, ok, "%q", line)
	}
}

func TestSamples(t *testing.T) {
	s := make(Samples)
	for _, v := range []float64{10, 40, 20} {
		s.Add(Row{"base", map[string]float64{"ns": v}})
		s.Add(Row{"row", map[string]float64{"ns": v / 2}})
	}
	s.Add(Row{"base", map[string]float64{"ns": 1000}}) // of a round that was cut off
	require.Equal(t, []float64{0.5, 0.5, 0.5}, s.Ratios("row", "base", "ns"))
	require.Empty(t, s.Ratios("row", "none", "ns"))
	require.Equal(t, 10.0, Median(s["row"]["ns"]))
	require.Equal(t, 15.0, Median([]float64{20, 10}))
	require.Zero(t, Median(nil))
	require.Equal(t, 0.25, Spread([]float64{10, 20, 30, 15, 25}))
	require.Zero(t, Spread(nil))
}

package main

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/topicbus/pubsub/bench/internal/rounds"
)

func TestRatiosOfRounds(t *testing.T) {
	s := make(rounds.Samples)
	add := func(name, unit string, v float64) {
		s.Add(rounds.Row{Name: name, Values: map[string]float64{unit: v, "ns/op": 1}})
	}
	for round, slowdown := range []float64{1, 10, 2} { // of the machine
		others := []float64{4, 10, 1}[round]
		add("FanOut/subs=10/chan256", "ns/delivery", 40*slowdown)
		add("FanOut/subs=10/All", "ns/delivery", 8*others)
		add("Unloaded/subs=1/chan256", "p50-ns", 200*slowdown)
		add("Unloaded/subs=1/C", "p50-ns", 500*others)
	}
	got := ratios(s)
	require.Equal(t, map[string]float64{"FanOut/subs=10/All": 0.2, "Unloaded/subs=1/C": 2.5}, got)

	want := committed{Tolerance: 1.25, Ratios: map[string]float64{"FanOut/subs=10/All": 0.16, "Unloaded/subs=1/C": 2}}
	require.Empty(t, slower(want, got), "exactly at the tolerance")
	want.Ratios["FanOut/subs=10/All"] = 0.159
	want.Ratios["gone"] = 1
	require.Equal(t, []string{"FanOut/subs=10/All", "gone"}, slower(want, got))
}

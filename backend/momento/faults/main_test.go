// Package faults_test plays the fault matrix: what can go wrong between a
// [pubsub.Bus] and Momento, each as a test over TCP, through the official SDK,
// against the loopback server. docs/faults.md shows the result beside what the
// SDK does on its own; cmd/faultsdoc writes it.
package faults_test

import (
	"flag"
	"os"
	"testing"

	"go.uber.org/goleak"
)

var (
	full   = flag.Bool("faults.full", false, "play the longest versions of all rows")
	rounds = flag.Int("faults.rounds", 0, "number of random schedules of TestConformance")
	seed   = flag.Uint64("faults.seed", 0, "repeat TestInterleavings with this seed")
)

func TestMain(m *testing.M) {
	flag.Parse()
	// Most rows wait for time to pass; as many as processors at a time would
	// take several times as long.
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		_ = flag.Set("test.parallel", "16")
	}
	code := m.Run()
	if err := goleak.Find(); err != nil && code == 0 {
		os.Stderr.WriteString(err.Error() + "\n")
		code = 1
	}
	os.Exit(code)
}

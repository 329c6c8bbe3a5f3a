package faults_test

import (
	"testing"
	"time"

	"github.com/topicbus/pubsub/backend/momento/faults/internal/matrix"
)

// TestRecoveryTime shows that the time from the server's return to the first
// message does not depend on how long the server was away. Outages of 10
// minutes are played in fake time, by TestRecoveryTimeDoesNotDependOnTheOutage
// of backend/momento. It does not run in parallel: it measures.
func TestRecoveryTime(t *testing.T) {
	outages := []time.Duration{time.Second}
	if *full {
		outages = append(outages, 30*time.Second)
	}
	for _, away := range outages {
		row := matrix.Outage(away, 1)
		row.Want.Recovered = 3 * time.Second
		t.Run(away.String(), func(t *testing.T) {
			o := matrix.Play(row, matrix.Bus)
			for _, breach := range row.Breaches(o) {
				t.Error(breach)
			}
			t.Logf("back after %v", o.Recovered)
		})
	}
}

package faults_test

import (
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub/backend/nats/faults/internal/matrix"
)

var full = flag.Bool("faults.full", false, "play the long rows too, and 1,000 interleavings")

// TestMatrix plays each row on this module: the law holds, nothing comes twice,
// and nothing is left behind.
func TestMatrix(t *testing.T) {
	for _, row := range matrix.Rows() {
		if row.Long && !*full || row.Racy && raced {
			continue // the document plays them
		}
		t.Run(strings.ReplaceAll(row.ID(), " ", "_"), func(t *testing.T) {
			o := matrix.Play(row, matrix.Bus)
			require.Empty(t, row.Breaches(o), "%+v", o)
			t.Log(row.Text(o))
		})
	}
}

// TestRates has a server misbehave in each way that it can, and holds how often
// it is asked against a limit.
func TestRates(t *testing.T) {
	if !*full {
		return // each takes a minute; TestStreamsTakeTurns is quick
	}
	for _, rate := range matrix.Rates() {
		t.Run(strings.ReplaceAll(rate.Name, " ", "_"), func(t *testing.T) {
			o := matrix.PlayRate(rate)
			require.Empty(t, rate.Breaches(o), "%+v", o)
			t.Logf("%+v", o)
		})
	}
}

// TestDocument: docs/nats.md has all rows, in order.
func TestDocument(t *testing.T) {
	page, err := os.ReadFile("../../../docs/nats.md")
	require.NoError(t, err)
	rest := string(page)
	for _, row := range matrix.Rows() {
		_, after, found := strings.Cut(rest, "| "+row.Name+" | ")
		require.True(t, found, "%s: go run ./faults/cmd/faultsdoc -o ../../docs/nats.md", row.ID())
		rest = after
	}
	for _, rate := range matrix.Rates() {
		require.Contains(t, rest, "| "+rate.Name+" | ")
	}
}

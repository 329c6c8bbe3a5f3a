package faults_test

import (
	"flag"
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
		if row.Long && !*full {
			continue // the document plays them
		}
		t.Run(strings.ReplaceAll(row.ID(), " ", "_"), func(t *testing.T) {
			o := matrix.Play(row, matrix.Bus)
			require.Empty(t, row.Breaches(o), "%+v", o)
			t.Log(row.Text(o))
		})
	}
}

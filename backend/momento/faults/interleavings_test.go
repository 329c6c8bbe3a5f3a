package faults_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub/backend/momento/faults/internal/matrix"
)

// TestInterleavings ends subscriptions in several ways at once, at every
// stage. Each must leave nothing behind, whoever comes first. There are 1000
// of them with -faults.full, and half as many without.
func TestInterleavings(t *testing.T) {
	first, total, batch := uint64(rand.Uint32()), 500, 25
	switch {
	case *seed != 0:
		first, total, batch = *seed, 1, 1
	case *full:
		total = 1000
	}
	for from := first; from < first+uint64(total); from += uint64(batch) {
		to := from + uint64(batch)
		t.Run(fmt.Sprintf("%d of %d, from seed %d", batch, total, from), func(t *testing.T) {
			t.Parallel()
			left := matrix.Alone(func() { // looking for goroutines takes a while
				for s := from; s < to; s++ {
					row := matrix.Interleaving(s)
					for _, breach := range row.Breaches(matrix.PlayHere(row, matrix.Bus)) {
						t.Errorf("repeat with -faults.seed %d: %s", s, breach)
					}
				}
			})
			require.Empty(t, left, "goroutines are left")
		})
	}
}

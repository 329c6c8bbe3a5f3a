package faults_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/topicbus/pubsub/backend/momento/faults/internal/matrix"
)

// TestInterleavings ends subscriptions in several ways at once, at every
// stage. Each must leave nothing behind, whoever comes first.
func TestInterleavings(t *testing.T) {
	first, n := *seed, 1
	if first == 0 {
		first, n = uint64(rand.Uint32()), 1000
	}
	const atOnce = 16
	for part := range uint64(atOnce) {
		t.Run(fmt.Sprintf("%d-%d", part+1, atOnce), func(t *testing.T) {
			t.Parallel()
			for i := part; i < uint64(n) && !t.Failed(); i += atOnce {
				row := matrix.Interleaving(first + i)
				for _, breach := range row.Breaches(matrix.Play(row, matrix.Bus)) {
					t.Errorf("repeat with -faults.seed %d: %s", first+i, breach)
				}
			}
		})
	}
}

package consume

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The timetable gives its tasks in the order in which they are due, those of the
// same time in the order of taking.
func TestTimetable(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	for range 100 {
		var w timetable[int]
		var all []*task[int]
		for i := range r.IntN(50) {
			all = append(all, &task[int]{number: uint64(i), due: time.Unix(r.Int64N(20), 0)})
		}
		for _, i := range r.Perm(len(all)) {
			w.push(all[i])
		}
		slices.SortStableFunc(all, func(a, b *task[int]) int { return a.due.Compare(b.due) })
		for _, want := range all {
			due, ok := w.next()
			require.True(t, ok)
			require.Equal(t, want.due, due)
			require.Same(t, want, w.pop())
		}
		_, ok := w.next()
		require.False(t, ok)
	}
}

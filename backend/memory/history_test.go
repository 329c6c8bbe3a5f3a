package memory

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub"
)

// The ring holds what a slice would that is cut to the limits.
func TestHistoryAgainstASlice(t *testing.T) {
	seed := rand.Uint64()
	t.Log("seed", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	for range 300 {
		limits := historyLimits{messages: rng.IntN(12), bytes: 1 + rng.IntN(40)}
		switch rng.IntN(4) {
		case 0:
			limits.messages = math.MaxInt
		case 1:
			limits.bytes = math.MaxInt
		}
		h := history{limits: limits}
		var model []entry
		var lost pubsub.Position
		drop := func(n int) {
			if n > 0 {
				lost = model[n-1].at
				model = model[n:]
			}
		}
		for i := range uint64(60) {
			if rng.IntN(30) == 0 {
				h.clear()
				drop(len(model))
			}
			e := entry{pubsub.Position{Page: 1, Sequence: i + 1}, pubsub.Payload{Data: make([]byte, rng.IntN(12))}}
			h.add(e.at, e.p)
			if limits.messages > 0 {
				model = append(model, e)
			}
			bytes := 0
			for i := len(model) - 1; i >= 0; i-- {
				if bytes += cost(model[i].p); bytes > limits.bytes || len(model)-i > limits.messages {
					drop(i + 1)
					break
				}
			}
			var got []entry
			for e := range h.all {
				got = append(got, e)
			}
			require.Equal(t, append([]entry{}, model...), append([]entry{}, got...))
			require.Equal(t, lost, h.lost)
			for i := h.count; i < len(h.ring); i++ {
				require.Zero(t, *h.at(i), "what was dropped is not kept alive")
			}
		}
	}
}

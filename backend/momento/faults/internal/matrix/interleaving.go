package matrix

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/topicbus/pubsub/backend/momento"
	"github.com/topicbus/pubsub/backend/momento/momentotest"
)

// Interleaving returns a row in which a subscription is brought to some stage
// and then several ways to end it, messages and another fault come together,
// each after a moment. All that is chosen follows from the seed; what comes
// first is up to the machine.
func Interleaving(seed uint64) Row {
	return Row{
		Group: "Interleavings",
		Name:  fmt.Sprint(seed),
		Want:  Want{Chance: true},
		// A Subscribe that nothing else ends must end before it counts as stuck.
		Backend: []momento.Option{momento.WithSubscribeTimeout(promptly / 6)},
		Play:    func(r *Run) { r.interleave(rand.New(rand.NewPCG(seed, 0))) },
	}
}

func (r *Run) interleave(rng *rand.Rand) {
	var wg sync.WaitGroup
	soon := func(f func()) {
		after := time.Duration(rng.IntN(4000)) * time.Microsecond
		wg.Go(func() {
			time.Sleep(after)
			f()
		})
	}
	stage := stages[rng.IntN(len(stages))]
	r.Bring(stage)
	if stage == Connect {
		if rng.IntN(2) == 0 {
			r.Server.ClearFaults() // else it never gets through
		}
		r.Topic(0)
		soon(func() { r.within("Subscribe does not return", func() { r.Open(1) }) })
	}
	messages := rng.IntN(20)
	soon(func() { r.Publish(messages) })
	switch rng.IntN(6) {
	case 0:
		soon(func() { r.Server.EndStreams(momentotest.Fail(codes.Unavailable, "scripted")) })
	case 1:
		soon(r.Server.ResetConnections)
	case 2:
		soon(r.Server.ClearFaults)
	case 3:
		soon(func() { r.check(r.Server.Restart()) })
	}
	for _, i := range rng.Perm(len(actions))[:1+rng.IntN(3)] {
		soon(func() { r.within(string(actions[i])+" does not return", func() { r.act(actions[i]) }) })
	}
	wg.Wait()
	// Where a Close came before the subscription, ending it is up to the end
	// of the row; there is nothing to wait for.
	r.cancel()
	r.AwaitEnd()
}

package bench

import (
	"fmt"
	"testing"

	"github.com/topicbus/pubsub/bench/shape"
)

// Unloaded latency: one publish until all subscribers have it, at rest
// before and after.
func BenchmarkUnloaded(b *testing.B) {
	load := shape.Bytes(1, 128)
	for _, n := range []int{1, 100} {
		for _, c := range (contenders{chan256, bare256, busAll, busNext, busC}) {
			b.Run(fmt.Sprintf("subs=%d/%s", n, c.Name), func(b *testing.B) {
				shape.OneByOne(b, c, load, n)
			})
		}
	}
}

// Latency at fixed rates, from when each message was due.
func BenchmarkPaced(b *testing.B) {
	load := shape.Bytes(1, 128)
	for _, rate := range []int{1000, 10_000, 100_000} {
		for _, c := range (contenders{chan256, busAll, busC}) {
			b.Run(fmt.Sprintf("rate=%d/subs=10/%s", rate, c.Name), func(b *testing.B) {
				shape.Paced(b, c, load, 10, rate)
			})
		}
	}
}

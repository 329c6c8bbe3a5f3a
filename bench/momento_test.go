package bench

import (
	"fmt"
	"testing"

	"github.com/topicbus/pubsub/bench/shape"
)

// The Momento benchmarks run over TCP on the loopback interface, against the
// server of momentotest. Its own work is in all figures.

// Publishing: eight publishers that wait for each answer.
func BenchmarkMomentoPublish(b *testing.B) {
	load := shape.Bytes(8, 128)
	for _, c := range momentoContenders(false) {
		b.Run("pubs=8/subs=0/"+c.Name, func(b *testing.B) {
			shape.Flood(b, c, load, shape.Fleet{Publishers: 8})
		})
	}
}

// Receiving what is published within the server. The subscribers of a bus
// share a stream, those of the SDK have one each.
func BenchmarkMomentoReceive(b *testing.B) {
	load := shape.Bytes(1, 128)
	for _, n := range []int{1, 100} {
		for _, c := range momentoContenders(true) {
			b.Run(fmt.Sprintf("subs=%d/%s", n, c.Name), func(b *testing.B) {
				shape.Flood(b, c, load, shape.Fleet{Subscribers: n})
			})
		}
	}
}

// Latency at fixed rates, from when each publish was due until the message
// came back.
func BenchmarkMomentoPaced(b *testing.B) {
	load := shape.Bytes(1, 128)
	for _, rate := range []int{100, 1000} {
		for _, c := range momentoContenders(false) {
			b.Run(fmt.Sprintf("rate=%d/subs=1/%s", rate, c.Name), func(b *testing.B) {
				shape.Paced(b, c, load, 1, rate)
			})
		}
	}
}

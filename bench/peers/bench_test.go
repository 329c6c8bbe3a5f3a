package peers

import (
	"fmt"
	"testing"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/bench/shape"
	"github.com/topicbus/pubsub/codec"
)

// contenders are ours, raw channels and the peers.
func contenders() []shape.Contender[[]byte] {
	cs := []shape.Contender[[]byte]{
		shape.Channels[[]byte]("chan256", buffer),
		shape.BareChannels[[]byte]("chan256-bare", buffer),
		shape.Bus[[]byte]{Name: "All", Codec: codec.Bytes(), Read: shape.All[[]byte], Policy: pubsub.Block}.Contender(),
		shape.Bus[[]byte]{Name: "C", Codec: codec.Bytes(), Read: shape.C[[]byte], Policy: pubsub.Block}.Contender(),
	}
	for _, p := range All() {
		cs = append(cs, p.Contender)
	}
	return cs
}

// One publisher, one topic, many subscribers.
func BenchmarkFanOut(b *testing.B) {
	load := shape.Bytes(1, 128)
	for _, n := range []int{1, 10, 100, 1000} {
		for _, c := range contenders() {
			b.Run(fmt.Sprintf("subs=%d/%s", n, c.Name), func(b *testing.B) {
				shape.Flood(b, c, load, shape.Fleet{Subscribers: n})
			})
		}
	}
}

// Publishers that go round many topics of one subscriber each.
func BenchmarkTopics(b *testing.B) {
	load := shape.Bytes(8, 128)
	for _, c := range contenders() {
		b.Run("topics=1000/pubs=8/subs=1/"+c.Name, func(b *testing.B) {
			shape.Flood(b, c, load, shape.Fleet{Publishers: 8, Topics: 1000, Subscribers: 1})
		})
	}
}

// One publish until all subscribers have it, at rest before and after.
func BenchmarkUnloaded(b *testing.B) {
	load := shape.Bytes(1, 128)
	for _, n := range []int{1, 100} {
		for _, c := range contenders() {
			b.Run(fmt.Sprintf("subs=%d/%s", n, c.Name), func(b *testing.B) {
				shape.OneByOne(b, c, load, n)
			})
		}
	}
}

package bench

import (
	"fmt"
	"testing"

	"github.com/topicbus/pubsub/bench/shape"
)

// One publisher, one topic, many subscribers.
func BenchmarkFanOut(b *testing.B) {
	load := shape.Bytes(1, 128)
	for _, n := range []int{1, 10, 100, 1000} {
		for _, c := range (contenders{chan256, bare256, chan64, busAll, busMessages, busNext, busC, busEvents}) {
			b.Run(fmt.Sprintf("subs=%d/%s", n, c.Name), func(b *testing.B) {
				shape.Flood(b, c, load, shape.Fleet{Subscribers: n})
			})
		}
	}
}

// PublishAll of 64 messages at once.
func BenchmarkBatch(b *testing.B) {
	load := shape.Bytes(1, 128)
	for _, n := range []int{1, 10, 100} {
		for _, c := range (contenders{chan256, busAll, busAll64}) {
			b.Run(fmt.Sprintf("subs=%d/%s", n, c.Name), func(b *testing.B) {
				shape.Flood(b, c, load, shape.Fleet{Subscribers: n})
			})
		}
	}
}

// The size of a message, which nobody should have to copy.
func BenchmarkPayload(b *testing.B) {
	for _, size := range []int{64, 1 << 10, 64 << 10} {
		load := shape.Bytes(1, size)
		for _, c := range (contenders{chan256, busAll, busC}) {
			b.Run(fmt.Sprintf("bytes=%d/subs=10/%s", size, c.Name), func(b *testing.B) {
				shape.Flood(b, c, load, shape.Fleet{Subscribers: 10})
			})
		}
	}
}

// Publishers that share one topic.
func BenchmarkPublishers(b *testing.B) {
	load := shape.Bytes(8, 128)
	for _, n := range []int{2, 8} {
		for _, c := range (contenders{chan256, busAll, busC}) {
			b.Run(fmt.Sprintf("pubs=%d/subs=10/%s", n, c.Name), func(b *testing.B) {
				shape.Flood(b, c, load, shape.Fleet{Publishers: n, Subscribers: 10})
			})
		}
	}
}

// Publishers that go round many topics of one subscriber each.
func BenchmarkTopics(b *testing.B) {
	load := shape.Bytes(8, 128)
	for _, c := range (contenders{chan256, bare256, busAll, busNext, busC}) {
		b.Run("topics=1000/pubs=8/subs=1/"+c.Name, func(b *testing.B) {
			shape.Flood(b, c, load, shape.Fleet{Publishers: 8, Topics: 1000, Subscribers: 1})
		})
	}
}

// Package shape measures publish/subscribe systems against each other.
//
// A [Contender] is a system under measurement, behind three calls. A [Load]
// is the messages, a [Fleet] is how many publish and subscribe to how many
// topics, and the benchmarks [Flood], [OneByOne], [Paced] and [Overrun] drive
// any contender through the same work. All of them wait until every
// subscriber has everything, and fail unless each got every message exactly
// once, in order, or was told of the loss in the right place.
//
// What the harness itself costs (a call and a comparison per delivery, about
// 2 ns) is in everybody's figures alike.
package shape

import "fmt"

// Contender is a publish/subscribe system under measurement.
type Contender[T any] struct {
	Name string
	Open func(Fleet) (System[T], error)
	// Unordered contenders promise no order, so none is asked of them.
	Unordered bool
}

// System is an open contender. Publish is called from many goroutines at once.
type System[T any] interface {
	// Subscribe has messages of the topic handed to s until Close. When it
	// returns, everything published from then on arrives.
	Subscribe(topic int, s *Sink[T]) error
	// Publish hands v to the topic. It may wait; it must not drop.
	Publish(topic int, v T) error
	// Close ends everything, and waits for those who call the sinks.
	Close() error
}

// Batcher is a [System] that can publish many messages at once. [Flood] does so
// if BatchSize is more than 1.
type Batcher[T any] interface {
	BatchSize() int
	PublishAll(topic int, vs []T) error
}

// Fleet is how many take part. Zeroes count as one, except for Subscribers.
type Fleet struct {
	Publishers  int // each publishes to every topic; at most maxPublishers
	Topics      int
	Subscribers int // of each topic
}

// maxPublishers bounds what a sink keeps books of.
const maxPublishers = 8

// TopicNames returns names of the fleet's topics, for systems that want some.
func (f Fleet) TopicNames() []string {
	names := make([]string, f.Topics)
	for i := range names {
		names[i] = fmt.Sprintf("orders.%04d", i)
	}
	return names
}

// Package peers holds what a Go program would otherwise use for publish and
// subscribe inside one process, as contenders of the benchmarks:
//
//	cd bench/peers && go test -bench .
//
// It is a module of its own, so that nobody inherits these dependencies. Each
// peer is used through its natural API, in its lossless mode, with buffers of
// 256 where it has any.
package peers

import (
	"sync"

	"github.com/topicbus/pubsub/bench/shape"
)

// Peer is a library to compare with.
type Peer struct {
	shape.Contender[[]byte]
	Module string
	// What a subscriber that does not read does to the others.
	Stuck Stuck
	// Typed: T comes back without a type assertion or a codec of one's own.
	Typed bool
	// Bubble: works in a testing/synctest bubble, from opening to closing.
	Bubble bool
	// How a subscriber learns what it lost, where messages can get lost.
	Loss string
	// How a subscriber goes on behind the last message it had.
	Resume string
	// How it was used here, and what else matters.
	Remarks string
}

// Stuck is what happens to a publisher when a subscriber does not read.
type Stuck string

const (
	Blocks    Stuck = "blocks all" // publishers wait; with them all other subscribers
	Unbounded Stuck = "no limit"   // memory grows
)

const buffer = 256

// All returns the peers.
func All() []Peer {
	return []Peer{
		watermill(),
		mempubsub(),
		tailscale(),
		cskr(),
		eventBusAsync(),
		eventBusSync(),
		goBroadcast(),
		libp2p(),
		moby(),
		natsEmbedded(),
		ethereum(),
		goEvents(),
		kubernetes(),
	}
}

// readers are the goroutines that read a contender's channels.
type readers struct{ sync.WaitGroup }

func read[M any](r *readers, from <-chan M, take func(M)) {
	r.Go(func() {
		for m := range from {
			take(m)
		}
	})
}

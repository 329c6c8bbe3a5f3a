// Package engine has the engines that a soak can run over. An engine of a module
// below this one stays there, with a program of one line:
//
//	func main() { os.Exit(run.Main(engine.Memory(), natsEngine())) }
//
// It starts itself for its nodes, so nothing else has to know the engine.
package engine

import (
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/topicbus/pubsub"
)

// Engine is a backend, and the service behind it.
type Engine struct {
	Name string

	// Serve starts the service, in the process of the driver. It is nil if the
	// backend is the service: all runs in one process then.
	Serve func() (Service, error)

	// Open opens a backend, in a process of its own. address is what Serve's
	// Service says, "" without one. patience is how long it may take to find out
	// that nothing comes any more.
	Open func(address string, patience time.Duration, log *slog.Logger) (Backend, error)

	// Faults are those of a backend that is its own service; nil otherwise.
	Faults func(b Backend) []Fault
}

// Backend is an open backend.
type Backend interface {
	pubsub.Backend
	Close() error
}

// Service is a running service, on the loopback interface.
type Service interface {
	Address() string
	Faults() []Fault
	// Streams is how many subscriptions the service serves.
	Streams() int
	Close() error
}

// Fault is one way to fail.
type Fault struct {
	Name string
	// Do does it, to one of the topics or to all. If it lasts, undo ends it.
	Do func(r *rand.Rand, topic string) (undo func())
	// Every is how often it happens, compared to others; 0 is 1.
	Every float64
}

// Choose draws a fault.
func Choose(r *rand.Rand, faults []Fault) Fault {
	sum := 0.0
	for _, f := range faults {
		sum += f.weight()
	}
	at := r.Float64() * sum
	for _, f := range faults {
		if at -= f.weight(); at < 0 {
			return f
		}
	}
	return faults[len(faults)-1]
}

func (f Fault) weight() float64 {
	if f.Every == 0 {
		return 1
	}
	return f.Every
}

// for some topics, for all at other times.
func some(r *rand.Rand, topic string) []string {
	if r.IntN(3) == 0 {
		return nil
	}
	return []string{topic}
}

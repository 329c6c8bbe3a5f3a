// Package run is the fleet: a driver that starts the processes, publishes, has
// them restarted one after the other, and reports what it took.
package run

import "github.com/topicbus/pubsub"

// Engine is a backend, and the service behind it.
type Engine struct {
	Name string
	// Serve starts the service, in a process of its own.
	Serve func() (Service, error)
	// Open opens a backend, in another process. address leads to the service.
	Open func(address string) (Backend, error)
}

// Backend is an open backend.
type Backend interface {
	pubsub.Backend
	Close() error
}

// Service is a running service, on the loopback interface.
type Service interface {
	Address() string // host:port
	// Streams tells how many subscriptions the service serves, and how many it
	// was asked for so far.
	Streams() (open, opened int)
	Close() error
}

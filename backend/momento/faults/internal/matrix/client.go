package matrix

import (
	"context"

	"github.com/topicbus/pubsub"
)

// client is what a row is played on.
type client interface {
	// subscribe opens a subscription whose life ctx governs, and has it write
	// to j what it hands out and, last, its end.
	subscribe(ctx context.Context, topic string, j *journal) (reader, error)
	publish(ctx context.Context, topic string, p pubsub.Payload) error
	// close closes all that belongs to the client.
	close()
}

// reader is an open subscription.
type reader interface{ close() }

// Kind is a kind of client.
type Kind string

const (
	Bus Kind = "bus" // a pubsub.Bus over the Momento backend
	SDK Kind = "sdk" // the official SDK with its default configuration
)

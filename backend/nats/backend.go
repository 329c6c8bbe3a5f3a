// Package nats is the NATS JetStream backend of package pubsub: self-hosted,
// durable, for any number of processes.
//
// Each topic is one JetStream stream with one subject. The stream numbers its
// messages without holes and keeps them, so that a subscription resumes at the
// next message after any outage, and what is missing is counted exactly:
//
//	CauseBackend    messages were deleted, purged, or overtaken by the stream's
//	                limits before they were delivered
//	CauseReconnect  the same, while the subscription was down or away
//	CauseReset      the stream was deleted and made again, or lost messages
//	                that it had numbered
//
// A Position's Page is the time at which the stream was made, in nanoseconds,
// and its Sequence is the number of the message in the stream.
//
// The payload is the message's data, untouched. The header Content-Type tells
// whether it is Text or Binary. So other programs, such as the nats tool, read
// what this package writes, and the other way round.
//
// A subscription ends by itself only with an error that will not pass: refused
// credentials, no permission, no such stream (if the Backend may not make it),
// a stream that is not the topic's, or the Backend's end.
//
// Goroutines: a Backend has one while it connects, or waits for a connection of
// the caller's to be there; Close waits for it. Its connection has those of the
// client library, which end with it; Close waits a moment for the one that calls
// handlers. A stream runs on the goroutine that calls Receive and has no other.
package nats

import (
	"context"
	"fmt"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/internal/turns"
)

// Backend is a [pubsub.Backend] whose topics are JetStream streams. Its
// methods may be called from many goroutines at once.
type Backend struct {
	options  options
	ctx      context.Context // ends with Close
	cancel   context.CancelCauseFunc
	link     *link
	opening  chan struct{} // room for streams that open at the same time
	readers  readers
	recovery *turns.Recovery
}

var (
	_ pubsub.Backend      = (*Backend)(nil)
	_ pubsub.TopicBackend = (*Backend)(nil)
)

const (
	// maxOpening is how many streams open at once, so that hundreds of them
	// that come back together do not make each other time out.
	maxOpening = 32
	// closeWait is how long Close waits for calls and streams that do not end
	// at once.
	closeWait = 100 * time.Millisecond
)

// New returns a Backend for the server at url, such as nats://127.0.0.1:4222,
// or for the servers of a cluster, whose URLs are separated by commas. It does
// no I/O but to read files named by options: the first Publish or Subscribe
// connects, and tells whether the server is there and accepts the credentials.
// Once made, the connection comes back by itself.
//
// An error of New matches pubsub.ErrInvalidArgument, says what to change, and
// contains no secret. The caller owes a Close.
func New(url string, opts ...Option) (*Backend, error) {
	o, err := newOptions(opts)
	if err != nil {
		return nil, err
	}
	if err := o.checkURL(url); err != nil {
		return nil, err
	}
	b := newBackend(o)
	b.link.dial = func(handlers []natsgo.Option) (*natsgo.Conn, error) {
		return natsgo.Connect(url, append(o.connection(), handlers...)...)
	}
	return b, nil
}

// NewFromConn returns a Backend that uses a connection of the caller's, and
// does not close it. Options about the connection are refused. nc may not be
// there yet, as with nats.RetryOnFailedConnect.
//
// The Backend puts handlers of its own before nc's handlers for disconnects,
// reconnects, errors and the end, so set yours before. One connection takes one
// Backend: two that are made at the same time lose each other's handlers. They
// stay when the Backend is closed, and then only call yours.
//
// If nc has a reconnect buffer, which is nats.go's default, then a message
// whose Publish failed because the connection broke may be stored later. Such
// an error's outcome is unknown. nats.ReconnectBufSize(-1) avoids that.
//
// The caller owes a Close, before he closes nc.
func NewFromConn(nc *natsgo.Conn, opts ...Option) (*Backend, error) {
	if nc == nil {
		return nil, invalid("NewFromConn: the connection is nil")
	}
	o, err := newOptions(opts)
	if err != nil {
		return nil, err
	}
	if len(o.forConnection) > 0 {
		return nil, invalid("NewFromConn: %s is about the connection, which is made already; give it to nats.Connect instead", o.forConnection[0])
	}
	o.knowConn(nc)
	b := newBackend(o)
	b.link.adopt(nc)
	return b, nil
}

func newBackend(o *options) *Backend {
	b := &Backend{options: *o, opening: make(chan struct{}, maxOpening),
		// A server of one's own takes more than a service does.
		recovery: turns.New(turns.Budget{Spare: 400, PerSecond: 10})}
	b.ctx, b.cancel = context.WithCancelCause(context.Background())
	b.link = newLink(b.ctx, o)
	return b
}

// Subscribe implements [pubsub.Backend]. Unless WithoutCreation is given it
// makes the topic's stream if there is none.
func (b *Backend) Subscribe(ctx context.Context, topic string, from pubsub.Start) (pubsub.Stream, error) {
	n, err := b.options.names(topic)
	if err != nil {
		return nil, err
	}
	s, err := b.subscribe(ctx, n, from)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Publish implements [pubsub.Backend]. It returns when the server has stored
// the message. Unless WithoutCreation is given it makes the topic's stream if
// there is none.
func (b *Backend) Publish(ctx context.Context, topic string, p pubsub.Payload) error {
	t, err := b.publisher(topic)
	if err != nil {
		return err
	}
	return t.Publish(ctx, p)
}

// Topic implements [pubsub.TopicBackend].
func (b *Backend) Topic(via pubsub.Backend, name string) pubsub.TopicPublisher {
	if via != pubsub.Backend(b) {
		return nil
	}
	t, err := b.publisher(name)
	if err != nil {
		return nil // Publish by name tells why
	}
	return t
}

// Close ends the Backend: its streams end with pubsub.ErrClosed, and calls
// under way return. It closes the connection, unless that is the caller's. For
// calls and streams that do not end at once it waits a tenth of a second. The
// error is always nil.
func (b *Backend) Close() error {
	b.cancel(errClosed)
	b.link.close()
	return nil
}

// Format implements [fmt.Formatter], so that no verb shows a secret.
func (b *Backend) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "nats.Backend(prefix %q)", b.options.prefix)
}

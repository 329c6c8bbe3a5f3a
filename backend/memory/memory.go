package memory

import (
	"context"
	"math"
	"math/rand/v2"
	"time"

	"github.com/topicbus/pubsub"
)

// Option configures a [Backend].
type Option func(*Backend)

// WithHistory keeps the newest n messages of every topic, for streams that
// resume or start further back, and for [Backend.Published]. Topics are then kept
// until [Backend.Forget]. The default, 0, keeps none; so does a negative n.
func WithHistory(n int) Option { return func(b *Backend) { b.engine.history.messages = max(n, 0) } }

// WithHistoryBytes keeps the newest messages of every topic as long as their
// payloads have no more than n bytes together; an empty one, or a Go value,
// counts as one byte. With [WithHistory] both limits hold, without it this one
// alone. The default is no limit, as is an n of 0 or less.
func WithHistoryBytes(n int) Option { return func(b *Backend) { b.engine.history.bytes = max(n, 0) } }

// WithMaxPayload refuses payloads of more than n bytes with
// [pubsub.ErrPayloadTooLarge]. The default is no limit, as is an n of 0 or less.
func WithMaxPayload(n int) Option {
	if n <= 0 {
		n = math.MaxInt
	}
	return func(b *Backend) { b.engine.maxPayload = n }
}

// WithPage numbers the topics that are seen first on page n: for tests that
// compare positions with fixed numbers. The default, as well as an n of 0, is a
// page from the clock, so that a position which was kept from an earlier process
// is not taken for one of this process: who resumes behind it is told of a reset.
func WithPage(n uint64) Option {
	return func(b *Backend) { b.engine.page = min(n, 1<<63) } // greater ones will come
}

// pageFromClock is the time in nanoseconds, but for the lowest ten bits. These
// are random, since two backends may be made at the same instant of the fake
// clock of a test.
func pageFromClock() uint64 {
	const random = 1 << 10
	return uint64(time.Now().UnixNano())/random*random + rand.Uint64N(random)
}

// Backend implements [pubsub.Backend] in memory. All methods may be called
// from many goroutines at once. It starts none.
type Backend struct {
	engine engine
	faults faults
}

var (
	_ pubsub.Backend        = (*Backend)(nil)
	_ pubsub.TopicBackend   = (*Backend)(nil)
	_ pubsub.ValueCarrier   = (*Backend)(nil)
	_ pubsub.TopicPublisher = (*handle)(nil)
	_ pubsub.BatchPublisher = (*handle)(nil)
	_ pubsub.Flusher        = (*stream)(nil)
	_ pubsub.Holder         = (*stream)(nil)
)

// New returns an empty backend.
func New(opts ...Option) *Backend {
	b := &Backend{}
	b.engine.maxPayload = math.MaxInt
	b.engine.news.Store(1)
	for _, opt := range opts {
		opt(b)
	}
	switch h := &b.engine.history; {
	case h.bytes == 0:
		h.bytes = math.MaxInt
	case h.messages == 0:
		h.messages = math.MaxInt
	}
	if b.engine.page == 0 {
		b.engine.page = pageFromClock()
	}
	b.faults.attach(&b.engine)
	return b
}

// Close ends all streams with [pubsub.ErrClosed], after what they have queued,
// and wakes the publishers that wait for a turn; it does not wait for either.
// A Publish that was delivering fails with ErrClosed, too, and so does
// everything called later. Close is idempotent and always
// returns nil.
func (b *Backend) Close() error {
	b.engine.close()
	b.faults.close()
	return nil
}

// Publish implements [pubsub.Backend]. Its errors say whether the message was
// accepted ([pubsub.OutcomeOf]): it may have been if ctx ended or the backend
// was closed meanwhile.
func (b *Backend) Publish(ctx context.Context, topic string, p pubsub.Payload) error {
	return b.engine.publish(ctx, topic, p)
}

// Topic implements [pubsub.TopicBackend]. What it returns is a
// [pubsub.BatchPublisher], too. It keeps nothing of a topic that nobody listens
// to.
func (b *Backend) Topic(via pubsub.Backend, name string) pubsub.TopicPublisher {
	if via != pubsub.Backend(b) {
		return nil
	}
	return &handle{engine: &b.engine, max: b.engine.maxPayload, name: name}
}

// CarriesValues implements [pubsub.ValueCarrier]: it returns true. Subscribers
// get the very value that was published. It has no bytes, so [WithMaxPayload]
// does not concern it.
func (b *Backend) CarriesValues() bool { return true }

// Subscribe implements [pubsub.Backend]. While the topic is disconnected it
// fails with [pubsub.ErrUnavailable]. The stream is a [pubsub.Flusher] and a
// [pubsub.Holder].
func (b *Backend) Subscribe(ctx context.Context, topic string, from pubsub.Start) (pubsub.Stream, error) {
	return b.engine.subscribe(ctx, topic, from)
}

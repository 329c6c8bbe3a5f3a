package memory

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"unicode/utf8"

	"github.com/topicbus/pubsub"
)

// Option configures a [Backend].
type Option func(*Backend)

// WithHistory keeps the newest n messages of every topic, for streams that
// resume and for [Backend.Published]. Topics are then kept for the life of the
// backend. The default, 0, keeps none; so does a negative n.
func WithHistory(n int) Option { return func(b *Backend) { b.history = max(n, 0) } }

// WithMaxPayload refuses payloads of more than n bytes with
// [pubsub.ErrPayloadTooLarge]. The default is no limit, as is an n of 0 or less.
func WithMaxPayload(n int) Option {
	if n <= 0 {
		n = math.MaxInt
	}
	return func(b *Backend) { b.maxPayload = n }
}

// maxIdle is how many topics without streams and history keep their numbers.
const maxIdle = 1024

// Backend implements [pubsub.Backend] in memory. All methods may be called
// from many goroutines at once. It starts none.
type Backend struct {
	history    int
	maxPayload int

	// guarded is set when Publish must not take the short way: the backend is
	// closed or a fault waits for publishers.
	guarded atomic.Bool
	cache   cache
	open    atomic.Int64  // streams
	done    chan struct{} // closed by Close

	topics sync.Map // name -> *topic; written with mu held

	mu     sync.Mutex // taken before a topic's mu
	closed bool
	count  int      // of topics
	page   uint64   // of topics that are seen for the first time
	idle   []*topic // oldest first
	faults faults
}

var _ pubsub.Backend = (*Backend)(nil)

// New returns an empty backend.
func New(opts ...Option) *Backend {
	b := &Backend{maxPayload: math.MaxInt, page: 1, done: make(chan struct{})}
	for _, opt := range opts {
		opt(b)
	}
	b.cache.grow()
	return b
}

// Close ends all streams with [pubsub.ErrClosed], after what they have queued,
// and wakes the publishers that wait for a turn; it does not wait for either.
// A Publish that was delivering fails with ErrClosed, too, and so does
// everything called later. Close is idempotent and always
// returns nil.
func (b *Backend) Close() error {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return nil
	}
	b.closed = true
	b.guarded.Store(true)
	close(b.done)
	b.mu.Unlock()

	for _, v := range b.topics.Range {
		v.(*topic).close()
	}
	return nil
}

func (b *Backend) isClosed() bool {
	select {
	case <-b.done:
		return true
	default:
		return false
	}
}

// Publish implements [pubsub.Backend]. Its errors say whether the message was
// accepted: it may have been if ctx ended or the backend was closed meanwhile.
func (b *Backend) Publish(ctx context.Context, name string, p pubsub.Payload) error {
	t := b.cache.slot(name).Load()
	if t == nil || t.name != name || b.guarded.Load() || len(p.Data) > b.maxPayload {
		return b.publish(ctx, name, p)
	}
	return t.publish(ctx, p)
}

// publish is Publish for all that is not everyday.
func (b *Backend) publish(ctx context.Context, name string, p pubsub.Payload) error {
	if len(p.Data) > b.maxPayload {
		return fmt.Errorf("memory: %w: %d bytes, the limit is %d", pubsub.ErrPayloadTooLarge, len(p.Data), b.maxPayload)
	}
	if b.guarded.Load() {
		if err := b.guard(ctx); err != nil {
			return err
		}
	}
	t, err := b.lookup(name)
	if t == nil {
		return err
	}
	return t.publish(ctx, p)
}

// lookup finds the topic for a publisher. It is nil where a message has no
// effect: nobody listens and nothing is kept.
func (b *Backend) lookup(name string) (*topic, error) {
	if v, ok := b.topics.Load(name); ok {
		t := v.(*topic)
		b.cache.promote(t)
		return t, nil
	}
	if b.history > 0 {
		return b.topic(name)
	}
	if err := checkTopic(name); err != nil {
		return nil, err
	}
	if b.cache.slot(name).Load() != nil {
		return nil, nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, errClosed
	}
	if v, ok := b.topics.Load(name); ok {
		return v.(*topic), nil
	}
	// Remember that nobody listens, which Subscribe undoes under mu.
	if slot := b.cache.slot(name); slot.Load() == nil {
		slot.Store(&topic{name: strings.Clone(name), void: true})
	}
	return nil, nil
}

// topic returns the topic of that name, and makes it if needed.
func (b *Backend) topic(name string) (*topic, error) {
	if v, ok := b.topics.Load(name); ok {
		return v.(*topic), nil
	}
	if err := checkTopic(name); err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, errClosed
	}
	if v, ok := b.topics.Load(name); ok {
		return v.(*topic), nil
	}
	t := newTopic(b, strings.Clone(name), b.page)
	b.faults.begin(t)
	b.topics.Store(t.name, t)
	b.count++
	if b.cache.fits(b.count) {
		b.cache.put(t)
		return t, nil
	}
	b.cache.grow()
	for _, v := range b.topics.Range {
		b.cache.put(v.(*topic))
	}
	return t, nil
}

// Subscribe implements [pubsub.Backend]. While the topic is disconnected it
// fails with [pubsub.ErrUnavailable].
func (b *Backend) Subscribe(ctx context.Context, name string, from pubsub.Start) (pubsub.Stream, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("memory: not subscribed: %w", cause(ctx))
	}
	if err := b.guardSubscribe(); err != nil {
		return nil, err
	}
	for {
		t, err := b.topic(name)
		if err != nil {
			return nil, err
		}
		s, err := t.subscribe(ctx, from)
		if err == errForgotten {
			continue
		}
		if err != nil {
			return nil, err
		}
		return s, nil
	}
}

// retire is told of a topic that lost its last stream. The numbers of the
// last maxIdle such topics are kept.
func (b *Backend) retire(t *topic) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if t.forgotten() {
		return // the news is late, and another topic may have the name by now
	}
	if t.listed { // it was idle before: now it is the last one
		i := slices.Index(b.idle, t)
		b.idle = slices.Delete(b.idle, i, i+1)
	}
	t.listed = true
	b.idle = append(b.idle, t)
	if len(b.idle) <= maxIdle {
		return
	}
	old := b.idle[0]
	b.idle[0] = nil
	b.idle = b.idle[1:]
	old.listed = false
	page, ok := old.forget()
	if !ok {
		return // it has streams again, and will be retired again
	}
	b.page = max(b.page, page+1)
	b.topics.Delete(old.name)
	b.count--
	b.cache.drop(old)
}

// forgotten reports whether retire has forgotten t. Backend.mu is held, so that
// it stays true or false.
func (t *topic) forgotten() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.gone
}

var (
	errClosed = fmt.Errorf("memory: backend %w", pubsub.ErrClosed)
	// errForgotten tells that a topic was forgotten since it was looked up.
	errForgotten = errors.New("memory: topic forgotten")
)

func checkTopic(name string) error {
	if !utf8.ValidString(name) {
		return fmt.Errorf("memory: %w: %q is not valid UTF-8", pubsub.ErrInvalidTopic, name)
	}
	if strings.TrimSpace(name) == "" {
		return fmt.Errorf("memory: %w: %q is blank", pubsub.ErrInvalidTopic, name)
	}
	return nil
}

// cause returns why ctx ended, such that errors.Is finds ctx.Err() too.
func cause(ctx context.Context) error {
	err, why := ctx.Err(), context.Cause(ctx)
	if errors.Is(why, err) {
		return why
	}
	return fmt.Errorf("%w: %w", err, why)
}

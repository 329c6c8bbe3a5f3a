package pubsub

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// Bus publishes values of type T to topics and subscribes to them. It is made
// by [New]; all its methods may be called from many goroutines at once. The
// methods that take a topic's name do what those of [Topic] do.
type Bus[T any] interface {
	// Topic returns a topic to publish to and subscribe to. It does no I/O; what
	// is wrong with name is told by the first operation.
	Topic(name string) *Topic[T]

	// Publish encodes value and hands it to topic; see [Topic.Publish].
	Publish(ctx context.Context, topic string, value T) error

	// Subscribe starts a subscription of topic; see [Topic.Subscribe].
	Subscribe(ctx context.Context, topic string, opts ...SubscribeOption) (*Subscription[T], error)

	// Pipe publishes what it receives from in; see [Topic.Pipe].
	Pipe(ctx context.Context, topic string, in <-chan T) error

	// Stats returns a snapshot of what the bus has done and is doing.
	Stats() Stats

	// Drain ends the bus gracefully. From its call on, publishing and
	// subscribing are refused with ErrClosed. All subscriptions are drained side
	// by side, as by [Subscription.Drain]; then the bus is closed. When ctx ends
	// first, what is left is dropped; the error then wraps ctx's error and a
	// *[DroppedError], which tells how many messages. So is, if ctx has no
	// deadline, what nobody reads, when a Drain of the subscription would give
	// up. A message whose Publish
	// returned nil before Drain was called, or meanwhile, is delivered or
	// counted.
	Drain(ctx context.Context) error

	// Close ends all subscriptions of the bus, with ErrClosed, and returns
	// when its streams and goroutines are gone; a goroutine inside a callback
	// goes when that callback returns. What is queued is dropped, and counted.
	// It does not close the Backend, which other buses may use. It is idempotent
	// and always returns nil.
	Close() error
}

// New makes a bus of values of type T over backend. It does no I/O and starts
// no goroutine. Several buses, of different types, may share one backend.
//
// If backend or codec is nil, or an option is invalid, every operation of the
// bus returns an error that says so and wraps [ErrInvalidArgument].
func New[T any](backend Backend, codec Codec[T], opts ...Option) Bus[T] {
	b := &bus[T]{
		backend: backend,
		codec:   codec,
		cfg:     config{buffer: DefaultBuffer},
		streams: make(map[streamKey][]*stream[T]),
		listed:  make(map[*stream[T]]struct{}),
	}
	var err error
	for _, o := range opts {
		if o == nil {
			err = fmt.Errorf("%w: nil Option", ErrInvalidArgument)
			continue
		}
		o(&b.cfg)
	}
	switch {
	case isNil(backend):
		err = fmt.Errorf("%w: the Backend given to New is nil", ErrInvalidArgument)
	case isNil(codec):
		err = fmt.Errorf("%w: the Codec given to New is nil", ErrInvalidArgument)
	case err == nil:
		err = b.cfg.check()
	}
	if err != nil {
		b.invalid = WithOutcome(err, NotAccepted)
		return b
	}
	if s, ok := any(codec).(PayloadSharer); ok {
		b.decodeOnce = s.SharesPayload()
	}
	b.decodeOnce = b.decodeOnce || b.cfg.shareDecode || isPlain(reflect.TypeFor[T]())
	if c, ok := backend.(ValueCarrier); ok {
		b.carriesValues = c.CarriesValues()
	}
	return b
}

type bus[T any] struct {
	backend       Backend
	codec         Codec[T]
	cfg           config
	invalid       error // New was given nonsense
	decodeOnce    bool  // see Codec
	carriesValues bool  // the backend does

	closed    atomic.Bool
	payloads  batches
	pipes     pipes
	pumps     pumpSet
	incidents incidentLog

	mu      sync.Mutex                 // guards what follows; nothing foreign is called under it
	streams map[streamKey][]*stream[T] // that others may join
	listed  map[*stream[T]]struct{}    // all that have a goroutine or subscriptions
	past    counts                     // of ended subscriptions, ...
	settled uint64                     // ... which are so many
	gone    streamCounts               // of ended streams

	// Written by every Publish, so on a cache line that no reader needs:
	// beside what readers look at they cost a miss per message on both sides.
	_         [64]byte
	published atomic.Uint64
	failures  atomic.Uint64
}

func (b *bus[T]) Publish(ctx context.Context, topic string, value T) error {
	t := b.topic(topic)
	return t.Publish(ctx, value)
}

func (b *bus[T]) Subscribe(ctx context.Context, topic string, opts ...SubscribeOption) (*Subscription[T], error) {
	t := b.topic(topic)
	return t.subscribe(ctx, opts)
}

func (b *bus[T]) Pipe(ctx context.Context, topic string, in <-chan T) error {
	return b.Topic(topic).Pipe(ctx, in)
}

func encodePanicked(p any) error {
	if p == nil { // runtime.Goexit
		return WithOutcome(fmt.Errorf("%w: %w", ErrCodec, errExited), NotAccepted)
	}
	return WithOutcome(fmt.Errorf("%w: Encode panicked: %v", ErrCodec, p), NotAccepted)
}

func notEncoded(err error) error { return WithOutcome(codecError("encode", err), NotAccepted) }

func decodePanicked(p any) error {
	if p == nil { // runtime.Goexit
		return fmt.Errorf("%w: %w", ErrCodec, errExited)
	}
	return fmt.Errorf("%w: Decode panicked: %v", ErrCodec, p)
}

func codecError(op string, err error) error {
	if errors.Is(err, ErrCodec) {
		return err
	}
	return fmt.Errorf("%w: %s: %w", ErrCodec, op, err)
}

// subscribe is called by the exported methods, whose caller gives a subscription
// its name.
func (t *Topic[T]) subscribe(ctx context.Context, opts []SubscribeOption) (*Subscription[T], error) {
	var caller [1]uintptr
	runtime.Callers(3, caller[:])
	s, err := t.join(ctx, opts, caller[0])
	if err != nil {
		return nil, wrap("subscribe", t.name, err)
	}
	return s, nil
}

func (t *Topic[T]) join(ctx context.Context, opts []SubscribeOption, caller uintptr) (*Subscription[T], error) {
	if err := t.check(ctx); err != nil {
		return nil, err
	}
	cfg, err := newSubscribeConfig(opts)
	if err != nil {
		return nil, err
	}
	s := newSubscription[T](t.name, cfg)
	s.caller = caller
	if err := t.bus.attach(s); err != nil {
		return nil, err
	}
	if err := s.awaitOpen(ctx); err != nil {
		s.discard()
		return nil, err
	}
	if s.cursor.Skips() {
		s.stream.flush(func() { s.stream.log.Reached(s.cursor) })
	}
	if better := t.bus.atHand(s); better != nil {
		s.discard()
		s = better
	}
	if s.cfg.from != (Start{}) && s.cursor.Stats().Lag > 0 {
		s.stream.watch()
	}
	s.watch(ctx)
	return s, nil
}

// awaitOpen waits until the stream is open.
func (s *Subscription[T]) awaitOpen(ctx context.Context) error {
	st := s.stream
	select {
	case <-st.opened: // as it is for all but the first
	default:
		select {
		case <-st.opened:
		case <-ctx.Done():
			return contextError(ctx)
		case <-s.ending():
			return errBusClosed
		}
	}
	st.bus.mu.Lock()
	err := st.openErr
	st.bus.mu.Unlock()
	switch {
	case err == nil, s.cfg.eventually && passes(err):
		return nil
	case s.killed.Load():
		return errBusClosed // that is why the backend was told to give up
	}
	return err
}

func (b *bus[T]) Drain(ctx context.Context) error {
	if ctx == nil {
		return &Error{Op: "drain", Err: errNilContext}
	}
	streams := b.stop()
	var (
		subs   []*Subscription[T]
		drains []*draining
		began  = time.Now()
		inside = insideRead()
	)
	for _, st := range streams {
		readers := subscriptions(st)
		st.flush(func() {
			for _, s := range readers {
				s.limit()
			}
		})
		subs = append(subs, readers...)
	}
	for _, s := range subs {
		drains = append(drains, s.drainFrom(began, inside))
	}
	var why error
	for i, s := range subs { // they drain side by side, whomever we wait for
		err := s.awaitDrained(ctx, drains[i])
		if err == nil {
			continue
		}
		var d *DroppedError
		if why = err; errors.As(err, &d) {
			why = d.Err
		} else if s.stop(err, "drain", true) { // nobody reads it
			s.waitPumps()
			s.logDropped(err)
		}
	}
	b.Close()
	if why == nil {
		return nil
	}
	all := &DroppedError{Err: why}
	for _, s := range subs {
		all.Dropped = plus(all.Dropped, s.dropped())
	}
	return wrap("drain", "", all)
}

func (b *bus[T]) Close() error {
	streams := b.stop()
	var subs []*Subscription[T]
	for _, st := range streams {
		for _, s := range subscriptions(st) {
			if s.halt(errBusClosed, "receive", true) {
				subs = append(subs, s)
			}
		}
	}
	b.mu.Lock()
	for _, st := range streams {
		st.end()
	}
	b.mu.Unlock()
	for _, s := range subs {
		s.depart()
	}
	for _, st := range streams {
		st.awaitEnd()
	}
	b.pumps.stop()
	var dropped, unread uint64
	for _, s := range subs {
		if n := s.dropped(); n > 0 {
			dropped = plus(dropped, n)
			unread++
		}
	}
	if dropped > 0 {
		b.incidents.add(Incident{Dropped: dropped, Err: errBusClosed}) // one for all: there may be very many
		b.log().LogAttrs(context.Background(), slog.LevelWarn, "pubsub: bus closed with messages unread",
			slog.Uint64("dropped", dropped), slog.Uint64("subscriptions", unread))
	}
	return nil
}

// stop refuses what is new, and returns the streams.
func (b *bus[T]) stop() []*stream[T] {
	b.mu.Lock()
	b.closed.Store(true)
	streams := make([]*stream[T], 0, len(b.listed))
	for st := range b.listed {
		streams = append(streams, st)
	}
	b.mu.Unlock()
	b.pipes.close()
	return streams
}

func subscriptions[T any](st *stream[T]) []*Subscription[T] {
	readers := st.log.Readers()
	subs := make([]*Subscription[T], len(readers))
	for i, c := range readers {
		subs[i] = c.Owner.(*Subscription[T])
	}
	return subs
}

func (b *bus[T]) log() *slog.Logger {
	if b.cfg.logger != nil {
		return b.cfg.logger
	}
	return slog.Default()
}

package pubsub

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Bus publishes values of type T to topics and subscribes to them. It is made
// by [New]; all its methods may be called from many goroutines at once.
type Bus[T any] interface {
	// Publish encodes value and hands it to topic. A nil error means that the
	// backend accepted it, not that anybody received it. After an error the
	// outcome is unknown, unless the error says otherwise: those of bad input
	// and of a closed bus mean that nothing was sent. The Bus never retries.
	//
	// The codec decides whether value may be modified afterwards.
	Publish(ctx context.Context, topic string, value T) error

	// Subscribe starts a subscription of topic. When it returns, everything
	// accepted from then on will be delivered or reported lost. The first
	// subscription of a topic opens its stream, and fails if that fails; later
	// breaks are mended by the backend. ctx governs the life of this
	// subscription only, even where others share its stream.
	Subscribe(ctx context.Context, topic string, opts ...SubscribeOption) (*Subscription[T], error)

	// Pipe publishes what it receives from in, in that order, until in is
	// closed; then it returns nil. It returns early if a Publish fails, ctx
	// ends or the bus is closed. It never takes a value from in that it does
	// not try to publish, so after an error at most one value, the one the
	// error is about, has an unknown outcome.
	Pipe(ctx context.Context, topic string, in <-chan T) error

	// Stats returns a snapshot of what the bus has done and is doing.
	Stats() Stats

	// Close ends all subscriptions of the bus, with ErrClosed, and returns
	// when its streams and goroutines are gone; a goroutine inside a callback
	// goes when that callback returns. It does not close the Backend, which
	// other buses may use. It is idempotent and always returns nil.
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
		topics:  make(map[topicKey]*topic[T]),
		listed:  make(map[*topic[T]]struct{}),
		closing: make(chan struct{}),
	}
	for _, o := range opts {
		if o == nil {
			b.invalid = fmt.Errorf("%w: nil Option", ErrInvalidArgument)
			continue
		}
		o(&b.cfg)
	}
	switch {
	case isNil(backend):
		b.invalid = fmt.Errorf("%w: the Backend given to New is nil", ErrInvalidArgument)
	case isNil(codec):
		b.invalid = fmt.Errorf("%w: the Codec given to New is nil", ErrInvalidArgument)
	case b.cfg.buffer < 1:
		b.invalid = fmt.Errorf("%w: WithBuffer(%d): a buffer holds at least 1 message", ErrInvalidArgument, b.cfg.buffer)
	case b.cfg.buffer > maxBuffer:
		b.invalid = fmt.Errorf("%w: WithBuffer(%d): a buffer holds at most %d messages", ErrInvalidArgument, b.cfg.buffer, maxBuffer)
	case b.cfg.linger < 0:
		b.invalid = fmt.Errorf("%w: WithLinger(%v) is negative", ErrInvalidArgument, b.cfg.linger)
	}
	b.decodeOnce = b.cfg.shareDecode || isPlain(reflect.TypeFor[T]())
	return b
}

// maxBuffer keeps the arithmetic of the smallest platforms safe.
const maxBuffer = 1 << 28

type bus[T any] struct {
	backend    Backend
	codec      Codec[T]
	cfg        config
	invalid    error // New was given nonsense
	decodeOnce bool  // see Codec

	closed    atomic.Bool
	pumps     pumpSet
	incidents incidentLog

	closing chan struct{} // closed by Close

	mu     sync.Mutex             // guards what follows; nothing foreign is called under it
	topics map[topicKey]*topic[T] // open and shared
	listed map[*topic[T]]struct{} // all that have a goroutine or subscriptions
	past   counts                 // of ended subscriptions
	gone   streamCounts           // of ended streams

	// Written by every Publish, so on a cache line that no reader needs:
	// beside what readers look at they cost a miss per message on both sides.
	_         [64]byte
	published atomic.Uint64
	failed    atomic.Uint64
}

func (b *bus[T]) Publish(ctx context.Context, topic string, value T) error {
	observed := b.cfg.observer.Published
	var start time.Time
	if observed != nil {
		start = time.Now()
	}
	err := b.publish(ctx, topic, value)
	if err != nil {
		err = wrap("publish", topic, err)
		b.failed.Add(1)
	} else {
		b.published.Add(1)
	}
	if observed != nil {
		if ctx == nil {
			ctx = context.Background()
		}
		observed(ctx, topic, time.Since(start), err)
	}
	return err
}

func (b *bus[T]) publish(ctx context.Context, topic string, value T) (err error) {
	if err := b.check(ctx, topic); err != nil {
		return err
	}
	// Here rather than in a function around Encode, which would cost as much
	// as the whole of check. Calling recover costs, too, hence the flag.
	encoding := true
	defer func() {
		if encoding {
			err = fmt.Errorf("%w: Encode panicked: %v", ErrCodec, recover())
		}
	}()
	p, err := b.codec.Encode(value)
	encoding = false
	if err != nil {
		return codecError("encode", err)
	}
	if p.Format != Binary {
		if err := checkText(p); err != nil {
			return err
		}
	}
	return b.backend.Publish(ctx, topic, p)
}

// check refuses what no operation can work with.
func (b *bus[T]) check(ctx context.Context, topic string) error {
	switch {
	case b.invalid != nil:
		return b.invalid
	case ctx == nil:
		return errNilContext
	case b.closed.Load():
		return errBusClosed
	}
	if err := checkTopic(topic); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return contextError(ctx)
	}
	return nil
}

func (b *bus[T]) Subscribe(ctx context.Context, topic string, opts ...SubscribeOption) (*Subscription[T], error) {
	s, err := b.subscribe(ctx, topic, opts)
	if err != nil {
		return nil, wrap("subscribe", topic, err)
	}
	return s, nil
}

func (b *bus[T]) subscribe(ctx context.Context, topic string, opts []SubscribeOption) (*Subscription[T], error) {
	if err := b.check(ctx, topic); err != nil {
		return nil, err
	}
	cfg, err := newSubscribeConfig(opts)
	if err != nil {
		return nil, err
	}
	s := newSubscription[T](cfg)
	if err := b.attach(s, topic); err != nil {
		return nil, err
	}
	select {
	case <-s.topic.opened:
		err := s.topic.openErr
		if err != nil && s.isKilled() {
			err = errBusClosed // that is why the backend was told to give up
		}
		if err != nil {
			s.kill(nil)
			return nil, err
		}
	case <-ctx.Done():
		s.kill(nil)
		return nil, contextError(ctx)
	case <-s.killed:
		return nil, errBusClosed
	}
	s.watch(ctx)
	return s, nil
}

func (b *bus[T]) Pipe(ctx context.Context, topic string, in <-chan T) error {
	if err := b.pipe(ctx, topic, in); err != nil {
		return wrap("pipe", topic, err)
	}
	return nil
}

func (b *bus[T]) pipe(ctx context.Context, topic string, in <-chan T) error {
	if in == nil {
		return fmt.Errorf("%w: the channel given to Pipe is nil", ErrInvalidArgument)
	}
	for {
		// Before taking a value: one that is taken is published.
		if err := b.check(ctx, topic); err != nil {
			return err
		}
		select {
		case value, ok := <-in:
			if !ok {
				return nil
			}
			if err := b.Publish(ctx, topic, value); err != nil {
				return err
			}
		case <-ctx.Done():
			return contextError(ctx)
		case <-b.closing:
			return errBusClosed
		}
	}
}

func (b *bus[T]) Close() error {
	b.mu.Lock()
	if !b.closed.Swap(true) {
		close(b.closing)
	}
	topics := slices.Collect(maps.Keys(b.listed))
	b.mu.Unlock()
	for _, t := range topics {
		for _, s := range t.ring.subscriptions() {
			s.kill(errBusClosed)
		}
		t.cancel() // the last kill did that, unless the topic lingered
	}
	for _, t := range topics {
		<-t.done
	}
	b.pumps.stop()
	return nil
}

func (b *bus[T]) log() *slog.Logger {
	if b.cfg.logger != nil {
		return b.cfg.logger
	}
	return slog.Default()
}

// decode calls the codec. What goes wrong there is ErrCodec.
func (b *bus[T]) decode(p Payload) (value T, err error) {
	returned := false
	defer func() {
		if !returned {
			err = fmt.Errorf("%w: Decode panicked: %v", ErrCodec, recover())
		}
	}()
	value, err = b.codec.Decode(p)
	if err != nil {
		err = codecError("decode", err)
	}
	returned = true
	return value, err
}

func codecError(op string, err error) error {
	if errors.Is(err, ErrCodec) {
		return err
	}
	return fmt.Errorf("%w: %s: %w", ErrCodec, op, err)
}

// newSubscribeConfig applies and checks the options of a Subscribe.
func newSubscribeConfig(opts []SubscribeOption) (subscribeConfig, error) {
	var cfg subscribeConfig
	for _, o := range opts {
		if o == nil {
			return cfg, fmt.Errorf("%w: nil SubscribeOption", ErrInvalidArgument)
		}
		o(&cfg)
	}
	if cfg.policy > Fail {
		return cfg, fmt.Errorf("%w: Overflow(%v): use DropOldest, Block or Fail", ErrInvalidArgument, cfg.policy)
	}
	if cfg.private && cfg.shared {
		return cfg, fmt.Errorf("%w: Private and Shared exclude each other", ErrInvalidArgument)
	}
	for _, f := range cfg.onDiscontinuity {
		if f == nil {
			return cfg, fmt.Errorf("%w: OnDiscontinuity(nil)", ErrInvalidArgument)
		}
	}
	for _, f := range cfg.onState {
		if f == nil {
			return cfg, fmt.Errorf("%w: OnState(nil)", ErrInvalidArgument)
		}
	}
	for _, f := range cfg.onHeartbeat {
		if f == nil {
			return cfg, fmt.Errorf("%w: OnHeartbeat(nil)", ErrInvalidArgument)
		}
	}
	return cfg, nil
}

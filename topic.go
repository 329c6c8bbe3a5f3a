package pubsub

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"
)

// Topic is a bus's topic, looked up and checked once: the typed channel that an
// application hands to its parts. It is made by [Bus].Topic. All its methods may
// be called from many goroutines at once, and do what the methods of the Bus do
// that take the topic's name, at less cost.
//
// A Topic needs no Close, keeps no stream open and goes on working whatever
// happens to the streams. After the end of its bus it refuses like the bus does.
type Topic[T any] struct {
	bus   *bus[T]
	name  string
	err   error          // what is wrong with the bus or the name
	pub   TopicPublisher // nil: by name
	batch BatchPublisher // nil: one by one
}

func (b *bus[T]) Topic(name string) *Topic[T] {
	t := b.topic(strings.Clone(name)) // name may be a part of something large
	if tb, ok := b.backend.(TopicBackend); ok && t.err == nil {
		if pub := tb.Topic(b.backend, t.name); !isNil(pub) {
			t.pub = pub
			t.batch, _ = pub.(BatchPublisher)
		}
	}
	return &t
}

// topic is Topic without what costs anything.
func (b *bus[T]) topic(name string) Topic[T] {
	err := b.invalid
	if err == nil {
		err = checkTopic(name)
	}
	return Topic[T]{bus: b, name: name, err: err}
}

// Name returns the topic's name.
func (t *Topic[T]) Name() string { return t.name }

// Publish encodes value and hands it to the topic. A nil error means that the
// backend accepted it, not that anybody received it. [OutcomeOf] tells of an
// error whether the message was accepted all the same. The bus never retries.
//
// The codec decides whether value may be modified afterwards.
func (t *Topic[T]) Publish(ctx context.Context, value T) error {
	if t.bus.cfg.observer.Published != nil {
		return t.observed(ctx, 1, func() (int, error) { return 0, t.publish(ctx, value) })
	}
	if err := t.publish(ctx, value); err != nil {
		return t.failed("publish", err)
	}
	t.bus.published.Add(1)
	return nil
}

func (t *Topic[T]) failed(op string, err error) error {
	t.bus.failures.Add(1)
	return wrap(op, t.name, err)
}

// publish catches a panic of Encode itself: another function around Encode would
// cost as much as all the checks.
func (t *Topic[T]) publish(ctx context.Context, value T) (err error) {
	if err := t.check(ctx); err != nil {
		return err
	}
	encoding := true // calling recover costs, hence the flag
	defer func() {
		if encoding {
			err = encodePanicked(recover())
		}
	}()
	p, err := t.bus.codec.Encode(value)
	encoding = false
	if err != nil {
		return notEncoded(err)
	}
	if p.Format != Binary {
		if err := t.bus.checkPayload(p); err != nil {
			return err
		}
	}
	if t.pub != nil {
		err = t.pub.Publish(ctx, p)
	} else {
		err = t.bus.backend.Publish(ctx, t.name, p)
	}
	if err == nil && t.bus.closed.Load() {
		return errClosedMeanwhile
	}
	return err
}

// check refuses what no operation can work with. Nothing is sent then.
func (t *Topic[T]) check(ctx context.Context) error {
	switch {
	case t.err != nil:
		return t.err
	case ctx == nil:
		return errNilContext
	case t.bus.closed.Load():
		return errBusClosed
	case ctx.Err() != nil:
		return WithOutcome(contextError(ctx), NotAccepted)
	}
	return nil
}

// PublishAll publishes values in their order, as one batch where the backend can.
// It returns how many were accepted: all of them or, with an error, the first so
// many. The error is about the value at that index; those behind it were not
// accepted, unless [OutcomeOf] the error is OutcomeUnknown.
func (t *Topic[T]) PublishAll(ctx context.Context, values []T) (accepted int, err error) {
	if t.bus.cfg.observer.Published != nil {
		err := t.observed(ctx, len(values), func() (int, error) {
			accepted, err = t.publishAll(ctx, values)
			return accepted, err
		})
		return accepted, err
	}
	accepted, err = t.publishAll(ctx, values)
	t.bus.published.Add(uint64(accepted))
	if err != nil {
		err = t.failed("publish", err)
	}
	return accepted, err
}

// batchSize is how many messages are encoded before they are handed to the
// backend together. They shall stay in the processor's first cache.
const batchSize = 64

func (t *Topic[T]) publishAll(ctx context.Context, values []T) (accepted int, err error) {
	if err := t.check(ctx); err != nil {
		return 0, err
	}
	if t.batch == nil {
		for i := range values {
			if err := t.publish(ctx, values[i]); err != nil {
				return i, err
			}
		}
		return len(values), nil
	}
	ps := t.bus.payloads.get()
	defer t.bus.payloads.put(ps)
	for accepted < len(values) {
		n, bad := t.encode(ps, values[accepted:])
		took, err := 0, error(nil)
		if n > 0 {
			took, err = t.batch.PublishBatch(ctx, ps[:n])
		}
		accepted += took
		switch {
		case err != nil:
			return accepted, err
		case bad != nil:
			return accepted, bad
		case t.bus.closed.Load():
			if accepted == len(values) {
				return accepted - 1, errClosedMeanwhile
			}
			return accepted, errBusClosed
		}
	}
	return accepted, nil
}

// encode makes the payloads of the first values, as many as there is room for. It
// returns how many it made, and what was wrong with the next one.
func (t *Topic[T]) encode(ps *[batchSize]Payload, values []T) (n int, err error) {
	encoding := false
	defer func() {
		if encoding {
			err = encodePanicked(recover())
		}
	}()
	codec := t.bus.codec
	for n < len(values) && n < batchSize {
		encoding = true
		p, err := codec.Encode(values[n])
		encoding = false
		switch {
		case err != nil:
			return n, notEncoded(err)
		case p.Format != Binary:
			if err := t.bus.checkPayload(p); err != nil {
				return n, err
			}
		}
		ps[n] = p
		n++
	}
	return n, nil
}

// observed has the observer told of n messages that are published together.
func (t *Topic[T]) observed(ctx context.Context, n int, publish func() (accepted int, err error)) error {
	start := time.Now()
	accepted, err := publish()
	if err != nil {
		err = t.failed("publish", err)
	} else {
		accepted = n
	}
	t.bus.published.Add(uint64(accepted))
	if ctx == nil {
		ctx = context.Background()
	}
	took := time.Since(start)
	for range accepted {
		t.bus.cfg.observer.Published(ctx, t.name, took/time.Duration(n), nil)
	}
	if err != nil {
		t.bus.cfg.observer.Published(ctx, t.name, took/time.Duration(n), err)
	}
	return err
}

// Subscribe starts a subscription of the topic. When it returns, everything
// accepted from then on will be delivered or reported lost. The first
// subscription of a topic opens its stream, and fails if that fails, unless
// [Eventually] is given; later breaks are mended by the backend. One that joins a
// stream which is broken, or behind, gets what that has still to bring, too.
//
// ctx governs the life of this subscription, not only this call. When it ends,
// what is queued is dropped, [Subscription.Err] gives its error, and if anything
// was dropped the log says so. A ctx that a function cancels when it returns is
// therefore the wrong one for a subscription that it hands out. To end with
// nothing dropped, give a ctx that stays and call Drain.
func (t *Topic[T]) Subscribe(ctx context.Context, opts ...SubscribeOption) (*Subscription[T], error) {
	return t.subscribe(ctx, opts)
}

// Pipe publishes what it receives from in, in that order, until in is closed;
// then it returns nil. What in holds already is published as one batch, where the
// backend can; Pipe never waits for more. It returns early if publishing fails,
// ctx ends or the bus is closed. If it had taken values from in that were not
// accepted, errors.As finds them in an *[Unpublished].
func (t *Topic[T]) Pipe(ctx context.Context, in <-chan T) error {
	if err := t.pipe(ctx, in); err != nil {
		return wrap("pipe", t.name, err)
	}
	return nil
}

func (t *Topic[T]) pipe(ctx context.Context, in <-chan T) error {
	if in == nil {
		return WithOutcome(fmt.Errorf("%w: the channel given to Pipe is nil", ErrInvalidArgument), NotAccepted)
	}
	closing := t.bus.pipes.add()
	defer t.bus.pipes.remove(closing)
	var values []T
	for {
		// Before taking a value: one that is taken is published.
		if err := t.check(ctx); err != nil {
			return err
		}
		select {
		case value, ok := <-in:
			if !ok {
				return nil
			}
			values = append(values[:0], value)
		case <-ctx.Done():
			return WithOutcome(contextError(ctx), NotAccepted)
		case <-closing:
			return errBusClosed
		}
		open := t.fill(&values, in)
		accepted, err := t.PublishAll(ctx, values)
		if err != nil {
			return &Unpublished[T]{Values: append([]T(nil), values[accepted:]...), Err: err}
		}
		clear(values)
		if !open {
			return nil
		}
	}
}

// fill adds what in holds already to values, and reports whether in is open.
func (t *Topic[T]) fill(values *[]T, in <-chan T) (open bool) {
	if t.batch == nil {
		return true
	}
	for len(*values) < batchSize {
		select {
		case value, ok := <-in:
			if !ok {
				return false
			}
			*values = append(*values, value)
		default:
			return true
		}
	}
	return true
}

// Unpublished is what Pipe had taken from its channel when publishing failed. The
// first of the Values is the one that Err is about.
type Unpublished[T any] struct {
	Values []T
	Err    error
}

// Error returns Err's text, with the number of values.
func (u *Unpublished[T]) Error() string {
	if len(u.Values) == 1 {
		return u.Err.Error()
	}
	return fmt.Sprintf("%v (and %d values taken behind it)", u.Err, len(u.Values)-1)
}

// Unwrap returns Err.
func (u *Unpublished[T]) Unwrap() error { return u.Err }

// pipes are the calls of Pipe under way. Each waits on a channel of its own, so
// that it can be in another synctest bubble than the bus.
type pipes struct {
	mu     sync.Mutex
	closed bool
	open   map[chan struct{}]struct{}
}

func (ps *pipes) add() chan struct{} {
	c := make(chan struct{})
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if ps.closed {
		close(c)
		return c
	}
	if ps.open == nil {
		ps.open = make(map[chan struct{}]struct{})
	}
	ps.open[c] = struct{}{}
	return c
}

func (ps *pipes) remove(c chan struct{}) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	delete(ps.open, c)
}

func (ps *pipes) close() {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	ps.closed = true
	for c := range ps.open {
		close(c)
	}
	ps.open = nil
}

// batches keeps the arrays that batches are made in.
type batches struct{ pool sync.Pool }

func (b *batches) get() *[batchSize]Payload {
	if ps, ok := b.pool.Get().(*[batchSize]Payload); ok {
		return ps
	}
	return new([batchSize]Payload)
}

func (b *batches) put(ps *[batchSize]Payload) {
	clear(ps[:])
	b.pool.Put(ps)
}

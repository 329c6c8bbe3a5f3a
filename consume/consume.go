package consume

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/topicbus/pubsub"
)

// Handler handles one message. With [Options].Workers more than 1, it is called
// from several goroutines at once. An error, or a panic, means that the message
// was not handled. ctx ends when the end of [Each] has lasted for its Grace; it
// has the values of the ctx given to Each.
type Handler[T any] func(ctx context.Context, m pubsub.Message[T]) error

// Middleware makes a Handler of another one.
type Middleware[T any] func(Handler[T]) Handler[T]

// Options of [Each]. The zero value works. All functions but OnLoss may be
// called from several goroutines at once if Workers is more than 1.
type Options[T any] struct {
	_ struct{} // fields will be added: use their names

	// Workers is how many handlers run at once. The default is 1.
	Workers int

	// OrderBy returns the key of a message. Messages of one key are handled in
	// order, never two at once. The default, nil, keeps the order of all
	// messages if Workers is 1, and no order otherwise.
	OrderBy func(T) string

	// Retry returns a new policy for a message whose handler failed. The
	// handler is called again after each back-off that the policy gives, until
	// it gives backoff.Stop or the handler's error has a backoff.Permanent in
	// its chain. The default, nil, is no retry.
	Retry func() backoff.BackOff

	// GiveUp is called with a message that will not be tried again, and its
	// last error. It may publish the message to a dead-letter topic, or log it.
	// If it returns nil the message counts as given up and Each goes on. An
	// error ends Each. The default, nil, ends Each with the handler's error.
	GiveUp func(context.Context, pubsub.Message[T], error) error

	// OnLoss is called for each hole in the subscription; the package's comment
	// says when. An error ends Each: see [FailOnLoss]. The default, nil, logs
	// and counts holes, and goes on.
	OnLoss func(*pubsub.Discontinuity) error

	// InFlight is how many messages may be taken and not finished, those that
	// wait for a retry or behind another one of their key included. The default
	// is 16 for each worker. A single goroutine takes one at a time, and at most
	// one more while the first waits for a retry.
	InFlight int

	// Grace is how long handlers may go on when Each is to end, and GiveUp after
	// them. The default is 10 seconds; a negative Grace is none, behind Drain,
	// too. It ends their ctx: Each waits for them to return.
	Grace time.Duration

	// Monitor counts what Each does. The default, nil, counts nothing.
	Monitor *Monitor

	// Logger is where holes are logged, at Warn, at most once a second. The
	// default is slog.Default().
	Logger *slog.Logger
}

const (
	defaultGrace      = 10 * time.Second
	inFlightPerWorker = 16
)

// FailOnLoss is an [Options].OnLoss that ends [Each] on the first hole, with the
// hole as the error.
func FailOnLoss(d *pubsub.Discontinuity) error { return d }

// Each calls h for the messages of s until s ends, ctx ends, or a message fails
// for good. It returns when every handler has returned: nil after Close, Drain
// or Bus.Drain, and otherwise why it ended. The error is an [*UnhandledError] if
// there are messages that were taken and not handled.
//
// A panic of h, or of a function in o, is a [*PanicError].
//
// Several calls may share a subscription: they share the messages out among
// themselves, and keep the order of keys only within each call.
func Each[T any](ctx context.Context, s *pubsub.Subscription[T], h Handler[T], o Options[T]) error {
	if err := check(ctx, s, h, &o); err != nil {
		return fmt.Errorf("consume: %w", err)
	}
	c := &consumer[T]{sub: s, handler: h, Options: o, losses: lossLog{to: o.Logger}}
	var r runner
	if o.Workers == 1 && (o.OrderBy == nil || o.Retry == nil) {
		r = &alone[T]{consumer: c, epoch: time.Now().Add(-1)}
	} else {
		r = newPool(c)
	}
	c.life = newLife(ctx, o.Grace, r.stop)
	defer c.close()
	c.clock.oldest = r.oldest
	o.Monitor.watch(&c.clock)
	defer o.Monitor.unwatch(&c.clock)
	r.run()
	return c.result()
}

// runner is what handles the messages: one goroutine, or several.
type runner interface {
	run()
	stop()             // called once, when Each is to end before the subscription
	oldest() time.Time // when the oldest message in flight was taken; zero if there is none
}

// check refuses what cannot work, and fills in defaults.
func check[T any](ctx context.Context, s *pubsub.Subscription[T], h Handler[T], o *Options[T]) error {
	switch {
	case ctx == nil:
		return fmt.Errorf("%w: nil Context", pubsub.ErrInvalidArgument)
	case s == nil:
		return fmt.Errorf("%w: nil Subscription", pubsub.ErrInvalidArgument)
	case h == nil:
		return fmt.Errorf("%w: nil Handler", pubsub.ErrInvalidArgument)
	case o.Workers < 0:
		return fmt.Errorf("%w: Workers is %d; use 1 or more", pubsub.ErrInvalidArgument, o.Workers)
	case o.InFlight < 0:
		return fmt.Errorf("%w: InFlight is %d; use 1 or more", pubsub.ErrInvalidArgument, o.InFlight)
	}
	o.Workers = max(o.Workers, 1)
	if o.InFlight == 0 {
		o.InFlight = inFlightPerWorker * o.Workers
	}
	if o.Grace == 0 {
		o.Grace = defaultGrace
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return nil
}

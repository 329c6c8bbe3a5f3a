package consume

import (
	"context"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/topicbus/pubsub"
)

// Recover is a [Middleware] that makes a [*PanicError] of a panic. [Each] does
// that too; Recover is for middleware further out that is to see the error.
func Recover[T any](h Handler[T]) Handler[T] {
	return func(ctx context.Context, m pubsub.Message[T]) (err error) {
		returned := false
		defer func() {
			if !returned {
				err = panicked(recover())
			}
		}()
		err = h(ctx, m)
		returned = true
		return err
	}
}

// Timeout is a [Middleware] whose handler gets a ctx that ends after d. It does
// not return before the handler does: a handler that does not look at its ctx
// is not cut short. A d that is not positive leaves no time for anything: each
// message fails for good, with [pubsub.ErrInvalidArgument].
func Timeout[T any](d time.Duration) Middleware[T] {
	cause := fmt.Errorf("handler took longer than %v: %w", d, context.DeadlineExceeded)
	return func(h Handler[T]) Handler[T] {
		if d <= 0 {
			err := backoff.Permanent(fmt.Errorf("consume: Timeout of %v: it must be positive: %w", d, pubsub.ErrInvalidArgument))
			return func(context.Context, pubsub.Message[T]) error { return err }
		}
		return func(ctx context.Context, m pubsub.Message[T]) error {
			ctx, cancel := context.WithTimeoutCause(ctx, d, cause)
			defer cancel()
			return h(ctx, m)
		}
	}
}

// Try tells a handler, or its middleware, which try of the message this is: 1
// for the first one. ctx is the handler's.
func Try(ctx context.Context) int {
	if n, ok := ctx.Value(tryKey{}).(int); ok {
		return n
	}
	return 1
}

type tryKey struct{}

func withTry(ctx context.Context, n int) context.Context {
	if n == 1 {
		return ctx // which costs nothing where nothing fails
	}
	return context.WithValue(ctx, tryKey{}, n)
}

package consume

import (
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/topicbus/pubsub"
)

// UnhandledError is what [Each] returns if it took messages that it did not
// handle, nor gave up with success. errors.Is and errors.As find Err and the
// errors of the messages.
type UnhandledError[T any] struct {
	// Err is why Each ended.
	Err error
	// Unhandled are the messages, in the order of the subscription. There are no
	// more than Each may have taken at once: see [Options].InFlight.
	Unhandled []Unhandled[T]
}

// Unhandled is a message that was taken and not handled.
type Unhandled[T any] struct {
	Message pubsub.Message[T]
	Tries   int   // how often its handler was called
	Err     error // of the last try, or of GiveUp; nil if it was never tried
}

// Error says how many messages were not handled, where the first of them is,
// and why Each ended.
func (e *UnhandledError[T]) Error() string {
	count := fmt.Sprintf("%d messages were", len(e.Unhandled))
	if len(e.Unhandled) == 1 {
		count = "1 message was"
	}
	place := ""
	if len(e.Unhandled) > 0 {
		m := e.Unhandled[0].Message
		place = fmt.Sprintf(" (topic %.100q", m.Topic)
		if !m.Position.IsZero() {
			place += ", from " + m.Position.String()
		}
		place += ")"
	}
	return fmt.Sprintf("consume: %s taken and not handled%s: %v", count, place, e.Err)
}

// Unwrap returns Err and the errors of the messages.
func (e *UnhandledError[T]) Unwrap() []error {
	errs := []error{e.Err}
	for _, u := range e.Unhandled {
		if u.Err != nil {
			errs = append(errs, u.Err)
		}
	}
	return errs
}

// PanicError is the panic of a handler, or of a function in [Options].
type PanicError struct {
	Value any
	Stack []byte
}

// Error has the value of the panic and its stack.
func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v\n\n%s", e.Value, e.Stack) }

// Unwrap returns Value if that is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

var (
	errExited  = errors.New("consume: a handler, OnLoss or OrderBy ended the goroutine it was called on")
	errStopped = errors.New("not tried again: Each is to end")
	errEnded   = errors.New("not tried again: the subscription has ended, and the next try would come after the grace")
)

// guard calls f, and makes an error of its panic. Goexit passes.
func guard(f func() error) (err error) {
	returned := false
	defer func() {
		if !returned {
			err = panicked(recover())
		}
	}()
	err = f()
	returned = true
	return err
}

// panicked makes an error of what recover returned. After Goexit that is nil, and
// nobody sees the error.
func panicked(value any) error { return &PanicError{Value: value, Stack: debug.Stack()} }

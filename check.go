package pubsub

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"
	"unicode/utf8"
)

var (
	errNilContext = WithOutcome(fmt.Errorf("%w: nil Context", ErrInvalidArgument), NotAccepted)
	errBusClosed  = WithOutcome(fmt.Errorf("bus %w", ErrClosed), NotAccepted)
	// errClosedMeanwhile is of a message that the backend took, and that
	// subscriptions of the bus may not have got.
	errClosedMeanwhile = WithOutcome(fmt.Errorf("message accepted, but perhaps not delivered here: meanwhile the bus was %w", ErrClosed), Accepted)
	// errSubscriptionEnded is what Next returns after an end without an error.
	errSubscriptionEnded = fmt.Errorf("subscription %w", ErrClosed)
	errNotRead           = errors.New("nobody has read the subscription for a while: it drains only while somebody reads, and not if Drain is called from the loop that reads")
)

// checkTopic applies the rules of Momento, the strictest backend, to all.
func checkTopic(topic string) error { return WithOutcome(topicError(topic), NotAccepted) }

func topicError(topic string) error {
	switch {
	case !utf8.ValidString(topic):
		return fmt.Errorf("%w %s: not valid UTF-8", ErrInvalidTopic, quoted(topic))
	case topic != "" && topic[0] > ' ' && topic[0] < utf8.RuneSelf:
		return nil // not blank, and no need to look further
	case strings.TrimSpace(topic) == "":
		return fmt.Errorf("%w: %s is blank", ErrInvalidTopic, quoted(topic))
	default:
		return nil
	}
}

// checkPayload checks a payload that is not Binary.
func (b *bus[T]) checkPayload(p Payload) error {
	switch {
	case p.Format == Text && utf8.Valid(p.Data), p.Format == GoValue && b.carriesValues:
		return nil
	case p.Format == Text:
		return WithOutcome(fmt.Errorf("%w: Text that is not valid UTF-8; publish it as Binary", ErrInvalidPayload), NotAccepted)
	case p.Format == GoValue:
		return WithOutcome(fmt.Errorf("%w: a Go value cannot leave the process, and this backend leads out of it: use codec.JSON or another codec that makes bytes",
			ErrInvalidPayload), NotAccepted)
	default:
		return WithOutcome(fmt.Errorf("%w: unknown %v; use Binary or Text", ErrInvalidPayload, p.Format), NotAccepted)
	}
}

// contextError is why ctx ended. A cause of the application's own is added to
// the context error, not put in its place: callers look for that.
func contextError(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if errors.Is(cause, err) {
		return cause
	}
	return fmt.Errorf("%w: %w", err, cause)
}

// wrap makes err an *Error, unless it is one about the same thing already.
func wrap(op, topic string, err error) error {
	if e, ok := err.(*Error); ok && e.Topic == topic {
		return err
	}
	return &Error{Op: op, Topic: topic, Err: err}
}

// isNil also finds a nil pointer in an interface: it would only crash later.
func isNil(v any) bool {
	if v == nil {
		return true
	}
	switch r := reflect.ValueOf(v); r.Kind() {
	case reflect.Pointer, reflect.Map, reflect.Func, reflect.Chan, reflect.Slice:
		return r.IsNil()
	default:
		return false
	}
}

// isPlain reports whether copies of a value of type t share nothing that can
// be modified. Strings cannot, nor can what time.Time points to.
func isPlain(t reflect.Type) bool {
	if t == reflect.TypeFor[time.Time]() {
		return true
	}
	switch t.Kind() {
	case reflect.Pointer, reflect.UnsafePointer, reflect.Map, reflect.Slice, reflect.Chan, reflect.Func, reflect.Interface:
		return false
	case reflect.Array:
		return isPlain(t.Elem())
	case reflect.Struct:
		for i := range t.NumField() {
			if !isPlain(t.Field(i).Type) {
				return false
			}
		}
		return true
	default:
		return true
	}
}

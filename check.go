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
	errNilContext = fmt.Errorf("%w: nil Context", ErrInvalidArgument)
	errBusClosed  = fmt.Errorf("bus %w", ErrClosed)
)

// checkTopic applies the rules of Momento, the strictest backend, to all.
func checkTopic(topic string) error {
	switch {
	case !utf8.ValidString(topic):
		return fmt.Errorf("%w %q: not valid UTF-8", ErrInvalidTopic, topic)
	case topic != "" && topic[0] > ' ' && topic[0] < utf8.RuneSelf:
		return nil // not blank, and no need to look further
	case strings.TrimSpace(topic) == "":
		return fmt.Errorf("%w: %q is blank", ErrInvalidTopic, topic)
	default:
		return nil
	}
}

// checkText checks a payload that is not Binary.
func checkText(p Payload) error {
	switch {
	case p.Format != Text:
		return fmt.Errorf("%w: unknown %v; use Binary or Text", ErrInvalidPayload, p.Format)
	case !utf8.Valid(p.Data):
		return fmt.Errorf("%w: Text that is not valid UTF-8; publish it as Binary", ErrInvalidPayload)
	default:
		return nil
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

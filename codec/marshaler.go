package codec

import (
	"encoding"
	"errors"
	"fmt"
	"reflect"

	"github.com/topicbus/pubsub"
)

// Text returns the codec of a type that marshals itself to text, such as
// [time.Time], [*math/big.Int] or [net/netip.Addr]. It publishes Text and
// decodes Text and Binary alike.
//
// T is spelled as in the Bus: Text[time.Time] for a value, Text[*big.Int] for
// a pointer. Decode calls UnmarshalText on *T, or, where T is a pointer, on a
// new value that T points to; a type that has no such method can be published
// but not decoded ([errors.ErrUnsupported]). A nil pointer cannot be
// published ([pubsub.ErrInvalidArgument]).
//
// The bytes that MarshalText returns become the payload: it must not modify
// them afterwards. UnmarshalText has to copy what it keeps, as
// [encoding.TextUnmarshaler] demands.
func Text[T encoding.TextMarshaler]() pubsub.Codec[T] {
	return newMarshaler("Text", pubsub.Text, T.MarshalText, encoding.TextUnmarshaler.UnmarshalText)
}

// Binary returns the codec of a type that marshals itself to bytes, such as
// [time.Time], [*net/url.URL] or [net/netip.Addr]. It publishes Binary and
// decodes Binary and Text alike. In all else it is like [Text], with
// MarshalBinary and UnmarshalBinary in place of MarshalText and
// UnmarshalText.
func Binary[T encoding.BinaryMarshaler]() pubsub.Codec[T] {
	return newMarshaler("Binary", pubsub.Binary, T.MarshalBinary, encoding.BinaryUnmarshaler.UnmarshalBinary)
}

// marshaler is the codec behind Text and Binary; U is the interface to
// unmarshal with.
//
// Only the marshaling half is a type constraint. The other half is *T's
// method where T is a value and T's own where T is a pointer, and Go cannot
// state that "or" about type parameters. The known way to have both halves
// checked, [T any, P interface{ *T; encoding.TextUnmarshaler }], shuts out
// Text[*big.Int] and leaves Text[big.Int], though a big.Int must not be
// copied.
type marshaler[T, U any] struct {
	name      string
	format    pubsub.Format
	pointee   reflect.Type // what T points to; nil if T is not a pointer
	marshal   func(T) ([]byte, error)
	unmarshal func(U, []byte) error
}

func newMarshaler[T, U any](name string, f pubsub.Format, marshal func(T) ([]byte, error), unmarshal func(U, []byte) error) pubsub.Codec[T] {
	t := reflect.TypeFor[T]()
	c := &marshaler[T, U]{
		name:      fmt.Sprintf("codec.%s[%v]", name, t),
		format:    f,
		marshal:   marshal,
		unmarshal: unmarshal,
	}
	if t.Kind() == reflect.Pointer {
		c.pointee = t.Elem()
	}
	return c
}

func (c *marshaler[T, U]) Encode(v T) (pubsub.Payload, error) {
	if isNil(v) {
		return pubsub.Payload{}, fmt.Errorf("%s: %w: nil", c.name, pubsub.ErrInvalidArgument)
	}
	data, err := c.marshal(v)
	if err != nil {
		return pubsub.Payload{}, fmt.Errorf("%s: %w", c.name, err)
	}
	return pubsub.Payload{Format: c.format, Data: clip(data)}, nil
}

func (c *marshaler[T, U]) Decode(p pubsub.Payload) (T, error) {
	var v, zero T
	if p.Format == pubsub.GoValue {
		return zero, fmt.Errorf("%s: %w", c.name, goValueError(p))
	}
	target := any(&v)
	if c.pointee != nil {
		target = reflect.New(c.pointee).Interface()
		v = target.(T)
	}
	u, ok := target.(U)
	if !ok {
		return zero, fmt.Errorf("%s: %w: %T is no %v", c.name, errors.ErrUnsupported, target, reflect.TypeFor[U]())
	}
	if err := c.unmarshal(u, p.Data); err != nil {
		return zero, fmt.Errorf("%s: %w", c.name, err)
	}
	return v, nil
}

// isNil reports whether v is a nil pointer or a nil interface. Other nils,
// such as those of maps, are values that a method can work with.
func isNil(v any) bool {
	if v == nil {
		return true
	}
	r := reflect.ValueOf(v)
	return r.Kind() == reflect.Pointer && r.IsNil()
}

package codec

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"unicode/utf8"

	"github.com/topicbus/pubsub"
)

// JSON returns the codec of T as JSON, by the rules of [encoding/json]. It
// publishes Text, which is what subscribers in JavaScript expect, and decodes
// Text and Binary alike.
//
// Encoded values are compact, valid UTF-8 and readable by every JSON parser.
// The characters <, > and & stand as they are: a payload is not HTML, and
// whoever puts one into a page has to escape it there in any case. (U+2028
// and U+2029 are escaped, so that a payload is also a JavaScript expression.)
//
// Encode refuses what subscribers would not get back, and names its place in
// the value:
//   - a string or map key that is not valid UTF-8 ([pubsub.ErrInvalidPayload]):
//     encoding/json would publish U+FFFD in its place;
//   - two keys of a map that are written alike, as two values of a type with
//     MarshalText can be;
//   - a T that can never be decoded, because it has at any depth an interface
//     other than any, such as error; a function or channel; a struct of which no
//     field is written; two fields of one JSON name, of which encoding/json
//     leaves out one or both. (A field that one of an outer struct hides, as in
//     Go, is left out without an error.) Tag a field `json:"-"` to leave it out.
//     What types with methods of their own (MarshalJSON, MarshalText) write is
//     for them to see to;
//   - a value that JSON cannot express (NaN, a cycle); errors.As finds the
//     errors of encoding/json.
//
// All but the first and the last match [pubsub.ErrInvalidArgument].
//
// null is a value where T is a map, a slice or an interface: it is T's nil.
// Elsewhere it is refused in both directions, so a nil pointer cannot be
// published, and a subscriber to a Bus[*Quote] never gets one. A T with an
// UnmarshalJSON of its own decides for itself. (Inside T, null is what
// encoding/json makes of it.)
//
// Decoding takes exactly one JSON value, in UTF-8; anything but white space
// behind it is an error. Object members that T has no field for are ignored, so
// that publishers can add some; [Func] with a [json.Decoder] can be stricter.
// Numbers in an any become float64, which has 53 bits: see [UseNumber]. Decoded
// values do not alias the payload.
func JSON[T any](opts ...JSONOption) pubsub.Codec[T] {
	t := reflect.TypeFor[T]()
	c := &jsonCodec[T]{takesNull: takesNull(t)}
	for _, o := range opts {
		if o == nil {
			c.invalid = fmt.Errorf("%w: nil JSONOption", pubsub.ErrInvalidArgument)
			continue
		}
		o(&c.config)
	}
	switch t.Kind() {
	case reflect.Pointer, reflect.Map, reflect.Interface:
	default:
		c.byAddress = true
	}
	return c
}

// JSONOption configures [JSON].
type JSONOption func(*jsonConfig)

type jsonConfig struct{ useNumber bool }

// UseNumber has numbers in an any decoded as [json.Number], which keeps all
// their digits, and not as float64, which changes integers from 1<<53 on.
func UseNumber() JSONOption { return func(c *jsonConfig) { c.useNumber = true } }

type jsonCodec[T any] struct {
	config    jsonConfig
	invalid   error // an argument of JSON
	takesNull bool
	byAddress bool // see target
	types     jsonTypes
}

func (c *jsonCodec[T]) Encode(v T) (pubsub.Payload, error) {
	data, err := c.encode(v)
	if err != nil {
		return pubsub.Payload{}, fmt.Errorf("codec.JSON[%v]: %w", reflect.TypeFor[T](), err)
	}
	return pubsub.Payload{Format: pubsub.Text, Data: data}, nil
}

func (c *jsonCodec[T]) encode(v T) ([]byte, error) {
	if c.invalid != nil {
		return nil, c.invalid
	}
	root := c.types.root(reflect.TypeFor[T](), c.byAddress)
	if root.err != nil {
		return nil, root.err
	}
	target := c.target(v)
	// An Encoder, because Marshal cannot be told to leave <, > and & alone.
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(target); err != nil {
		return nil, err
	}
	data := bytes.TrimSuffix(b.Bytes(), []byte("\n"))
	if !c.takesNull && isNull(data) {
		return nil, fmt.Errorf("%w: it would be written as null, which is no %v", pubsub.ErrInvalidArgument, reflect.TypeFor[T]())
	}
	// This is how encoding/json writes bytes that are not UTF-8. Others may write
	// it, too, so the value itself decides; but it is rare, and found fast.
	suspect := bytes.Contains(data, []byte(`\ufffd`))
	if suspect || root.look {
		// After the Encode, which has found that there is no cycle.
		w := jsonWalk{types: &c.types, strings: suspect}
		if err := w.all(target, c.byAddress); err != nil {
			return nil, err
		}
	}
	return data, nil
}

// target is what encoding/json is given. A pointer lets it find methods that
// have a pointer for their receiver, as it does when it decodes.
func (c *jsonCodec[T]) target(v T) any {
	if c.byAddress {
		return addressOf(v)
	}
	return v
}

func addressOf[T any](v T) *T { return &v }

func (c *jsonCodec[T]) Decode(p pubsub.Payload) (T, error) {
	var v, zero T
	if err := c.decode(p, &v); err != nil { // v may have a part
		return zero, fmt.Errorf("codec.JSON[%v]: %w", reflect.TypeFor[T](), err)
	}
	return v, nil
}

func (c *jsonCodec[T]) decode(p pubsub.Payload, v *T) error {
	switch {
	case c.invalid != nil:
		return c.invalid
	case p.Format == pubsub.GoValue:
		return goValueError(p)
	case p.Format == pubsub.Binary && !utf8.Valid(p.Data): // encoding/json would change it
		return fmt.Errorf("%w: not valid UTF-8", pubsub.ErrInvalidPayload)
	}
	unmarshal := json.Unmarshal // and no Decoder: that would stop behind the first value
	if c.config.useNumber {
		unmarshal = unmarshalNumbers
	}
	if err := unmarshal(p.Data, v); err != nil {
		return err
	}
	if !c.takesNull && isNull(p.Data) {
		return fmt.Errorf("null is no %v", reflect.TypeFor[T]())
	}
	return nil
}

// unmarshalNumbers is json.Unmarshal that makes a json.Number of a number.
func unmarshalNumbers(data []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	err := d.Decode(v)
	if err == nil && len(bytes.TrimSpace(data[d.InputOffset():])) == 0 {
		return nil
	}
	// Unmarshal tells better what is wrong with text that is not one value.
	var raw json.RawMessage
	if err := json.Unmarshal(data, &raw); err != nil {
		return err
	}
	return err
}

// takesNull reports whether null stands for a value of type t.
func takesNull(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Map, reflect.Slice, reflect.Interface:
		return true
	case reflect.Pointer:
		return false
	default:
		return reflect.PointerTo(t).Implements(jsonUnmarshaler)
	}
}

// isNull tells null from other valid JSON.
func isNull(data []byte) bool {
	data = bytes.TrimLeft(data, " \t\r\n")
	return len(data) > 0 && data[0] == 'n'
}

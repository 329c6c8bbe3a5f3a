package codec

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"

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
// Decoding takes exactly one JSON value; anything but white space behind it
// is an error. Object members that T has no field for are ignored, so that
// publishers can add some; [Func] with a [json.Decoder] can be stricter.
// Decoded values do not alias the payload.
//
// A value that JSON cannot express (a channel, a function, NaN, a cycle) is
// an error of Encode that names the type; errors.As finds the errors of
// encoding/json.
func JSON[T any]() pubsub.Codec[T] { return jsonCodec[T]{} }

type jsonCodec[T any] struct{}

func (jsonCodec[T]) Encode(v T) (pubsub.Payload, error) {
	// An Encoder, because Marshal cannot be told to leave <, > and & alone.
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return pubsub.Payload{}, fmt.Errorf("codec.JSON[%v]: %w", reflect.TypeFor[T](), err)
	}
	return pubsub.Payload{Format: pubsub.Text, Data: bytes.TrimSuffix(b.Bytes(), []byte("\n"))}, nil
}

func (jsonCodec[T]) Decode(p pubsub.Payload) (T, error) {
	var v, zero T
	if p.Format == pubsub.GoValue {
		return zero, fmt.Errorf("codec.JSON[%v]: %w", reflect.TypeFor[T](), goValueError(p))
	}
	// Unmarshal, because a Decoder would stop behind the first value.
	if err := json.Unmarshal(p.Data, &v); err != nil { // v may have a part
		return zero, fmt.Errorf("codec.JSON[%v]: %w", reflect.TypeFor[T](), err)
	}
	return v, nil
}

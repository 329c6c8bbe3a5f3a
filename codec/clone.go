package codec

import (
	"bytes"
	"fmt"
	"reflect"

	"github.com/topicbus/pubsub"
)

// Clone returns c with a copy at Encode: the payload does not alias the value.
// It is for publishers that reuse their memory:
//
//	bus := pubsub.New(backend, codec.Clone(codec.Bytes()))
//
// publishes a slice that may be written to again as soon as Publish has
// returned. Decode is c's own: what subscribers receive is still shared.
//
// A Go value cannot be copied, so Clone of a codec that publishes GoValue
// fails with [pubsub.ErrInvalidArgument].
func Clone[T any](c pubsub.Codec[T]) pubsub.Codec[T] { return clone[T]{c} }

type clone[T any] struct{ inner pubsub.Codec[T] }

func (c clone[T]) Encode(v T) (pubsub.Payload, error) {
	if c.inner == nil {
		return pubsub.Payload{}, c.nilError()
	}
	p, err := c.inner.Encode(v)
	if err != nil {
		return pubsub.Payload{}, err
	}
	if p.Format == pubsub.GoValue {
		return pubsub.Payload{}, fmt.Errorf("codec.Clone[%v]: %w: a Go value cannot be copied; publish a new one each time, without Clone", reflect.TypeFor[T](), pubsub.ErrInvalidArgument)
	}
	p.Data = clip(bytes.Clone(p.Data))
	return p, nil
}

func (c clone[T]) Decode(p pubsub.Payload) (T, error) {
	if c.inner == nil {
		var zero T
		return zero, c.nilError()
	}
	return c.inner.Decode(p)
}

// SharesPayload implements [pubsub.PayloadSharer]: Decode is c's, so c knows.
func (c clone[T]) SharesPayload() bool {
	s, ok := c.inner.(pubsub.PayloadSharer)
	return ok && s.SharesPayload()
}

func (c clone[T]) nilError() error {
	return fmt.Errorf("codec.Clone[%v]: %w: the codec to wrap is nil", reflect.TypeFor[T](), pubsub.ErrInvalidArgument)
}

package codec

import (
	"fmt"
	"reflect"

	"github.com/topicbus/pubsub"
)

// Func returns a codec made of two functions. They are called from many
// goroutines at once and have the duties of [pubsub.Codec]: neither modifies
// a payload, and what they return must not change afterwards. A payload that
// was published with [Value] has a Value and no Data: dec must not read it as
// empty.
//
// A program that only publishes can leave dec nil, one that only subscribes
// enc: using the missing half is an error that matches
// [pubsub.ErrInvalidArgument]. The errors of enc and dec are returned as they
// are.
func Func[T any](enc func(T) (pubsub.Payload, error), dec func(pubsub.Payload) (T, error)) pubsub.Codec[T] {
	return funcCodec[T]{enc, dec}
}

type funcCodec[T any] struct {
	enc func(T) (pubsub.Payload, error)
	dec func(pubsub.Payload) (T, error)
}

func (c funcCodec[T]) Encode(v T) (pubsub.Payload, error) {
	if c.enc == nil {
		return pubsub.Payload{}, fmt.Errorf("codec.Func[%v]: %w: cannot encode, its enc function is nil", reflect.TypeFor[T](), pubsub.ErrInvalidArgument)
	}
	return c.enc(v)
}

func (c funcCodec[T]) Decode(p pubsub.Payload) (T, error) {
	if c.dec == nil {
		var zero T
		return zero, fmt.Errorf("codec.Func[%v]: %w: cannot decode, its dec function is nil", reflect.TypeFor[T](), pubsub.ErrInvalidArgument)
	}
	return c.dec(p)
}

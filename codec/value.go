package codec

import (
	"fmt"
	"reflect"

	"github.com/topicbus/pubsub"
)

// Value returns the codec that hands the Go value itself to the subscribers.
// Nothing is encoded and nothing is copied: a pointer arrives as the same
// pointer, with its unexported fields; errors, functions and channels arrive
// too. It publishes GoValue. Publishing a pointer allocates nothing, another
// value one copy at most.
//
// It is for backends inside the process, such as
// [github.com/topicbus/pubsub/backend/memory]. Any other needs a codec that
// makes bytes, such as [JSON].
//
// What a pointer, map or slice refers to is shared by the publisher and all
// subscribers. Publish it and leave it alone: nobody may modify it afterwards.
//
// Decode takes values that were published as T, exactly. Everything else is an
// error that names both types, and never a zero value: another type, another
// interface (a Bus[any] does not read what a Bus[error] wrote), and what was
// published as Text or Binary.
func Value[T any]() pubsub.Codec[T] {
	if reflect.TypeFor[T]().Kind() == reflect.Interface {
		return interfaceCodec[T]{}
	}
	return valueCodec[T]{}
}

// valueCodec is for all T that are not interfaces: the payload's dynamic type
// is T.
type valueCodec[T any] struct{}

func (valueCodec[T]) Encode(v T) (pubsub.Payload, error) {
	return pubsub.ValuePayload(v), nil
}

func (valueCodec[T]) Decode(p pubsub.Payload) (T, error) {
	if v, ok := p.Value().(T); ok {
		return v, nil
	}
	var zero T
	return zero, notValue[T](p)
}

// SharesPayload implements [pubsub.PayloadSharer].
func (valueCodec[T]) SharesPayload() bool { return true }

// interfaceCodec is for all T that are interfaces. The box keeps T: without
// it, a nil would have no type, and an error in an any would pass for one
// that was published as error.
type interfaceCodec[T any] struct{}

type box[T any] struct{ v T }

func (box[T]) publishedAs() reflect.Type { return reflect.TypeFor[T]() }

func (interfaceCodec[T]) Encode(v T) (pubsub.Payload, error) {
	return pubsub.ValuePayload(box[T]{v}), nil
}

func (interfaceCodec[T]) Decode(p pubsub.Payload) (T, error) {
	if b, ok := p.Value().(box[T]); ok {
		return b.v, nil
	}
	var zero T
	return zero, notValue[T](p)
}

// SharesPayload implements [pubsub.PayloadSharer].
func (interfaceCodec[T]) SharesPayload() bool { return true }

// notValue says why p is no T.
func notValue[T any](p pubsub.Payload) error {
	want := reflect.TypeFor[T]()
	if p.Format != pubsub.GoValue {
		return fmt.Errorf("codec.Value[%v]: the payload is %v of %d bytes, which a publisher with another codec, perhaps in another process, wrote; "+
			"subscribe with that publisher's codec, such as codec.JSON, codec.String or codec.Bytes", want, p.Format, len(p.Data))
	}
	if p.Value() == nil {
		return fmt.Errorf("codec.Value[%v]: the payload has no value", want)
	}
	return fmt.Errorf("codec.Value[%v]: the value was published as %s; use one type for all publishers and subscribers of a topic", want, otherName(want, publishedAs(p)))
}

// publishedAs is the type of the codec that made p.
func publishedAs(p pubsub.Payload) reflect.Type {
	if b, ok := p.Value().(interface{ publishedAs() reflect.Type }); ok {
		return b.publishedAs()
	}
	return reflect.TypeOf(p.Value())
}

// otherName is the name of t, told apart from want: packages of the same name
// can have types of the same name.
func otherName(want, t reflect.Type) string {
	if t.String() != want.String() {
		return t.String()
	}
	return fmt.Sprintf("%v of package %q, and not of %q", t, pkgPath(t), pkgPath(want))
}

func pkgPath(t reflect.Type) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t.PkgPath()
}

// goValueError is how the codecs of bytes answer what was published with Value.
// It has no bytes, and must not be read as empty.
func goValueError(p pubsub.Payload) error {
	as := "nil"
	if p.Value() != nil {
		as = publishedAs(p).String()
	}
	return fmt.Errorf("the payload is a Go value, published as %s; subscribe with codec.Value of that type", as)
}

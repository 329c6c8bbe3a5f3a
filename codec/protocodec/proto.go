package protocodec

import (
	"errors"
	"fmt"
	"reflect"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/topicbus/pubsub"
)

// Binary returns the codec of M in the Protocol Buffers wire format. It
// publishes Binary. Unknown fields are kept in the decoded message.
//
// M is a generated message type, such as *pb.Quote; one that can only be made
// with a descriptor at hand (*dynamicpb.Message, or the interface
// [proto.Message] itself) can be published but not decoded
// ([errors.ErrUnsupported]).
func Binary[M proto.Message]() pubsub.Codec[M] {
	return newCodec[M]("Binary", pubsub.Binary, proto.Marshal, proto.Unmarshal)
}

// JSON returns the codec of M as ProtoJSON. It publishes Text. Unknown fields
// are dropped when decoding.
//
// What M may be is told at [Binary]. The bytes for one message may differ in
// white space from build to build; compare messages, never their JSON.
func JSON[M proto.Message]() pubsub.Codec[M] {
	// The types inside an Any message are looked up among those linked in.
	return newCodec[M]("JSON", pubsub.Text, protojson.Marshal, protojson.UnmarshalOptions{DiscardUnknown: true}.Unmarshal)
}

type codec[M proto.Message] struct {
	name      string
	format    pubsub.Format
	pointee   reflect.Type // what M points to; nil if such a thing is not usable as it comes
	marshal   func(proto.Message) ([]byte, error)
	unmarshal func([]byte, proto.Message) error
}

func newCodec[M proto.Message](name string, f pubsub.Format, marshal func(proto.Message) ([]byte, error), unmarshal func([]byte, proto.Message) error) pubsub.Codec[M] {
	c := &codec[M]{
		name:      fmt.Sprintf("protocodec.%s[%v]", name, reflect.TypeFor[M]()),
		format:    f,
		marshal:   marshal,
		unmarshal: unmarshal,
	}
	if t := reflect.TypeFor[M](); t.Kind() == reflect.Pointer {
		if m := reflect.New(t.Elem()).Interface().(M); m.ProtoReflect().IsValid() {
			c.pointee = t.Elem()
		}
	}
	return c
}

func (c *codec[M]) Encode(m M) (pubsub.Payload, error) {
	if any(m) == nil || !m.ProtoReflect().IsValid() {
		return pubsub.Payload{}, fmt.Errorf("%s: %w: nil message", c.name, pubsub.ErrInvalidArgument)
	}
	data, err := c.marshal(m)
	if err != nil {
		return pubsub.Payload{}, fmt.Errorf("%s: %w", c.name, err)
	}
	return pubsub.Payload{Format: c.format, Data: data}, nil
}

func (c *codec[M]) Decode(p pubsub.Payload) (M, error) {
	var zero M
	if c.pointee == nil {
		return zero, fmt.Errorf("%s: %w: use a generated message type", c.name, errors.ErrUnsupported)
	}
	if p.Format == pubsub.GoValue { // it has no bytes, which would pass for an empty message
		return zero, fmt.Errorf("%s: the payload is a Go value (%T); subscribe with codec.Value of the publisher's type", c.name, p.Value())
	}
	m := reflect.New(c.pointee).Interface().(M)
	if err := c.unmarshal(p.Data, m); err != nil {
		return zero, fmt.Errorf("%s: %w", c.name, err)
	}
	return m, nil
}

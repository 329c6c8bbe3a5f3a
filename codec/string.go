package codec

import (
	"fmt"
	"unsafe"

	"github.com/topicbus/pubsub"
)

// String returns the codec of strings. It publishes Text and decodes Text and
// Binary alike.
//
// Nothing is copied in either direction: the payload is the string's own
// memory, and a decoded string is the payload's. This costs nothing per
// message and relies on the rule of [pubsub.Payload] that nobody modifies its
// bytes; whoever breaks it breaks the strings too.
//
// A string that is not valid UTF-8 cannot be published as Text: Encode passes
// it on, and Publish reports [pubsub.ErrInvalidPayload]. A decoded string is
// valid UTF-8 unless it came from a Binary payload.
func String() pubsub.Codec[string] { return stringCodec{} }

type stringCodec struct{}

// Encode aliases s. A payload is never written to, which is what a string
// demands of those who hold its bytes. The copy it saves is the one
// allocation that publishing a string would otherwise cost.
func (stringCodec) Encode(s string) (pubsub.Payload, error) {
	return pubsub.Payload{Format: pubsub.Text, Data: unsafe.Slice(unsafe.StringData(s), len(s))}, nil
}

// Decode aliases p.Data. The bytes of a payload that was handed over never
// change, which is what a string promises to those who hold it; pubsubtest
// holds backends to that. Copying 128 bytes took 42 ns and an allocation where
// this takes 3 ns, and a whole delivery by the Bus takes less than the copy.
func (stringCodec) Decode(p pubsub.Payload) (string, error) {
	if p.Format == pubsub.GoValue {
		return "", fmt.Errorf("codec.String: %w", goValueError(p))
	}
	return unsafe.String(unsafe.SliceData(p.Data), len(p.Data)), nil
}

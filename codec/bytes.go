package codec

import (
	"fmt"

	"github.com/topicbus/pubsub"
)

// Bytes returns the codec of byte slices. It publishes Binary and decodes
// Binary and Text alike.
//
// Nothing is copied in either direction, so a slice is read-only from the
// moment it is published and for everybody who receives it: in one process,
// all subscribers and the publisher may be looking at the same memory, which
// may even be that of a string constant, where a write ends the program. Use
// [bytes.Clone] before modifying what was received, and [Clone] to publish from
// memory that is reused. Appending to a received slice is safe, it moves to new memory.
//
// Backends do not tell nil from empty: either may arrive as the other.
func Bytes() pubsub.Codec[[]byte] { return bytesCodec{} }

type bytesCodec struct{}

func (bytesCodec) Encode(b []byte) (pubsub.Payload, error) {
	return pubsub.Payload{Format: pubsub.Binary, Data: clip(b)}, nil
}

func (bytesCodec) Decode(p pubsub.Payload) ([]byte, error) {
	if p.Format == pubsub.GoValue {
		return nil, fmt.Errorf("codec.Bytes: %w", goValueError(p))
	}
	return clip(p.Data), nil
}

// SharesPayload implements [pubsub.PayloadSharer].
func (bytesCodec) SharesPayload() bool { return true }

// clip hides b's spare capacity. Without it, two holders of the same slice
// that both append to it would write to the same memory behind it.
func clip(b []byte) []byte { return b[:len(b):len(b)] }

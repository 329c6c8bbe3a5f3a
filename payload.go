package pubsub

import "strconv"

// Format tells how a [Payload] is to be read. Backends keep it: what was
// published as Text arrives as Text.
type Format uint8

const (
	Binary Format = iota // any bytes
	Text                 // valid UTF-8
)

// String returns "binary" or "text".
func (f Format) String() string {
	switch f {
	case Binary:
		return "binary"
	case Text:
		return "text"
	default:
		return "Format(" + strconv.Itoa(int(f)) + ")"
	}
}

// Payload is an encoded value. Its bytes are shared by all who hold it, from
// the moment it is handed over: nobody modifies them.
type Payload struct {
	Format Format
	Data   []byte
}

// Codec turns values into payloads and back. Encode and Decode are called
// from many goroutines at once, never with a lock held. Both may retain what
// they are given and return memory that aliases it, as long as neither side
// modifies it afterwards.
//
// An error from Encode fails the Publish; an error from Decode becomes a
// [Discontinuity] of CauseDecode, and the stream goes on. A panic in either
// counts as an error. Both wrap [ErrCodec].
//
// Where T holds no pointers, maps, slices, channels, functions or interfaces
// (strings are fine), a message is decoded once and the value given to all
// local subscribers. Otherwise Decode is called once per subscription, on the
// goroutine that receives, unless [ShareDecoded] is set.
type Codec[T any] interface {
	Encode(T) (Payload, error)
	Decode(Payload) (T, error)
}

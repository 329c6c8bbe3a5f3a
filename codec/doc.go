// Package codec has the codecs that turn Go values into the payloads of
// [pubsub] and back.
//
//	String   strings                      Text
//	Bytes    byte slices, shared          Binary
//	JSON     anything encoding/json takes Text
//	Text     encoding.TextMarshaler       Text
//	Binary   encoding.BinaryMarshaler     Binary
//	Func     your own two functions       yours
//	Value    Go values, in the process    GoValue
//	Clone    wraps one: copies bytes      as wrapped
//
// Package [github.com/topicbus/pubsub/codec/protocodec] has Protocol Buffers
// and package [github.com/topicbus/pubsub/codec/compress] wraps any codec in
// compression. They stand apart because of what they import; this package
// needs the standard library only.
//
// What holds for all of them but Value, which encodes nothing:
//   - They write the encoded value and nothing else: no envelope and no
//     header, so that programs in other languages can read and write the
//     same topics.
//   - They choose the format of what they encode, and decode Text and Binary: a
//     topic may be written as bytes by one SDK and as text by another. A Go
//     value is an error, never an empty payload (Func decides for itself).
//
// What holds for Value too:
//   - They are safe for concurrent use and hold no mutable state that a
//     caller could see. Make one and keep it: a codec of JSON looks at its type
//     once.
//   - Payload bytes are shared by all who hold them and are never modified.
//     Where a codec aliases memory in place of copying it, it says so.
//   - An unsuitable argument shows as an error of the first Encode or Decode
//     that needs it, matching [pubsub.ErrInvalidArgument]; no constructor
//     panics.
//   - On an error the value returned is the zero value.
package codec

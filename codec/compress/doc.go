// Package compress wraps a codec of [github.com/topicbus/pubsub] in
// compression.
//
//	bus := pubsub.New(backend, compress.Zstd(codec.JSON[Quote]()))
//
// # How readers tell
//
// There is no envelope. A payload is compressed exactly if it is Binary and
// begins with the magic number of a Zstandard frame, the bytes 28 B5 2F FD;
// its content is then the concatenation of its frames, as with the zstd tool.
// Everything else is what the wrapped codec made and stays as it was, Format
// included. So a topic can be moved to this codec one publisher at a time,
// once its subscribers have it, and a subscriber in another language needs
// only the test of four bytes and any Zstandard library.
//
// The rule has no exception. If the wrapped codec makes a Binary payload that
// itself begins with the magic number, it is compressed whatever its size and
// even if that makes it longer. A Text payload cannot begin so, because those
// bytes are not UTF-8.
//
// # Format
//
// A compressed payload is always Binary, since it is not UTF-8. If it was
// Text before, then the payload ends in an empty skippable frame of type 4,
// the bytes 54 2A 4D 18 00 00 00 00. Zstandard has such frames for the use of
// applications, and its decoders pass over them. Without that last frame the
// content is Binary; the codecs of this module decode either, so publishers in
// other languages need not write it.
//
// # Hostile input
//
// What cannot be decompressed is an error of Decode. What would decompress to
// more than [WithMaxSize] is an error that matches
// [pubsub.ErrPayloadTooLarge]; while finding that out, a call holds at most a
// small multiple of that size, however large the payload claims to be.
package compress

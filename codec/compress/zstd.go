package compress

import (
	"fmt"

	"github.com/topicbus/pubsub"
)

// Zstd returns a codec that encodes with inner and compresses what is long
// enough, and that decompresses what was compressed and decodes it with
// inner. Inner's payloads come back to it with the Format they had. How a
// payload shows that it is compressed is told in the package's documentation;
// what is not compressed is passed on as it is, aliasing included.
//
// Encode fails with [pubsub.ErrPayloadTooLarge] for payloads longer than
// [WithMaxSize]. The errors of inner are returned as they are.
//
// The codec keeps its compressors for reuse and is safe for concurrent use.
// It starts no goroutine and has nothing to close. It may be shared by
// testing/synctest bubbles and what is outside of them; in a bubble it makes new
// compressors for each call, which is slower.
func Zstd[T any](inner pubsub.Codec[T], opts ...Option) pubsub.Codec[T] {
	c := config{minSize: DefaultMinSize, maxSize: DefaultMaxSize, level: DefaultLevel}
	for _, o := range opts {
		if o == nil {
			return broken[T]{fmt.Errorf("compress.Zstd: %w: nil Option", pubsub.ErrInvalidArgument)}
		}
		o(&c)
	}
	if inner == nil {
		return broken[T]{fmt.Errorf("compress.Zstd: %w: the codec to wrap is nil", pubsub.ErrInvalidArgument)}
	}
	if err := c.check(); err != nil {
		return broken[T]{err}
	}
	return &zstdCodec[T]{inner: inner, packer: packer{config: c}}
}

type zstdCodec[T any] struct {
	inner  pubsub.Codec[T]
	packer packer
}

func (c *zstdCodec[T]) Encode(v T) (pubsub.Payload, error) {
	p, err := c.inner.Encode(v)
	if err != nil {
		return pubsub.Payload{}, err
	}
	return c.packer.pack(p)
}

func (c *zstdCodec[T]) Decode(p pubsub.Payload) (T, error) {
	p, err := c.packer.unpack(p)
	if err != nil {
		var zero T
		return zero, err
	}
	return c.inner.Decode(p)
}

// broken is the codec that bad arguments lead to: it reports them at each use.
type broken[T any] struct{ err error }

func (c broken[T]) Encode(T) (pubsub.Payload, error) { return pubsub.Payload{}, c.err }

func (c broken[T]) Decode(pubsub.Payload) (T, error) {
	var zero T
	return zero, c.err
}

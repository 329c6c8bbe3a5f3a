package compress

import (
	"bytes"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/klauspost/compress/zstd"

	"github.com/topicbus/pubsub"
)

const (
	frameMagic = "\x28\xb5\x2f\xfd"
	// textMark is an empty skippable frame. Of the sixteen types there are it
	// has the one whose number in memory is the letter T.
	textMark = "T\x2a\x4d\x18\x00\x00\x00\x00"
)

// packer turns payloads into compressed ones and back.
//
// Its pools grow to the number of calls that really overlap and shrink by
// garbage collection. A shared zstd.Encoder would allocate the tables of all
// the calls it permits at its first use, more than 1 MiB each.
type packer struct {
	config
	encoders pool[*encoder]
	decoders pool[*zstd.Decoder]
}

type encoder struct {
	*zstd.Encoder
	scratch []byte
}

func (k *packer) pack(p pubsub.Payload) (pubsub.Payload, error) {
	if p.Format == pubsub.GoValue {
		return p, nil // it has no bytes
	}
	if len(p.Data) > k.maxSize {
		return pubsub.Payload{}, fmt.Errorf("compress: %w: %d bytes, %d allowed (WithMaxSize)", pubsub.ErrPayloadTooLarge, len(p.Data), k.maxSize)
	}
	must := compressed(p) // else readers would take it for compressed
	if len(p.Data) < k.minSize && !must {
		return p, nil
	}
	if !validText(p) { // the Bus could not see it once it is compressed
		return pubsub.Payload{}, fmt.Errorf("compress: %w: text is not valid UTF-8", pubsub.ErrInvalidPayload)
	}
	e, err := k.encoder()
	if err != nil {
		return pubsub.Payload{}, err
	}
	defer k.encoders.put(e)
	e.scratch = e.EncodeAll(p.Data, e.scratch[:0])
	if p.Format == pubsub.Text {
		e.scratch = append(e.scratch, textMark...)
	}
	if len(e.scratch) >= len(p.Data) && !must {
		return p, nil
	}
	// A copy of the exact size: payloads are kept, in rings and histories.
	return pubsub.Payload{Format: pubsub.Binary, Data: bytes.Clone(e.scratch)}, nil
}

func (k *packer) unpack(p pubsub.Payload) (pubsub.Payload, error) {
	if !compressed(p) {
		return p, nil
	}
	// Bytes that look like the mark could also be the end of a larger frame.
	// They are the mark exactly if what precedes them is whole without them.
	if frames, ok := bytes.CutSuffix(p.Data, []byte(textMark)); ok {
		if data, err := k.decompress(frames); err == nil {
			text := pubsub.Payload{Format: pubsub.Text, Data: data}
			if !validText(text) {
				return pubsub.Payload{}, fmt.Errorf("compress: %w: text is not valid UTF-8", pubsub.ErrInvalidPayload)
			}
			return text, nil
		}
	}
	data, err := k.decompress(p.Data)
	if err != nil {
		return pubsub.Payload{}, err
	}
	return pubsub.Payload{Format: pubsub.Binary, Data: data}, nil
}

// decompress returns the content of frames in memory of its own: what the
// wrapped codec decodes may alias it.
func (k *packer) decompress(frames []byte) ([]byte, error) {
	d, err := k.decoder()
	if err != nil {
		return nil, err
	}
	defer k.decoders.put(d)
	data, err := d.DecodeAll(frames, nil)
	switch {
	case errors.Is(err, zstd.ErrDecoderSizeExceeded):
		return nil, fmt.Errorf("compress: %w: more than %d bytes when decompressed (WithMaxSize): %w", pubsub.ErrPayloadTooLarge, k.maxSize, err)
	case err != nil:
		return nil, fmt.Errorf("compress: cannot decompress %d bytes: %w", len(frames), err)
	}
	return data, nil
}

func (k *packer) encoder() (*encoder, error) {
	if e, ok := k.encoders.get(); ok {
		return e, nil
	}
	z, err := zstd.NewWriter(nil,
		zstd.WithEncoderConcurrency(1),
		zstd.WithLowerEncoderMem(true),
		zstd.WithEncoderLevel(zstd.EncoderLevelFromZstd(k.level)),
		zstd.WithEncoderCRC(false)) // transports detect damage, and as well for what is not compressed
	if err != nil {
		return nil, fmt.Errorf("compress: %w", err)
	}
	return &encoder{Encoder: z}, nil
}

// decoder returns a decoder for DecodeAll alone: used so, one has no
// goroutine and need not be closed.
func (k *packer) decoder() (*zstd.Decoder, error) {
	if d, ok := k.decoders.get(); ok {
		return d, nil
	}
	d, err := zstd.NewReader(nil,
		zstd.WithDecoderConcurrency(1),
		zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxMemory(uint64(k.maxSize)))
	if err != nil {
		return nil, fmt.Errorf("compress: %w", err)
	}
	return d, nil
}

func compressed(p pubsub.Payload) bool {
	return p.Format == pubsub.Binary && bytes.HasPrefix(p.Data, []byte(frameMagic))
}

func validText(p pubsub.Payload) bool {
	return p.Format != pubsub.Text || utf8.Valid(p.Data)
}

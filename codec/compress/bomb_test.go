package compress_test

import (
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/codec/compress"
)

// bomb returns a frame that tells no content size and has blocks of 128 KiB
// of zeros, four bytes each.
func bomb(blocks int) string {
	const rle, size = 1 << 1, 128 << 10
	header := uint32(size<<3 | rle)
	block := string([]byte{byte(header), byte(header >> 8), byte(header >> 16), 0})
	last := string([]byte{byte(header | 1), byte(header >> 8), byte(header >> 16), 0})
	const window = "\x38" // 128 KiB
	return magic + "\x00" + window + strings.Repeat(block, blocks-1) + last
}

func TestBombsAreDefused(t *testing.T) {
	const limit = 1 << 20
	small := bomb(1) // decompresses to 128 KiB
	for _, test := range []struct{ name, data string }{
		{"blocks without a size", bomb(80_000)}, // 10 GiB
		{"marked as text", bomb(80_000) + textMark},
		{"many frames", strings.Repeat(small, 80_000)},
		{"claims 8 EiB", magic + "\xe0\xff\xff\xff\xff\xff\xff\xff\x7f" + bomb(80_000)[6:]},
		{"claims just more than is allowed", magic + "\xa0\x01\x00\x10\x00" + bomb(8)[6:]},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := compress.Zstd(raw(), compress.WithMaxSize(limit))
			_, err := c.Decode(binary(small)) // the decoder itself is no part of it
			require.NoError(t, err)

			var before, after runtime.MemStats
			payload := binary(test.data)
			runtime.ReadMemStats(&before)
			p, err := c.Decode(payload)
			runtime.ReadMemStats(&after)
			require.ErrorIs(t, err, pubsub.ErrPayloadTooLarge)
			require.Zero(t, p)
			// All that was ever allocated, so what was held is less.
			require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(16*limit))
		})
	}
}

func TestLargeWindowsAreRejected(t *testing.T) {
	const window2GiB = "\xa8"
	frame := magic + "\x00" + window2GiB + "\x01\x00\x00" // and no content
	_, err := compress.Zstd(raw()).Decode(binary(frame))
	require.ErrorContains(t, err, "compress: cannot decompress")
}

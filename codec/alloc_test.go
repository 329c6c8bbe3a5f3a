//go:build !race

package codec_test

// The race detector changes what is allocated, so these are not built with it.

import (
	"io"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/codec"
)

// The codecs are called through the interface, as the Bus does.
func TestAllocations(t *testing.T) {
	t.Run("String", allocations(codec.String(), strings.Repeat("x", 128), 0, 0))
	t.Run("Bytes", allocations(codec.Bytes(), make([]byte, 128), 0, 0))
	t.Run("JSON", allocations(codec.JSON[quote](), quote{"AAPL", 99.5}, 4, 6))
	t.Run("Text", allocations(codec.Text[time.Time](), time.Unix(0, 0).UTC(), 1, 1))
	t.Run("Binary", allocations(codec.Binary[time.Time](), time.Unix(0, 0).UTC(), 1, 1))
	t.Run("Value pointer", allocations(codec.Value[*account](), &account{}, 0, 0))
	t.Run("Value", allocations(codec.Value[quote](), quote{"AAPL", 99.5}, 1, 0))
	t.Run("Value interface", allocations(codec.Value[error](), io.EOF, 1, 0))
	t.Run("Value map", allocations(codec.Value[map[string]int](), map[string]int{}, 0, 0))
	t.Run("Text pointer", allocations(codec.Text[*big.Int](), big.NewInt(7), 2, 5))
}

func allocations[T any](c pubsub.Codec[T], v T, encode, decode float64) func(*testing.T) {
	return func(t *testing.T) {
		p, err := c.Encode(v)
		require.NoError(t, err)
		require.LessOrEqual(t, testing.AllocsPerRun(200, func() { sink, _ = c.Encode(v) }), encode, "encode")
		require.LessOrEqual(t, testing.AllocsPerRun(200, func() { _, _ = c.Decode(p) }), decode, "decode")
	}
}

var sink pubsub.Payload

//go:build !race

package compress_test

// The race detector makes pools forget, so this is not built with it.

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/codec"
	"github.com/topicbus/pubsub/codec/compress"
)

func TestAllocations(t *testing.T) {
	c := compress.Zstd(codec.String())
	var p pubsub.Payload
	long, short := message(1, 2), "short"

	require.Zero(t, testing.AllocsPerRun(200, func() { p, _ = c.Encode(short) }), "nothing is done to a short payload")
	require.Zero(t, testing.AllocsPerRun(200, func() { _, _ = c.Decode(p) }), "nothing is done to a short payload")

	require.LessOrEqual(t, testing.AllocsPerRun(200, func() { p, _ = c.Encode(long) }), 1.0, "encode: the payload")
	require.Equal(t, pubsub.Binary, p.Format)
	require.Less(t, cap(p.Data), 2*len(p.Data), "payloads are kept, so they must not hold spare memory")
	require.LessOrEqual(t, testing.AllocsPerRun(200, func() { _, _ = c.Decode(p) }), 1.0, "decode: the content")
}

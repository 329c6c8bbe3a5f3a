//go:build !race

package protocodec_test

// The race detector changes what is allocated, so this is not built with it.

import (
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/codec/protocodec"
)

func TestAllocations(t *testing.T) {
	c, v := protocodec.Binary[*timestamppb.Timestamp](), timestamppb.Now()
	var p pubsub.Payload
	require.LessOrEqual(t, testing.AllocsPerRun(200, func() { p, _ = c.Encode(v) }), 1.0, "encode: the payload")
	require.LessOrEqual(t, testing.AllocsPerRun(200, func() { _, _ = c.Decode(p) }), 1.0, "decode: the message")
}

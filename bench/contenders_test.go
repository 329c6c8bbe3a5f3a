package bench

import (
	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/bench/shape"
	"github.com/topicbus/pubsub/codec"
)

// The lossless contenders of []byte messages.
var (
	busAll      = lossless("All", shape.All[[]byte])
	busMessages = lossless("Messages", shape.Messages[[]byte])
	busNext     = lossless("Next", shape.Next[[]byte])
	busC        = lossless("C", shape.C[[]byte])
	busEvents   = lossless("Events", shape.Events[[]byte])
	busAll64    = batches("All-64", 64)
	chan64      = shape.Channels[[]byte]("chan64", 64)
	chan256     = shape.Channels[[]byte]("chan256", 256)
	bare256     = shape.BareChannels[[]byte]("chan256-bare", 256)
)

func lossless(name string, form shape.Form[[]byte]) shape.Contender[[]byte] {
	return shape.Bus[[]byte]{Name: name, Codec: codec.Bytes(), Read: form, Policy: pubsub.Block,
		// As with raw channels, all subscribers get the same bytes.
		Options: []pubsub.Option{pubsub.WithSharedDecode()}}.Contender()
}

// batches is busAll, which publishes so many messages at once.
func batches(name string, n int) shape.Contender[[]byte] {
	return shape.Bus[[]byte]{Name: name, Codec: codec.Bytes(), Read: shape.All[[]byte], Policy: pubsub.Block, Batch: n}.Contender()
}

type contenders []shape.Contender[[]byte]

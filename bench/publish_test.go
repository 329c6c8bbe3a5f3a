package bench

import (
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/bench/shape"
	"github.com/topicbus/pubsub/codec"
)

// A publish that nobody listens to, through a handle and by name.
func BenchmarkPublishNobody(b *testing.B) {
	load := shape.Bytes(1, 128)
	b.Run("Bytes", func(b *testing.B) { shape.Flood(b, busAll, load, shape.Fleet{}) })
	b.Run("Bytes-by-name", func(b *testing.B) {
		c := shape.Bus[[]byte]{Codec: codec.Bytes(), ByName: true}.Contender()
		shape.Flood(b, c, load, shape.Fleet{})
	})
	b.Run("Value", func(b *testing.B) {
		c := shape.Bus[*[128]byte]{Codec: codec.Value[*[128]byte]()}.Contender()
		shape.Flood(b, c, arrays(), shape.Fleet{})
	})
	b.Run("String", func(b *testing.B) {
		c := shape.Bus[string]{Codec: codec.String()}.Contender()
		shape.Flood(b, c, strings128(), shape.Fleet{})
	})
}

// A publish while all subscribers are stuck. They drop the oldest, and are
// told how many. The cost must not grow with their number.
func BenchmarkPublishStalled(b *testing.B) {
	load := shape.Bytes(1, 128)
	dropping := shape.Bus[[]byte]{Name: "All", Codec: codec.Bytes(), Read: shape.All[[]byte], Policy: pubsub.DropOldest}
	byName := dropping
	byName.ByName = true
	b.Run("subs=1-by-name", func(b *testing.B) { shape.Overrun(b, byName.Contender(), load, 1) })
	for _, n := range []int{1, 10, 100, 1000, 10_000} {
		b.Run(fmt.Sprintf("subs=%d", n), func(b *testing.B) {
			shape.Overrun(b, dropping.Contender(), load, n)
		})
	}
}

// arrays is a load of pointers to 128 bytes.
func arrays() *shape.Load[*[128]byte] {
	return shape.NewLoad(1,
		func(n uint64) *[128]byte {
			a := new([128]byte)
			binary.LittleEndian.PutUint64(a[:], n)
			return a
		},
		func(a *[128]byte) uint64 { return binary.LittleEndian.Uint64(a[:]) })
}

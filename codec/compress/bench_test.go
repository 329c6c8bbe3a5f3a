package compress_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/topicbus/pubsub/codec"
	"github.com/topicbus/pubsub/codec/compress"
)

func BenchmarkZstd(b *testing.B) {
	for _, size := range []int{128, 1 << 10, 16 << 10, 1 << 20} {
		v := strings.Repeat(message(1, 2), size/len(message(1, 2))+1)[:size]
		c := compress.Zstd(codec.String())
		p, err := c.Encode(v)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("%d/Encode", size), func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(size))
			for b.Loop() {
				if _, err := c.Encode(v); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("%d/Decode", size), func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(size))
			for b.Loop() {
				if _, err := c.Decode(p); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

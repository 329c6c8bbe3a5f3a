package codec_test

import (
	"strings"
	"testing"
	"time"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/codec"
)

func BenchmarkCodec(b *testing.B) {
	b.Run("String", bench(codec.String(), strings.Repeat("x", 128)))
	b.Run("Bytes", bench(codec.Bytes(), make([]byte, 128)))
	b.Run("JSON", bench(codec.JSON[quote](), quote{"AAPL", 99.5}))
	b.Run("Text", bench(codec.Text[time.Time](), time.Unix(0, 0).UTC()))
	b.Run("Binary", bench(codec.Binary[time.Time](), time.Unix(0, 0).UTC()))
}

func bench[T any](c pubsub.Codec[T], v T) func(*testing.B) {
	return func(b *testing.B) {
		p, err := c.Encode(v)
		if err != nil {
			b.Fatal(err)
		}
		b.Run("Encode", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.Encode(v); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("Decode", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.Decode(p); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

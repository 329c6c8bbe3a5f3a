package bench

import (
	"fmt"
	"strconv"
	"testing"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/bench/shape"
	"github.com/topicbus/pubsub/codec"
)

// quote holds no pointers but strings: a message is decoded once for all.
type quote struct {
	Number uint64  `json:"number"`
	Symbol string  `json:"symbol"`
	Date   string  `json:"date"`
	Price  float64 `json:"price"`
}

// order holds pointers, so each subscriber has its own decoded.
type order struct {
	Number uint64   `json:"number"`
	Items  []string `json:"items"`
	Quote  *quote   `json:"quote"`
}

// What codecs cost, and what decoding once saves.
func BenchmarkCodec(b *testing.B) {
	quotes := shape.NewLoad(1, func(n uint64) quote {
		return quote{Number: n, Symbol: "MSFT", Date: "2000-01-01", Price: 39.81}
	}, func(q quote) uint64 { return q.Number })
	orders := shape.NewLoad(1, func(n uint64) *order {
		return &order{Number: n, Items: []string{"tea", "coffee"}, Quote: &quote{Symbol: "MSFT", Price: 39.81}}
	}, func(o *order) uint64 { return o.Number })

	for _, n := range []int{1, 100} {
		codecRow(b, n, "Bytes", codec.Bytes(), shape.Bytes(1, 128))
		codecRow(b, n, "String", codec.String(), strings128())
		codecRow(b, n, "Value/pointer", codec.Value[*order](), orders)
		codecRow(b, n, "Value/struct", codec.Value[quote](), quotes)
		codecRow(b, n, "JSON/plain", codec.JSON[quote](), quotes)
		codecRow(b, n, "JSON/pointers", codec.JSON[*order](), orders)
		codecRow(b, n, "JSON/pointers-shared", codec.JSON[*order](), orders, pubsub.WithSharedDecode())
	}
}

func codecRow[T any](b *testing.B, subscribers int, name string, c pubsub.Codec[T], load *shape.Load[T], opts ...pubsub.Option) {
	bus := shape.Bus[T]{Name: name, Codec: c, Read: shape.All[T], Policy: pubsub.Block, Options: opts}
	b.Run(fmt.Sprintf("subs=%d/%s", subscribers, name), func(b *testing.B) {
		shape.Flood(b, bus.Contender(), load, shape.Fleet{Subscribers: subscribers})
	})
}

// strings128 is a load of strings of 128 bytes.
func strings128() *shape.Load[string] {
	return shape.NewLoad(1,
		func(n uint64) string { return fmt.Sprintf("%0128d", n) },
		func(s string) uint64 {
			n, _ := strconv.ParseUint(s[108:], 10, 64)
			return n
		})
}

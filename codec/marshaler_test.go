package codec_test

import (
	"errors"
	"fmt"
	"math/big"
	"net/netip"
	"net/url"
	"testing"
	"testing/quick"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/codec"
)

func ExampleText() {
	c := codec.Text[time.Time]()
	p, err := c.Encode(time.Date(2025, 8, 12, 14, 0, 0, 0, time.UTC))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%v %s\n", p.Format, p.Data)

	v, err := c.Decode(p)
	fmt.Println(v, err)
	// Output:
	// text 2025-08-12T14:00:00Z
	// 2025-08-12 14:00:00 +0000 UTC <nil>
}

func ExampleText_pointer() {
	c := codec.Text[*big.Int]()
	p, err := c.Encode(big.NewInt(1_000_000))
	if err != nil {
		fmt.Println(err)
		return
	}
	v, err := c.Decode(p)
	fmt.Println(v, err)
	// Output: 1000000 <nil>
}

func ExampleBinary() {
	c := codec.Binary[*url.URL]()
	p, err := c.Encode(&url.URL{Scheme: "https", Host: "go.dev"})
	if err != nil {
		fmt.Println(err)
		return
	}
	v, err := c.Decode(p)
	fmt.Println(p.Format, v, err)
	// Output: binary https://go.dev <nil>
}

func TestMarshalersRoundTrip(t *testing.T) {
	t.Run("Text[time.Time]", roundTrip(codec.Text[time.Time](), pubsub.Text, func(n int64) time.Time { return time.Unix(n%1e10, 0).UTC() }))
	t.Run("Binary[time.Time]", roundTrip(codec.Binary[time.Time](), pubsub.Binary, func(n int64) time.Time { return time.Unix(n%1e10, 0).UTC() }))
	t.Run("Text[*big.Int]", roundTrip(codec.Text[*big.Int](), pubsub.Text, big.NewInt))
	t.Run("Binary[*url.URL]", roundTrip(codec.Binary[*url.URL](), pubsub.Binary, func(n int64) *url.URL {
		return &url.URL{Scheme: "https", Host: "go.dev", Path: fmt.Sprint("/", n)}
	}))
	t.Run("Text[netip.Addr]", roundTrip(codec.Text[netip.Addr](), pubsub.Text, func(n int64) netip.Addr {
		return netip.AddrFrom4([4]byte{byte(n), byte(n >> 8), byte(n >> 16), byte(n >> 24)})
	}))
}

func roundTrip[T any](c pubsub.Codec[T], format pubsub.Format, generate func(int64) T) func(*testing.T) {
	return func(t *testing.T) {
		require.NoError(t, quick.Check(func(n int64) bool {
			v := generate(n)
			p, err := c.Encode(v)
			if err != nil || p.Format != format {
				return false
			}
			for _, f := range []pubsub.Format{pubsub.Binary, pubsub.Text} {
				back, err := c.Decode(pubsub.Payload{Format: f, Data: p.Data})
				if err != nil || fmt.Sprint(back) != fmt.Sprint(v) {
					return false
				}
			}
			return true
		}, nil))
	}
}

func TestMarshalersDecodeToNewPointers(t *testing.T) {
	c := codec.Text[*big.Int]()
	p := pubsub.Payload{Data: []byte("7")}
	first, err := c.Decode(p)
	require.NoError(t, err)
	second, err := c.Decode(p)
	require.NoError(t, err)
	require.NotSame(t, first, second)
}

func TestMarshalersRejectNil(t *testing.T) {
	_, err := codec.Text[*big.Int]().Encode(nil)
	require.ErrorIs(t, err, pubsub.ErrInvalidArgument)
	require.ErrorContains(t, err, "codec.Text[*big.Int]")
	_, err = codec.Binary[*url.URL]().Encode(nil)
	require.ErrorIs(t, err, pubsub.ErrInvalidArgument)
	_, err = codec.Text[interface{ MarshalText() ([]byte, error) }]().Encode(nil)
	require.ErrorIs(t, err, pubsub.ErrInvalidArgument)
}

func TestMarshalersReportWhatFails(t *testing.T) {
	v, err := codec.Text[time.Time]().Decode(pubsub.Payload{Format: pubsub.Text, Data: []byte("noon")})
	var parse *time.ParseError
	require.ErrorAs(t, err, &parse)
	require.ErrorContains(t, err, "codec.Text[time.Time]: ")
	require.Zero(t, v)

	n, err := codec.Text[*big.Int]().Decode(pubsub.Payload{Format: pubsub.Text, Data: []byte("seven")})
	require.Error(t, err)
	require.Nil(t, n)

	_, err = codec.Binary[writeOnly]().Encode(writeOnly{errBoom})
	require.ErrorIs(t, err, errBoom)
	require.ErrorContains(t, err, "codec.Binary[codec_test.writeOnly]: ")
}

var errBoom = errors.New("boom")

// writeOnly can be marshaled but not unmarshaled.
type writeOnly struct{ err error }

func (w writeOnly) MarshalBinary() ([]byte, error) { return []byte("w"), w.err }

func TestMarshalersWithoutUnmarshalMethodPublish(t *testing.T) {
	value, pointer := codec.Binary[writeOnly](), codec.Binary[*writeOnly]()
	p, err := value.Encode(writeOnly{})
	require.NoError(t, err)
	_, err = value.Decode(p)
	require.ErrorIs(t, err, errors.ErrUnsupported)
	require.ErrorContains(t, err, "*codec_test.writeOnly is no encoding.BinaryUnmarshaler")

	p, err = pointer.Encode(&writeOnly{})
	require.NoError(t, err)
	back, err := pointer.Decode(p)
	require.ErrorIs(t, err, errors.ErrUnsupported)
	require.Nil(t, back)
}

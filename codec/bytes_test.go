package codec_test

import (
	"bytes"
	"fmt"
	"testing"
	"testing/quick"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/codec"
)

func ExampleBytes() {
	c := codec.Bytes()
	p, err := c.Encode([]byte{0xca, 0xfe})
	if err != nil {
		fmt.Println(err)
		return
	}
	v, err := c.Decode(p)
	fmt.Println(err)

	mine := bytes.Clone(v) // v is read-only: the publisher and others share it
	mine[0] = 0xba
	fmt.Printf("%v %x %x\n", p.Format, v, mine)
	// Output:
	// <nil>
	// binary cafe bafe
}

func TestBytesRoundTrip(t *testing.T) {
	c := codec.Bytes()
	require.NoError(t, quick.Check(func(v []byte) bool {
		p, err := c.Encode(v)
		if err != nil || p.Format != pubsub.Binary {
			return false
		}
		back, err := c.Decode(p)
		return err == nil && bytes.Equal(back, v)
	}, nil))
}

func TestBytesDecodesText(t *testing.T) {
	v, err := codec.Bytes().Decode(pubsub.Payload{Format: pubsub.Text, Data: []byte("text")})
	require.NoError(t, err)
	require.Equal(t, []byte("text"), v)
}

func TestBytesCopiesNothing(t *testing.T) {
	v := make([]byte, 100)
	p, err := codec.Bytes().Encode(v)
	require.NoError(t, err)
	require.Same(t, unsafe.SliceData(v), unsafe.SliceData(p.Data))
	back, err := codec.Bytes().Decode(p)
	require.NoError(t, err)
	require.Same(t, unsafe.SliceData(v), unsafe.SliceData(back))
}

// Two subscribers that append to what both received must not meet behind it.
func TestBytesAppendsAreSeparate(t *testing.T) {
	c := codec.Bytes()
	buf := append(make([]byte, 0, 64), "abc"...)
	p, err := c.Encode(buf)
	require.NoError(t, err)
	require.Equal(t, 3, cap(p.Data))

	first, err := c.Decode(pubsub.Payload{Data: buf})
	require.NoError(t, err)
	second, err := c.Decode(pubsub.Payload{Data: buf})
	require.NoError(t, err)
	first, second = append(first, '1'), append(second, '2')
	require.Equal(t, "abc1", string(first))
	require.Equal(t, "abc2", string(second))
}

package codec_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/quick"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/codec"
)

func ExampleString() {
	c := codec.String()
	p, err := c.Encode("grüezi")
	if err != nil {
		fmt.Println(err)
		return
	}
	v, err := c.Decode(p)
	fmt.Println(p.Format, len(p.Data), v, err)
	// Output: text 7 grüezi <nil>
}

func TestStringRoundTrip(t *testing.T) {
	c := codec.String()
	require.NoError(t, quick.Check(func(v string) bool {
		p, err := c.Encode(v)
		if err != nil || p.Format != pubsub.Text {
			return false
		}
		back, err := c.Decode(p)
		return err == nil && back == v
	}, nil))
}

func TestStringDecodesBothFormats(t *testing.T) {
	for _, f := range []pubsub.Format{pubsub.Binary, pubsub.Text} {
		for _, data := range [][]byte{nil, {}, []byte("a"), []byte("grüezi")} {
			v, err := codec.String().Decode(pubsub.Payload{Format: f, Data: data})
			require.NoError(t, err)
			require.Equal(t, string(data), v)
		}
	}
}

func TestStringCopiesNothing(t *testing.T) {
	v := strings.Repeat("x", 100)
	p, err := codec.String().Encode(v)
	require.NoError(t, err)
	require.Same(t, unsafe.StringData(v), unsafe.SliceData(p.Data))
	require.Equal(t, len(v), cap(p.Data), "append must not write behind the string")
	back, err := codec.String().Decode(p)
	require.NoError(t, err)
	require.Same(t, unsafe.StringData(v), unsafe.StringData(back))
}

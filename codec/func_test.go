package codec_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/codec"
)

func ExampleFunc() {
	c := codec.Func(
		func(v uint32) (pubsub.Payload, error) {
			return pubsub.Payload{Format: pubsub.Binary, Data: binary.BigEndian.AppendUint32(nil, v)}, nil
		},
		func(p pubsub.Payload) (uint32, error) {
			if len(p.Data) != 4 {
				return 0, fmt.Errorf("%d bytes, want 4", len(p.Data))
			}
			return binary.BigEndian.Uint32(p.Data), nil
		},
	)
	p, err := c.Encode(1 << 16)
	if err != nil {
		fmt.Println(err)
		return
	}
	v, err := c.Decode(p)
	fmt.Println(p.Data, v, err)
	_, err = c.Decode(pubsub.Payload{})
	fmt.Println(err)
	// Output:
	// [0 1 0 0] 65536 <nil>
	// 0 bytes, want 4
}

func TestFuncWithNilHalves(t *testing.T) {
	c := codec.Func[int](nil, nil)
	_, err := c.Encode(1)
	require.ErrorIs(t, err, pubsub.ErrInvalidArgument)
	require.EqualError(t, err, "codec.Func[int]: invalid argument: cannot encode, its enc function is nil")
	_, err = c.Decode(pubsub.Payload{})
	require.ErrorIs(t, err, pubsub.ErrInvalidArgument)
	require.EqualError(t, err, "codec.Func[int]: invalid argument: cannot decode, its dec function is nil")
}

func TestFuncReturnsErrorsAsTheyAre(t *testing.T) {
	boom := errors.New("boom")
	c := codec.Func(
		func(int) (pubsub.Payload, error) { return pubsub.Payload{}, boom },
		func(pubsub.Payload) (int, error) { return 0, boom },
	)
	_, err := c.Encode(1)
	require.Same(t, boom, err)
	_, err = c.Decode(pubsub.Payload{})
	require.Same(t, boom, err)
}

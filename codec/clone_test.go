package codec_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/memory"
	"github.com/topicbus/pubsub/codec"
)

func ExampleClone() {
	c := codec.Clone(codec.Bytes())
	buffer := []byte("first")
	p, err := c.Encode(buffer)
	if err != nil {
		fmt.Println(err)
		return
	}
	copy(buffer, "again")
	fmt.Printf("%s\n", p.Data)
	// Output: first
}

// published publishes through a buffer that is used again, and returns what
// a subscriber reads afterwards.
func published(t *testing.T, c pubsub.Codec[[]byte]) []string {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	bus := pubsub.New(memory.New(), c)
	defer bus.Close()
	sub, err := bus.Subscribe(ctx, "a")
	require.NoError(t, err)
	var buffer [2]byte
	for i := range 3 {
		copy(buffer[:], fmt.Sprintf("m%d", i))
		require.NoError(t, bus.Publish(ctx, "a", buffer[:]))
	}
	var got []string
	for range 3 {
		ev, err := sub.Next(ctx)
		require.NoError(t, err)
		got = append(got, string(ev.Message.Value))
	}
	return got
}

func TestCloneLetsPublishersReuseMemory(t *testing.T) {
	require.Equal(t, []string{"m0", "m1", "m2"}, published(t, codec.Clone(codec.Bytes())))
	require.Equal(t, []string{"m2", "m2", "m2"}, published(t, codec.Bytes()), "without Clone this test proves something")
}

func TestCloneChangesNothingElse(t *testing.T) {
	c := codec.Clone(codec.String())
	p, err := c.Encode("text")
	require.NoError(t, err)
	require.Equal(t, pubsub.Payload{Format: pubsub.Text, Data: []byte("text")}, p)
	require.Equal(t, len(p.Data), cap(p.Data), "two who append must not meet behind it")

	s, err := c.Decode(p)
	require.NoError(t, err)
	require.Same(t, unsafe.SliceData(p.Data), unsafe.StringData(s), "Decode does not copy")

	boom := errors.New("boom")
	failing := codec.Clone(codec.Func(
		func(int) (pubsub.Payload, error) { return pubsub.Payload{Data: []byte("partial")}, boom },
		func(pubsub.Payload) (int, error) { return 0, boom },
	))
	p, err = failing.Encode(1)
	require.Same(t, boom, err)
	require.Zero(t, p)
	_, err = failing.Decode(pubsub.Payload{})
	require.Same(t, boom, err)
}

func TestCloneRefusesWhatItCannotCopy(t *testing.T) {
	_, err := codec.Clone(codec.Value[*account]()).Encode(&account{})
	require.ErrorIs(t, err, pubsub.ErrInvalidArgument)
	require.ErrorContains(t, err, "codec.Clone[*codec_test.account]: ")

	c := codec.Clone[int](nil)
	_, err = c.Encode(1)
	require.ErrorIs(t, err, pubsub.ErrInvalidArgument)
	_, err = c.Decode(pubsub.Payload{})
	require.ErrorIs(t, err, pubsub.ErrInvalidArgument)
	require.ErrorContains(t, err, "the codec to wrap is nil")
}

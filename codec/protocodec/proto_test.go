package protocodec_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/quick"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/memory"
	"github.com/topicbus/pubsub/codec/protocodec"
)

func ExampleBinary() {
	c := protocodec.Binary[*timestamppb.Timestamp]()
	p, err := c.Encode(timestamppb.New(time.Date(2025, 8, 12, 14, 0, 0, 0, time.UTC)))
	if err != nil {
		fmt.Println(err)
		return
	}
	v, err := c.Decode(p)
	fmt.Println(p.Format, len(p.Data), v.AsTime(), err)
	// Output: binary 6 2025-08-12 14:00:00 +0000 UTC <nil>
}

func ExampleJSON() {
	c := protocodec.JSON[*durationpb.Duration]()
	p, err := c.Encode(durationpb.New(1500 * time.Millisecond))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%v %s\n", p.Format, p.Data)

	v, err := c.Decode(p)
	fmt.Println(v.AsDuration(), err)
	// Output:
	// text "1.500s"
	// 1.5s <nil>
}

// both runs a test on the binary and the JSON codec of one message type.
func both[M proto.Message](t *testing.T, test func(t *testing.T, c pubsub.Codec[M], format pubsub.Format)) {
	t.Run("Binary", func(t *testing.T) { test(t, protocodec.Binary[M](), pubsub.Binary) })
	t.Run("JSON", func(t *testing.T) { test(t, protocodec.JSON[M](), pubsub.Text) })
}

func TestRoundTrip(t *testing.T) {
	both(t, func(t *testing.T, c pubsub.Codec[*descriptorpb.FieldDescriptorProto], format pubsub.Format) {
		require.NoError(t, quick.Check(func(name, value *string, number *int32, optional *bool, unread []float64) bool {
			v := &descriptorpb.FieldDescriptorProto{
				Name: clean(name), DefaultValue: clean(value), Number: number, Proto3Optional: optional,
				Options: &descriptorpb.FieldOptions{Lazy: optional},
			}
			for _, f := range unread {
				v.Options.UninterpretedOption = append(v.Options.UninterpretedOption, &descriptorpb.UninterpretedOption{DoubleValue: &f, StringValue: []byte{1, 2}})
			}
			p, err := c.Encode(v)
			if err != nil || p.Format != format {
				return false
			}
			for _, f := range []pubsub.Format{pubsub.Binary, pubsub.Text} {
				back, err := c.Decode(pubsub.Payload{Format: f, Data: p.Data})
				if err != nil || !proto.Equal(v, back) {
					return false
				}
			}
			return true
		}, nil))
	})
}

// clean makes s valid UTF-8, as Protocol Buffers want their strings.
func clean(s *string) *string {
	if s == nil {
		return nil
	}
	return proto.String(strings.ToValidUTF8(*s, "?"))
}

func TestDecodeSharesNothing(t *testing.T) {
	both(t, func(t *testing.T, c pubsub.Codec[*wrapperspb.BytesValue], _ pubsub.Format) {
		p, err := c.Encode(wrapperspb.Bytes([]byte("bytes")))
		require.NoError(t, err)
		first, err := c.Decode(p)
		require.NoError(t, err)
		second, err := c.Decode(p)
		require.NoError(t, err)
		require.NotSame(t, first, second)
		copy(first.Value, "XXXXX")
		copy(p.Data, bytes.Repeat([]byte("?"), len(p.Data)))
		require.Equal(t, "bytes", string(second.Value))
	})
}

func TestNilIsNoMessage(t *testing.T) {
	both(t, func(t *testing.T, c pubsub.Codec[*wrapperspb.BytesValue], _ pubsub.Format) {
		_, err := c.Encode(nil)
		require.ErrorIs(t, err, pubsub.ErrInvalidArgument)
		require.ErrorContains(t, err, "[*wrapperspb.BytesValue]: ")
		p, err := c.Encode(&wrapperspb.BytesValue{})
		require.NoError(t, err)
		v, err := c.Decode(p)
		require.NoError(t, err)
		require.NotNil(t, v)
	})
	both(t, func(t *testing.T, c pubsub.Codec[proto.Message], _ pubsub.Format) {
		_, err := c.Encode(nil)
		require.ErrorIs(t, err, pubsub.ErrInvalidArgument)
	})
}

type embedding struct{ *wrapperspb.BytesValue }

// Types that cannot be made out of nothing can be published all the same.
func TestUnmakeableTypes(t *testing.T) {
	both(t, func(t *testing.T, c pubsub.Codec[proto.Message], _ pubsub.Format) {
		unmakeable[proto.Message](t, c, wrapperspb.Bytes(nil))
	})
	both(t, func(t *testing.T, c pubsub.Codec[*dynamicpb.Message], _ pubsub.Format) {
		unmakeable(t, c, dynamicpb.NewMessage((&wrapperspb.BytesValue{}).ProtoReflect().Descriptor()))
	})
	both(t, func(t *testing.T, c pubsub.Codec[*embedding], _ pubsub.Format) {
		unmakeable(t, c, &embedding{wrapperspb.Bytes(nil)})
	})
	both(t, func(t *testing.T, c pubsub.Codec[embedding], _ pubsub.Format) {
		unmakeable(t, c, embedding{wrapperspb.Bytes(nil)})
	})
}

func unmakeable[M proto.Message](t *testing.T, c pubsub.Codec[M], v M) {
	p, err := c.Encode(v)
	require.NoError(t, err)
	_, err = c.Decode(p)
	require.ErrorIs(t, err, errors.ErrUnsupported)
	require.ErrorContains(t, err, "generated message type")
}

// A Go value has no bytes. It must not pass for an empty message.
func TestGoValuesAreNoMessages(t *testing.T) {
	both(t, func(t *testing.T, c pubsub.Codec[*wrapperspb.BytesValue], _ pubsub.Format) {
		m, err := c.Decode(pubsub.ValuePayload(7))
		require.ErrorContains(t, err, "the payload is a Go value (int); subscribe with codec.Value")
		require.Nil(t, m)
	})
}

func TestUnknownFields(t *testing.T) {
	newer := &descriptorpb.EnumValueDescriptorProto{Name: proto.String("n"), Number: proto.Int32(7)}
	t.Run("Binary", func(t *testing.T) { // both types have the name as field 1
		p, err := protocodec.Binary[*descriptorpb.EnumValueDescriptorProto]().Encode(newer)
		require.NoError(t, err)
		v, err := protocodec.Binary[*wrapperspb.StringValue]().Decode(p)
		require.NoError(t, err)
		require.Equal(t, "n", v.Value)
		p, err = protocodec.Binary[*wrapperspb.StringValue]().Encode(v)
		require.NoError(t, err)
		back, err := protocodec.Binary[*descriptorpb.EnumValueDescriptorProto]().Decode(p)
		require.NoError(t, err)
		require.True(t, proto.Equal(newer, back), "unknown fields are kept")
	})
	t.Run("JSON", func(t *testing.T) {
		p := pubsub.Payload{Format: pubsub.Text, Data: []byte(`{"name":"n","number":7,"since":2031}`)}
		v, err := protocodec.JSON[*descriptorpb.EnumValueDescriptorProto]().Decode(p)
		require.NoError(t, err)
		require.True(t, proto.Equal(newer, v))
	})
}

func TestMalformedPayloads(t *testing.T) {
	both(t, func(t *testing.T, c pubsub.Codec[*structpb.Value], format pubsub.Format) {
		p, err := c.Encode(structpb.NewStringValue("value"))
		require.NoError(t, err)
		for _, data := range [][]byte{
			p.Data[:len(p.Data)-1],
			append(bytes.Clone(p.Data), '}', 0xff),
			bytes.Repeat([]byte("["), 1<<20),
			bytes.Repeat([]byte(`{"a":`), 1<<18),
			nest(6_000),
		} {
			v, err := c.Decode(pubsub.Payload{Format: format, Data: data})
			require.ErrorContains(t, err, "[*structpb.Value]: ")
			require.Nil(t, v)
		}
	})
	_, err := protocodec.Binary[*wrapperspb.StringValue]().Encode(wrapperspb.String("\xff"))
	require.ErrorContains(t, err, "protocodec.Binary[*wrapperspb.StringValue]: ")
}

// nest returns the wire format of a list in a list in a list and so on.
func nest(depth int) []byte {
	var b []byte
	for range depth {
		b = protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), b) // ListValue.values
		b = protowire.AppendBytes(protowire.AppendTag(nil, 6, protowire.BytesType), b) // Value.list_value
	}
	return b
}

func FuzzDecode(f *testing.F) {
	for _, seed := range []string{``, `{}`, `{"a":[1,"2",null,{"b":true}]}`, "\n\x05\n\x01a\x12\x00", "\x12\x06number", `{"a":NaN}`, "\x0b\x0c"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		survives(t, protocodec.Binary[*structpb.Struct](), data)
		survives(t, protocodec.JSON[*structpb.Struct](), data)
		survives(t, protocodec.Binary[*descriptorpb.FileDescriptorProto](), data)
		survives(t, protocodec.JSON[*descriptorpb.FileDescriptorProto](), data)
	})
}

// survives checks that data is an error or a message that can make the trip.
func survives[M proto.Message](t *testing.T, c pubsub.Codec[M], data []byte) {
	before := string(data)
	v, err := c.Decode(pubsub.Payload{Data: data})
	if string(data) != before {
		t.Fatalf("Decode modified the payload %q", before)
	}
	if err != nil {
		return
	}
	p, err := c.Encode(v)
	if err != nil {
		return // JSON has no NaN, the wire format has
	}
	back, err := c.Decode(p)
	if err != nil || !proto.Equal(v, back) {
		t.Fatalf("%v became %v, %v", v, back, err)
	}
}

// The Bus says whether it encoded or decoded, so the codecs do not.
func TestErrorsSayOnceWhatFailed(t *testing.T) {
	for name, c := range map[string]pubsub.Codec[*wrapperspb.StringValue]{
		"protocodec.Binary": protocodec.Binary[*wrapperspb.StringValue](),
		"protocodec.JSON":   protocodec.JSON[*wrapperspb.StringValue](),
	} {
		for _, v := range []*wrapperspb.StringValue{nil, wrapperspb.String("\xff")} {
			err := pubsub.New(memory.New(), c).Publish(t.Context(), "a", v)
			require.ErrorIs(t, err, pubsub.ErrCodec)
			require.ErrorContains(t, err, "encode: "+name+"[*wrapperspb.StringValue]: ")
			require.Equal(t, 1, strings.Count(err.Error(), "encode:"), "%v", err)
		}
		_, err := c.Decode(pubsub.Payload{Data: []byte("\xff")})
		require.Error(t, err)
		require.NotContains(t, err.Error(), "decode:")
	}
}

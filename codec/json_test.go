package codec_test

import (
	"encoding/json"
	"fmt"
	"math"
	"testing"
	"testing/quick"

	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/codec"
)

type quote struct {
	Symbol string
	Price  float64
}

func ExampleJSON() {
	type Quote struct {
		Symbol string  `json:"symbol"`
		Price  float64 `json:"price"`
	}
	c := codec.JSON[Quote]()
	p, err := c.Encode(Quote{"AT&T", 27.5})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%v %s\n", p.Format, p.Data)

	q, err := c.Decode(p)
	fmt.Println(q.Symbol, q.Price, err)
	// Output:
	// text {"symbol":"AT&T","price":27.5}
	// AT&T 27.5 <nil>
}

func TestJSONRoundTrip(t *testing.T) {
	type everything struct {
		Int     int64
		Uint    uint8
		Float   float64
		Bytes   []byte
		Slice   []bool
		Map     map[string]int32
		Pointer *uint16
		Nested  struct{ Quote quote }
	}
	c := codec.JSON[everything]()
	require.NoError(t, quick.Check(func(v everything) bool {
		p, err := c.Encode(v)
		if err != nil || p.Format != pubsub.Text || !json.Valid(p.Data) {
			return false
		}
		for _, f := range []pubsub.Format{pubsub.Text, pubsub.Binary} {
			back, err := c.Decode(pubsub.Payload{Format: f, Data: p.Data})
			if err != nil {
				return false
			}
			again, err := c.Encode(back)
			if err != nil || string(again.Data) != string(p.Data) {
				return false
			}
		}
		return true
	}, nil))
}

func TestJSONEncodesPlainly(t *testing.T) {
	for _, test := range []struct{ value, want string }{
		{"<a href=\"x\">&</a>", `"<a href=\"x\">&</a>"`},
		{"\u2028\u2029", `"\u2028\u2029"`},
		{"replaced \ufffd already", "\"replaced \ufffd already\""},
		{`\ufffd`, `"\\ufffd"`},
		{"line\n", `"line\n"`},
		{"", `""`},
	} {
		p, err := codec.JSON[string]().Encode(test.value)
		require.NoError(t, err)
		require.Equal(t, test.want, string(p.Data))
		require.Equal(t, pubsub.Text, p.Format)
	}
}

func TestJSONRejectsWhatIsNotOneValue(t *testing.T) {
	for _, test := range []struct{ data, says string }{
		{``, "unexpected end of JSON input"},
		{` `, "unexpected end of JSON input"},
		{`{"Symbol":"A"`, "unexpected end of JSON input"},
		{`{"Symbol":"A"}{}`, "after top-level value"},
		{`{"Symbol":"A"} x`, "after top-level value"},
		{`{"Symbol":"A"}` + "\x00", "after top-level value"},
		{`{"Symbol":"A","Price":"1"}`, "quote.Price of type float64"},
		{"\ufeff{}", "invalid character"},
	} {
		for _, f := range []pubsub.Format{pubsub.Binary, pubsub.Text} {
			v, err := codec.JSON[quote]().Decode(pubsub.Payload{Format: f, Data: []byte(test.data)})
			require.ErrorContains(t, err, test.says, "%q", test.data)
			require.ErrorContains(t, err, "codec.JSON[codec_test.quote]: ")
			require.Zero(t, v, "%q", test.data)
		}
	}
	v, err := codec.JSON[quote]().Decode(pubsub.Payload{Data: []byte(" {\"Symbol\":\"A\",\"Since\":1} \n")})
	require.NoError(t, err)
	require.Equal(t, quote{Symbol: "A"}, v)
}

func TestJSONNamesWhatItCannotEncode(t *testing.T) {
	_, err := codec.JSON[chan int]().Encode(make(chan int))
	require.ErrorContains(t, err, "codec.JSON[chan int]: ")
	var unsupportedType *json.UnsupportedTypeError
	require.ErrorAs(t, err, &unsupportedType)

	_, err = codec.JSON[any]().Encode(func() {})
	require.ErrorAs(t, err, &unsupportedType)
	require.ErrorContains(t, err, "func()")

	_, err = codec.JSON[quote]().Encode(quote{Price: math.NaN()})
	var unsupportedValue *json.UnsupportedValueError
	require.ErrorAs(t, err, &unsupportedValue)

	type node struct{ Next *node }
	loop := &node{}
	loop.Next = loop
	_, err = codec.JSON[*node]().Encode(loop)
	require.ErrorAs(t, err, &unsupportedValue)
}

func TestJSONSharesNoMemory(t *testing.T) {
	type message struct {
		Raw   json.RawMessage
		Bytes []byte
		Text  string
	}
	c := codec.JSON[message]()
	v := message{json.RawMessage(`[1,2,3]`), []byte("bytes"), "text"}
	p, err := c.Encode(v)
	require.NoError(t, err)
	want := string(p.Data)
	copy(v.Raw, "[9,9,9]")
	copy(v.Bytes, "XXXXX")
	require.Equal(t, want, string(p.Data), "changing the value must not change the payload")

	back, err := c.Decode(p)
	require.NoError(t, err)
	for i := range p.Data {
		p.Data[i] = '?'
	}
	require.Equal(t, message{json.RawMessage(`[1,2,3]`), []byte("bytes"), "text"}, back)
}

func ExampleUseNumber() {
	const id int64 = 1<<53 + 1 // the first integer that float64 does not have
	plain, numbers := codec.JSON[map[string]any](), codec.JSON[map[string]any](codec.UseNumber())
	p, err := plain.Encode(map[string]any{"id": id})
	if err != nil {
		fmt.Println(err)
		return
	}
	v, _ := plain.Decode(p)
	fmt.Printf("%T %.0f\n", v["id"], v["id"])
	v, _ = numbers.Decode(p)
	fmt.Printf("%T %v\n", v["id"], v["id"])
	// Output:
	// float64 9007199254740992
	// json.Number 9007199254740993
}

func TestJSONUseNumber(t *testing.T) {
	c := codec.JSON[any](codec.UseNumber())
	for _, digits := range []string{"9223372036854775807", "0.10000000000000000000000001", "1e400", "-0"} {
		v, err := c.Decode(pubsub.Payload{Format: pubsub.Text, Data: []byte(` [` + digits + "]\r\n\t ")})
		require.NoError(t, err)
		require.Equal(t, []any{json.Number(digits)}, v)
		p, err := c.Encode(v)
		require.NoError(t, err)
		require.Equal(t, `[`+digits+`]`, string(p.Data))
	}
	// In all else it is the same, errors included.
	for _, data := range []string{``, ` `, `1 2`, `{"a":1}x`, `[1`, `"`, `nul`, "\ufeff1", "1\v", `{"Price":"x"}`, `{"Price":1e999}`, `null`} {
		p := pubsub.Payload{Format: pubsub.Text, Data: []byte(data)}
		_, want := codec.JSON[quote]().Decode(p)
		require.Error(t, want)
		v, err := codec.JSON[quote](codec.UseNumber()).Decode(p)
		require.EqualError(t, err, want.Error(), "%q", data)
		require.Zero(t, v)
	}
}

func TestJSONNilOption(t *testing.T) {
	c := codec.JSON[int](nil)
	_, err := c.Encode(1)
	require.ErrorIs(t, err, pubsub.ErrInvalidArgument)
	_, err = c.Decode(pubsub.Payload{Data: []byte("1")})
	require.ErrorIs(t, err, pubsub.ErrInvalidArgument)
	require.ErrorContains(t, err, "codec.JSON[int]: invalid argument: nil JSONOption")
}

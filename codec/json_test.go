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
		{"bad \xff utf-8", `"bad \ufffd utf-8"`},
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

package codec_test

import (
	"math/big"
	"reflect"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/codec"
)

// FuzzJSON: any payload is an error or a value that survives a round trip.
func FuzzJSON(f *testing.F) {
	for _, seed := range []string{``, `null`, `{}{}`, `{"Symbol":"A","Price":1e308}`, `[[[[1]]]]`, `"<&>\u2028"`, "\"\xff\"", `1e400`, `{"a":{"b":[true,false,null]}}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		survives(t, codec.JSON[any](), pubsub.Text, data)
		survives(t, codec.JSON[quote](), pubsub.Text, data)
		survives(t, codec.JSON[map[string][]*quote](), pubsub.Text, data)
	})
}

// FuzzMarshalers: Text and Binary do what the type's own methods do. That the
// value survives is for the type to see to: a time.Time whose zone is off by a
// negative number of seconds (the last seed) loses its zone in MarshalBinary.
func FuzzMarshalers(f *testing.F) {
	for _, seed := range []string{
		``, `2025-08-12T14:00:00.5+02:00`, `-123`, `0x7f`,
		"\x01\x00\x00\x00\x0e\xbb\x4b\x37\xe5\x00\x00\x00\x00\xff\xff",
		"\x02\xb4\xb3\xb3\xb3\xb3\xb3\xb3\xd2\xff\xff\x99\a\xb1\xe5\xe5",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var n big.Int
		err := n.UnmarshalText(data)
		marshalsLike(t, codec.Text[*big.Int](), pubsub.Text, data, &n, err, (*big.Int).MarshalText)
		var text, binary time.Time
		err = text.UnmarshalText(data)
		marshalsLike(t, codec.Text[time.Time](), pubsub.Text, data, text, err, time.Time.MarshalText)
		err = binary.UnmarshalBinary(data)
		marshalsLike(t, codec.Binary[time.Time](), pubsub.Binary, data, binary, err, time.Time.MarshalBinary)
	})
}

// marshalsLike checks c against want and wantErr, what the type itself made of
// data, and against marshal.
func marshalsLike[T any](t *testing.T, c pubsub.Codec[T], format pubsub.Format, data []byte, want T, wantErr error, marshal func(T) ([]byte, error)) {
	before := string(data)
	v, err := c.Decode(pubsub.Payload{Format: format, Data: data})
	if string(data) != before {
		t.Fatalf("Decode modified the payload %q", before)
	}
	if (err == nil) != (wantErr == nil) {
		t.Fatalf("Decode(%q) = %v, the type says %v", data, err, wantErr)
	}
	if err != nil {
		return
	}
	wantData, wantErr := marshal(want)
	p, err := c.Encode(v)
	if (err == nil) != (wantErr == nil) || string(p.Data) != string(wantData) {
		t.Fatalf("%q became %q, %v; the type says %q, %v", data, p.Data, err, wantData, wantErr)
	}
	if err == nil && p.Format != format {
		t.Fatalf("%q became %v, want %v", data, p.Format, format)
	}
}

// FuzzStringAndBytes: they take every payload and give back its bytes.
func FuzzStringAndBytes(f *testing.F) {
	f.Add([]byte(nil))
	f.Add([]byte("text"))
	f.Add([]byte{0xff, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		want := string(data)
		s, err := codec.String().Decode(pubsub.Payload{Format: pubsub.Binary, Data: data})
		if err != nil || s != want {
			t.Fatalf("String decoded %q to %q, %v", want, s, err)
		}
		p, err := codec.String().Encode(s)
		if err != nil || string(p.Data) != want || p.Format != pubsub.Text {
			t.Fatalf("String encoded %q to %v, %v", want, p, err)
		}
		b, err := codec.Bytes().Decode(p)
		if err != nil || string(b) != want {
			t.Fatalf("Bytes decoded %q to %q, %v", want, b, err)
		}
		p, err = codec.Bytes().Encode(b)
		if err != nil || string(p.Data) != want || p.Format != pubsub.Binary {
			t.Fatalf("Bytes encoded %q to %v, %v", want, p, err)
		}
	})
}

func survives[T any](t *testing.T, c pubsub.Codec[T], format pubsub.Format, data []byte) {
	before := string(data)
	v, err := c.Decode(pubsub.Payload{Format: pubsub.Binary, Data: data})
	if string(data) != before {
		t.Fatalf("Decode modified the payload %q", before)
	}
	if err != nil {
		return
	}
	p, err := c.Encode(v)
	if err != nil {
		t.Fatalf("%v was decoded from %q but cannot be encoded: %v", v, data, err)
	}
	if p.Format != format || format == pubsub.Text && !utf8.Valid(p.Data) {
		t.Fatalf("%v was encoded to a bad payload: %v", v, p)
	}
	back, err := c.Decode(p)
	if err != nil {
		t.Fatalf("%v was encoded to %q, which fails: %v", v, p.Data, err)
	}
	again, err := c.Encode(back)
	if err != nil || !reflect.DeepEqual(p, again) {
		t.Fatalf("%v became %q, then %q, %v", v, p.Data, again.Data, err)
	}
}

package codec_test

import (
	"encoding/json"
	"math/big"
	"reflect"
	"strconv"
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

// FuzzJSONValues: a value is refused, or comes back as it was.
func FuzzJSONValues(f *testing.F) {
	f.Add("text", "a", "b", int64(1)<<53+1)
	f.Add("\xff", "a", "b", int64(-1))
	f.Add("\ufffd", "\xff", "\xfe", int64(0))
	f.Add(`\ufffd`, "\ufffd", `\ufffd`, int64(0))
	f.Add("<&>\u2028\"\\", "", "\x00", int64(-1)<<63)
	type inner struct{ S string }
	type within struct{ T string }
	type message struct {
		S      string
		Quoted string `json:",string"`
		Named  named
		Map    map[string]string
		Named2 map[named]*inner
		Any    any
		List   []inner
		Raw    []byte
		within
	}
	c, numbers := codec.JSON[message](), codec.JSON[any](codec.UseNumber())
	f.Fuzz(func(t *testing.T, s, k1, k2 string, n int64) {
		valid := utf8.ValidString(s) && utf8.ValidString(k1) && utf8.ValidString(k2)
		v := message{
			Map: map[string]string{}, Named2: map[named]*inner{}, Any: map[string]any{}, List: []inner{}, Raw: []byte(s),
		}
		switch place := uint(n) % 8; place { // one at a time, so that each is found alone
		case 0:
			v.S, v.within.T = s, k1+k2
		case 1:
			v.Quoted, v.List = s, []inner{{k1}, {k2}}
		case 2:
			v.Named, v.S = named(s), k1+k2
		case 3:
			v.Map = map[string]string{k1: s, k2: s}
		case 4:
			v.Named2 = map[named]*inner{named(k1): {s}, named(k2): {s}}
		case 5:
			v.Any = map[string]any{k1: s, k2: s}
		case 6:
			v.Any = []any{s, k1, []any{k2}}
		default:
			v.within.T, v.Any = s, k1+k2
		}
		p, err := c.Encode(v)
		// Two halves of a character make a whole one.
		if both := utf8.ValidString(s) && utf8.ValidString(k1+k2); valid != both {
			return
		}
		if (err == nil) != valid {
			t.Fatalf("%+v was published as %q, %v", v, p.Data, err)
		}
		if err != nil {
			return
		}
		back, err := c.Decode(p)
		if err != nil || !reflect.DeepEqual(v, back) {
			t.Fatalf("%+v was published as %q, and came back as %+v, %v", v, p.Data, back, err)
		}

		p, err = numbers.Encode([]any{n})
		if err != nil {
			t.Fatal(err)
		}
		number, err := numbers.Decode(p)
		if want := []any{json.Number(strconv.FormatInt(n, 10))}; err != nil || !reflect.DeepEqual(number, any(want)) {
			t.Fatalf("%d came back as %v, %v", n, number, err)
		}
	})
}

// FuzzValue: what was published as one type is never read as another.
func FuzzValue(f *testing.F) {
	f.Add("text", 7)
	f.Add("", 0)
	f.Fuzz(func(t *testing.T, s string, n int) {
		ps := []pubsub.Payload{
			encoded(t, codec.Value[string](), s), encoded(t, codec.Value[any](), any(s)),
			encoded(t, codec.Value[int](), n), encoded(t, codec.Value[any](), any(n)),
			encoded(t, codec.Value[named](), named(s)), encoded(t, codec.String(), s), encoded(t, codec.Bytes(), []byte(s)),
		}
		readsOnly(t, codec.Value[string](), ps, map[int]string{0: s})
		readsOnly(t, codec.Value[any](), ps, map[int]any{1: s, 3: n})
		readsOnly(t, codec.Value[int](), ps, map[int]int{2: n})
		readsOnly(t, codec.Value[named](), ps, map[int]named{4: named(s)})
		readsOnly(t, codec.String(), ps, map[int]string{5: s, 6: s})
	})
}

func encoded[T any](t *testing.T, c pubsub.Codec[T], v T) pubsub.Payload {
	p, err := c.Encode(v)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// readsOnly checks that c decodes those payloads, by index, and no others.
func readsOnly[T comparable](t *testing.T, c pubsub.Codec[T], ps []pubsub.Payload, want map[int]T) {
	t.Helper()
	for i, p := range ps {
		v, err := c.Decode(p)
		if _, ok := want[i]; v != want[i] || (err == nil) != ok {
			t.Fatalf("%T decoded %v to %v, %v", c, p, v, err)
		}
	}
}

// FuzzClone: a payload stays as it is when the value does not.
func FuzzClone(f *testing.F) {
	f.Add([]byte(nil), byte(0))
	f.Add([]byte("text"), byte('x'))
	c := codec.Clone(codec.Bytes())
	f.Fuzz(func(t *testing.T, data []byte, over byte) {
		want, reused := string(data), append(make([]byte, 0, len(data)+1), data...)
		p := encoded(t, c, reused)
		for i := range reused {
			reused[i] = over
		}
		_ = append(reused, over)
		_ = append(p.Data, over)
		if v, err := c.Decode(p); err != nil || string(v) != want || p.Format != pubsub.Binary {
			t.Fatalf("%q came back as %q, %v", want, v, err)
		}
	})
}

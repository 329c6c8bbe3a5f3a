package codec_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/netip"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/codec"
)

const notUTF8 = "bad \xff"

// refused tests that Encode answers v with the sentinel and the text.
func refused[T any](t *testing.T, v T, sentinel error, says string) {
	t.Helper()
	p, err := codec.JSON[T]().Encode(v)
	require.ErrorIs(t, err, sentinel, "published %s", p.Data)
	require.ErrorContains(t, err, fmt.Sprintf("codec.JSON[%T]: ", v)+says)
	require.Zero(t, p)
}

// comesBack tests that v is published and decoded to the same.
func comesBack[T any](t *testing.T, v T) {
	t.Helper()
	c := codec.JSON[T]()
	p, err := c.Encode(v)
	require.NoError(t, err)
	back, err := c.Decode(p)
	require.NoError(t, err)
	require.Equal(t, v, back)
}

// named marshals itself to text, whatever it is.
type named string

func (n named) MarshalText() ([]byte, error)  { return []byte(n), nil }
func (n *named) UnmarshalText(b []byte) error { *n = named(b); return nil }

// level writes 0 and all below alike.
type level int

func (l level) MarshalText() ([]byte, error)  { return fmt.Append(nil, max(l, 0)), nil }
func (l *level) UnmarshalText(b []byte) error { _, err := fmt.Sscan(string(b), (*int)(l)); return err }

type Base struct{ Deep string }

// What is not UTF-8 would arrive as another string.
func TestJSONRefusesStringsThatAreNotUTF8(t *testing.T) {
	type inner struct{ Name string }
	type outer struct {
		Items  []inner
		Map    map[string]int
		Any    any
		Ptr    *inner
		Array  [2]string
		Quoted string `json:",string"`
		Named  named
		Nil    *named
		Left   string `json:"-"`
		hidden string
		inner
		*Base
	}
	for path, v := range map[string]outer{
		".Items[1].Name: invalid payload: a string ": {Items: []inner{{}, {notUTF8}}},
		".Map: invalid payload: a map key ":          {Map: map[string]int{"a": 1, notUTF8: 2}},
		".Any: invalid payload: a string ":           {Any: notUTF8},
		`.Any["a"][1]: invalid payload: a string `:   {Any: map[string]any{"a": []any{1, notUTF8}}},
		".Any: invalid payload: a map key ":          {Any: map[string]any{notUTF8: 1}},
		".Any.Name: invalid payload: a string ":      {Any: &inner{notUTF8}},
		".Any[0]: invalid payload: a string ":        {Any: []string{notUTF8}},
		`.Any["7"]: invalid payload: a string `:      {Any: map[int]string{7: notUTF8}},
		".Ptr.Name: invalid payload: a string ":      {Ptr: &inner{notUTF8}},
		".Array[1]: invalid payload: a string ":      {Array: [2]string{"", notUTF8}},
		".Quoted: invalid payload: a string ":        {Quoted: notUTF8},
		".Named: invalid payload: a string ":         {Named: notUTF8},
		".inner.Name: invalid payload: a string ":    {inner: inner{notUTF8}},
		".Base.Deep: invalid payload: a string ":     {Base: &Base{notUTF8}},
	} {
		_, err := codec.JSON[outer]().Encode(v)
		require.ErrorIs(t, err, pubsub.ErrInvalidPayload, path)
		require.ErrorContains(t, err, "codec.JSON[codec_test.outer]: "+path)
		require.ErrorContains(t, err, "is not valid UTF-8")
		_, err = codec.JSON[*outer]().Encode(&v)
		require.ErrorIs(t, err, pubsub.ErrInvalidPayload, path)
		_, err = codec.JSON[any]().Encode(v)
		require.ErrorIs(t, err, pubsub.ErrInvalidPayload, path)
	}
	refused(t, notUTF8, pubsub.ErrInvalidPayload, "invalid payload: a string is not valid UTF-8")
	refused(t, map[named]int{notUTF8: 1}, pubsub.ErrInvalidPayload, "invalid payload: a map key is not valid UTF-8")

	// These look like it in the output, and are fine.
	comesBack(t, "\ufffd")
	comesBack(t, `\ufffd`)
	comesBack(t, json.RawMessage(`"\ufffd"`))
	comesBack(t, outer{Any: map[string]any{`\ufffd`: `\ufffd`}, Items: []inner{{`\ufffd`}}, Named: `\ufffd`})
	comesBack(t, []byte(notUTF8+`\ufffd`))
	c := codec.JSON[outer]()
	_, err := c.Encode(outer{Left: notUTF8, hidden: notUTF8, Quoted: `\ufffd`})
	require.NoError(t, err, "what is not published does not matter")
}

// Two keys that are written alike would arrive as one.
func TestJSONRefusesKeysThatCollapse(t *testing.T) {
	refused(t, map[string]int{"\xff": 1, "\xfe": 2}, pubsub.ErrInvalidPayload, "invalid payload: a map key")
	refused(t, map[level]int{0: 1, -1: 2}, pubsub.ErrInvalidArgument, `invalid argument: two keys of the map are written as "0"`)
	refused(t, []map[level]int{{1: 1}, {-2: 1, -1: 2}}, pubsub.ErrInvalidArgument, "[1]: invalid argument: two keys")
	noon := time.Date(2025, 8, 12, 12, 0, 0, 0, time.UTC)
	refused(t, map[time.Time]int{noon: 1, noon.In(time.FixedZone("UTC", 0)): 2, noon.Add(1): 3}, pubsub.ErrInvalidArgument, "invalid argument: two keys")

	_, err := codec.JSON[any]().Encode(map[string]any{"a": map[level]int{0: 1, -1: 2}})
	require.ErrorContains(t, err, `codec.JSON[interface {}]: ["a"]: invalid argument: two keys of the map`)

	comesBack(t, map[level]int{0: 1, 1: 2})
	comesBack(t, map[netip.Addr]string{netip.MustParseAddr("::1"): "a", netip.MustParseAddr("::2"): "b"})
}

type (
	allHidden  struct{ a, b int }
	someHidden struct {
		A int
		b int
	}
	onlyMethods struct{ n int }
	embedsNone  struct {
		sync.Mutex
		A any
	}
	embedded      struct{ A int }
	embedsPointer struct{ *embedded }
	recursive     struct {
		Next *recursive
		Err  error
	}
	goodRecursive struct {
		Next []goodRecursive
		Any  any
	}
	EmbedsItself struct {
		*EmbedsItself
		Err error
	}
	keyed struct{ A int }
)

func (m onlyMethods) MarshalText() ([]byte, error)  { return fmt.Append(nil, m.n), nil }
func (m *onlyMethods) UnmarshalText(b []byte) error { _, err := fmt.Sscan(string(b), &m.n); return err }
func (keyed) MarshalText() ([]byte, error)          { return nil, nil }

// Types that subscribers could never decode, or would decode to nothing.
func TestJSONRefusesTypesThatDoNotComeBack(t *testing.T) {
	const invalid = "invalid argument: "
	typeRefused[error](t, "invalid argument: an interface other than any (error)")
	typeRefused[fmt.Stringer](t, "invalid argument: an interface other than any (fmt.Stringer)")
	typeRefused[struct{ Err error }](t, ".Err: "+invalid+"an interface")
	typeRefused[struct {
		A []map[string]*struct{ Err error }
	}](t, ".A[][].Err: "+invalid+"an interface")
	typeRefused[recursive](t, ".Err: "+invalid+"an interface")
	typeRefused[EmbedsItself](t, ".Err: "+invalid+"an interface")
	typeRefused[struct{ F func() }](t, ".F: "+invalid+"json: unsupported type: func()")
	typeRefused[struct{ C []chan int }](t, ".C[]: "+invalid+"json: unsupported type: chan int")
	typeRefused[complex128](t, invalid+"json: unsupported type: complex128")
	typeRefused[allHidden](t, invalid+"no field of codec_test.allHidden would be written")
	typeRefused[struct{ In *allHidden }](t, ".In: "+invalid+"no field of codec_test.allHidden")
	typeRefused[struct{ allHidden }](t, invalid+"no field of")
	typeRefused[struct{ error }](t, invalid+"no field of")
	typeRefused[struct{ Mu sync.Mutex }](t, ".Mu: "+invalid+"no field of sync.Mutex")
	typeRefused[map[string]big.Int](t, "[]: "+invalid+"the methods of big.Int have a pointer for their receiver")
	typeRefused[embedsPointer](t, ".embedded: "+invalid+"an embedded pointer")
	typeRefused[map[keyed]int](t, invalid+"a map key of type codec_test.keyed has MarshalText and no UnmarshalText")
	typeRefused[map[float64]int](t, invalid+"a map key of type float64 cannot be written")

	comesBack(t, someHidden{1, 0})
	comesBack(t, onlyMethods{7})
	comesBack(t, map[string]onlyMethods{"a": {7}})
	comesBack(t, struct{}{})
	comesBack(t, &embedsNone{A: "any"})
	comesBack(t, struct{ embedded }{embedded{1}})
	comesBack(t, goodRecursive{Next: []goodRecursive{{Any: "x"}}})
	comesBack(t, struct {
		A   int
		Err error  `json:"-"`
		F   func() `json:"-"`
	}{A: 1})
	comesBack(t, *big.NewInt(1 << 40)) // by its methods, though they have a pointer for their receiver
	comesBack(t, struct{ N big.Int }{*big.NewInt(1 << 40)})
	comesBack(t, time.Date(2025, 8, 12, 12, 0, 0, 0, time.UTC))

	_, err := codec.JSON[[]chan int]().Encode(nil)
	var unsupported *json.UnsupportedTypeError
	require.ErrorAs(t, err, &unsupported)
}

type (
	Named   struct{ Name string }
	Titled  struct{ Title string }
	Renamed struct {
		Title string `json:"Name"`
	}
	Label    struct{ Name string }
	Deeper   struct{ Named }
	Also     struct{ Named }
	twoOfOne struct{ A, B Named }
	hides    struct {
		Name string
		Named
		Titled
	}
	renames struct {
		A int
		B int `json:"A"`
	}
	// ownTwin leads back to itself by value and by an embedded pointer.
	ownTwin struct{ *OwnTwin }
	OwnTwin struct {
		Any  any
		Back []ownTwin
	}
)

// encoding/json leaves out fields whose names collide, without an error.
func TestJSONRefusesFieldsOfOneName(t *testing.T) {
	const both, one = ` as well, so neither would be written`, ` as well, and by its tag, so this one would not be written`
	typeRefused[struct {
		Named
		*Label
	}](t, `.Named.Name: invalid argument: the field Label.Name has the JSON name "Name"`+both)
	typeRefused[struct {
		A int
		B int `json:"A"`
		C int
	}](t, `.A: invalid argument: the field B has the JSON name "A"`+one)
	typeRefused[struct {
		B int `json:"A,omitempty"`
		A int
	}](t, `.A: invalid argument: the field B has the JSON name "A"`+one)
	typeRefused[struct {
		Named
		Renamed
		More int
	}](t, `.Named.Name: invalid argument: the field Renamed.Title has the JSON name "Name"`+one)
	typeRefused[struct {
		Deeper
		Also
	}](t, `.Deeper.Named.Name: invalid argument: the field Also.Named.Name has the JSON name "Name"`+both)
	typeRefused[struct {
		Deeper
		*Also
		Titled Titled
	}](t, `.Deeper.Named.Name: invalid argument: the field Also.Named.Name`)
	typeRefused[[]struct{ In *struct{ *renames } }](t, `[].In.renames.A: invalid argument: the field renames.B has the JSON name "A"`)

	// go vet finds them only where a struct is written down.
	twins := reflect.StructOf([]reflect.StructField{
		{Name: "A", Type: reflect.TypeFor[int](), Tag: `json:"a"`},
		{Name: "B", Type: reflect.TypeFor[int](), Tag: `json:"a,omitempty"`},
	})
	p, err := codec.JSON[any]().Encode(map[string]any{"x": reflect.Zero(twins).Interface()})
	require.ErrorIs(t, err, pubsub.ErrInvalidArgument, "published %s", p.Data)
	require.ErrorContains(t, err, `["x"].A: invalid argument: the field B has the JSON name "a"`+both)

	// A name in a tag that encoding/json does not take does not count.
	untaken := reflect.New(reflect.StructOf([]reflect.StructField{
		{Name: "A", Type: reflect.TypeFor[int](), Tag: `json:"no\"name"`},
		{Name: "B", Type: reflect.TypeFor[int](), Tag: `json:"no\"name"`},
	})).Interface()
	p, err = codec.JSON[any]().Encode(untaken)
	require.NoError(t, err)
	require.JSONEq(t, `{"A":0,"B":0}`, string(p.Data))

	comesBack(t, hides{Name: "outer", Titled: Titled{"t"}})
	p, err = codec.JSON[hides]().Encode(hides{Name: "outer", Named: Named{notUTF8}})
	require.NoError(t, err, "what is hidden, as in Go, is not published")
	require.JSONEq(t, `{"Name":"outer","Title":""}`, string(p.Data))
	comesBack(t, twoOfOne{Named{"a"}, Named{"b"}})
	comesBack(t, struct {
		A int `json:"A"`
		B int `json:"a"`
	}{1, 2})
	comesBack(t, struct {
		A int `json:"-"`
		B int `json:"A"`
	}{B: 1})
	comesBack(t, struct {
		Named `json:"Title"`
		Other Named
	}{Named{"a"}, Named{"b"}})
	_, err = codec.JSON[any]().Encode(ownTwin{&OwnTwin{Any: "x", Back: []ownTwin{{&OwnTwin{Any: notUTF8}}}}})
	require.ErrorContains(t, err, ".OwnTwin.Back[0].OwnTwin.Any: invalid payload")
}

func typeRefused[T any](t *testing.T, says string) {
	t.Helper()
	c := codec.JSON[T]() // not here
	var zero T
	for range 2 {
		p, err := c.Encode(zero)
		require.ErrorIs(t, err, pubsub.ErrInvalidArgument, "published %s", p.Data)
		require.ErrorContains(t, err, ": "+says)
		require.Zero(t, p)
	}
}

// In an any, whatever is written can be decoded; what is not written is lost.
func TestJSONRefusesLossInAny(t *testing.T) {
	c := codec.JSON[any]()
	for says, v := range map[string]any{
		"invalid argument: no field of errors.errorString":          errors.New("lost"),
		`["err"]: invalid argument: no field of errors.errorString`: map[string]any{"err": errors.New("lost")},
		"[1]: invalid argument: no field of codec_test.allHidden":   []any{1, allHidden{1, 2}},
		".Err: invalid argument: no field of errors.errorString":    recursive{Err: errors.New("lost")},
		"[0].Err: invalid argument: no field of":                    []struct{ Err error }{{errors.New("lost")}},
	} {
		_, err := c.Encode(v)
		require.ErrorIs(t, err, pubsub.ErrInvalidArgument, says)
		require.ErrorContains(t, err, says)
	}
	for _, v := range []any{recursive{}, struct{ S fmt.Stringer }{time.Second}, embedsPointer{&embedded{1}}, map[keyed]int{{}: 1}} {
		_, err := c.Encode(v)
		require.NoError(t, err, "%+v", v)
	}
}

func TestJSONNull(t *testing.T) {
	null := pubsub.Payload{Format: pubsub.Text, Data: []byte(" null ")}
	refused[*quote](t, nil, pubsub.ErrInvalidArgument, "invalid argument: it would be written as null, which is no *codec_test.quote")
	noNull[*quote](t)
	noNull[**quote](t)
	noNull[quote](t)
	noNull[string](t)
	noNull[int](t)
	noNull[[2]int](t)
	comesBack[map[string]int](t, nil)
	comesBack[[]int](t, nil)
	comesBack[any](t, nil)
	comesBack(t, []*quote{nil}) // inside T, it is encoding/json's
	q, err := codec.JSON[optional]().Decode(null)
	require.NoError(t, err)
	require.Equal(t, optional{set: true}, q, "a type of its own mind")
}

type optional struct{ set bool }

func (o *optional) UnmarshalJSON([]byte) error { o.set = true; return nil }

func noNull[T any](t *testing.T) {
	t.Helper()
	v, err := codec.JSON[T]().Decode(pubsub.Payload{Data: []byte(" null\n")})
	require.ErrorContains(t, err, fmt.Sprintf("codec.JSON[%T]: null is no %[1]T", v))
	require.Zero(t, v)
}

func TestJSONDecodesUTF8Only(t *testing.T) {
	v, err := codec.JSON[string]().Decode(pubsub.Payload{Format: pubsub.Binary, Data: []byte(`"` + notUTF8 + `"`)})
	require.ErrorIs(t, err, pubsub.ErrInvalidPayload)
	require.Zero(t, v)
}

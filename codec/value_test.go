package codec_test

import (
	"errors"
	"fmt"
	"html/template"
	"io"
	"runtime"
	"testing"
	texttemplate "text/template"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/codec"
)

// account has what no encoding keeps.
type account struct {
	balance int
	err     error
	notify  func() string
}

func ExampleValue() {
	c := codec.Value[*account]()
	sent := &account{balance: 7, err: io.EOF}
	p, err := c.Encode(sent)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(p.Format)

	got, err := c.Decode(p)
	fmt.Println(got == sent, got.balance, got.err, err)
	// Output:
	// go value
	// true 7 EOF <nil>
}

func handOn[T any](t *testing.T, v T) T {
	t.Helper()
	c := codec.Value[T]()
	p, err := c.Encode(v)
	require.NoError(t, err)
	require.Equal(t, pubsub.GoValue, p.Format)
	require.Empty(t, p.Data)
	back, err := c.Decode(p)
	require.NoError(t, err)
	return back
}

func TestValueKeepsIdentity(t *testing.T) {
	p := &account{balance: 7}
	require.Same(t, p, handOn(t, p))
	require.Nil(t, handOn[*account](t, nil), "a nil of the type is a value of the type")

	v := handOn(t, account{balance: 7, err: io.EOF, notify: func() string { return "called" }})
	require.Equal(t, 7, v.balance)
	require.Same(t, io.EOF, v.err)
	require.Equal(t, "called", v.notify())

	require.Equal(t, "called", handOn(t, func() string { return "called" })())
	ch := make(chan int, 1)
	handOn(t, ch) <- 1
	require.Equal(t, 1, <-ch)
	m := map[string]int{}
	handOn(t, m)["shared"] = 1
	require.Equal(t, 1, m["shared"])
	require.Equal(t, "text", handOn(t, "text"))
	require.Zero(t, handOn(t, 0))
	require.Nil(t, handOn[[]byte](t, nil))
	require.Equal(t, time.UTC, handOn(t, time.UTC))
}

// A payload alone keeps what it carries.
func TestValueOutlivesGarbageCollection(t *testing.T) {
	type large [1 << 10]int
	pointers, values := codec.Value[*large](), codec.Value[large]()
	var ps, vs []pubsub.Payload
	for i := range 100 {
		p, err := pointers.Encode(&large{i, i})
		require.NoError(t, err)
		v, err := values.Encode(large{i, i})
		require.NoError(t, err)
		ps, vs = append(ps, p), append(vs, v)
	}
	for range 3 {
		runtime.GC()
		_ = make([]large, 100) // where they would have been
	}
	for i := range ps {
		p, err := pointers.Decode(ps[i])
		require.NoError(t, err)
		v, err := values.Decode(vs[i])
		require.NoError(t, err)
		require.Equal(t, large{i, i}, *p)
		require.Equal(t, large{i, i}, v)
	}
}

func TestValueKeepsInterfaces(t *testing.T) {
	require.Same(t, io.EOF, handOn(t, io.EOF))
	require.NoError(t, handOn[error](t, nil), "a nil interface arrives as one")
	require.Nil(t, handOn[any](t, nil))
	var nilPointer *account
	got := handOn[any](t, nilPointer)
	require.NotEqual(t, nil, got, "an interface that holds a nil pointer is not nil")
	require.Equal(t, any(nilPointer), got)
	require.Equal(t, fmt.Stringer(time.Second), handOn[fmt.Stringer](t, time.Second))
}

type (
	meters int
	feet   int
)

func TestValueTakesNoOtherType(t *testing.T) {
	other(t, codec.Value[meters](), codec.Value[feet](), 7, "codec_test.meters", "codec_test.feet")
	other(t, codec.Value[int](), codec.Value[meters](), 7, "int", "codec_test.meters")
	other(t, codec.Value[account](), codec.Value[*account](), account{}, "codec_test.account", "*codec_test.account")
	other(t, codec.Value[*account](), codec.Value[account](), nil, "*codec_test.account", "codec_test.account")
	other(t, codec.Value[error](), codec.Value[any](), io.EOF, "error", "interface {}")
	other(t, codec.Value[any](), codec.Value[error](), nil, "interface {}", "error")
	other(t, codec.Value[string](), codec.Value[any](), "text", "string", "interface {}")
	other(t, codec.Value[any](), codec.Value[string](), "text", "interface {}", "string")
	other(t, codec.Value[[]byte](), codec.Value[string](), []byte("text"), "[]uint8", "string")
	other(t, codec.Value[func()](), codec.Value[func() error](), nil, "func()", "func() error")

	// Types that print alike are told apart by their packages.
	other(t, codec.Value[*template.Template](), codec.Value[*texttemplate.Template](), nil,
		`*template.Template of package "html/template"`, `"text/template"`)
}

// other tests that r does not read v, which w publishes as the first name.
func other[W, R any](t *testing.T, w pubsub.Codec[W], r pubsub.Codec[R], v W, wrote, read string) {
	t.Helper()
	p, err := w.Encode(v)
	require.NoError(t, err)
	got, err := r.Decode(p)
	require.ErrorContains(t, err, "published as "+wrote)
	require.ErrorContains(t, err, read)
	require.Zero(t, got)
}

func TestValueTakesNoBytes(t *testing.T) {
	for _, p := range []pubsub.Payload{
		{Format: pubsub.Text, Data: []byte("12345")},
		{Format: pubsub.Binary, Data: []byte("12345")},
	} {
		_, err := codec.Value[int]().Decode(p)
		require.ErrorContains(t, err, fmt.Sprintf("codec.Value[int]: the payload is %v of 5 bytes", p.Format))
		require.ErrorContains(t, err, "subscribe with that publisher's codec, such as codec.JSON")
		_, err = codec.Value[any]().Decode(p)
		require.ErrorContains(t, err, "codec.Value[interface {}]: the payload is "+p.Format.String())
	}
	_, err := codec.Value[any]().Decode(pubsub.Payload{Format: pubsub.GoValue})
	require.ErrorContains(t, err, "has no value")
}

// A Go value has no bytes. The other codecs must not read it as empty.
func TestCodecsOfBytesTakeNoValue(t *testing.T) {
	noValue(t, "codec.String", codec.String())
	noValue(t, "codec.Bytes", codec.Bytes())
	noValue(t, "codec.JSON[string]", codec.JSON[string]())
	noValue(t, "codec.Text[time.Time]", codec.Text[time.Time]())
	noValue(t, "codec.Binary[time.Time]", codec.Binary[time.Time]())
}

func noValue[T any](t *testing.T, name string, c pubsub.Codec[T]) {
	t.Helper()
	p, err := codec.Value[error]().Encode(errors.New("no bytes"))
	require.NoError(t, err)
	for as, p := range map[string]pubsub.Payload{
		"error": p,
		"int":   pubsub.ValuePayload(7),
		"nil":   {Format: pubsub.GoValue},
	} {
		v, err := c.Decode(p)
		require.ErrorContains(t, err, name+": the payload is a Go value, published as "+as+"; subscribe with codec.Value")
		require.Zero(t, v)
	}
}

func TestSharesPayload(t *testing.T) {
	shares := func(c any) bool {
		s, ok := c.(pubsub.PayloadSharer)
		return ok && s.SharesPayload()
	}
	require.True(t, shares(codec.Bytes()))
	require.True(t, shares(codec.Value[*account]()))
	require.True(t, shares(codec.Value[any]()))
	require.True(t, shares(codec.Clone(codec.Bytes())))
	require.False(t, shares(codec.Clone(codec.JSON[*account]())))
	require.False(t, shares(codec.Clone[int](nil)))
	require.False(t, shares(codec.JSON[*account]()))
	require.False(t, shares(codec.Func[int](nil, nil)))
}

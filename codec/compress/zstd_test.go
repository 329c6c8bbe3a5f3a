package compress_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/quick"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/codec"
	"github.com/topicbus/pubsub/codec/compress"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	magic    = "\x28\xb5\x2f\xfd"
	textMark = "\x54\x2a\x4d\x18\x00\x00\x00\x00"
)

func ExampleZstd() {
	c := compress.Zstd(codec.JSON[[]string]())
	for _, n := range []int{1, 1000} {
		p, err := c.Encode(make([]string, n))
		if err != nil {
			fmt.Println(err)
			return
		}
		v, err := c.Decode(p)
		fmt.Println(p.Format, len(p.Data) < 100, len(v), err)
	}
	// Output:
	// text true 1 <nil>
	// binary true 1000 <nil>
}

func ExampleWithMinSize() {
	c := compress.Zstd(codec.String(), compress.WithMinSize(100))
	p, err := c.Encode(strings.Repeat("a", 99))
	fmt.Println(p.Format, len(p.Data), err)
	p, err = c.Encode(strings.Repeat("a", 100))
	fmt.Println(p.Format, len(p.Data) < 100, err)
	// Output:
	// text 99 <nil>
	// binary true <nil>
}

func ExampleWithMaxSize() {
	lax := compress.Zstd(codec.String())
	strict := compress.Zstd(codec.String(), compress.WithMaxSize(1<<20))
	bomb, err := lax.Encode(strings.Repeat("a", 8<<20))
	fmt.Println(len(bomb.Data) < 1000, err)
	_, err = strict.Decode(bomb)
	fmt.Println(errors.Is(err, pubsub.ErrPayloadTooLarge))
	// Output:
	// true <nil>
	// true
}

func ExampleWithLevel() {
	c := compress.Zstd(codec.String(), compress.WithLevel(19))
	p, err := c.Encode(strings.Repeat("all work and no play ", 100))
	fmt.Println(len(p.Data) < 100, err)
	// Output: true <nil>
}

// raw is a codec that leaves payloads as they are, so that tests see what the
// wrapped codec is given.
func raw() pubsub.Codec[pubsub.Payload] {
	same := func(p pubsub.Payload) (pubsub.Payload, error) { return p, nil }
	return codec.Func(same, same)
}

func binary(data string) pubsub.Payload {
	return pubsub.Payload{Format: pubsub.Binary, Data: []byte(data)}
}

func text(data string) pubsub.Payload {
	return pubsub.Payload{Format: pubsub.Text, Data: []byte(data)}
}

// zstdOnly decompresses as a program that knows nothing of this package.
func zstdOnly(t *testing.T, p pubsub.Payload) string {
	d, err := zstd.NewReader(nil)
	require.NoError(t, err)
	defer d.Close()
	data, err := d.DecodeAll(p.Data, nil)
	require.NoError(t, err)
	return string(data)
}

func TestRoundTrip(t *testing.T) {
	for _, opts := range [][]compress.Option{
		nil,
		{compress.WithMinSize(0)},
		{compress.WithLevel(1)},
		{compress.WithLevel(22), compress.WithMinSize(10)},
	} {
		c := compress.Zstd(raw(), opts...)
		require.NoError(t, quick.Check(func(seed uint64, size uint16, spread uint8, isText bool) bool {
			p := randomPayload(seed, int(size), spread, isText)
			packed, err := c.Encode(p)
			if err != nil || len(packed.Data) > len(p.Data) {
				return false
			}
			back, err := c.Decode(packed)
			return err == nil && back.Format == p.Format && bytes.Equal(back.Data, p.Data)
		}, &quick.Config{MaxCount: 30}))
	}
}

// randomPayload has size bytes of at most spread+1 different values.
func randomPayload(seed uint64, size int, spread uint8, isText bool) pubsub.Payload {
	r := rand.New(rand.NewPCG(seed, 0))
	data := make([]byte, size)
	for i := range data {
		data[i] = byte(r.IntN(int(spread) + 1))
		if isText {
			data[i] &= 0x7f
		}
	}
	if isText {
		return pubsub.Payload{Format: pubsub.Text, Data: data}
	}
	return pubsub.Payload{Format: pubsub.Binary, Data: data}
}

func TestLargePayloadsRoundTrip(t *testing.T) {
	c := compress.Zstd(raw())
	for _, isText := range []bool{true, false} {
		p := randomPayload(1, 3<<20, 20, isText) // many blocks
		packed, err := c.Encode(p)
		require.NoError(t, err)
		require.Less(t, len(packed.Data), len(p.Data))
		back, err := c.Decode(packed)
		require.NoError(t, err)
		require.Equal(t, p.Format, back.Format)
		require.True(t, bytes.Equal(p.Data, back.Data))
	}
}

func TestWhatIsCompressed(t *testing.T) {
	long := strings.Repeat("long ", 1000)
	noise := string(randomPayload(2, 5000, 255, false).Data)
	for _, test := range []struct {
		name       string
		in         pubsub.Payload
		compressed bool
	}{
		{"empty binary", binary(""), false},
		{"empty text", text(""), false},
		{"short binary", binary("short"), false},
		{"short text", text("short"), false},
		{"one byte below the minimum", text(strings.Repeat("a", compress.DefaultMinSize-1)), false},
		{"the minimum", text(strings.Repeat("a", compress.DefaultMinSize)), true},
		{"long text", text(long), true},
		{"long binary", binary(long), true},
		{"incompressible", binary(noise), false},
		{"the magic alone", binary(magic), true},
		{"short with the magic", binary(magic + "short"), true},
		{"incompressible with the magic", binary(magic + noise), true},
		{"almost the magic", binary(magic[:3]), false},
		{"a mark", binary(textMark), false},
		{"long with a mark", binary(long + textMark), true},
		{"incompressible with magic and mark, which ends the frame too", binary(magic + noise + textMark), true},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := compress.Zstd(raw())
			p, err := c.Encode(test.in)
			require.NoError(t, err)
			if test.compressed {
				require.Equal(t, pubsub.Binary, p.Format)
				require.Equal(t, magic, string(p.Data[:4]))
				if test.in.Format == pubsub.Text {
					require.Equal(t, textMark, string(p.Data[len(p.Data)-len(textMark):]))
				}
				require.Equal(t, string(test.in.Data), zstdOnly(t, p))
			} else {
				require.Equal(t, test.in, p)
			}
			back, err := c.Decode(p)
			require.NoError(t, err)
			require.Equal(t, test.in.Format, back.Format)
			require.Equal(t, string(test.in.Data), string(back.Data))
		})
	}
}

// A Go value has no bytes to compress: it passes, whatever the minimum.
func TestGoValuesPass(t *testing.T) {
	c := compress.Zstd(codec.Value[*int](), compress.WithMinSize(0))
	v := new(int)
	p, err := c.Encode(v)
	require.NoError(t, err)
	require.Equal(t, pubsub.ValuePayload(v), p)
	back, err := c.Decode(p)
	require.NoError(t, err)
	require.Same(t, v, back)
}

// Only Binary payloads are taken for compressed, whatever a Text one holds.
func TestTextIsNeverTakenForCompressed(t *testing.T) {
	c := compress.Zstd(raw())
	packed, err := c.Encode(text(message(1, 2)))
	require.NoError(t, err)
	for _, in := range []pubsub.Payload{text(magic), text(string(packed.Data))} {
		p, err := c.Encode(in) // left for the Bus to reject: it is not UTF-8
		require.NoError(t, err)
		require.Equal(t, in, p)
		p, err = c.Decode(in)
		require.NoError(t, err)
		require.Equal(t, in, p)
	}
}

// A frame whose last block happens to end like the mark is not marked.
func TestMarkInsideAFrame(t *testing.T) {
	content := "content that ends like the mark" + textMark
	// One frame, single segment, one raw block, no checksum: the payload ends
	// with the content's own bytes.
	frame := []byte(magic + "\x20" + string(rune(len(content))))
	block := uint32(len(content))<<3 | 1
	frame = append(frame, byte(block), byte(block>>8), byte(block>>16))
	frame = append(frame, content...)

	c := compress.Zstd(raw())
	p, err := c.Decode(binary(string(frame)))
	require.NoError(t, err)
	require.Equal(t, binary(content), p)

	p, err = c.Decode(binary(string(frame) + textMark))
	require.NoError(t, err)
	require.Equal(t, text(content), p)
}

func TestNesting(t *testing.T) {
	c := compress.Zstd(compress.Zstd(codec.String(), compress.WithMinSize(0)), compress.WithMinSize(0))
	want := strings.Repeat("nested ", 1000)
	p, err := c.Encode(want)
	require.NoError(t, err)
	got, err := c.Decode(p)
	require.NoError(t, err)
	require.Equal(t, want, got)
}

// Payloads of the zstd tool, of version 1.5.
func TestOtherWriters(t *testing.T) {
	want := "pubsub pubsub pubsub pubsub pubsub"
	for _, test := range []string{
		"28b52ffd04686d0000387075627375622001000a8b1191f5c37b",
		"28b52ffd24226d0000387075627375622001000a8b1191f5c37b",
	} {
		frame, err := hex.DecodeString(test)
		require.NoError(t, err)
		p, err := compress.Zstd(raw()).Decode(pubsub.Payload{Data: frame})
		require.NoError(t, err)
		require.Equal(t, binary(want), p)
		p, err = compress.Zstd(raw()).Decode(pubsub.Payload{Data: append(bytes.Clone(frame), frame...)})
		require.NoError(t, err)
		require.Equal(t, binary(want+want), p)
	}
}

func TestSizeLimits(t *testing.T) {
	const limit = 1 << 12
	c := compress.Zstd(raw(), compress.WithMaxSize(limit))
	for _, p := range []pubsub.Payload{text(strings.Repeat("a", limit)), binary(strings.Repeat("a", limit))} {
		packed, err := c.Encode(p)
		require.NoError(t, err)
		back, err := c.Decode(packed)
		require.NoError(t, err)
		require.Equal(t, p, back)

		p.Data = append(p.Data, 'a')
		_, err = c.Encode(p)
		require.ErrorIs(t, err, pubsub.ErrPayloadTooLarge)
		require.ErrorContains(t, err, "4097 bytes, 4096 allowed")

		packed, err = compress.Zstd(raw()).Encode(p)
		require.NoError(t, err)
		_, err = c.Decode(packed)
		require.ErrorIs(t, err, pubsub.ErrPayloadTooLarge)
		require.ErrorContains(t, err, "more than 4096 bytes")
	}
	// What is not compressed is here already; there is nothing to guard.
	p := binary(strings.Repeat("a", limit+1))
	back, err := c.Decode(p)
	require.NoError(t, err)
	require.Equal(t, p, back)
}

func TestMalformedPayloads(t *testing.T) {
	c := compress.Zstd(raw())
	whole, err := c.Encode(text(message(1, 2)))
	require.NoError(t, err)
	require.Equal(t, pubsub.Binary, whole.Format)
	frame := bytes.TrimSuffix(whole.Data, []byte(textMark))
	for n := len(magic); n < len(frame); n++ {
		for _, end := range []string{"", textMark} {
			p, err := c.Decode(binary(string(frame[:n]) + end))
			require.Error(t, err, "cut to %d of %d bytes", n, len(frame))
			require.Zero(t, p)
		}
	}
	for _, data := range []string{
		magic,
		magic + textMark,
		magic + "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
		string(whole.Data) + "garbage",
	} {
		p, err := c.Decode(binary(data))
		require.ErrorContains(t, err, "compress: cannot decompress")
		require.NotErrorIs(t, err, pubsub.ErrPayloadTooLarge)
		require.Zero(t, p)
	}
}

// Text that is not UTF-8 must not get past the check for it by being packed.
func TestInvalidText(t *testing.T) {
	c := compress.Zstd(raw())
	bad := strings.Repeat("\xff", 5000)
	_, err := c.Encode(text(bad))
	require.ErrorIs(t, err, pubsub.ErrInvalidPayload)

	p, err := c.Encode(binary(bad))
	require.NoError(t, err)
	_, err = c.Decode(binary(string(p.Data) + textMark))
	require.ErrorIs(t, err, pubsub.ErrInvalidPayload)
}

func TestBadArguments(t *testing.T) {
	for _, test := range []struct {
		c    pubsub.Codec[string]
		says string
	}{
		{compress.Zstd[string](nil), "the codec to wrap is nil"},
		{compress.Zstd(codec.String(), nil), "nil Option"},
		{compress.Zstd(codec.String(), compress.WithMinSize(-1)), "WithMinSize(-1)"},
		{compress.Zstd(codec.String(), compress.WithMaxSize(0)), "WithMaxSize(0)"},
		{compress.Zstd(codec.String(), compress.WithMaxSize(-1)), "WithMaxSize(-1)"},
		{compress.Zstd(codec.String(), compress.WithMaxSize(1023)), "WithMaxSize(1023)"},
		{compress.Zstd(codec.String(), compress.WithLevel(0)), "WithLevel(0)"},
		{compress.Zstd(codec.String(), compress.WithLevel(23)), "WithLevel(23)"},
	} {
		_, err := test.c.Encode("value")
		require.ErrorIs(t, err, pubsub.ErrInvalidArgument)
		require.ErrorContains(t, err, test.says)
		_, err = test.c.Decode(text("value"))
		require.ErrorIs(t, err, pubsub.ErrInvalidArgument)
		require.ErrorContains(t, err, test.says)
	}
}

func TestInnerErrorsAreReturnedAsTheyAre(t *testing.T) {
	boom := errors.New("boom")
	c := compress.Zstd(codec.Func(
		func(int) (pubsub.Payload, error) { return text("partial"), boom },
		func(pubsub.Payload) (int, error) { return 0, boom },
	))
	p, err := c.Encode(1)
	require.Same(t, boom, err)
	require.Zero(t, p)
	_, err = c.Decode(text("x"))
	require.Same(t, boom, err)
}

// Payloads and decoded values are kept while the codec goes on being used.
func TestConcurrentUseKeepsPayloadsApart(t *testing.T) {
	c := compress.Zstd(codec.String())
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			var payloads []pubsub.Payload
			var values []string
			for i := range 50 {
				p, err := c.Encode(message(g, i))
				if err != nil {
					t.Error(err)
					return
				}
				v, err := c.Decode(p)
				if err != nil {
					t.Error(err)
					return
				}
				payloads, values = append(payloads, p), append(values, v)
			}
			for i, p := range payloads {
				v, err := c.Decode(p)
				if want := message(g, i); err != nil || v != want || values[i] != want {
					t.Errorf("message %d of goroutine %d changed: %v", i, g, err)
				}
			}
		})
	}
	wg.Wait()
}

func message(g, i int) string {
	return strings.Repeat(fmt.Sprintf("goroutine %d message %d; ", g, i), 100)
}

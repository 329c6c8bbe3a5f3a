package compress_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/codec/compress"
)

// FuzzRoundTrip: whatever the wrapped codec makes, it gets back.
func FuzzRoundTrip(f *testing.F) {
	f.Add([]byte(""), false)
	f.Add([]byte(strings.Repeat("text ", 300)), true)
	f.Add([]byte(magic), false)
	f.Add([]byte(magic+strings.Repeat("binary", 300)+textMark), false)
	f.Add([]byte(textMark), true)
	c := compress.Zstd(raw(), compress.WithMinSize(16))
	nested := compress.Zstd(c, compress.WithMinSize(0))
	f.Fuzz(func(t *testing.T, data []byte, isText bool) {
		in := pubsub.Payload{Format: pubsub.Binary, Data: data}
		if isText {
			in = pubsub.Payload{Format: pubsub.Text, Data: bytes.ToValidUTF8(data, []byte("?"))}
		}
		for _, c := range []pubsub.Codec[pubsub.Payload]{c, nested} {
			p, err := c.Encode(in)
			if err != nil {
				t.Fatalf("Encode: %v", err)
			}
			back, err := c.Decode(p)
			if err != nil || back.Format != in.Format || !bytes.Equal(back.Data, in.Data) {
				t.Fatalf("%v %q came back as %v %q, %v", in.Format, in.Data, back.Format, back.Data, err)
			}
		}
	})
}

// FuzzDecode: hostile payloads are an error or a payload within bounds.
func FuzzDecode(f *testing.F) {
	const limit = 1 << 16
	c := compress.Zstd(raw(), compress.WithMaxSize(limit))
	for _, s := range []string{"", "plain", strings.Repeat("packed ", 1000)} {
		p, err := c.Encode(text(s))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(p.Data)
		f.Add(bytes.TrimSuffix(p.Data, []byte(textMark)))
		f.Add(append(bytes.Clone(p.Data), p.Data...))
	}
	f.Add([]byte(bomb(100)))
	f.Add([]byte(magic + "\xe0\xff\xff\xff\xff\xff\xff\xff\x7f" + textMark))
	f.Fuzz(func(t *testing.T, data []byte) {
		before := string(data)
		p, err := c.Decode(pubsub.Payload{Format: pubsub.Binary, Data: data})
		if string(data) != before {
			t.Fatal("Decode modified the payload")
		}
		if err != nil {
			return
		}
		if len(p.Data) > limit && len(p.Data) > len(data) {
			t.Fatalf("%d bytes became %d, %d allowed", len(data), len(p.Data), limit)
		}
		again, err := c.Encode(p)
		if err != nil {
			if len(p.Data) > limit {
				return // was not compressed, is too long to be sent
			}
			t.Fatalf("Encode: %v", err)
		}
		back, err := c.Decode(again)
		if err != nil || back.Format != p.Format || !bytes.Equal(back.Data, p.Data) {
			t.Fatalf("%v %q came back as %v %q, %v", p.Format, p.Data, back.Format, back.Data, err)
		}
	})
}

package pubsubtest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/topicbus/pubsub"
)

func payloadCases() []testCase {
	return []testCase{{
		name:   "Payload/bytes",
		clause: "A payload arrives as it was published, whatever its bytes.",
		run: func(e *env) {
			all := make([]byte, 256)
			for i := range all {
				all[i] = byte(i)
			}
			size := 4000
			if e.MaxPayload > 0 {
				size = min(size, e.MaxPayload)
			}
			list := []pubsub.Payload{
				{Data: []byte{0}},
				{Data: []byte("\xff\xfe invalid UTF-8 \xc3")},
				{Format: pubsub.Text, Data: []byte("a\x00b\n\t\"\\ ä 日本語 \U0001F600")},
				{Data: bytes.Repeat([]byte{'x'}, size)},
				{Format: pubsub.Text, Data: []byte(strings.Repeat("y", size))},
			}
			for chunk := range slices.Chunk(all, min(256, size)) {
				list = append(list, pubsub.Payload{Data: chunk})
			}
			for i, got := range e.echo(list) {
				if want := string(list[i].Data); got.data != want {
					e.Errorf("published %s, got %s", quote(want), quote(got.data))
				}
			}
		},
	}, {
		name:   "Payload/format",
		clause: "Backends keep a payload's Format: what was published as Text arrives as Text.",
		run: func(e *env) {
			list := []pubsub.Payload{
				{Format: pubsub.Text, Data: []byte("same")},
				{Format: pubsub.Binary, Data: []byte("same")},
				{Format: pubsub.Text, Data: []byte("")},
				{Format: pubsub.Binary, Data: []byte("")},
				{Format: pubsub.Text, Data: []byte("日本語")},
			}
			for i, got := range e.echo(list) {
				if want := list[i].Format; got.payload.Format != want {
					e.Errorf("published %q as %v, got it as %v", list[i].Data, want, got.payload.Format)
				}
			}
		},
	}, {
		name:   "Payload/empty",
		clause: "An empty payload is a message like any other.",
		run: func(e *env) {
			list := []pubsub.Payload{{}, {Data: []byte{}}, {Format: pubsub.Text}, {Format: pubsub.Text, Data: []byte{}}}
			for _, got := range e.echo(list) {
				if got.data != "" {
					e.Errorf("published an empty payload, got %s", quote(got.data))
				}
			}
		},
	}, {
		name:   "Payload/limit",
		clause: "A payload that is too large fails with ErrPayloadTooLarge and is not delivered; one that is just not is delivered.",
		needs:  []capability{maxPayload},
		run: func(e *env) {
			topic := e.topic("limit")
			s := e.tap(topic)
			large := pubsub.Payload{Data: bytes.Repeat([]byte{'x'}, e.MaxPayload+1)}
			if err := e.tryPublish(topic, large); !errors.Is(err, pubsub.ErrPayloadTooLarge) {
				e.Errorf("Publish of MaxPayload+1 = %d bytes: want ErrPayloadTooLarge, got: %v", len(large.Data), err)
			}
			e.publish(topic, pubsub.Payload{Data: large.Data[1:]})
			e.publish(topic, id{1, 1}.payload())
			for _, got := range s.awaitMessage(id{1, 1}) {
				if len(got.data) == len(large.Data) {
					e.Errorf("the payload that was refused was delivered")
				}
			}
			if s.entries().count(func(n entry) bool { return len(n.data) == e.MaxPayload }) != 1 {
				e.Errorf("a payload of MaxPayload = %d bytes was not delivered once", e.MaxPayload)
			}
		},
	}, {
		name:   "Payload/untouched",
		clause: "A Backend does not modify a payload that it was given.",
		run: func(e *env) {
			topic := e.topic("untouched")
			s := e.tap(topic)
			published := make([]pubsub.Payload, 8)
			for i := range published {
				p := id{1, i + 1}.payload()
				published[i] = pubsub.Payload{Data: append(make([]byte, 0, 64), p.Data...)} // room to write behind it
				e.publish(topic, published[i])
			}
			s.awaitMessage(id{1, len(published)})
			for i, p := range published {
				want := id{1, i + 1}.String()
				if whole := string(p.Data[:cap(p.Data)]); whole != want+strings.Repeat("\x00", cap(p.Data)-len(want)) {
					e.Errorf("after Publish the payload %q reads %q", want, strings.TrimRight(whole, "\x00"))
				}
			}
		},
	}, {
		name:   "Payload/stable",
		clause: "The Payload's bytes must not change after delivery: a Backend does not reuse their memory.",
		run: func(e *env) {
			topic := e.topic("stable")
			s := e.tap(topic)
			for n := 1; n <= 32; n++ {
				e.publish(topic, id{1, 1000 + n}.payload()) // all of one length
			}
			for _, got := range s.awaitMessage(id{1, 1032}) {
				if now := string(got.payload.Data); now != got.data {
					e.Errorf("a payload that was delivered as %q reads %q later", got.data, now)
					return
				}
			}
		},
	}}
}

// echo publishes payloads and returns how they arrived.
func (e *env) echo(list []pubsub.Payload) []entry {
	e.Helper()
	topic := e.topic("echo")
	s := e.tap(topic)
	for _, p := range list {
		e.publish(topic, p)
	}
	l := s.until(fmt.Sprintf("the last of %d payloads", len(list)), func(l ledger) bool { return l.count(entry.isMessage) >= len(list) })
	return slices.DeleteFunc(l, func(n entry) bool { return !n.isMessage() })[:len(list)]
}

func quote(s string) string {
	if len(s) > 40 {
		return fmt.Sprintf("%q... (%d bytes)", s[:40], len(s))
	}
	return fmt.Sprintf("%q", s)
}

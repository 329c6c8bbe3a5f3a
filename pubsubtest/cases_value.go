package pubsubtest

import (
	"slices"
	"unsafe"

	"github.com/topicbus/pubsub"
)

func valueCases() []testCase {
	return []testCase{{
		name:   "Value/as-is",
		clause: "A ValueCarrier hands a Payload on as it is: a Go value arrives as the very value that was published.",
		needs:  []capability{values},
		run: func(e *env) {
			type thing struct{ hidden int }
			topic := e.topic("value")
			s := e.tap(topic)
			want := []any{&thing{1}, thing{2}, "text", 4, nil}
			var sent []pubsub.Payload
			for _, v := range want {
				p := pubsub.ValuePayload(v)
				sent = append(sent, p)
				e.publish(topic, p)
			}
			l := s.until("the last of the values", func(l ledger) bool { return l.count(entry.isMessage) >= len(want) })
			l = slices.DeleteFunc(l, func(n entry) bool { return !n.isMessage() })
			for i, v := range want {
				switch p := l[i].payload; {
				case p.Format != pubsub.GoValue:
					e.Errorf("published the Go value %#v, got a payload that is %v", v, p.Format)
				case unsafe.SliceData(p.Data) != unsafe.SliceData(sent[i].Data):
					// Value would read memory that is none of its own.
					e.Errorf("published the Go value %#v, got a payload that leads to another one", v)
				case p.Value() != v:
					e.Errorf("published the Go value %#v, got %#v", v, p.Value())
				}
			}
		},
	}}
}

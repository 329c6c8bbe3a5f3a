package pubsubtest

import (
	"slices"

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
			for _, v := range want {
				e.publish(topic, pubsub.ValuePayload(v))
			}
			isValue := func(n entry) bool {
				return n.kind == pubsub.KindMessage && n.id.publisher != probe
			}
			l := s.until("the last of the values", func(l ledger) bool { return l.count(isValue) >= len(want) })
			l = slices.DeleteFunc(l, func(n entry) bool { return !isValue(n) })
			for i, v := range want {
				switch p := l[i].payload; {
				case p.Format != pubsub.GoValue:
					e.Errorf("published the Go value %#v, got a payload that is %v", v, p.Format)
				case p.Value() != v:
					e.Errorf("published the Go value %#v, got %#v", v, p.Value())
				}
			}
		},
	}}
}

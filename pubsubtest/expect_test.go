package pubsubtest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/memory"
	"github.com/topicbus/pubsub/codec"
)

// desk is an application's test: a bus, a subscription and a fake t.
type desk struct {
	b   *memory.Backend
	bus pubsub.Bus[string]
	sub *pubsub.Subscription[string]
}

func (d desk) publish(values ...string) {
	for _, v := range values {
		if err := d.bus.Publish(context.Background(), "desk", v); err != nil {
			panic(err)
		}
	}
}

func TestHelpers(t *testing.T) {
	for _, c := range []struct {
		name string
		test func(tb testing.TB, d desk)
		want string // what the failure says; "" passes
	}{
		{"expect", func(tb testing.TB, d desk) {
			d.publish("a", "b")
			if got := Expect(tb, d.sub, "a", "b"); len(got) != 2 || got[1].Position.Sequence != 2 {
				tb.Errorf("got %v", got)
			}
		}, ""},
		{"expect passes over heartbeats and states", func(tb testing.TB, d desk) {
			d.publish("a")
			d.b.Heartbeat()
			d.b.Disconnect(nil)
			d.b.Reconnect()
			d.publish("b")
			Expect(tb, d.sub, "a", "b")
		}, ""},
		{"expect another value", func(tb testing.TB, d desk) {
			d.publish("a", "c")
			Expect(tb, d.sub, "a", "b")
		}, "message 2 of 2:\n\tgot  c\n\twant b"},
		{"expect what does not come", func(tb testing.TB, d desk) {
			d.publish("a")
			start := time.Now()
			defer func() { require.Equal(t, Deadline, time.Since(start)) }()
			Expect(tb, d.sub, "a", "b")
		}, "message 2 of 2, b, has not come: nothing came within 10s"},
		{"expect in place of a hole", func(tb testing.TB, d desk) {
			d.b.Lose(3, "desk")
			d.publish("a")
			Expect(tb, d.sub, "a")
		}, `in place of message 1 of 1, a: pubsub: topic "desk": 3 messages lost`},
		{"expect after the end", func(tb testing.TB, d desk) {
			d.b.EndStreams(pubsub.ErrNotFound)
			Expect(tb, d.sub, "a")
		}, `has not come: pubsub: receive "desk": not found`},

		{"discontinuity", func(tb testing.TB, d desk) {
			d.b.Lose(3, "desk")
			if hole := ExpectDiscontinuity(tb, d.sub, pubsub.CauseBackend); hole.Lost != 3 {
				tb.Errorf("got %v", hole)
			}
		}, ""},
		{"discontinuity of another cause", func(tb testing.TB, d desk) {
			d.b.Lose(3, "desk")
			ExpectDiscontinuity(tb, d.sub, pubsub.CauseReset)
		}, "in place of a discontinuity (reset): pubsub: topic"},
		{"discontinuity that does not come", func(tb testing.TB, d desk) {
			ExpectDiscontinuity(tb, d.sub, pubsub.CauseReset)
		}, "a discontinuity (reset) has not come: nothing came within 10s"},
		{"message in place of a discontinuity", func(tb testing.TB, d desk) {
			d.publish("a")
			ExpectDiscontinuity(tb, d.sub, pubsub.CauseReset)
		}, "in place of a discontinuity (reset) a message came: a"},

		{"none", func(tb testing.TB, d desk) {
			d.b.Heartbeat()
			ExpectNone(tb, d.sub, time.Hour)
			d.publish("a")
			Expect(tb, d.sub, "a")
		}, ""},
		{"none, late", func(tb testing.TB, d desk) {
			published := make(chan struct{})
			time.AfterFunc(time.Hour-1, func() { d.publish("a"); close(published) })
			defer func() { <-published }() // before the bus is closed
			ExpectNone(tb, d.sub, time.Hour)
		}, "want nothing, got the message: a"},
		{"none but a hole", func(tb testing.TB, d desk) {
			d.b.Lose(1)
			ExpectNone(tb, d.sub, time.Hour)
		}, "want nothing, got: pubsub: topic"},
		{"none, as the subscription ended", func(tb testing.TB, d desk) {
			d.sub.Close()
			ExpectNone(tb, d.sub, time.Hour)
		}, "the subscription ended: "},

		{"record", func(tb testing.TB, d desk) {
			r := Record(tb, d.sub)
			d.publish("a")
			d.b.Lose(2)
			d.publish("b")
			d.b.Heartbeat()
			r.Wait(pubsub.KindMessage, 2)
			r.Wait(pubsub.KindDiscontinuity, 1)
			r.Wait(pubsub.KindHeartbeat, 1)
			if len(r.Events()) != 4 || fmt.Sprint(r.Values()) != "[a b]" || r.Discontinuities()[0].Lost != 2 {
				tb.Errorf("got %v", r.Events())
			}
		}, ""},
		{"record too little", func(tb testing.TB, d desk) {
			r := Record(tb, d.sub)
			d.publish("a")
			r.Wait(pubsub.KindMessage, 2)
		}, "1 events of kind message have been recorded within 10s, want 2"},
		{"record until the end", func(tb testing.TB, d desk) {
			r := Record(tb, d.sub)
			d.b.EndStreams(pubsub.ErrNotFound)
			r.Wait(pubsub.KindMessage, 1)
		}, "0 events of kind message have been recorded, want 1; the subscription ended: pubsub: receive"},

		{"collect", func(tb testing.TB, d desk) {
			d.publish("a", "b")
			d.b.Lose(1)
			d.publish("c")
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			if got, err := Collect(ctx, d.sub, 1); len(got) != 1 || err != nil {
				tb.Errorf("got %v, %v", got, err)
			}
			var hole *pubsub.Discontinuity
			if got, err := Collect(ctx, d.sub, 9); len(got) != 1 || !errors.As(err, &hole) {
				tb.Errorf("before a hole: %v, %v", got, err)
			}
			if got, err := Collect(ctx, d.sub, 9); len(got) != 1 || !errors.Is(err, context.DeadlineExceeded) {
				tb.Errorf("until ctx ended: %v, %v", got, err)
			}
			if got, err := Collect(ctx, d.sub, 0); len(got) != 0 || err != nil {
				tb.Errorf("nothing: %v, %v", got, err)
			}
		}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := rehearse(t, func(tb testing.TB) {
				b := memory.New()
				bus := pubsub.New(b, codec.String())
				defer bus.Close()
				sub, err := bus.Subscribe(context.Background(), "desk")
				if err != nil {
					tb.Fatal(err)
				}
				c.test(tb, desk{b, bus, sub})
			})
			require.Equal(t, c.want != "", f.failed, f.text())
			require.Contains(t, f.text(), c.want)
		})
	}
}

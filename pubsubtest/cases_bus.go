package pubsubtest

import (
	"context"
	"errors"
	"slices"

	"github.com/topicbus/pubsub"
)

func busCases() []testCase {
	return []testCase{{
		name:   "D1/at-most-once",
		clause: "Every subscription gets a message at most once, and none that was accepted before it.",
		run: func(e *env) {
			b, topic := e.bus(), e.topic("d1")
			first := e.join(b, topic)
			e.send(b, topic, 1, 1, 10)
			first.awaitMessage(id{1, 10})
			readers := []*reader{first, e.open(b, topic), e.open(b, topic, pubsub.Private())}
			for _, r := range readers[1:] {
				r.read(readNext)
				r.flowing()
			}
			e.send(b, topic, 1, 11, 30)
			e.send(b, topic, 2, 1, 1)
			for _, r := range readers {
				l := r.awaitMessage(id{2, 1})
				if breach := l.duplicates(); breach != "" {
					e.Errorf("%s", breach)
				}
				if got := l.unique()[0].id; r != first && got.publisher == 1 && got.n <= 10 {
					e.Errorf("the subscription got message %v, which was accepted before it", got)
				}
			}
		},
	}, {
		name:   "D2/order",
		clause: "FIFO per topic: every subscription sees a topic's messages in the backend's order.",
		run: func(e *env) {
			const publishers, n = 3, 40
			b, topic := e.bus(), e.topic("d2")
			readers := []*reader{e.join(b, topic), e.join(b, topic), e.join(b, topic, pubsub.Private())}
			var done []<-chan struct{}
			for p := range publishers {
				in := make(chan id, n)
				for i := 1; i <= n; i++ {
					in <- id{p, i}
				}
				close(in)
				done = append(done, e.goroutine(func() {
					ctx, cancel := e.deadline()
					defer cancel()
					_ = b.Pipe(ctx, topic, in) // what it does not publish is missed below
				}))
			}
			for _, d := range done {
				e.returned("Pipe", d)
			}
			e.send(b, topic, publishers, 1, 2)
			var order []id
			for _, r := range readers {
				l := r.awaitMessage(id{publishers, 2})
				if breach := l.order(); breach != "" {
					e.Errorf("%s", breach)
				}
				got := l.ids()
				if order == nil {
					order = got
				}
				if a, b := both(order, got), both(got, order); !slices.Equal(a, b) {
					e.Errorf("two subscriptions got the same messages in different orders:\n\t%v\n\t%v", a, b)
				}
			}
		},
	}, {
		name:   "D3/join-point",
		clause: "What is accepted after Subscribe returned is delivered or reported lost.",
		run: func(e *env) {
			for range 8 {
				b, topic := e.bus(), e.topic("d3")
				var readers []*reader
				for i := range 3 {
					r := e.open(b, topic, []pubsub.SubscribeOption{pubsub.Overflow(pubsub.DropOldest), pubsub.Overflow(pubsub.Block), pubsub.Private()}[i])
					r.read(readNext)
					readers = append(readers, r)
				}
				e.send(b, topic, 1, 1, 3)
				for _, r := range readers {
					r.awaitLaw(3)
				}
			}
		},
	}, {
		name:   "D4/reconnect",
		clause: "No duplicates on a numbered backend, across reconnects too; what passed meanwhile is delivered or reported.",
		needs:  []capability{numbered, disconnect, reconnect, publish},
		run: func(e *env) {
			b, topic := e.bus(), e.topic("d4")
			r := e.join(b, topic)
			e.send(b, topic, 1, 1, 10)
			r.awaitMessage(id{1, 10})
			e.Disconnect()
			for n := 11; n <= 15; n++ {
				if err := e.Target.Publish(topic, id{1, n}.payload()); err != nil {
					e.Fatalf("Target.Publish: %v", err)
				}
			}
			e.Reconnect()
			r.flowing()
			e.send(b, topic, 1, 16, 20)
			l := r.awaitMessage(id{1, 20})
			for _, breach := range []string{l.duplicates(), l.order(), l.holes(), r.law(l, 20, 20)} {
				if breach != "" {
					e.Errorf("%s", breach)
				}
			}
		},
	}, {
		name:   "D5/hole-in-place",
		clause: "Every hole is reported before the message that follows it.",
		needs:  []capability{lose},
		run: func(e *env) {
			b, topic := e.bus(), e.topic("d5")
			r := e.join(b, topic)
			e.send(b, topic, 1, 1, 5)
			r.awaitMessage(id{1, 5})
			e.Lose(topic, 3)
			e.send(b, topic, 1, 6, 10)
			l := r.awaitMessage(id{1, 10})
			if !l.holeBetween(id{1, 5}, id{1, 6}) {
				e.Errorf("messages were lost between 1:5 and 1:6, and no discontinuity stands there:%s", l.around(id{1, 6}))
			}
		},
	}, {
		name:   "D5/overflow",
		clause: "A slow subscription harms only itself, and learns how much it lost where.",
		run: func(e *env) {
			const buffer, n = 16, 40
			b, topic := e.bus(pubsub.WithBuffer(buffer)), e.topic("d5")
			e.join(b, topic) // opens the stream
			slow := e.open(b, topic)
			fast := e.join(b, topic, pubsub.Overflow(pubsub.Block))
			e.send(b, topic, 1, 1, n)
			fast.awaitMessage(id{1, n})
			if breach := fast.entries().holes(); breach != "" {
				e.Errorf("the fast subscription: %s", breach)
			}
			slow.read(readNext)
			if l := slow.awaitMessage(id{1, n}); slow.law(l, n, n) != "" || l.holes() != "" {
				e.Errorf("the slow subscription: %s %s", slow.law(l, n, n), l.holes())
			}
		},
	}, {
		name:   "D6/errors",
		clause: "Publish nil means accepted, not delivered; an error tells why, as errors.Is finds.",
		needs:  []capability{failPublish, maxPayload},
		run: func(e *env) {
			b, topic := e.bus(), e.topic("d6")
			e.join(b, topic)
			for _, sentinel := range serviceErrors() {
				e.FailPublish(sentinel)
				if err := e.call("Publish", func(ctx context.Context) error { return b.Publish(ctx, topic, id{1, 2}) }); !errors.Is(err, sentinel) {
					e.Errorf("Publish failed for the reason %q; errors.Is does not find it in: %v", sentinel, err)
				}
			}
			raw := e.rawBus()
			large := make([]byte, e.MaxPayload+1)
			if err := e.call("Publish", func(ctx context.Context) error { return raw.Publish(ctx, topic, large) }); !errors.Is(err, pubsub.ErrPayloadTooLarge) {
				e.Errorf("Publish of %d bytes: want ErrPayloadTooLarge, got: %v", e.MaxPayload+1, err)
			}
		},
	}, {
		name:   "D7/shared-memory",
		clause: "Values may be shared between local subscribers only when that is safe: what one has got does not change.",
		run: func(e *env) {
			const n = 32
			b, topic := e.rawBus(), e.topic("d7")
			ctx, cancel := e.deadline()
			defer cancel()
			var subs []*pubsub.Subscription[[]byte]
			for range 2 {
				var s *pubsub.Subscription[[]byte]
				err := e.call("Subscribe", func(context.Context) (err error) {
					s, err = b.Subscribe(ctx, topic)
					return err
				})
				if err != nil {
					e.Fatalf("Subscribe: %v", err)
				}
				subs = append(subs, s)
			}
			for i := 1; i <= n; i++ {
				data := id{1, 1000 + i}.payload().Data
				if err := e.call("Publish", func(ctx context.Context) error { return b.Publish(ctx, topic, data) }); err != nil {
					e.Fatalf("Publish: %v", err)
				}
			}
			for _, s := range subs {
				msgs, _ := Collect(ctx, s, n)
				for i := 1; i < len(msgs); i++ {
					if string(msgs[i-1].Value) >= string(msgs[i].Value) {
						e.Errorf("of messages that counted up, one reads %q and the next %q", msgs[i-1].Value, msgs[i].Value)
						return
					}
				}
			}
		},
	}, {
		name:   "L1/one-stream",
		clause: "New starts nothing; the first Subscribe to a topic opens its stream, the others share it, the last Close ends it.",
		needs:  []capability{streams},
		run: func(e *env) {
			b, topic := e.bus(), e.topic("l1")
			open := func(want int, when string) {
				e.Helper()
				if !e.poll(func() bool { return e.Streams() == want }) {
					e.Errorf("%d streams are open %s, want %d", e.Streams(), when, want)
				}
			}
			open(0, "after New")
			readers := []*reader{e.join(b, topic), e.join(b, topic), e.join(b, topic)}
			open(1, "for 3 subscriptions of a topic")
			for i, r := range readers {
				e.promptly("Close", r.sub.Close)
				if i < 2 {
					e.send(b, topic, 1, i+1, i+1)
					readers[2].awaitMessage(id{1, i + 1})
				}
			}
			open(0, "after the last Close")
		},
	}, {
		name:   "L2/fail-fast",
		clause: "The first open fails fast to the caller.",
		needs:  []capability{disconnect, reconnect},
		run: func(e *env) {
			b := e.bus()
			e.join(b, e.topic("before"))
			e.Disconnect()
			var err error
			returned := e.within("Subscribe without a connection", func() {
				_, err = b.Subscribe(context.Background(), e.label)
			})
			e.Reconnect()
			if returned && !errors.Is(err, pubsub.ErrUnavailable) {
				e.Errorf("Subscribe without a connection: want ErrUnavailable, got: %v", err)
			}
		},
	}, {
		name:   "L2/retried",
		clause: "Later breaks are retried; subscriptions hear of them and go on.",
		needs:  []capability{disconnect, reconnect},
		run: func(e *env) {
			b := e.bus()
			r := e.join(b, e.topic("l2"))
			e.Disconnect()
			r.awaitState(pubsub.Reconnecting)
			e.Reconnect()
			r.awaitState(pubsub.Resumed)
			r.flowing()
		},
	}, {
		name:   "L2/permanent",
		clause: "A permanent error ends the topic's subscriptions with that error, after what is queued.",
		needs:  []capability{endStreams},
		run: func(e *env) {
			b, topic := e.bus(), e.topic("l2")
			unread, r := e.open(b, topic), e.join(b, topic)
			e.send(b, topic, 1, 1, 5)
			r.awaitMessage(id{1, 5})
			e.EndStreams(pubsub.ErrPermissionDenied)
			for _, r := range []*reader{r, unread} {
				if r == unread {
					r.read(readAll)
				}
				if err := r.ends("EndStreams"); !errors.Is(err, pubsub.ErrPermissionDenied) {
					e.Errorf("want ErrPermissionDenied, got: %v", err)
				}
				if !r.entries().has(id{1, 5}) {
					e.Errorf("message 1:5, which was queued, was not delivered before the end")
				}
			}
		},
	}, {
		name:   "L3/end",
		clause: "Close, Drain and the end of ctx are prompt, and so is Bus.Close; nothing is left behind.",
		run: func(e *env) {
			topic := e.topic("l3")
			own := e.warmUp()
			b := e.bus()
			ctx, cancel := context.WithCancel(context.Background())
			canceled := e.openCtx(ctx, b, topic, pubsub.Private())
			canceled.read(readNext)
			canceled.begin()
			closed, drained := e.join(b, topic, pubsub.Private()), e.join(b, topic, pubsub.Private())
			left, idle := e.join(b, topic), e.open(b, topic, pubsub.Overflow(pubsub.Block))
			e.send(b, topic, 1, 1, 5)

			cancel()
			if err := canceled.ends("the end of ctx"); !errors.Is(err, context.Canceled) {
				e.Errorf("ctx ended a subscription: want context.Canceled, got: %v", err)
			}
			e.endEach(closed, drained, b)
			for _, r := range []*reader{left, idle} {
				if r == idle {
					r.read(readEvents)
				}
				if err := r.ends("Bus.Close"); !errors.Is(err, pubsub.ErrClosed) {
					e.Errorf("Bus.Close ended a subscription: want ErrClosed, got: %v", err)
				}
			}
			n := 0
			var stacks string
			if !e.poll(func() bool { n, stacks = e.goroutines(); return n <= own }) {
				e.Errorf("%d goroutines are left behind:\n%s", n-own, stacks)
			}
		},
	}, {
		name:   "L3/end-of-broken",
		clause: "Close, Drain and the end of ctx are prompt from any state, including the middle of a back-off.",
		needs:  []capability{disconnect, reconnect},
		run: func(e *env) {
			b, topic := e.bus(), e.topic("l3")
			ctx, cancel := context.WithCancel(context.Background())
			canceled := e.openCtx(ctx, b, topic, pubsub.Private())
			canceled.read(readNext)
			canceled.begin()
			closed, drained := e.join(b, topic, pubsub.Private()), e.join(b, topic, pubsub.Private())
			left := e.join(b, topic)
			e.Disconnect()
			for _, r := range []*reader{canceled, closed, drained, left} {
				r.awaitState(pubsub.Reconnecting)
			}
			cancel()
			canceled.ends("the end of ctx")
			e.endEach(closed, drained, b)
			e.Reconnect()
		},
	}}
}

// bytesCodec aliases what it is given, as codecs may.
type bytesCodec struct{}

func (bytesCodec) Encode(b []byte) (pubsub.Payload, error) { return pubsub.Payload{Data: b}, nil }
func (bytesCodec) Decode(p pubsub.Payload) ([]byte, error) { return p.Data, nil }

func (e *env) rawBus() pubsub.Bus[[]byte] {
	b := pubsub.New(careful{e}, pubsub.Codec[[]byte](bytesCodec{}))
	e.Cleanup(func() { e.within("", func() { _ = b.Close() }) })
	return b
}

// endEach ends one subscription by Close, one by Drain and what else the bus
// has by Bus.Close.
func (e *env) endEach(closed, drained *reader, b pubsub.Bus[id]) {
	e.Helper()
	_ = e.promptly("Close", closed.sub.Close)
	deadline, stop := e.deadline()
	defer stop()
	if err := e.promptly("Drain", func() error { return drained.sub.Drain(deadline) }); err != nil {
		e.Errorf("Drain: %v", err)
	}
	_ = e.promptly("Bus.Close", b.Close)
}

// Package pubsub is an embeddable publish/subscribe library with typed
// messages. A [Bus] of values of type T, with a [Codec] for T, sits on a
// [Backend]: package backend/memory for single processes and unit tests,
// package backend/momento for Momento Topics, which span machines. Received
// messages come through channels ([Subscription.C], [Subscription.Events]), an
// iterator ([Subscription.All]) or a call ([Subscription.Next]).
//
//	bus := pubsub.New(memory.New(), codec.JSON[Quote]())
//	defer bus.Close()
//	sub, err := bus.Subscribe(ctx, "quotes")
//	...
//	for m := range sub.C() {
//		fmt.Println(m.Value.Symbol, m.Value.Price)
//	}
//
// # The contract
//
// Each clause has a test of its name.
//
//   - D1. Delivery is at most once per subscription, to the subscriptions that
//     exist: a best-effort multicast, without acknowledgement and without
//     durability.
//   - D2. Order is first in, first out per topic: every subscription sees a
//     topic's messages in the backend's order. There is no order across topics.
//   - D3. What is accepted after Subscribe returned is delivered or reported
//     lost.
//   - D4. A backend that numbers its messages delivers none twice, not even
//     across reconnects.
//   - D5. Every hole is reported, with a count, before the message that follows
//     it or, on a quiet topic, as soon as it is known. So, for a subscription,
//     delivered + reported lost = accepted, except that a count marked as not
//     Exact is a lower bound.
//   - D6. A nil error from Publish means that the message was accepted, not that
//     it was delivered. After an error the outcome is unknown, unless the error
//     says otherwise.
//   - D7. A received value is shared between local subscriptions only where T
//     makes that safe (see [Codec]) or [WithSharedDecode] asks for it.
//   - L1. New starts nothing. A topic's first Subscribe opens its stream, which
//     its subscriptions share, and its last Close ends it (after [WithLinger]).
//     [Block] subscriptions share a second stream; [Private] ones, and some that
//     resume, have their own.
//   - L2. If the first open fails, Subscribe fails. Later breaks are mended by
//     the backend, until a permanent error ends the topic's subscriptions with
//     that error, after what they have queued.
//   - L3. Close and the end of ctx take effect promptly in any state, Drain as
//     soon as somebody has read what is queued or its ctx ends. They leave
//     nothing behind.
//
// # Falling behind
//
// A topic's subscriptions read one ring of its newest messages, each with a
// cursor of its own. One that falls more than [WithBuffer] messages behind harms
// only itself: by default ([DropOldest]) it finds a [Discontinuity] with the
// exact count where the messages are missing, and goes on after it. [Block]
// asks for back-pressure instead, [Fail] for an end.
//
// # Goroutines
//
// New, Publish, Next and All start none. Each open stream has one, which is
// gone when Close of the bus returns, or Close of the stream's last subscription
// (with WithLinger, later). C and Events start one each at their first call,
// which is gone when Close of the subscription or the bus returns, unless it is
// inside a callback. Each ctx of a Subscribe that can end is watched by
// context.AfterFunc. Callbacks run on the goroutine that reads the subscription.
// No lock is held while a callback, an Observer, a Codec or a Backend is called.
// A Codec and an Observer must not call Close.
//
// # More
//
// The repository has guides beside this reference: docs/delivery.md (the
// contract with pictures), docs/testing.md, docs/operating.md (limits, sizing,
// logs, what to do on each error) and docs/migrating.md. Package pubsubtest
// checks a backend of your own, pubsubdebug shows a running bus.
package pubsub

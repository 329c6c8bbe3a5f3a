// Package pubsub is an embeddable publish/subscribe library with typed
// messages. A [Bus] of values of type T has a [Codec] for T and sits on a
// [Backend]: package backend/memory for one process and its tests, package
// backend/momento for Momento Topics, module backend/nats for NATS JetStream.
//
//	bus := pubsub.New(memory.New(), codec.Value[Quote]())
//	defer bus.Close()
//	quotes := bus.Topic("quotes") // a typed channel to hand around
//	sub, err := quotes.Subscribe(ctx)
//	...
//	for m := range sub.Messages() {
//		fmt.Println(m.Value.Symbol, m.Value.Price)
//	}
//
// A [Subscription] is read by an iterator ([Subscription.Messages],
// [Subscription.All]), a channel ([Subscription.C], [Subscription.Events]) or a
// call ([Subscription.Next]).
//
// # The contract
//
// Each clause has a test of its name.
//
//   - D1. Delivery is at most once per subscription, to the subscriptions that
//     exist. There is no acknowledgement and no durability.
//   - D2. Every subscription of a topic sees its messages in the same order, the
//     backend's. There is no order across topics.
//   - D3. What is accepted after Subscribe returned is for the subscription.
//     What was accepted before is for those that ask for it: with [ResumeAfter],
//     [FromOldest] or [FromLast]. One exception: who joins a shared stream while
//     it is down begins where the stream broke, and may get messages from before
//     Subscribe. [Subscription.Start] tells where a subscription begins.
//   - D4. A backend that numbers its messages delivers none twice, not even
//     across reconnects.
//   - D5. Every hole is reported, with a count, before the message behind it. On
//     a quiet topic it is reported as soon as it is known. What an end leaves
//     unread is counted as dropped. So for every subscription
//     delivered + reported lost + dropped at the end = accepted. A count that is
//     not Exact is a lower bound.
//   - D6. A nil error from Publish means that the message was accepted, not that
//     it was delivered. Of an error, [OutcomeOf] tells whether the message was
//     accepted, was not, or that nobody knows.
//   - D7. A received value is shared between local subscriptions only where T
//     makes that safe (see [Codec]), where the value itself is carried
//     (codec.Value) or where [WithSharedDecode] asks for it.
//   - L1. New starts nothing. A topic's first Subscribe opens its stream, which
//     its ordinary subscriptions share. The last end closes it, after
//     [WithLinger]. [Block] subscriptions share a second stream. A [Private] one
//     has its own. One that begins in the past reads an open stream that still
//     holds its place; otherwise it opens one, which others can read too.
//   - L2. If a stream cannot be opened, Subscribe fails. With [Eventually] it
//     succeeds where the failure may pass, and the stream opens later. Breaks of
//     an open stream are mended by the backend and told as states. A permanent
//     error ends the topic's subscriptions, behind what they have queued.
//   - L3. Ends are prompt from any state, and leave no goroutine behind. See
//     below.
//
// # Starts
//
// Without an option a subscription starts at the present. [ResumeAfter] starts
// behind a position, [FromOldest] with the oldest message at hand, [FromLast]
// with up to n of the newest. A hole is reported only where ResumeAfter finds
// that messages behind its position are gone.
//
// Keep a position to resume from: [Subscription.Start] until the first message
// has come, then the position of the last message.
//
// Who joins while the stream is down is told [Reconnecting] first. When the
// stream is back, [Resumed] follows, and then what the stream resumes with, or a
// hole.
//
// # Ends
//
//   - [Subscription.Close], the end of Subscribe's ctx and Bus.Close end at once.
//     What is queued is dropped.
//   - [Subscription.Drain] takes nothing new and waits until what is queued has
//     been read. When it returns nil, loops of Messages and All are done with the
//     last message. So are callers of Next who come back within five seconds. C
//     and Events may still hold what fits into their channels. A loop that is
//     at work is waited for until ctx ends. Where nobody is seen to read, a Drain
//     whose ctx has no deadline gives up after a while, and says so.
//   - Bus.Drain refuses new publishes, drains all subscriptions side by side, and
//     closes the bus.
//   - When the ctx of a Drain ends first, what is left is dropped. The error has
//     the count, as a *[DroppedError].
//   - A permanent error of the stream ends a subscription behind what it has
//     queued.
//
// What was dropped is in Dropped of the statistics and in the incidents. If
// nobody asked to drop it (ctx ended, a Drain ran out of time, the bus was
// closed) a line in the log says so. [Subscription.Err] tells why a subscription
// ended: nil after Close and Drain, ctx's error, [ErrClosed] after the end of the
// bus, otherwise the error that ended it. All yields the last kind, too.
//
// # Falling behind
//
// A topic's subscriptions read one ring of its newest messages, each at its own
// pace. One that falls more than [WithBuffer] messages behind harms only itself:
// by default ([DropOldest]) it finds a [Discontinuity] with the exact count where
// the messages are missing, and goes on after it. [Block] makes publishers wait
// instead. [Fail] ends the subscription.
//
// # Goroutines
//
// New, Publish, Messages, All and Next start none. Each open stream has one
// goroutine. It has ended when Bus.Close returns, or when Close of the stream's
// last subscription returns. With WithLinger it ends later. C and Events start
// one goroutine each, at their first call. It has ended when Close of the
// subscription returns, unless it is inside a callback: then it ends when the
// callback returns, and [Subscription.Wait] waits for that. A ctx of Subscribe
// that can end is watched by [context.AfterFunc].
//
// A backend that does not end a stream when told to is waited for five seconds.
// Then an error in the log says so, and its goroutine is left behind.
//
// Callbacks run on the goroutine that reads the subscription. No lock is held
// while a callback, an Observer, a Codec or a Backend is called. A Codec and an
// Observer must not call Close.
//
// # More
//
// The repository has guides beside this reference: docs/delivery.md (the
// contract with pictures), docs/testing.md, docs/operating.md (limits, sizes,
// logs, what to do on each error), docs/consume.md (handlers, workers, retries)
// and docs/roughedges.md. Package pubsubtest has helpers for tests and checks a
// backend of your own. Package pubsubdebug shows a running bus.
package pubsub

// Package consume runs an application's handlers on the messages of a
// subscription: several at once, in order per key, with retries, and with an
// end that loses nothing in silence. [Each] is the loop that most applications
// write around a subscription. [Batches] is for those that write many messages
// at a time.
//
//	err := consume.Each(ctx, sub, save, consume.Options[Order]{
//		Workers: 8,
//		OrderBy: func(o Order) string { return o.Symbol },
//		Retry:   func() backoff.BackOff { return backoff.NewExponentialBackOff() },
//		GiveUp: func(ctx context.Context, m pubsub.Message[Order], err error) error {
//			return bus.Publish(ctx, "orders/dead", m.Value)
//		},
//	})
//
// # What Each promises
//
// Order. With one worker, handlers run in the order of the topic. With more, and
// OrderBy, those of messages with the same key do, never two at once. A message
// that waits for its next try keeps its place: later ones of its key wait behind
// it, and those of other keys go on. With more workers and no OrderBy there is
// no order.
//
// Bounds. Each has taken at most InFlight messages that are not finished. Then
// it takes no more, so that the subscription falls behind and its overflow
// policy applies. The memory that Each uses does not depend on how many messages
// or keys there are. A key that is stuck holds up the others only when the
// messages that wait behind it have used up InFlight.
//
// Goroutines. With one worker, Each uses the caller's goroutine and no other,
// unless both OrderBy and Retry are set. Otherwise it starts up to Workers
// goroutines, as they are needed, and none for a message that waits. Whatever it
// started has ended when it returns.
//
// Accounts. Every message that Each takes is handled, or given up, or it is
// dropped at the end. What was dropped is in the error that Each returns, as an
// [UnhandledError], and is counted in [Stats].
//
// # Holes
//
// OnLoss is told of a hole when Each comes upon it in reading. That is before
// any message behind the hole is handled. With one goroutine it is also after
// all messages before it are finished. With workers, messages before the hole
// may still run then, or wait for a retry: to hold everything up for them would
// be to give up what workers are for.
//
// # The end
//
// When the subscription has ended (Close, Drain, the end of its stream), Each
// finishes what it has taken, and returns nil if the application ended the
// subscription and nothing was dropped. After Drain that is everything that was
// queued. Messages that fail are tried again for [Options].Grace; a try that
// would come later is not waited for, and the message is given up.
//
// When ctx ends, or a handler's failure ends Each, nothing new is started.
// Handlers that run may go on for Grace, then their ctx ends. A message that
// waits for a retry is given up at once. GiveUp gets a ctx with a Grace of its
// own, so that it can still reach a dead-letter topic. However many messages are
// given up, that ctx ends when two Graces are over. What was taken and never
// tried is dropped. Each leaves the subscription open: what is queued there is for
// the next reader, or is dropped by Close and counted by its Stats.
//
// To end a program without losing a message, drain first and let ctx go on. Give
// Drain a ctx with a deadline: without one it does not wait for a handler that
// takes longer than a minute.
//
//	<-signal
//	err := sub.Drain(limit) // Each returns nil when the rest is handled
package consume

// Package memory is a [pubsub.Backend] inside the process: for tests and for
// programs that need no other machine.
//
// # Delivery
//
// Publish delivers on the caller's goroutine, so the backend has no goroutines
// of its own. Publishers of one topic take turns: every stream gets the topic's
// messages in the same order. Other topics do not wait. A stream that blocks
// (back-pressure) holds up the publishers of its topic until their ctx ends; it
// never holds up Subscribe, Close, the end of a stream or inspection.
//
// A batch is published in one turn. If its ctx ends while a stream holds it up,
// the messages behind that one are not accepted.
//
// A publisher has the turn while it delivers. What runs inside (a codec or an
// observer, say) may publish to another topic. A Publish to the same topic would
// wait for itself: it fails after five seconds.
//
// # Numbers
//
// A topic is numbered from its first stream on, or from its first message where
// there is a history. Its first page is made from the clock, or is the one of
// [WithPage]; sequences start at 1. A topic without streams and history keeps its
// numbers while it is among the last 1024 such topics. After that it is forgotten,
// and starts on a new, greater page when it is used again, also by those who have
// it from [Backend.Topic]. So no position ever stands for two messages, and
// memory does not grow with the number of topic names. With [WithHistory] topics
// are kept until [Backend.Forget]. A name may be of any length.
//
// # Faults
//
// The fault methods let a test produce what a remote service can do:
// [Backend.Disconnect], [Backend.Reconnect], [Backend.Lose],
// [Backend.ResetPage], [Backend.Heartbeat], [Backend.Duplicate],
// [Backend.EndStreams], [Backend.FailPublishes], [Backend.FailAcceptedPublishes],
// [Backend.FailSubscribes] and [Backend.DelayPublishes]. They return at once.
// Those that tell streams something take effect between two messages, in the order
// of the calls. If a publisher is delivering, they take effect right after its
// message, or after its batch if that is published with [context.Background].
//
// # Bubbles
//
// A backend works in a [testing/synctest] bubble, also if it was made outside.
// What waits belongs to where it waits: make streams in the bubble that reads
// them, and close the backend where its publishers and streams are.
package memory

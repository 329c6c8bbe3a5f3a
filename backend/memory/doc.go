// Package memory is a [pubsub.Backend] inside the process: for tests and for
// programs that need no other machine.
//
// # Delivery
//
// Publish delivers on the caller's goroutine, so the backend has no goroutines
// of its own and works in a [testing/synctest] bubble. Publishers of one topic
// take turns: every stream gets the topic's messages in the same order. Other
// topics do not wait. A stream that blocks (back-pressure) holds up the
// publishers of its topic until their ctx ends; it never holds up Subscribe,
// Close, the end of a stream or inspection.
//
// A publisher has the turn while it delivers. What runs inside (an observer,
// say) may publish to another topic. A Publish to the same topic there waits for
// a turn that cannot come, until its ctx ends: give it a ctx that does.
//
// # Numbers
//
// A topic is numbered from its first stream on, or from its first message
// where there is a history, starting at page 1, sequence 1. A topic without
// streams and history keeps its numbers while it is among the last 1024 such
// topics; after that it is forgotten, and starts on a new, greater page when
// it is used again. So no position ever stands for two messages, and memory
// does not grow with the number of topic names. With [WithHistory] topics are
// never forgotten.
//
// # Faults
//
// The fault methods let a test produce what a remote service can do:
// [Backend.Disconnect], [Backend.Reconnect], [Backend.Lose],
// [Backend.ResetPage], [Backend.Heartbeat], [Backend.Duplicate],
// [Backend.EndStreams], [Backend.FailPublishes], [Backend.FailSubscribes] and
// [Backend.DelayPublishes]. They return at once. Those that name topics take
// effect between two messages, in the order of the calls; if a publisher is
// delivering, they take effect right after its message.
package memory

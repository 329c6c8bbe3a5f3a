package pubsub

// Compact has the log of rare events of s's topic compacted, as it is when it
// is full.
func Compact[T any](s *Subscription[T]) { s.stream.log.Compact() }

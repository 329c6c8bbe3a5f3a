package pubsub

// Compact has the log of rare events of s's topic compacted, as it is when it
// is full.
func Compact[T any](s *Subscription[T]) {
	r := &s.topic.ring
	r.mu.Lock()
	defer r.mu.Unlock()
	r.notes.compact(r.oldest(r.head.Load()))
}

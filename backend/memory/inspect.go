package memory

import (
	"github.com/topicbus/pubsub"
)

// Published returns the topic's newest messages, oldest first, as far as
// [WithHistory] keeps them: what came in on every page, also while the topic
// was disconnected. The slice is the caller's, the payloads' bytes are not.
func (b *Backend) Published(topic string) []pubsub.Message[pubsub.Payload] {
	t := b.engine.find(topic)
	if t == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	var ms []pubsub.Message[pubsub.Payload]
	for e := range t.log.all {
		ms = append(ms, pubsub.Message[pubsub.Payload]{Value: e.p, Topic: t.name, Position: e.at})
	}
	return ms
}

// Stats are counts of one topic.
type Stats struct {
	// Streams is how many streams are open.
	Streams int
	// Accepted is how many messages were accepted or lost by the service
	// since the topic was seen first, on all pages.
	Accepted uint64
	// Last is the position of the newest message, with a Sequence of 0 if
	// its page has none yet. It is zero for an unknown topic.
	Last pubsub.Position
	// Suppressed is how many duplicates were kept from the streams.
	Suppressed uint64
}

// Stats returns the counts of a topic. They are zero for one that was never
// subscribed to, nor published to with a history, and for one that was
// forgotten.
func (b *Backend) Stats(topic string) Stats {
	t := b.engine.find(topic)
	if t == nil {
		return Stats{}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	w := t.word.Load() // once: publishers count on without mu
	return Stats{
		Streams:    len(t.streams),
		Accepted:   sum(w>>seqShift, t.uncounted),
		Last:       t.at(w),
		Suppressed: t.suppressed,
	}
}

// Streams returns how many streams of all topics are open.
func (b *Backend) Streams() int { return int(b.engine.open.Load()) }

// Forget drops the history of the topics, or of all without topics. It drops a
// topic altogether that has no streams and is not disconnected: if that is used
// again, then with numbers on a greater page.
func (b *Backend) Forget(topics ...string) {
	if len(topics) == 0 {
		for _, v := range b.engine.topics.Range {
			b.engine.forgetHistory(v.(*topic))
		}
		return
	}
	for _, name := range topics {
		if t := b.engine.find(name); t != nil {
			b.engine.forgetHistory(t)
		}
	}
}

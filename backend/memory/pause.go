package memory

import "github.com/topicbus/pubsub"

// pause has the streams get nothing more until resume; what is accepted
// meanwhile is kept as the history allows. Subscribe fails with refusal. It is
// part of an op, as are resume and tell.
func (t *topic) pause(refusal error) {
	if t.paused == nil {
		t.seen = t.head()
	}
	t.paused = refusal
}

// resume gives the streams f, and what passed since pause behind it.
func (t *topic) resume(f pubsub.Frame) {
	t.paused = nil
	t.tell(append([]pubsub.Frame{f}, t.replay(t.seen)...)...)
	for _, s := range t.streams {
		for _, done := range s.onResume {
			s.pushMark(done)
		}
		s.onResume = nil
	}
}

// missed is how many messages the streams have missed since pause.
func (t *topic) missed() uint64 {
	if t.paused == nil {
		return 0
	}
	at, lost, _ := t.since(t.seen)
	return sum(lost, t.head().Sequence-at.Sequence)
}

// tell queues frames for every stream.
func (t *topic) tell(frames ...pubsub.Frame) {
	for _, s := range t.streams {
		s.push(frames...)
	}
}

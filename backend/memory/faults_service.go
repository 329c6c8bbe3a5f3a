package memory

import "github.com/topicbus/pubsub"

// Lose has the service lose n messages of the topics (of all without topics)
// that it had numbered: the numbers advance by n, and the streams deliver a
// discontinuity of [pubsub.CauseBackend] with that count. A disconnected
// stream learns of it when it is back. If a topic would have counted more than
// 1<<60 messages by then, it goes on with the next page instead, as with
// [Backend.ResetPage].
func (b *Backend) Lose(n uint64, topics ...string) {
	if n > 0 {
		b.engine.each(topics, func(t *topic) { t.lose(n) })
	}
}

// maxCount bounds what a topic's word is made to count, so that messages are
// left to publish.
const maxCount = 1 << 60

func (t *topic) lose(n uint64) {
	head := t.head()
	if n > maxCount-min(maxCount, t.word.Load()>>seqShift) {
		t.uncounted = sum(t.uncounted, n)
		t.nextPage(n)
		return
	}
	t.word.Add(n << seqShift)
	if t.paused != nil {
		return
	}
	t.tell(discontinuity(pubsub.Discontinuity{
		Cause: pubsub.CauseBackend, After: known(head), Resume: behind(head, n+1), Lost: n, Exact: true,
	}))
}

// ResetPage has the service lose the topics (all without topics) and make
// them again: the numbers go on with sequence 1 of the next page, nothing of
// the earlier page can be replayed, and the streams deliver a discontinuity of
// [pubsub.CauseReset], whose count is not exact: a service that lost a topic
// cannot know.
func (b *Backend) ResetPage(topics ...string) {
	b.engine.each(topics, func(t *topic) { t.nextPage(0) })
}

// nextPage goes on with the next page, when n more messages of this one have
// been lost.
func (t *topic) nextPage(n uint64) {
	head := t.head()
	t.ended = pubsub.Position{Page: head.Page, Sequence: sum(head.Sequence, n)}
	t.earlier.Add(head.Sequence)
	t.page.Add(1)
	if t.paused != nil {
		return
	}
	t.tell(discontinuity(pubsub.Discontinuity{
		Cause: pubsub.CauseReset, After: known(head), Resume: behind(t.head(), 1), Lost: n,
	}))
}

// Heartbeat delivers a heartbeat to the streams of the topics, or to all
// streams. A disconnected topic has none.
func (b *Backend) Heartbeat(topics ...string) {
	b.engine.each(topics, func(t *topic) {
		if t.paused == nil {
			t.tell(pubsub.Frame{Kind: pubsub.KindHeartbeat})
		}
	})
}

// Duplicate has the service send the newest n messages of the topics (of all
// without topics) that the history holds once more, as some do after a
// reconnect. A backend owes streams without duplicates, so what a stream was
// given already goes no further; see [Stats].
func (b *Backend) Duplicate(n int, topics ...string) {
	b.engine.each(topics, func(t *topic) { t.resend(n) })
}

// resend has nothing to send on: what the history holds is numbered up to the
// head, and the streams have been given or told of all of that.
func (t *topic) resend(n int) {
	if t.paused == nil { // else nobody would be sent anything
		t.suppressed += uint64(min(max(n, 0), t.log.count))
	}
}

// EndStreams ends the streams of the topics, or all streams, with a permanent
// error: their Receive returns err behind what is queued. A nil err stands for
// [pubsub.ErrPermissionDenied].
func (b *Backend) EndStreams(err error, topics ...string) {
	if err == nil {
		err = pubsub.ErrPermissionDenied
	}
	b.engine.each(topics, func(t *topic) {
		t.endAll(err)
		t.still()
	})
}

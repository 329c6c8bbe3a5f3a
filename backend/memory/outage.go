package memory

import (
	"errors"
	"fmt"
	"time"

	"github.com/topicbus/pubsub"
)

// outage is a topic's time without connection.
type outage struct {
	since   time.Time
	attempt int
	err     error
}

func (o *outage) refusal() error {
	if errors.Is(o.err, pubsub.ErrUnavailable) {
		return fmt.Errorf("memory: disconnected: %w", o.err)
	}
	return fmt.Errorf("memory: disconnected: %w: %w", pubsub.ErrUnavailable, o.err)
}

// Disconnect breaks the streams of the topics, or fails one more attempt to
// get them back if they are broken already: they deliver [pubsub.Reconnecting]
// with err, the number of the attempt and the time since the break. While a
// topic is disconnected Publish accepts its messages, as a service does that
// others can still reach, and Subscribe fails with [pubsub.ErrUnavailable].
//
// Without topics it breaks all, including those that are used for the first
// time before [Backend.Reconnect]. A nil err stands for ErrUnavailable.
func (b *Backend) Disconnect(err error, topics ...string) {
	if err == nil {
		err = pubsub.ErrUnavailable
	}
	if len(topics) == 0 {
		b.faults.outageOfAll(err)
	}
	b.engine.each(topics, func(t *topic) { b.faults.disconnect(t, err) })
}

// outageOfAll sets or ends the outage of topics that are seen for the first
// time.
func (f *faults) outageOfAll(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.outage = err
}

// begin applies to a new topic what holds for all.
func (f *faults) begin(t *topic) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.outage != nil {
		o := &outage{since: time.Now(), attempt: 1, err: f.outage}
		f.outages[t] = o
		t.pause(o.refusal())
	}
}

func (f *faults) disconnect(t *topic, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	o := f.outages[t]
	if o == nil {
		o = &outage{since: time.Now()}
		f.outages[t] = o
	}
	o.attempt++
	o.err = err
	t.pause(o.refusal())
	t.tell(pubsub.Frame{Kind: pubsub.KindState, State: &pubsub.StateChange{
		State: pubsub.Reconnecting, Err: err, Attempt: o.attempt, Downtime: time.Since(o.since),
	}})
}

// Reconnect ends what [Backend.Disconnect] began, for the topics or for all.
// The streams deliver [pubsub.Resumed] with the downtime, and then the messages
// of the meantime that the history still holds, behind a discontinuity of
// [pubsub.CauseReconnect] for those it does not. Topics that are connected are
// left alone.
func (b *Backend) Reconnect(topics ...string) {
	if len(topics) == 0 {
		b.faults.outageOfAll(nil)
	}
	b.engine.each(topics, b.faults.reconnect)
}

func (f *faults) reconnect(t *topic) {
	f.mu.Lock()
	defer f.mu.Unlock()
	o := f.outages[t]
	if o == nil {
		return
	}
	delete(f.outages, t)
	t.resume(pubsub.Frame{Kind: pubsub.KindState, State: &pubsub.StateChange{
		State: pubsub.Resumed, Attempt: o.attempt, Downtime: time.Since(o.since),
	}})
}

// Lose has the service lose n messages of the topics (of all without topics)
// that it had numbered: the numbers advance by n, and the streams deliver a
// discontinuity of [pubsub.CauseBackend] with that count. A disconnected
// stream learns of it when it is back.
func (b *Backend) Lose(n uint64, topics ...string) {
	if n > 0 {
		b.engine.each(topics, func(t *topic) { t.lose(n) })
	}
}

func (t *topic) lose(n uint64) {
	head := t.head()
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
func (b *Backend) ResetPage(topics ...string) { b.engine.each(topics, (*topic).reset) }

func (t *topic) reset() {
	t.ended = t.head()
	t.earlier.Add(t.ended.Sequence)
	t.page.Add(1)
	if t.paused != nil {
		return
	}
	t.tell(discontinuity(pubsub.Discontinuity{
		Cause: pubsub.CauseReset, After: known(t.ended), Resume: behind(t.head(), 1),
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
		t.suppressed += uint64(min(max(n, 0), len(t.log.ring)))
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

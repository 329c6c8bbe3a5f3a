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

package memory

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/topicbus/pubsub"
)

// faults are those of the whole backend. Backend.mu guards them.
type faults struct {
	publishes  failures
	subscribes failures
	delay      time.Duration
	outage     error // of topics that are seen for the first time, nil if none
}

// failures are calls that are to fail.
type failures struct {
	n   int // negative: no end
	err error
}

func (f *failures) next() error {
	if f.n == 0 {
		return nil
	}
	if f.n > 0 {
		f.n--
	}
	if f.err == nil {
		return fmt.Errorf("memory: made to fail: %w", pubsub.ErrUnavailable)
	}
	return f.err
}

// begin applies to a new topic what holds for all.
func (f *faults) begin(t *topic) {
	if f.outage != nil {
		t.down = &outage{since: time.Now(), attempt: 1, err: f.outage, head: t.head()}
	}
}

// guard holds a publish back, or fails it, as the faults demand.
func (b *Backend) guard(ctx context.Context) error {
	b.mu.Lock()
	closed, err, delay := b.closed, error(nil), b.faults.delay
	if !closed {
		err = b.faults.publishes.next()
		b.watch()
	}
	b.mu.Unlock()
	switch {
	case closed:
		return errClosed
	case err != nil:
		return err
	case delay <= 0:
		return nil
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("memory: message not accepted, publishing is delayed by %v: %w", delay, cause(ctx))
	case <-b.done:
		return errClosed
	}
}

func (b *Backend) guardSubscribe() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return errClosed
	}
	return b.faults.subscribes.next()
}

// watch sets whether publishers must look at the faults. mu is held.
func (b *Backend) watch() {
	b.guarded.Store(b.closed || b.faults.publishes.n != 0 || b.faults.delay > 0)
}

// outage is a topic's time without connection.
type outage struct {
	since   time.Time
	attempt int
	err     error
	head    pubsub.Position // the newest message that the streams have seen
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
		b.mu.Lock()
		b.faults.outage = err
		b.mu.Unlock()
	}
	b.each(topics, func(t *topic) { t.disconnect(err) })
}

func (t *topic) disconnect(err error) {
	if t.down == nil {
		t.down = &outage{since: time.Now(), head: t.head()}
	}
	t.down.attempt++
	t.down.err = err
	t.tell(pubsub.Frame{Kind: pubsub.KindState, State: &pubsub.StateChange{
		State: pubsub.Reconnecting, Err: err, Attempt: t.down.attempt, Downtime: time.Since(t.down.since),
	}})
}

// Reconnect ends what [Backend.Disconnect] began, for the topics or for all.
// The streams deliver [pubsub.Resumed] with the downtime, and then the messages
// of the meantime that the history still holds, behind a discontinuity of
// [pubsub.CauseReconnect] for those it does not. Topics that are connected are
// left alone.
func (b *Backend) Reconnect(topics ...string) {
	if len(topics) == 0 {
		b.mu.Lock()
		b.faults.outage = nil
		b.mu.Unlock()
	}
	b.each(topics, (*topic).reconnect)
}

func (t *topic) reconnect() {
	if t.down == nil {
		return
	}
	resumed := pubsub.Frame{Kind: pubsub.KindState, State: &pubsub.StateChange{
		State: pubsub.Resumed, Attempt: t.down.attempt, Downtime: time.Since(t.down.since),
	}}
	t.tell(append([]pubsub.Frame{resumed}, t.replay(t.down.head)...)...)
	t.down = nil
}

// Lose has the service lose n messages of the topics (of all without topics)
// that it had numbered: the numbers advance by n, and the streams deliver a
// discontinuity of [pubsub.CauseBackend] with that count. A disconnected
// stream learns of it when it is back.
func (b *Backend) Lose(n uint64, topics ...string) {
	if n > 0 {
		b.each(topics, func(t *topic) { t.lose(n) })
	}
}

func (t *topic) lose(n uint64) {
	head := t.head()
	t.word.Add(n << seqShift)
	if t.down != nil {
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
func (b *Backend) ResetPage(topics ...string) { b.each(topics, (*topic).reset) }

func (t *topic) reset() {
	t.ended = t.head()
	t.earlier.Add(t.ended.Sequence)
	t.page.Add(1)
	if t.down != nil {
		return
	}
	t.tell(discontinuity(pubsub.Discontinuity{
		Cause: pubsub.CauseReset, After: known(t.ended), Resume: behind(t.head(), 1),
	}))
}

// Heartbeat delivers a heartbeat to the streams of the topics, or to all
// streams. A disconnected topic has none.
func (b *Backend) Heartbeat(topics ...string) {
	b.each(topics, func(t *topic) {
		if t.down == nil {
			t.tell(pubsub.Frame{Kind: pubsub.KindHeartbeat})
		}
	})
}

// Duplicate has the service send the newest n messages of the topics (of all
// without topics) that the history holds once more, as some do after a
// reconnect. A backend owes streams without duplicates, so what a stream was
// given already goes no further; see [Stats].
func (b *Backend) Duplicate(n int, topics ...string) {
	b.each(topics, func(t *topic) { t.resend(n) })
}

// resend has nothing to send on: what the history holds is numbered up to the
// head, and the streams have been given or told of all of that.
func (t *topic) resend(n int) {
	if t.down == nil { // else nobody would be sent anything
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
	b.each(topics, func(t *topic) {
		t.endAll(err)
		t.still()
	})
}

// FailPublishes fails the next n calls of Publish, to any topic, with err.
// Their messages are not accepted. A nil err stands for ErrUnavailable. With a
// negative n all calls fail, until FailPublishes is called again: an n of 0
// takes the fault back.
func (b *Backend) FailPublishes(n int, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.faults.publishes = failures{n, err}
	b.watch()
}

// FailSubscribes fails the next n calls of Subscribe, to any topic, with err. A
// nil err stands for ErrUnavailable. With a negative n all calls fail, until
// FailSubscribes is called again: an n of 0 takes the fault back.
func (b *Backend) FailSubscribes(n int, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.faults.subscribes = failures{n, err}
}

// DelayPublishes has every Publish wait for d before its message is accepted,
// or for the end of its ctx. 0 takes the fault back.
func (b *Backend) DelayPublishes(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.faults.delay = d
	b.watch()
}

// each has op done to the topics, or to all, each between two messages.
func (b *Backend) each(names []string, op func(*topic)) {
	if len(names) == 0 {
		for _, v := range b.topics.Range {
			t := v.(*topic)
			t.do(func() { op(t) })
		}
		return
	}
	for _, name := range names {
		// An invalid or closed topic has no streams to do something to.
		if t, err := b.topic(name); err == nil {
			t.do(func() { op(t) })
		}
	}
}

// tell queues frames for every stream. It is part of an op.
func (t *topic) tell(frames ...pubsub.Frame) {
	for _, s := range t.streams {
		s.push(frames...)
	}
}

func discontinuity(d pubsub.Discontinuity) pubsub.Frame {
	return pubsub.Frame{Kind: pubsub.KindDiscontinuity, Discontinuity: &d}
}

// known is p, or zero if no message stands there.
func known(p pubsub.Position) pubsub.Position {
	if p.Sequence == 0 {
		return pubsub.Position{}
	}
	return p
}

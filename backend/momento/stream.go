package momento

import (
	"context"
	"errors"
	"time"
	"unsafe"

	"github.com/cenkalti/backoff/v4"
	sdk "github.com/momentohq/client-sdk-go/momento"
	"github.com/topicbus/pubsub"
)

const (
	// healthyAfter is how long a stream must be up for its back-off to start
	// over.
	healthyAfter = time.Second
	// maxRefusals is how many times in a row a stream may be ended by an
	// authentication error, without having been healthy in between, until
	// fresh credentials are no longer asked for.
	maxRefusals = 3
	// maxTries is how many attempts are made at once, the second and third only
	// for reasons that have been mended, or may have been.
	maxTries = 3
	// holdFor is how long an announced discontinuity waits for the message
	// behind it, which settles how many are missing.
	holdFor = 100 * time.Millisecond
)

// stream is a subscription that outlives the SDK's streams. All of it belongs
// to the goroutine that calls Receive.
type stream struct {
	b        *Backend
	topic    string
	ctx      context.Context
	cancel   context.CancelCauseFunc
	detach   func() bool // from the Backend's end
	backOff  backoff.BackOff
	start    pubsub.Position
	seq      sequencer
	session  *session
	refusals int // of its credentials, since it was healthy
	failures int // attempts that failed, and short sessions, since then
	deliver  func(context.Context, pubsub.Frame) error
}

// subscribe makes a stream and opens its first session.
func (b *Backend) subscribe(ctx context.Context, topic string, after pubsub.Position) (*stream, error) {
	s := &stream{b: b, topic: topic, start: after, seq: newSequencer(after), backOff: b.options.backOff()}
	if s.backOff == nil {
		return nil, invalid("the function given to WithBackoff returned nil")
	}
	s.backOff.Reset()
	s.ctx, s.cancel = context.WithCancelCause(ctx)
	s.detach = context.AfterFunc(b.ctx, func() { s.cancel(errClosed) })
	if err := s.open(); err != nil {
		s.release()
		return nil, err
	}
	return s, nil
}

// release lets go of what holds the stream.
func (s *stream) release() {
	s.detach()
	s.cancel(nil)
}

// open opens a session where the stream stands.
func (s *stream) open() (err error) {
	for range maxTries {
		var again bool
		if s.session, again, err = s.b.dial(s.ctx, s.topic, s.seq.resumeAt()); !again {
			break
		}
	}
	return err
}

// Start implements [pubsub.Stream].
func (s *stream) Start() pubsub.Position { return s.start }

// Receive implements [pubsub.Stream]. deliver is called from this goroutine,
// with the stream's ctx.
func (s *stream) Receive(deliver func(context.Context, pubsub.Frame) error) error {
	defer s.release()
	s.deliver = deliver
	for {
		err := s.read()
		up := time.Since(s.session.began)
		s.session.end(&s.b.clients)
		if s.ctx.Err() == nil {
			s.report(s.seq.quiet())
			if err = s.reconnect(err, up); err == nil {
				continue
			}
		}
		switch {
		case context.Cause(s.ctx) == errClosed:
			return errClosed
		case s.ctx.Err() != nil:
			return nil
		}
		return err
	}
}

// read delivers what the session brings until it breaks, and returns why.
func (s *stream) read() error {
	s.session.dog.start()
	for {
		ev, err := s.next()
		if err == errNoValue {
			s.seq.unreadable(err)
			continue
		}
		if err != nil {
			err = translate(s.session.ctx, err)
			if oversize(err) {
				// Asking for it again would fail again: go on behind it.
				s.seq.unreadable(err)
			}
			return err
		}
		switch ev := ev.(type) {
		case sdk.TopicItem:
			s.item(ev)
		case sdk.TopicDiscontinuity:
			s.seq.discontinuity(ev.GetNewSequenceNumber(), ev.GetNewSequencePage())
		case sdk.TopicHeartbeat:
			s.report(s.seq.quiet())
			s.emit(pubsub.Frame{Kind: pubsub.KindHeartbeat})
		}
	}
}

// next returns the session's next event. While a discontinuity is held it
// waits for it on another goroutine, so that on a quiet topic the hole is
// reported soon.
func (s *stream) next() (sdk.TopicEvent, error) {
	if !s.seq.holding() {
		return s.session.event()
	}
	var (
		ev   sdk.TopicEvent
		err  error
		done = make(chan struct{})
	)
	go func() {
		defer close(done)
		ev, err = s.session.event()
	}()
	timer := time.NewTimer(holdFor)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
		s.report(s.seq.quiet())
		<-done
	}
	return ev, err
}

func (s *stream) item(it sdk.TopicItem) {
	f := pubsub.Frame{Kind: pubsub.KindMessage, Publisher: string(it.GetPublisherId())}
	switch v := it.GetValue().(type) {
	case sdk.String:
		f.Payload = pubsub.Payload{Format: pubsub.Text, Data: bytesOf(string(v))}
	case sdk.Bytes:
		f.Payload = pubsub.Payload{Format: pubsub.Binary, Data: v}
	default:
		s.seq.unreadable(errNoValue)
		return
	}
	p := pubsub.Position{Page: it.GetTopicSequencePage(), Sequence: it.GetTopicSequenceNumber()}
	hole, deliver := s.seq.item(p)
	s.report(hole)
	if !deliver {
		return
	}
	if p.Sequence != 0 {
		f.Position = s.seq.at
	}
	s.emit(f)
}

// report delivers d, if there is one.
func (s *stream) report(d *pubsub.Discontinuity) {
	if d != nil {
		s.emit(pubsub.Frame{Kind: pubsub.KindDiscontinuity, Discontinuity: d})
	}
}

func (s *stream) state(c pubsub.StateChange) {
	s.emit(pubsub.Frame{Kind: pubsub.KindState, State: &c})
}

// emit delivers f. If deliver fails then it has marked the place itself.
func (s *stream) emit(f pubsub.Frame) { _ = s.deliver(s.ctx, f) }

// reconnect opens a new session after one that was up for a while broke
// because of err. It returns nil when there is one, and otherwise why there
// will be none.
func (s *stream) reconnect(err error, up time.Duration) error {
	broke := time.Now()
	if up >= healthyAfter {
		s.backOff.Reset()
		s.refusals, s.failures = 0, 0
	} else {
		s.failures++
	}
	if s.final(err) {
		return err
	}
	slowed := false // because of a limit
	for attempt := 1; ; attempt++ {
		s.state(pubsub.StateChange{State: pubsub.Reconnecting, Err: err, Attempt: attempt, Downtime: time.Since(broke)})
		limited := errors.Is(err, pubsub.ErrLimitExceeded) && !oversize(err)
		if limited && !slowed {
			slowed = true
			s.backOff.Reset() // how long the outage was tells nothing of the limit
		}
		if !s.b.recovery.wait(s.ctx, s.backOff, s.failures, limited) {
			return err
		}
		s.failures++
		if err = s.open(); err == nil {
			s.b.recovery.success()
			s.state(pubsub.StateChange{State: pubsub.Resumed, Downtime: time.Since(broke)})
			s.report(s.seq.resubscribed())
			return nil
		}
		if oversize(err) {
			s.seq.unreadable(err)
			s.report(s.seq.quiet())
		} else if permanent(err) {
			return err
		}
	}
}

// final reports whether err, which broke a session, ends the stream. Expired
// credentials do not, if there is somebody to ask for fresh ones.
func (s *stream) final(err error) bool {
	if errors.Is(err, pubsub.ErrUnauthenticated) && s.refusals < maxRefusals {
		s.refusals++
		return !s.b.clients.failed(s.session.client, err)
	}
	return permanent(err)
}

// bytesOf returns the bytes of s without copying them: nobody modifies the
// bytes of a Payload.
func bytesOf(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }

// stringOf returns b as a string without copying it, likewise.
func stringOf(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

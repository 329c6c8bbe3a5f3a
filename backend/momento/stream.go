package momento

import (
	"context"
	"errors"
	"time"
	"unsafe"

	"github.com/cenkalti/backoff/v4"
	sdk "github.com/momentohq/client-sdk-go/momento"
	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/internal/turns"
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
	// behind it, which settles how many are missing. Of several the first counts.
	holdFor = 100 * time.Millisecond
	// holdUnreadable is the same for an item that could not be read. It often
	// breaks the stream, which then has to come back.
	holdUnreadable = 2 * time.Second
)

// stream is a subscription that outlives the SDK's streams. All of it but
// catchUp belongs to the goroutine that calls Receive.
type stream struct {
	b       *Backend
	topic   string
	ctx     context.Context
	cancel  context.CancelCauseFunc
	detach  func() bool // from the Backend's end
	backOff backoff.BackOff
	start   pubsub.Position
	oldest  bool // begin with the oldest there is
	seq     sequencer
	session *session
	asked   pubsub.Position // where the session was to begin
	unread  bool            // the session brought an item without a value, and none since
	doubt   doubt
	lived   time.Duration // how long the last session did
	early   []frame       // read by Subscribe, and still to be dealt with
	due     time.Time     // when what seq holds is reported, zero if it holds nothing
	suspect *pubsub.Position
	deliver func(context.Context, pubsub.Frame) error
	resumed bool      // the session has not caught up yet
	brought time.Time // when it last brought an item
	catchUp catchUp

	refusals int       // of its credentials, since it was healthy
	refused  time.Time // the first refusal since it was healthy, if there was one
	failures int       // attempts that failed, and short sessions, since then
}

// subscribe makes a stream and opens its first session.
func (b *Backend) subscribe(ctx context.Context, topic string, from pubsub.Start) (*stream, error) {
	if one(!from.After.IsZero(), from.Last > 0, from.Oldest) > 1 {
		return nil, invalid("a stream begins in one place, and not at %+v", from)
	}
	s := &stream{b: b, topic: topic, backOff: b.options.backOff()}
	s.catchUp.free.L = &s.catchUp.mu
	if s.backOff == nil {
		return nil, invalid("the function given to WithBackoff returned nil")
	}
	s.backOff.Reset()
	s.ctx, s.cancel = context.WithCancelCause(ctx)
	s.detach = context.AfterFunc(b.ctx, func() { s.cancel(errClosed) })
	b.recovery.Enter()
	if err := s.begin(from); err != nil {
		s.release()
		return nil, err
	}
	if from != (pubsub.Start{}) {
		s.resume()
	}
	return s, nil
}

// one counts the conditions that hold.
func one(conditions ...bool) (n int) {
	for _, c := range conditions {
		if c {
			n++
		}
	}
	return n
}

// release lets go of what holds the stream.
func (s *stream) release() {
	s.b.recovery.Leave()
	s.detach()
	s.cancel(nil)
}

// open opens a session at a position.
func (s *stream) open(at pubsub.Position) (err error) {
	s.asked, s.unread = at, false
	for range maxTries {
		var again bool
		if s.session, again, err = s.b.dial(s.ctx, s.topic, at); !again {
			break
		}
	}
	return err
}

// resumeAt returns where to open the next session.
func (s *stream) resumeAt() pubsub.Position {
	if s.oldest && !s.seq.numbered && !s.seq.adrift {
		return pubsub.Position{Sequence: oldest.Sequence + s.seq.skip}
	}
	return s.seq.resumeAt()
}

// Start implements [pubsub.Stream].
func (s *stream) Start() pubsub.Position { return s.start }

// Receive implements [pubsub.Stream]. deliver is called from this goroutine,
// with the stream's ctx.
func (s *stream) Receive(deliver func(context.Context, pubsub.Frame) error) error {
	defer s.release()
	defer s.catchUp.close()
	s.deliver = deliver
	for {
		err := s.read()
		up := time.Since(s.session.began)
		s.session.end(&s.b.clients)
		s.early = nil
		if s.ctx.Err() == nil {
			if !s.seq.uncertain() { // else the item behind it counts it
				s.report(s.seq.quiet())
			}
			if err = s.reconnect(err, up); err == nil {
				continue
			}
			s.report(s.seq.quiet())
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
	s.brought = time.Now()
	for {
		ev, err := s.next()
		if err == errNoValue {
			s.unreadable()
			continue
		}
		if err != nil {
			err = translate(s.session.ctx, err)
			s.spoiled(err)
			return err
		}
		switch ev := ev.(type) {
		case sdk.TopicItem:
			s.item(ev)
			if s.resumed {
				s.brought = time.Now()
			}
		case sdk.TopicDiscontinuity:
			s.seq.discontinuity(ev.GetNewSequenceNumber(), ev.GetNewSequencePage())
			s.hold()
		case sdk.TopicHeartbeat:
			if !s.seq.uncertain() {
				s.report(s.seq.quiet())
			}
			s.emit(pubsub.Frame{Kind: pubsub.KindHeartbeat})
		}
	}
}

// unreadable takes note of an item that could not be read.
func (s *stream) unreadable() {
	s.unread = true
	s.seq.unreadable(errNoValue)
	s.hold()
}

// spoiled takes note of an error that broke the session, if it was about a
// message: asking for that again would fail again. What gRPC cannot decode may
// have been spoiled on the way, so it is asked for once more. So is an item
// without a value, behind which the session broke.
func (s *stream) spoiled(err error) {
	if s.unread {
		err = errNoValue
	}
	switch {
	case oversize(err):
	case !undecodable(err) && err != errNoValue:
		return
	case s.suspect == nil || *s.suspect != s.seq.at:
		at := s.seq.at
		s.suspect = &at
		if !s.seq.numbered { // the outage is told, and why
			s.seq.unreadable(err)
			s.hold()
		}
		return
	}
	s.seq.broken(err)
	s.hold()
}

// hold sets when what seq holds is to be reported, though no item follows.
func (s *stream) hold() {
	if !s.seq.holding() {
		s.due = time.Time{}
		return
	}
	wait := holdFor
	if s.seq.uncertain() {
		wait = holdUnreadable
	}
	if due := time.Now().Add(wait); s.due.IsZero() || due.Before(s.due) {
		s.due = due
	}
}

// next returns the session's next event. Meanwhile it reports what has been
// held for long enough.
func (s *stream) next() (sdk.TopicEvent, error) {
	if len(s.early) > 0 {
		f := s.early[0]
		s.early = s.early[1:]
		return f.ev, f.err
	}
	holding, until := s.seq.holding(), s.catchingUp()
	if until.IsZero() && !holding {
		return s.session.next()
	}
	if holding && (until.IsZero() || s.due.Before(until)) {
		until = s.due
	}
	f, ok := s.session.poll(until)
	if ok && time.Now().Before(until) {
		return f.ev, f.err
	}
	if ok { // but late
		s.early = append(s.early, f)
	}
	if holding && !time.Now().Before(s.due) {
		s.report(s.seq.quiet())
	}
	if s.resumed && (!ok && (!holding || until != s.due) || time.Since(s.session.began) >= catchUpMax) {
		s.caughtUp()
	}
	return s.next()
}

// meanwhile calls f, which may take long and must not touch what the stream
// holds, and reports that when it is due.
func (s *stream) meanwhile(f func()) {
	if !s.seq.holding() {
		f()
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	timer := time.NewTimer(time.Until(s.due))
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
		s.report(s.seq.quiet())
		<-done
	}
}

func (s *stream) item(it sdk.TopicItem) {
	f := pubsub.Frame{Kind: pubsub.KindMessage, Publisher: string(it.GetPublisherId())}
	switch v := it.GetValue().(type) {
	case sdk.String:
		f.Payload = pubsub.Payload{Format: pubsub.Text, Data: bytesOf(string(v))}
	case sdk.Bytes:
		f.Payload = pubsub.Payload{Format: pubsub.Binary, Data: v}
	default:
		s.unreadable()
		return
	}
	s.unread = false
	p := positionOf(it)
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

func positionOf(it sdk.TopicItem) pubsub.Position {
	return pubsub.Position{Page: it.GetTopicSequencePage(), Sequence: it.GetTopicSequenceNumber()}
}

// report delivers d, if there is one.
func (s *stream) report(d *pubsub.Discontinuity) {
	if !s.seq.holding() {
		s.due = time.Time{}
	}
	if d != nil {
		s.emit(pubsub.Frame{Kind: pubsub.KindDiscontinuity, Discontinuity: d})
	}
}

func (s *stream) state(c pubsub.StateChange) {
	s.emit(pubsub.Frame{Kind: pubsub.KindState, State: &c})
}

// emit delivers f. If deliver fails then it has marked the place itself.
func (s *stream) emit(f pubsub.Frame) {
	s.catchUp.take()
	defer s.catchUp.give()
	_ = s.deliver(s.ctx, f)
}

// reconnect opens a new session after one that was up for a while broke
// because of err. It returns nil when there is one, and otherwise why there
// will be none.
func (s *stream) reconnect(err error, up time.Duration) error {
	broke := time.Now()
	if up >= healthyAfter {
		s.backOff.Reset()
		s.refusals, s.failures, s.refused = 0, 0, time.Time{}
		s.seq.settled()
	} else {
		s.failures++
	}
	blamed := false
	if at := s.resumeAt(); at == s.asked {
		s.lived = up
		blamed = s.pass(at, failure{err: err, silent: up >= healthyAfter || err == errStalled, hint: aboutPlace(err)})
	} else {
		s.doubt = doubt{}
	}
	if !blamed && s.final(err) {
		return err
	}
	s.caughtUp()
	recovery, outages := s.b.recovery, &s.b.outages
	outages.broke(s.topic, err)
	back := false
	defer func() { outages.over(back) }()
	slowed := false // because of a limit
	for attempt := 1; ; attempt++ {
		s.state(pubsub.StateChange{State: pubsub.Reconnecting, Err: err, Attempt: attempt, Downtime: time.Since(broke)})
		limited := errors.Is(err, pubsub.ErrLimitExceeded) && !oversize(err)
		if limited && !slowed {
			slowed = true
			s.backOff.Reset() // how long the outage was tells nothing of the limit
		}
		ok, asked, at := false, false, s.resumeAt()
		s.meanwhile(func() {
			ok = (attempt > 1 || recovery.Spend(s.ctx, nil)) && recovery.Wait(s.ctx, nil, s.backOff, s.failures, limited)
			if ok {
				asked, err = s.attempt(at)
			}
		})
		if !ok {
			return err
		}
		s.failures++
		if err == nil {
			back = true
			s.session.proof = time.AfterFunc(turns.ProvenAfter, recovery.Proven)
			s.state(pubsub.StateChange{State: pubsub.Resumed, Downtime: time.Since(broke)})
			s.report(s.seq.resubscribed())
			s.hold()
			s.resume()
			return nil
		}
		outages.failed(err)
		switch {
		case asked && oversize(err):
			s.seq.broken(err)
			s.hold()
		case asked && s.pass(at, failure{err: err, hint: aboutPlace(err) || undecodable(err)}):
		case s.final(err):
			return err
		}
		if !s.seq.uncertain() {
			s.report(s.seq.quiet())
		}
	}
}

// final reports whether err, which broke a session or is why there is none, ends
// the stream. Expired credentials do not, if there is somebody to ask for fresh
// ones, and refusals do not for as long as [WithRefusalPatience] says.
func (s *stream) final(err error) bool {
	if !permanent(err) || errors.Is(err, pubsub.ErrClosed) {
		return permanent(err)
	}
	if errors.Is(err, pubsub.ErrUnauthenticated) && s.session != nil && s.refusals < maxRefusals {
		s.refusals++
		if s.b.clients.failed(s.session.client, err) {
			return false
		}
	}
	if s.refused.IsZero() {
		s.refused = time.Now()
	}
	return time.Since(s.refused) >= s.b.options.refusalPatience
}

// bytesOf returns the bytes of s without copying them: nobody modifies the
// bytes of a Payload.
func bytesOf(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }

// stringOf returns b as a string without copying it, likewise.
func stringOf(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

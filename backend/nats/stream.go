package nats

import (
	"context"
	"slices"
	"time"

	"github.com/cenkalti/backoff/v4"
	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/internal/turns"
)

const (
	// healthyAfter is how long a session must last for the stream's back-off to
	// start over.
	healthyAfter = time.Second
	// maxOrphans is how many consumers the server is told to forget. It forgets
	// the others by itself.
	maxOrphans = 50
)

// stream is a subscription that outlives its consumers. All of it belongs to
// the goroutine that calls Receive, but for hold.
type stream struct {
	b       *Backend
	n       names
	ctx     context.Context
	cancel  context.CancelCauseFunc
	detach  func() bool // from the Backend's end
	backOff backoff.BackOff
	start   pubsub.Position
	seq     sequencer
	at      uint64                  // the number up to which all was delivered or reported lost
	holes   []*pubsub.Discontinuity // found by an opening, not reported yet
	session *session
	orphans []string // consumers that the server may still have
	tried   *line    // the last connection on which an attempt was made
	// failures are the attempts that failed on a connection, and the short
	// sessions, since the stream was up for a while.
	failures int
	hold     *hold
	deliver  func(context.Context, pubsub.Frame) error
}

// subscribe makes a stream and opens its first session.
func (b *Backend) subscribe(ctx context.Context, n names, from pubsub.Start) (*stream, error) {
	s := &stream{b: b, n: n, backOff: b.options.backOff()}
	if s.backOff == nil {
		return nil, invalid("the function given to WithBackoff returned nil")
	}
	s.backOff.Reset()
	b.recovery.Enter()
	s.ctx, s.cancel = context.WithCancelCause(ctx)
	s.detach = context.AfterFunc(b.ctx, func() { s.cancel(errClosed) })
	var err error
	s.session, err = s.open(pubsub.Position{}, func(ctx context.Context, server jetstream.Stream) (uint64, error) {
		return s.begin(ctx, server, from)
	})
	if err != nil {
		s.release()
		return nil, s.ended(err)
	}
	b.readers.add(s)
	return s, nil
}

// open makes an attempt to open a session. A consumer of an attempt that broke
// may be there nevertheless, and so may that of a session whose connection
// broke. An attempt without a connection asks for none.
func (s *stream) open(behind pubsub.Position, choose chooser) (*session, error) {
	name := func() string {
		name := nuid.Next()
		s.orphans = append(s.orphans[max(0, len(s.orphans)-maxOrphans):], name)
		return name
	}
	return s.b.open(s.ctx, s.n, name, behind, choose)
}

// begin sets where the stream begins.
func (s *stream) begin(ctx context.Context, server jetstream.Stream, from pubsub.Start) (next uint64, err error) {
	info := server.CachedInfo()
	if from.Last > 0 && info.State.NumDeleted > 0 {
		if info, err = server.Info(ctx, jetstream.WithDeletedDetails(true)); err != nil {
			return 0, err
		}
	}
	st := standingOf(info)
	at := pubsub.Position{Page: st.page, Sequence: st.last}
	switch {
	case !from.After.IsZero():
		at = from.After
	case from.Oldest:
		at.Sequence = st.first - 1
	case from.Last > 0:
		at.Sequence = st.beforeNewest(from.Last, info.State.Deleted)
	}
	s.start, s.at, s.seq, s.holes = at, at.Sequence, sequencer{at: at}, nil
	s.hold = newHold(at.Sequence, st.last)
	s.join(st)
	s.seq.rejoined = !from.After.IsZero()
	return s.seq.next(), nil
}

// join takes note of where the server's stream stands.
func (s *stream) join(st standing) {
	if d := s.seq.join(st); d != nil {
		s.holes = append(s.holes, d)
		if d.Cause == pubsub.CauseReset && !s.seq.doubted {
			s.at = s.seq.at.Sequence
			s.hold.reset(s.at, st.last)
		}
	}
	s.hold.learn(st.last)
}

// release lets go of what holds the stream.
func (s *stream) release() {
	s.b.recovery.Leave()
	s.detach()
	s.cancel(nil)
}

// ended returns why the stream ended: err, unless the Backend was closed.
func (s *stream) ended(err error) error {
	if context.Cause(s.ctx) == errClosed {
		return errClosed
	}
	return err
}

// Start implements [pubsub.Stream].
func (s *stream) Start() pubsub.Position { return s.start }

// Receive implements [pubsub.Stream]. deliver is called from this goroutine,
// with the stream's ctx.
func (s *stream) Receive(deliver func(context.Context, pubsub.Frame) error) error {
	defer s.release()
	defer s.b.readers.remove(s)
	defer s.hold.end()
	if err := s.b.link.enter(); err != nil {
		s.session.end()
		return err
	}
	defer s.b.link.leave()
	s.deliver = deliver
	for {
		err := s.read()
		up := time.Since(s.session.began)
		s.session.end()
		if s.ctx.Err() == nil {
			if err = s.reconnect(err, up); err == nil {
				continue
			}
		}
		if s.ctx.Err() != nil {
			return s.ended(nil)
		}
		return err
	}
}

// read delivers what the session brings until it breaks, and returns why.
func (s *stream) read() error {
	var ahead *item // the next one, looked at already
	for s.ctx.Err() == nil {
		s.report(s.holes...)
		s.holes = nil
		broken := s.session.ask()
		it := ahead
		ahead = nil
		if it == nil {
			m, err := s.session.next(broken)
			if err != nil {
				return translate(s.ctx, s.session.ctx, shown(s.b.link.foreign, err))
			}
			if it, err = s.item(m); err != nil {
				return err
			}
		}
		var (
			d *pubsub.Discontinuity
			v verdict
		)
		switch it.kind {
		case expired:
			s.session.settle(it.returned)
			s.session.oversize = s.session.oversize || it.oversize
		case heartbeat:
			if d, v = s.seq.idle(it.stream, it.consumer); v == reopen {
				return errGap
			}
			s.report(d)
			s.emit(pubsub.Frame{Kind: pubsub.KindHeartbeat}, s.at)
		case message:
			s.session.settle(1)
			if d, v = s.seq.message(it.stream, it.consumer); v == reopen {
				return errGap
			}
			if v == drop {
				continue
			}
			if it.stream <= s.at { // the numbers began anew
				s.hold.reset(it.stream-1, it.stream)
			}
			s.report(d)
			var err error
			if ahead, err = s.ahead(); err != nil {
				s.message(it, false)
				return err
			}
			s.message(it, ahead != nil && ahead.kind == message && s.seq.follows(ahead.stream, ahead.consumer))
		}
	}
	return s.ctx.Err()
}

// ahead looks at what comes next, if it is here.
func (s *stream) ahead() (*item, error) {
	m := s.session.take()
	if m == nil {
		return nil, nil
	}
	return s.item(m)
}

// item tells what m is. An error means that the session is over.
func (s *stream) item(m *natsgo.Msg) (*item, error) {
	it, err := read(m)
	return it, shown(s.b.link.foreign, err)
}

// message delivers a message. more tells that the next one is here.
func (s *stream) message(it *item, more bool) {
	p := pubsub.Position{Page: s.seq.at.Page, Sequence: it.stream}
	s.hold.learn(plus(it.stream, it.behind))
	s.emit(pubsub.Frame{Kind: pubsub.KindMessage, More: more, Payload: payload(it.msg), Position: p}, it.stream)
}

// report delivers discontinuities, of which some may be nil.
func (s *stream) report(list ...*pubsub.Discontinuity) {
	for _, d := range list {
		if d == nil {
			continue
		}
		at := s.seq.at.Sequence
		if !d.Resume.IsZero() {
			at = d.Resume.Sequence - 1
		}
		s.emit(pubsub.Frame{Kind: pubsub.KindDiscontinuity, Discontinuity: d}, at)
	}
}

func (s *stream) state(c pubsub.StateChange) {
	s.emit(pubsub.Frame{Kind: pubsub.KindState, State: &c}, s.at)
}

// emit delivers f, by which the stream comes to at. If deliver fails then it has
// marked the place itself.
func (s *stream) emit(f pubsub.Frame, at uint64) {
	s.hold.take()
	_ = s.deliver(s.ctx, f)
	s.at = at
	s.hold.give(at)
}

// reconnect opens a new session after one that was up for a while broke
// because of err. It returns nil when there is one, and otherwise why there
// will be none.
func (s *stream) reconnect(err error, up time.Duration) error {
	broke, broken := time.Now(), s.session.line
	s.tried = broken
	if up >= healthyAfter {
		s.backOff.Reset()
		s.failures = 0
		s.orphans = s.orphans[len(s.orphans)-1:] // but for the one that broke
	} else {
		s.failures++
	}
	s.hold.broken(true)
	for attempt := 1; !permanent(err); attempt++ {
		back := s.b.link.returned() // before looking whether there is a connection
		s.state(pubsub.StateChange{State: pubsub.Reconnecting, Err: err, Attempt: attempt, Downtime: time.Since(broke)})
		if !s.wait(back) {
			return err
		}
		if refused := s.b.link.fate(broken.conn); refused != nil {
			return refused
		}
		s.tried = s.b.line()
		orphans := slices.Clone(s.orphans)
		var session *session
		session, err = s.open(s.seq.at, func(_ context.Context, server jetstream.Stream) (uint64, error) {
			s.join(standingOf(server.CachedInfo()))
			return s.seq.next(), nil
		})
		if err == nil {
			s.session = session
			// The orphans are forgotten when the others are back too, and again
			// until a session lasts: this connection may break as well.
			proof := time.AfterFunc(turns.ProvenAfter, func() {
				s.b.recovery.Proven()
				session.forgetOthers(orphans)
			})
			session.release = append(session.release, func() {
				if proof.Stop() {
					session.forgetOthers(orphans)
				}
			})
			s.hold.broken(false)
			s.state(pubsub.StateChange{State: pubsub.Resumed, Downtime: time.Since(broke)})
			return nil
		}
		if s.tried != nil {
			s.failures++
		}
		s.report(s.holes...)
		s.holes = nil
	}
	return err
}

// wait waits until an attempt is to be made. It reports false if none is.
//
// While there is no connection attempts cost the server nothing: each stream
// waits as long as its back-off says. On a new connection all make their first
// attempt at once, as far as the budget goes, and the later ones in turn.
func (s *stream) wait(back <-chan struct{}) bool {
	now := s.b.line()
	if now == nil || now != s.tried {
		d := s.backOff.NextBackOff()
		if d == backoff.Stop {
			return false
		}
		if now == nil {
			turns.Sleep(s.ctx, max(d, turns.MinWait), back)
			if now = s.b.line(); now == nil {
				return s.ctx.Err() == nil
			}
		}
		return s.b.recovery.Spend(s.ctx, now.ctx.Done())
	}
	if s.failures == 0 && !s.b.recovery.Spend(s.ctx, now.ctx.Done()) {
		return false
	}
	return s.b.recovery.Wait(s.ctx, now.ctx.Done(), s.backOff, s.failures, false)
}

// line returns the present connection, nil if there is none.
func (b *Backend) line() *line {
	b.link.mu.Lock()
	defer b.link.mu.Unlock()
	return b.link.line
}

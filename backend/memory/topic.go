package memory

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/topicbus/pubsub"
)

// topic is one topic: its numbers, its streams, and the publishers' turn.
//
// What the usual publish needs stands first, on one cache line: with many
// topics, the lines that a message touches are most of its cost.
type topic struct {
	word atomic.Uint64 // see held

	// Written with mu held, by who has the turn or by an op. A publisher reads
	// page and earlier before it has the turn, see publish.
	page    atomic.Uint64
	earlier atomic.Uint64     // how many messages the earlier pages had
	live    []deliver         // of the streams, if all are live; read in turn only
	run     run               // of the stream, if it is the only one and live, and takes runs
	one     [1]pubsub.Payload // what run is given of a single publish
	single  [1]deliver        // what live stands in, if there is one

	name   string
	engine *engine
	turn

	mu      sync.Mutex
	streams []*stream // in any order; read without mu by who has got them from accept
	log     history
	paused  error           // not nil: streams get nothing, and Subscribe that error
	seen    pubsub.Position // then: the newest message that the streams have seen
	ended   pubsub.Position // the last one of the page before
	closed  bool
	gone    bool // forgotten by the engine

	listed bool // in engine.idle; guarded by engine.mu

	suppressed uint64 // duplicates, for Stats, as is
	uncounted  uint64 // what was lost besides what word counts
}

func newTopic(e *engine, name string, page uint64) *topic {
	t := &topic{name: name, engine: e, log: history{limits: e.history}}
	t.page.Store(page)
	t.word.Store(slow)
	return t
}

// publish accepts p and delivers it to every stream. h, or nil, is whose topic
// t was.
//
// If nothing stands in the way that is: count, deliver, give the turn back.
//
// The frame is made before the turn is taken, which fails if it would be wrong
// by then: the word never returns to an earlier value, since it only counts up,
// and who changes page or earlier sets slow, which is cleared only with a
// message counted. Passing the frame on right behind the stores that make it
// waits for them, which the compare-and-swap does anyway. Measured: 5 ns.
func (t *topic) publish(ctx context.Context, p pubsub.Payload, h *handle) error {
	w := t.word.Load()
	at := t.at(w + one)
	if w&flags != 0 || !t.word.CompareAndSwap(w, w+(one|held)) {
		return t.publishSlow(ctx, p, h)
	}
	w += one
	n, refused := 1, refusals{}
	if t.run != nil {
		t.one[0] = p
		if _, err := t.run(ctx, at, t.one[:]); err != nil {
			refused.add(err)
		}
		t.one[0].Data = nil
	} else {
		n, refused = t.deliverAll(ctx, pubsub.Frame{Kind: pubsub.KindMessage, Payload: p, Position: at})
	}
	if !t.word.CompareAndSwap(w|held, w) {
		t.leave()
	} else if refused.n == 0 {
		return nil
	}
	return t.outcome(ctx, at, n, refused)
}

// deliverAll delivers a message to all streams, and returns how many there are
// and who refused it.
func (t *topic) deliverAll(ctx context.Context, f pubsub.Frame) (streams int, refused refusals) {
	for _, deliver := range t.live {
		if err := deliver(ctx, f); err != nil {
			refused.add(err)
		}
	}
	return len(t.live), refused
}

func (t *topic) publishSlow(ctx context.Context, p pubsub.Payload, h *handle) error {
	_, err := t.publishAllSlow(ctx, []pubsub.Payload{p}, h)
	return err
}

// publishAll is publish of many messages in one turn. It returns how many were
// accepted before the one that the error is about.
//
// Where ctx cannot end all of them are counted at once. Otherwise each is
// counted when its time comes, since those behind one that a stream does not
// take in time are not accepted.
func (t *topic) publishAll(ctx context.Context, ps []pubsub.Payload, h *handle) (int, error) {
	w := t.word.Load()
	f := pubsub.Frame{Kind: pubsub.KindMessage, Position: t.at(w + one)}
	counted := 1
	if endless(ctx) {
		counted = len(ps)
	}
	if w&flags != 0 || !t.word.CompareAndSwap(w, w+(uint64(counted)<<seqShift|held)) {
		return t.publishAllSlow(ctx, ps, h)
	}
	w += uint64(counted)<<seqShift | held
	if rest := uint64(len(ps)-counted) << seqShift; t.run != nil && (rest == 0 || t.word.CompareAndSwap(w, w+rest)) {
		return t.publishRun(ctx, f.Position, ps, w+rest)
	}
	live := t.live
	for i := range ps {
		if i == counted {
			if !t.word.CompareAndSwap(w, w+one) { // a stream or a fault has come
				return t.publishInTurn(ctx, ps, i, h)
			}
			w += one
			counted++
		}
		f.Payload = ps[i]
		var refused refusals
		for _, deliver := range live {
			if err := deliver(ctx, f); err != nil {
				refused.add(err)
			}
		}
		if refused.n > 0 && ctx.Err() != nil {
			t.leave()
			return i, t.outcome(ctx, f.Position, len(live), refused)
		}
		f.Position.Sequence++
	}
	if t.word.CompareAndSwap(w, w&^held) {
		return len(ps), nil
	}
	t.leave()
	f.Position.Sequence--
	return t.total(len(ps), t.outcome(ctx, f.Position, len(live), refusals{}))
}

// publishRun delivers messages to the only stream. All are counted, and the word
// is w. The numbers of those behind one that is not taken in time are taken back,
// unless somebody has come who believes in them.
func (t *topic) publishRun(ctx context.Context, at pubsub.Position, ps []pubsub.Payload, w uint64) (int, error) {
	var refused refusals
	for taken := 0; taken < len(ps); {
		n, err := t.run(ctx, behind(at, uint64(taken)), ps[taken:])
		taken += n
		if err == nil {
			continue
		}
		rest := uint64(len(ps)-taken-1) << seqShift
		if ctx.Err() != nil && (rest == 0 || t.word.CompareAndSwap(w, w-rest)) {
			t.leave()
			return taken, t.outcome(ctx, behind(at, uint64(taken)), 1, refusals{1, err})
		}
		taken++ // its place is marked
		refused.add(err)
	}
	if !t.word.CompareAndSwap(w, w&^held) {
		t.leave()
	} else if refused.n == 0 {
		return len(ps), nil
	}
	return t.total(len(ps), t.outcome(ctx, behind(at, uint64(len(ps)-1)), 1, refused))
}

// endless reports whether ctx is known never to end. To ask for its Done would
// make a channel, which may be in a synctest bubble that ctx is not of.
func endless(ctx context.Context) bool {
	return ctx == context.Background() || ctx == context.TODO()
}

// total is what publishAll returns if n messages were accepted, and err is
// about the last of them.
func (t *topic) total(n int, err error) (int, error) {
	if err != nil {
		return n - 1, err
	}
	return n, nil
}

// publishAllSlow is publishAll for what is not everyday.
func (t *topic) publishAllSlow(ctx context.Context, ps []pubsub.Payload, h *handle) (int, error) {
	if hook := t.engine.publishing.Load(); hook != nil {
		late, err := (*hook)(ctx, t.name)
		if err != nil {
			return 0, err
		}
		if late != nil {
			if _, err := t.enterAndPublish(ctx, ps[:1], h); err != nil {
				late = err
			}
			return 0, late
		}
	}
	return t.enterAndPublish(ctx, ps, h)
}

func (t *topic) enterAndPublish(ctx context.Context, ps []pubsub.Payload, h *handle) (int, error) {
	if err := t.enter(ctx); err != nil {
		return 0, notAccepted(fmt.Errorf("memory: message not accepted, topic %.100q was busy: %w", t.name, err))
	}
	return t.publishInTurn(ctx, ps, 0, h)
}

// publishInTurn publishes the payloads from ps[i] on, those before it being
// published, for who has the turn, and gives it back. It locks mu to count.
func (t *topic) publishInTurn(ctx context.Context, ps []pubsub.Payload, i int, h *handle) (int, error) {
	var at pubsub.Position
	n := 0
	for i < len(ps) {
		counted := 1
		if endless(ctx) {
			counted = len(ps) - i
		}
		first, streams, ready, err := t.accept(ps[i : i+counted])
		if err != nil {
			t.leave()
			if err != errForgotten {
				return i, notAccepted(err)
			}
			again, err := t.renew(h)
			if again == nil {
				if err == nil {
					i = len(ps)
				}
				return i, err
			}
			n, err := again.enterAndPublish(ctx, ps[i:], h)
			return i + n, err
		}
		at, n = first, len(streams)
		for end := i + counted; i < end; i++ {
			f := pubsub.Frame{Kind: pubsub.KindMessage, More: i < len(ps)-1 && n == 1, Payload: ps[i], Position: at}
			var refused refusals
			for _, s := range streams {
				var err error
				if ready {
					err = s.deliver(ctx, f)
				} else {
					err = s.take(ctx, f)
				}
				if err != nil {
					refused.add(err)
				}
			}
			if refused.n > 0 && ctx.Err() != nil {
				t.leave()
				return i, t.outcome(ctx, at, n, refused)
			}
			at.Sequence++
		}
	}
	t.leave()
	at.Sequence--
	return t.total(len(ps), t.outcome(ctx, at, n, refusals{}))
}

// accept numbers the payloads. It returns the position of the first, the
// streams that are to get them, and whether all of those are live. The caller
// has the turn.
func (t *topic) accept(ps []pubsub.Payload) (first pubsub.Position, streams []*stream, ready bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.runOps() // that came during a batch
	switch {
	case t.closed:
		return first, nil, false, errClosed
	case t.gone:
		return first, nil, false, errForgotten
	}
	first = behind(t.head(), 1)
	t.word.Add(uint64(len(ps)) << seqShift)
	at := first
	for _, p := range ps {
		t.log.add(at, p)
		at.Sequence++
	}
	if t.paused != nil {
		return first, nil, false, nil
	}
	ready = t.allLive()
	if ready && t.log.limits.messages == 0 && t.word.Load()&slow != 0 && t.engine.publishing.Load() == nil {
		// From here on publishers may take the short way. Who came here only
		// because others were publishing finds that arranged.
		t.quicken()
		t.word.And(^slow)
	}
	return first, t.streams, ready, nil
}

func (t *topic) allLive() bool {
	for _, s := range t.streams {
		if s.state != live {
			return false
		}
	}
	return true
}

// head is the position of the newest message. mu is held.
func (t *topic) head() pubsub.Position { return t.at(t.word.Load()) }

// at is the position of the newest message when the word is w.
func (t *topic) at(w uint64) pubsub.Position {
	return pubsub.Position{Page: t.page.Load(), Sequence: w>>seqShift - t.earlier.Load()}
}

// quicken has publishers deliver to the streams without asking for their
// state. It is for who has the turn, as is its opposite.
func (t *topic) quicken() {
	t.still()
	for _, s := range t.streams {
		t.live = append(t.live, s.deliver)
	}
	if len(t.streams) == 1 {
		t.run = t.streams[0].run
	}
}

// still keeps nothing of the streams alive.
func (t *topic) still() {
	clear(t.live)
	t.live, t.run = t.single[:0], nil
}

// refusals are how many streams did not take a message, and why one of them did
// not.
type refusals struct {
	n   int
	why error
}

func (r *refusals) add(err error) { r.n, r.why = r.n+1, err }

// outcome is the error of a publish whose message at was accepted, and refused
// by some of n streams. That concerns the publisher only if its ctx ended;
// otherwise the stream did. If the engine was closed meanwhile, the streams may
// have ended before they took the message.
func (t *topic) outcome(ctx context.Context, at pubsub.Position, n int, refused refusals) error {
	switch {
	case t.engine.closed.Load():
		return accepted(fmt.Errorf("memory: message %v of topic %.100q accepted, but perhaps not delivered: meanwhile the backend was closed: %w",
			at, t.name, pubsub.ErrClosed))
	case refused.n > 0 && ctx.Err() != nil:
		why := refused.why
		if !errors.Is(why, ctx.Err()) {
			why = cause(ctx)
		}
		return accepted(fmt.Errorf("memory: message %v of topic %.100q accepted, but %d of %d streams did not take it in time: %w",
			at, t.name, refused.n, n, why))
	default:
		return nil
	}
}

// subscribe adds a stream that begins where from says. It does not wait for the
// turn: in every publish, numbering the message and choosing its streams are
// one step under mu, or one compare-and-swap that fails once slow is set.
func (t *topic) subscribe(ctx context.Context, from pubsub.Start) (*stream, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.closed:
		return nil, errClosed
	case t.gone:
		return nil, errForgotten
	case t.paused != nil:
		return nil, t.paused
	}
	t.word.Or(slow)
	s := &stream{topic: t, ctx: ctx}
	s.start = t.begin(from)
	if s.start != t.head() {
		s.push(t.replay(s.start)...)
	}
	s.index = len(t.streams)
	t.streams = append(t.streams, s)
	t.engine.open.Add(1)
	return s, nil
}

// remove takes s out of the streams, at a cost that does not depend on how many
// there are unless somebody has the turn. mu is held.
func (t *topic) remove(s *stream) {
	if s.index < 0 {
		return
	}
	if t.word.Load()&held != 0 {
		t.streams = slices.Clone(t.streams) // he may be going through them
	}
	last := len(t.streams) - 1
	t.streams[last].index = s.index
	t.streams[s.index] = t.streams[last]
	t.streams[last] = nil
	t.streams = t.streams[:last]
	s.index = -1
	t.engine.open.Add(-1)
	t.doLocked(t.still)
}

// endAll ends all streams with err. mu is held.
func (t *topic) endAll(err error) {
	for _, s := range t.streams {
		s.end(err)
		s.index = -1
	}
	t.engine.open.Add(-int64(len(t.streams)))
	t.streams = nil
}

func (t *topic) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	t.endAll(errClosed)
	t.ops = nil
	t.dismiss()
	t.doLocked(t.still)
}

// forget makes a topic unusable, history and all, and returns its page. It
// fails if the topic is in use.
func (t *topic) forget() (page uint64, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.streams) > 0 || t.paused != nil {
		return 0, false
	}
	t.gone = true
	t.word.Or(slow)
	return t.page.Load(), true
}

// forgotten reports whether the engine has forgotten t. engine.mu is held, so
// that it stays true or false.
func (t *topic) forgotten() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.gone
}

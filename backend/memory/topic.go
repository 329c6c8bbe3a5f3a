package memory

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/topicbus/pubsub"
)

// topic is one topic: its numbers, its streams, and the publishers' turn.
//
// What the usual publish needs stands first, and together: with many topics,
// the cache lines that a message touches are most of its cost.
type topic struct {
	word atomic.Uint64 // see held
	name string

	// Written with mu held, by who has the turn or by an op. A publisher reads
	// page and earlier before it has the turn, see publish.
	page    atomic.Uint64
	earlier atomic.Uint64 // how many messages the earlier pages had
	live    []deliver     // of the streams, if all are live; read in turn only
	single  [1]deliver    // what live stands in, if there is one

	void    bool // stands for a topic that nobody listens to; only name is set
	backend *Backend
	turn

	mu         sync.Mutex
	streams    []*stream // copied on change
	log        history
	down       *outage
	ended      pubsub.Position // the last one of the page before
	suppressed uint64          // duplicates
	closed     bool
	gone       bool // forgotten by the backend

	listed bool // in Backend.idle; guarded by Backend.mu
}

func newTopic(b *Backend, name string, page uint64) *topic {
	t := &topic{name: name, backend: b, log: history{limit: b.history}}
	t.page.Store(page)
	t.word.Store(slow)
	return t
}

// publish accepts p and delivers it to every stream.
//
// If nothing stands in the way that is: count, deliver, give the turn back.
//
// The frame is made before the turn is taken, which fails if it would be wrong
// by then: the word never returns to an earlier value, since it only counts up,
// and who changes page or earlier sets slow, which is cleared only with a
// message counted. Passing the frame on right behind the stores that make it
// waits for them, which the compare-and-swap does anyway. Measured: 5 ns.
func (t *topic) publish(ctx context.Context, p pubsub.Payload) error {
	w := t.word.Load()
	f := pubsub.Frame{Kind: pubsub.KindMessage, Payload: p, Position: t.at(w + one)}
	if w&flags != 0 || !t.word.CompareAndSwap(w, w+(one|held)) {
		return t.publishSlow(ctx, p)
	}
	w += one
	refused := 0
	for _, deliver := range t.live {
		if deliver(ctx, f) != nil {
			refused++
		}
	}
	n := len(t.live)
	if !t.word.CompareAndSwap(w|held, w) {
		t.leave()
	} else if refused == 0 {
		return nil
	}
	return t.outcome(ctx, f.Position, n, refused)
}

// publishSlow is publish with mu held while it counts.
func (t *topic) publishSlow(ctx context.Context, p pubsub.Payload) error {
	if t.void {
		return nil
	}
	if err := t.enter(ctx); err != nil {
		return fmt.Errorf("memory: message not accepted, topic %q was busy: %w", t.name, err)
	}
	f, streams, ready, err := t.accept(p)
	if err != nil {
		t.leave()
		if err == errForgotten {
			return t.backend.publish(ctx, t.name, p)
		}
		return err
	}
	refused := 0
	for _, s := range streams {
		var err error
		if ready {
			err = s.deliver(ctx, f)
		} else {
			err = s.take(ctx, f)
		}
		if err != nil {
			refused++
		}
	}
	t.leave()
	return t.outcome(ctx, f.Position, len(streams), refused)
}

// accept numbers p and returns the streams that are to get it, and whether
// all of them are live.
func (t *topic) accept(p pubsub.Payload) (f pubsub.Frame, streams []*stream, ready bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.closed:
		return f, nil, false, errClosed
	case t.gone:
		return f, nil, false, errForgotten
	}
	t.word.Add(one)
	f = pubsub.Frame{Kind: pubsub.KindMessage, Payload: p, Position: t.head()}
	t.log.add(f.Position, p)
	if t.down != nil {
		return f, nil, false, nil
	}
	ready = t.allLive()
	if ready && t.log.limit == 0 && t.word.Load()&slow != 0 {
		// From here on publishers may take the short way. Who came here only
		// because others were publishing finds that arranged.
		t.quicken()
		t.word.And(^slow)
	}
	return f, t.streams, ready, nil
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
}

// still keeps nothing of the streams alive.
func (t *topic) still() {
	clear(t.live)
	t.live = t.single[:0]
}

// outcome is the error of a publish whose message at was accepted, and refused
// by some of n streams. That concerns the publisher only if its ctx ended;
// otherwise the stream did. If the backend was closed meanwhile, the streams may
// have ended before they took the message.
func (t *topic) outcome(ctx context.Context, at pubsub.Position, n, refused int) error {
	switch {
	case t.backend.isClosed():
		return fmt.Errorf("memory: message %v of topic %q accepted, but perhaps not delivered: meanwhile the backend was closed: %w",
			at, t.name, pubsub.ErrClosed)
	case refused > 0 && ctx.Err() != nil:
		return fmt.Errorf("memory: message %v of topic %q accepted, but %d of %d streams did not take it in time: %w",
			at, t.name, refused, n, cause(ctx))
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
	case t.down != nil:
		return nil, t.down.refusal()
	}
	t.word.Or(slow)
	s := &stream{topic: t, ctx: ctx, wake: make(chan struct{}, 1), begun: make(chan struct{})}
	s.start = t.begin(from)
	if s.start != t.head() {
		s.queue = t.replay(s.start)
	}
	t.streams = append(slices.Clip(t.streams), s)
	t.backend.open.Add(1)
	return s, nil
}

// remove takes s out of the streams. mu is held.
func (t *topic) remove(s *stream) {
	i := slices.Index(t.streams, s)
	if i < 0 {
		return
	}
	t.streams = slices.Delete(slices.Clone(t.streams), i, i+1)
	t.backend.open.Add(-1)
	t.doLocked(t.still)
}

// endAll ends all streams with err. mu is held.
func (t *topic) endAll(err error) {
	for _, s := range t.streams {
		s.end(err)
	}
	t.backend.open.Add(-int64(len(t.streams)))
	t.streams = nil
}

func (t *topic) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	t.endAll(errClosed)
	t.ops = nil
	t.doLocked(t.still)
}

// forget makes a topic that is not in use unusable and returns its page.
func (t *topic) forget() (page uint64, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.streams) > 0 || t.down != nil || t.log.limit > 0 {
		return 0, false
	}
	t.gone = true
	t.word.Or(slow)
	return t.page.Load(), true
}

package memory

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/topicbus/pubsub"
)

// faults are what a test has the engine suffer. They reach it by its hooks and
// its ops; the engine does not know them.
type faults struct {
	engine *engine

	mu         sync.Mutex // taken after engine.mu and a topic's mu
	closed     bool
	publishes  selection[failures]
	late       selection[failures]
	delays     selection[time.Duration]
	subscribes failures
	delayed    map[chan struct{}]struct{} // closed by close
	outage     error                      // of topics that are seen for the first time, nil if none
	outages    map[*topic]*outage
}

func (f *faults) attach(e *engine) {
	f.engine = e
	f.outages = make(map[*topic]*outage)
	f.delayed = make(map[chan struct{}]struct{})
	e.hooks = hooks{subscribe: f.subscribing, begin: f.begin}
}

// selection is what holds for single topics, or else for all.
type selection[V any] struct {
	all V
	of  map[string]V
}

// set sets v for the topics. Without topics it is for all, single ones
// included.
func (s *selection[V]) set(v V, topics []string) {
	if len(topics) == 0 {
		s.all, s.of = v, nil
		return
	}
	if s.of == nil {
		s.of = make(map[string]V)
	}
	for _, t := range topics {
		s.of[t] = v
	}
}

// any reports whether some v does something.
func (s *selection[V]) any(does func(v V) bool) bool {
	for _, v := range s.of {
		if does(v) {
			return true
		}
	}
	return does(s.all)
}

// failures are calls that are to fail.
type failures struct {
	n   int // negative: no end
	err error
}

// next fails a call.
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

// nextOf fails a call for topic.
func nextOf(s *selection[failures], topic string) error {
	if f, ok := s.of[topic]; ok {
		err := f.next()
		if f.n == 0 {
			delete(s.of, topic)
		} else {
			s.of[topic] = f
		}
		if err != nil {
			return err
		}
	}
	return s.all.next()
}

// FailPublishes fails the next n calls of Publish, to any topic or to each of
// the topics, with err. Their messages are not accepted. A nil err stands for
// ErrUnavailable. With a negative n all calls fail. A later call of
// FailPublishes for the same topics replaces it, so an n of 0 takes the fault
// back; one without topics is for all of them.
//
// A batch is one call, whose first message fails. [pubsub.OutcomeOf] tells
// NotAccepted, unless err says something else by [pubsub.WithOutcome].
func (b *Backend) FailPublishes(n int, err error, topics ...string) {
	b.faults.change(func(f *faults) { f.publishes.set(failures{n, err}, topics) })
}

// FailAcceptedPublishes accepts the next n messages, to any topic or to each of
// the topics, and fails their Publish with err all the same: the answer of the
// service is lost. It is otherwise like [Backend.FailPublishes].
//
// Of a batch the first message is accepted. [pubsub.OutcomeOf] tells
// OutcomeUnknown, unless err says something else by [pubsub.WithOutcome].
func (b *Backend) FailAcceptedPublishes(n int, err error, topics ...string) {
	b.faults.change(func(f *faults) { f.late.set(failures{n, err}, topics) })
}

// DelayPublishes has every Publish, to any topic or to the topics, wait for d
// before its message is accepted, or for the end of its ctx. A batch waits once.
// 0 takes the fault back; without topics it is for all of them.
func (b *Backend) DelayPublishes(d time.Duration, topics ...string) {
	b.faults.change(func(f *faults) { f.delays.set(d, topics) })
}

// FailSubscribes fails the next n calls of Subscribe, to any topic, with err. A
// nil err stands for ErrUnavailable. With a negative n all calls fail, until
// FailSubscribes is called again: an n of 0 takes the fault back.
func (b *Backend) FailSubscribes(n int, err error) {
	b.faults.mu.Lock()
	defer b.faults.mu.Unlock()
	b.faults.subscribes = failures{n, err}
}

// change changes what publishes suffer.
func (f *faults) change(set func(*faults)) {
	f.engine.mu.Lock()
	defer f.engine.mu.Unlock()
	f.mu.Lock()
	set(f)
	needed := f.needed()
	f.mu.Unlock()
	if needed {
		f.engine.hookPublishes(f.publishing)
	} else {
		f.engine.hookPublishes(nil)
	}
}

// needed reports whether publishers must ask. mu is held.
func (f *faults) needed() bool {
	fails := func(f failures) bool { return f.n != 0 }
	return f.publishes.any(fails) || f.late.any(fails) || f.delays.any(func(d time.Duration) bool { return d > 0 })
}

// publishing is the engine's publishHook.
func (f *faults) publishing(ctx context.Context, topic string) (late, err error) {
	f.mu.Lock()
	late, err = f.next(ctx, topic)
	needed := f.needed()
	f.mu.Unlock()
	if !needed {
		f.change(func(*faults) {}) // publishers may take the short way again
	}
	return late, err
}

// next is what becomes of the next publish to topic. mu is held, but not
// during a delay.
func (f *faults) next(ctx context.Context, topic string) (late, err error) {
	if f.closed {
		return nil, notAccepted(errClosed)
	}
	if err := nextOf(&f.publishes, topic); err != nil {
		var known interface{ Outcome() pubsub.Outcome }
		if !errors.As(err, &known) {
			err = notAccepted(err)
		}
		return nil, err
	}
	d, ok := f.delays.of[topic]
	if !ok {
		d = f.delays.all
	}
	if d > 0 {
		if err := f.wait(ctx, d); err != nil {
			return nil, notAccepted(err)
		}
	}
	return nextOf(&f.late, topic), nil
}

// wait waits for d. mu is held, but not meanwhile.
func (f *faults) wait(ctx context.Context, d time.Duration) error {
	closed := make(chan struct{})
	f.delayed[closed] = struct{}{}
	f.mu.Unlock()
	timer := time.NewTimer(d)
	defer timer.Stop()
	var err error
	select {
	case <-timer.C:
	case <-ctx.Done():
		err = fmt.Errorf("memory: message not accepted, publishing is delayed by %v: %w", d, cause(ctx))
	case <-closed:
		err = errClosed
	}
	f.mu.Lock()
	delete(f.delayed, closed)
	return err
}

func (f *faults) subscribing(string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return errClosed
	}
	return f.subscribes.next()
}

func (f *faults) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	for c := range f.delayed {
		close(c)
		delete(f.delayed, c)
	}
}

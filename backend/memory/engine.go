package memory

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"unicode/utf8"

	"github.com/topicbus/pubsub"
)

// engine is a backend without faults: its topics by name.
//
// The files engine, handle, topic, turn, selfwait, stream, history and pause are
// all of it. What they let the faults do is in hooks.
type engine struct {
	// What publishers read, and hardly anybody writes, stands first.

	// news grows whenever a topic comes to be, the hooks change, or the engine
	// is closed. A handle that found no topic believes that until then.
	news       atomic.Uint64
	publishing atomic.Pointer[publishHook]
	closed     atomic.Bool // set with mu held
	topics     sync.Map    // name -> *topic; written with mu held
	limits

	open atomic.Int64 // streams

	mu    sync.Mutex // taken before a topic's mu
	page  uint64     // of topics that are seen for the first time
	idle  []*topic   // oldest first
	hooks hooks
}

// limits do not change.
type limits struct {
	maxPayload int // bytes of a message
	history    historyLimits
}

// maxIdle is how many topics without streams and history keep their numbers.
const maxIdle = 1024

// hooks are asked by the engine, with no topic's mu held. Those that are nil
// are not.
type hooks struct {
	subscribe func(topic string) error
	begin     func(*topic) // of a topic that nobody else has seen yet
}

// publishHook is asked before a publish, or a batch of them. An err keeps the
// message out. With late its first message is accepted, and late returned.
type publishHook func(ctx context.Context, topic string) (late, err error)

// hookPublishes has all publishes ask h from now on, or no longer if h is nil.
func (e *engine) hookPublishes(h publishHook) {
	if h == nil {
		e.publishing.Store(nil)
		return
	}
	e.publishing.Store(&h)
	e.news.Add(1)
	for _, v := range e.topics.Range {
		t := v.(*topic)
		t.mu.Lock()
		t.word.Or(slow)
		t.mu.Unlock()
	}
}

func (e *engine) close() {
	e.mu.Lock()
	e.closed.Store(true)
	e.news.Add(1)
	e.mu.Unlock()
	for _, v := range e.topics.Range {
		v.(*topic).close()
	}
}

// publish is for those who have no handle.
func (e *engine) publish(ctx context.Context, name string, p pubsub.Payload) error {
	if len(p.Data) > e.maxPayload {
		return e.tooLarge(p)
	}
	if v, ok := e.topics.Load(name); ok {
		return v.(*topic).publish(ctx, p, nil)
	}
	t, err := e.lookup(name)
	if err != nil {
		return err
	}
	if t == nil {
		_, err := e.publishToNobody(ctx, name, 1)
		return err
	}
	return t.publish(ctx, p, nil)
}

// publishToNobody accepts n messages that have no effect, unless a hook
// objects.
func (e *engine) publishToNobody(ctx context.Context, name string, n int) (int, error) {
	if hook := e.publishing.Load(); hook != nil {
		late, err := (*hook)(ctx, name)
		if err == nil {
			err = late
		}
		if err != nil {
			return 0, err
		}
	}
	return n, nil
}

func (e *engine) tooLarge(p pubsub.Payload) error {
	return notAccepted(fmt.Errorf("memory: %w: %d bytes, the limit is %d", pubsub.ErrPayloadTooLarge, len(p.Data), e.maxPayload))
}

// lookup is for a publisher who has not found the topic. It returns nil where a
// message has no effect: nobody listens and nothing is kept.
func (e *engine) lookup(name string) (*topic, error) {
	if e.history.messages > 0 {
		t, err := e.topic(name)
		return t, notAccepted(err)
	}
	if err := checkTopic(name); err != nil {
		return nil, notAccepted(err)
	}
	if e.closed.Load() {
		return nil, notAccepted(errClosed)
	}
	return nil, nil
}

func (e *engine) find(name string) *topic {
	if v, ok := e.topics.Load(name); ok {
		return v.(*topic)
	}
	return nil
}

// topic returns the topic of that name, and makes it if needed.
func (e *engine) topic(name string) (*topic, error) {
	if t := e.find(name); t != nil {
		return t, nil
	}
	if err := checkTopic(name); err != nil {
		return nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed.Load() {
		return nil, errClosed
	}
	if t := e.find(name); t != nil {
		return t, nil
	}
	t := newTopic(e, strings.Clone(name), e.page)
	if e.hooks.begin != nil {
		e.hooks.begin(t)
	}
	e.topics.Store(t.name, t)
	e.news.Add(1)
	return t, nil
}

func (e *engine) subscribe(ctx context.Context, name string, from pubsub.Start) (pubsub.Stream, error) {
	if ctx.Err() != nil {
		return nil, fmt.Errorf("memory: not subscribed: %w", cause(ctx))
	}
	if e.hooks.subscribe != nil {
		if err := e.hooks.subscribe(name); err != nil {
			return nil, err
		}
	}
	for {
		t, err := e.topic(name)
		if err != nil {
			return nil, err
		}
		s, err := t.subscribe(ctx, from)
		if err == errForgotten {
			continue
		}
		if err != nil {
			return nil, err
		}
		return s, nil
	}
}

// retire is told of a topic that lost its last stream. The numbers of the
// last maxIdle such topics are kept.
func (e *engine) retire(t *topic) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if t.forgotten() {
		return // the news is late, and another topic may have the name by now
	}
	if t.listed { // it was idle before: now it is the last one
		e.unlist(t)
	}
	t.listed = true
	e.idle = append(e.idle, t)
	if len(e.idle) > maxIdle {
		old := e.idle[0]
		e.unlist(old)
		e.forget(old)
	}
}

// unlist takes t out of idle. mu is held.
func (e *engine) unlist(t *topic) {
	i := slices.Index(e.idle, t)
	e.idle = slices.Delete(e.idle, i, i+1)
	t.listed = false
}

// forget drops a topic, unless it is in use: then it will be retired again.
// mu is held.
func (e *engine) forget(t *topic) bool {
	page, ok := t.forget()
	if ok {
		e.page = max(e.page, page+1)
		e.topics.Delete(t.name)
	}
	return ok
}

// forgetHistory drops a topic, or at least its history if it is in use.
func (e *engine) forgetHistory(t *topic) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case t.forgotten():
	case !e.forget(t):
		t.do(t.log.clear)
	case t.listed:
		e.unlist(t)
	}
}

// each has op done to the topics, or to all, each between two publishes.
func (e *engine) each(names []string, op func(*topic)) {
	if len(names) == 0 {
		for _, v := range e.topics.Range {
			t := v.(*topic)
			t.do(func() { op(t) })
		}
		return
	}
	for _, name := range names {
		// An invalid or closed topic has no streams to do something to.
		if t, err := e.topic(name); err == nil {
			t.do(func() { op(t) })
		}
	}
}

var (
	errClosed = fmt.Errorf("memory: backend %w", pubsub.ErrClosed)
	// errForgotten tells that a topic was forgotten since it was looked up.
	errForgotten = errors.New("memory: topic forgotten")
)

// notAccepted and accepted say what became of a message whose publishing fails
// with err.
func notAccepted(err error) error { return pubsub.WithOutcome(err, pubsub.NotAccepted) }
func accepted(err error) error    { return pubsub.WithOutcome(err, pubsub.Accepted) }

func checkTopic(name string) error {
	if !utf8.ValidString(name) {
		return fmt.Errorf("memory: %w: %.100q is not valid UTF-8", pubsub.ErrInvalidTopic, name)
	}
	if strings.TrimSpace(name) == "" {
		return fmt.Errorf("memory: %w: %.100q is blank", pubsub.ErrInvalidTopic, name)
	}
	return nil
}

// cause returns why ctx ended, such that errors.Is finds ctx.Err() too.
func cause(ctx context.Context) error {
	err, why := ctx.Err(), context.Cause(ctx)
	if errors.Is(why, err) {
		return why
	}
	return fmt.Errorf("%w: %w", err, why)
}

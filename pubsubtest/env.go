package pubsubtest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/topicbus/pubsub"
)

// env is what a case works with. Its methods that may fail the test are for
// the goroutine of the case only.
type env struct {
	testing.TB
	Target
	h       Harness
	clause  string
	timeout time.Duration
	label   string // unique to the case
	topics  int    // made so far
	probes  []probed
	running sync.WaitGroup // goroutines that the case started

	mu       sync.Mutex
	breaches []string // noted by others than the goroutine of the case
}

// Errorf fails the test and names the clause.
func (e *env) Errorf(format string, args ...any) {
	e.Helper()
	e.TB.Errorf("%s\nclause: %s", fmt.Sprintf(format, args...), e.clause)
}

// Fatalf is Errorf and ends the test.
func (e *env) Fatalf(format string, args ...any) {
	e.Helper()
	e.TB.Fatalf("%s\nclause: %s", fmt.Sprintf(format, args...), e.clause)
}

// topic returns the name of a topic that nobody has used yet.
func (e *env) topic(prefix string) string {
	e.topics++
	name := fmt.Sprintf("%s-%s-%d", prefix, e.label, e.topics)
	if e.h.Topic != nil {
		name = e.h.Topic(name)
	}
	return name
}

func uniqueName() string { return "pubsubtest-" + strings.ToLower(rand.Text()[:10]) }

// deadline returns a context that ends when an event has not come in time.
func (e *env) deadline() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), e.timeout)
}

// goroutine runs f in a goroutine that the case waits for at its end. The
// channel is closed when f has returned.
func (e *env) goroutine(f func()) <-chan struct{} {
	done := make(chan struct{})
	e.running.Go(func() {
		defer close(done)
		f()
	})
	return done
}

// within runs f and reports whether it returned in time. If not it fails the
// test, unless what is empty, and f goes on.
func (e *env) within(what string, f func()) bool {
	e.Helper()
	select {
	case <-e.goroutine(f):
		return true
	case <-time.After(e.timeout):
		if what != "" {
			e.Errorf("%s has not returned after %v", what, e.timeout)
		}
		return false
	}
}

// errStuck: a call has not returned though its ctx had ended.
var errStuck = errors.New("the call has not returned, long after its ctx ended")

// try calls f with a ctx that ends in time, and goes on without it if it does
// not return then. It may be called from any goroutine.
func (e *env) try(f func(context.Context) error) error {
	ctx, cancel := e.deadline()
	defer cancel()
	result := make(chan error, 1)
	e.goroutine(func() { result <- f(ctx) })
	select {
	case err := <-result:
		return err
	case <-time.After(2 * e.timeout):
		return errStuck
	}
}

// call is try, and fails the test if f does not return.
func (e *env) call(what string, f func(context.Context) error) error {
	e.Helper()
	err := e.try(f)
	if errors.Is(err, errStuck) {
		e.Fatalf("%s: %v", what, err)
	}
	return err
}

// tryPublish publishes a message.
func (e *env) tryPublish(topic string, p pubsub.Payload) error {
	e.Helper()
	return e.call("Publish", func(ctx context.Context) error { return e.Backend.Publish(ctx, topic, p) })
}

// returned waits for a goroutine whose calls have a ctx that ends in time, and
// fails the test if it does not end.
func (e *env) returned(what string, done <-chan struct{}) {
	e.Helper()
	select {
	case <-done:
	case <-time.After(2 * e.timeout):
		e.Fatalf("%s: %v", what, errStuck)
	}
}

// note keeps a breach until the case ends. It may be called from any goroutine
// and at any time, as backends may call deliver.
func (e *env) note(breach string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !slices.Contains(e.breaches, breach) {
		e.breaches = append(e.breaches, breach)
	}
}

// report fails the test for each breach that was noted.
func (e *env) report() {
	e.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, breach := range e.breaches {
		e.Errorf("%s", breach)
	}
}

// wait waits for the case's goroutines. Those of a backend that does not let
// go of them are left behind; the case that is about this has failed then.
func (e *env) wait() {
	done := make(chan struct{})
	go func() {
		e.running.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(e.timeout):
	}
}

func closeBackend(b pubsub.Backend) error {
	if c, ok := b.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// poll waits until f holds, for what cannot be waited for otherwise, and
// reports whether it came to hold.
func (e *env) poll(f func() bool) bool {
	interval := 100 * time.Microsecond
	for end := time.Now().Add(e.timeout); !f(); interval = min(2*interval, 50*time.Millisecond) {
		if time.Now().After(end) {
			return false
		}
		time.Sleep(interval)
	}
	return true
}

// subscribable waits until Subscribe works again after an outage.
func (e *env) subscribable() {
	e.Helper()
	topic := e.topic("again")
	if !e.poll(func() bool {
		s, err := e.trySubscribe(topic, pubsub.Position{})
		if err == nil {
			s.receive().cancel()
		}
		return err == nil
	}) {
		e.Fatalf("Subscribe does not work again after the outage")
	}
}

// publish has the backend accept a message, or fails the test.
func (e *env) publish(topic string, p pubsub.Payload) {
	e.Helper()
	if err := e.tryPublish(topic, p); err != nil {
		e.Fatalf("Publish: %v", err)
	}
}

// publishAll publishes messages first to last of a publisher.
func (e *env) publishAll(topic string, publisher, first, last int) {
	e.Helper()
	for n := first; n <= last; n++ {
		e.publish(topic, id{publisher, n}.payload())
	}
}

// publishers has several publishers publish n messages each, all at once. It
// returns when all are accepted.
func (e *env) publishers(topic string, publishers, n int) {
	e.Helper()
	errs := make([]error, publishers)
	var done []<-chan struct{}
	for p := range publishers {
		done = append(done, e.goroutine(func() {
			for i := 1; i <= n && errs[p] == nil; i++ {
				errs[p] = e.try(func(ctx context.Context) error { return e.Backend.Publish(ctx, topic, id{p, i}.payload()) })
				runtime.Gosched() // others shall come in between
			}
		}))
	}
	for p := range publishers {
		<-done[p]
		if errs[p] != nil {
			e.Fatalf("Publish: %v", errs[p])
		}
	}
}

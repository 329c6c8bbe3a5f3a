package pubsubtest

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/topicbus/pubsub"
)

func holdCases() []testCase {
	return []testCase{{
		name:   "Flush/done",
		clause: "Flush has done called, once, when everything that was accepted before has been delivered.",
		needs:  []capability{flusher, numbered, history},
		run: func(e *env) {
			const n = 6
			s := e.holding(n)
			var calls, early atomic.Int32
			done := make(chan struct{})
			s.flush(func() {
				if calls.Add(1) == 1 {
					close(done)
				}
				if l := s.entries(); s.law(l, n-1, n-1) != "" {
					early.Add(1)
				}
			})
			s.receive()
			s.e.awaits(done, "done was not called, though all was delivered")
			s.awaitMessage(id{1, n})
			if early.Load() > 0 {
				e.Errorf("done was called before the stream had delivered what it held")
			}
			e.publish(s.topic, id{1, n + 1}.payload())
			s.awaitMessage(id{1, n + 1})
			if n := calls.Load(); n != 1 {
				e.Errorf("done was called %d times", n)
			}
		},
	}, {
		name:   "Flush/idle",
		clause: "Of a stream that holds nothing Flush has done called, too; of one that has ended it has not.",
		needs:  []capability{flusher},
		run: func(e *env) {
			topic := e.topic("flush")
			s := e.tap(topic)
			e.publish(topic, id{1, 1}.payload())
			s.awaitMessage(id{1, 1})
			done := make(chan struct{})
			s.flush(sync.OnceFunc(func() { close(done) }))
			e.awaits(done, "done was not called, though nothing is held")
			s.cancel()
			s.ends("its ctx ended")
			var late atomic.Bool
			s.flush(func() { late.Store(true) })
			if late.Load() {
				e.Errorf("done was called of a stream that had ended before")
			}
		},
	}, {
		name:   "Flush/between",
		clause: "done is called between two frames, never while deliver is at one; Flush does not wait for that.",
		needs:  []capability{flusher},
		run: func(e *env) {
			topic := e.topic("flush")
			s := e.subscribe(topic, pubsub.Position{})
			inside, release := make(chan struct{}), make(chan struct{})
			arrived := sync.OnceFunc(func() { close(inside) })
			s.hook = func(ctx context.Context, f pubsub.Frame) error {
				if i, err := parseID(f.Payload); err != nil || i != (id{1, 1}) {
					return nil
				}
				arrived()
				return hold(ctx, s.ctx, release)
			}
			s.receive().begin()
			ctx, cancel := e.deadline()
			defer cancel()
			published := e.goroutine(func() { _ = e.Backend.Publish(ctx, topic, id{1, 1}.payload()) })
			e.awaits(inside, "the message has not come")
			var amid atomic.Bool
			done := make(chan struct{})
			s.flush(sync.OnceFunc(func() {
				amid.Store(s.inside.Load() > 0)
				close(done)
			}))
			select {
			case <-done: // too early
			case <-time.After(10 * time.Millisecond):
			}
			close(release)
			e.awaits(done, "done was not called, though deliver has returned")
			if amid.Load() {
				e.Errorf("done was called while deliver was at a frame")
			}
			e.returned("Publish", published)
		},
	}, {
		name:   "Held/count",
		clause: "Held is how many messages were accepted for the stream and neither delivered nor reported lost so far; the one that deliver is called with still counts.",
		needs:  []capability{holder, numbered, history},
		run: func(e *env) {
			const n = 6
			s := e.holding(n)
			held := s.opened.(pubsub.Holder).Held
			if got := held(); got != n-1 {
				e.Errorf("a stream that has %d messages to replay holds %d", n-1, got)
			}
			want := uint64(n - 1)
			s.hook = func(_ context.Context, f pubsub.Frame) error {
				if f.Kind != pubsub.KindMessage {
					return nil
				}
				if got := held(); got != want {
					e.note(fmt.Sprintf("deliver is called with the first of %d messages that are left, and Held is %d", want, got))
				}
				want--
				return nil
			}
			s.receive()
			s.awaitMessage(id{1, n})
			if !e.poll(func() bool { return held() == 0 }) {
				e.Errorf("all was delivered, and Held is %d", held())
			}
		},
	}}
}

// holding opens a stream that has n-1 messages to replay, those behind the first
// of n, as far as the history goes.
func (e *env) holding(n int) *tap {
	e.Helper()
	topic := e.topic("hold")
	first := e.tap(topic)
	e.publishAll(topic, 1, 1, n)
	s := e.subscribe(topic, first.awaitMessage(id{1, n}).unique()[0].pos)
	s.hook = func(context.Context, pubsub.Frame) error {
		time.Sleep(2 * time.Millisecond) // for what comes early to come early
		return nil
	}
	return s
}

func (s *tap) flush(done func()) {
	s.e.Helper()
	s.e.within("Flush", func() { s.opened.(pubsub.Flusher).Flush(done) })
}

// awaits waits for done.
func (e *env) awaits(done <-chan struct{}, otherwise string) {
	e.Helper()
	select {
	case <-done:
	case <-time.After(e.timeout):
		e.Fatalf("%s within %v", otherwise, e.timeout)
	}
}

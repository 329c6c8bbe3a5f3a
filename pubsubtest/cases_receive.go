package pubsubtest

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/topicbus/pubsub"
)

func receiveCases() []testCase {
	return []testCase{{
		name:   "Receive/one-at-a-time",
		clause: "Receive calls deliver for each frame one at a time.",
		run: func(e *env) {
			const publishers, n = 4, 9
			topic := e.topic("serial")
			s := e.subscribe(topic, pubsub.Position{})
			s.hook = func(context.Context, pubsub.Frame) error {
				time.Sleep(200 * time.Microsecond) // time for another to come in
				return nil
			}
			s.receive().begin()
			e.publishers(topic, publishers, n)
			e.publish(topic, id{publishers, 1}.payload())
			s.awaitMessage(id{publishers, 1})
			if n := s.overlaps.Load(); n > 0 {
				e.Errorf("deliver was called %d times while another call of it was under way", n)
			}
		},
	}, {
		name:   "Receive/no-duplicates",
		clause: "A stream is free of duplicates.",
		run: func(e *env) {
			const publishers, n = 4, 51
			topic := e.topic("once")
			s := e.tap(topic)
			e.publishers(topic, publishers, n)
			e.publish(topic, id{publishers, 1}.payload())
			e.publish(topic, id{publishers, 2}.payload())
			if breach := s.awaitMessage(id{publishers, 2}).duplicates(); breach != "" {
				e.Errorf("%s", breach)
			}
		},
	}, {
		name:   "Receive/positions",
		clause: "Positions grow by one from message to message within a page, and are the same for all streams.",
		needs:  []capability{numbered},
		run: func(e *env) {
			const publishers, n = 3, 10
			topic := e.topic("positions")
			a, b := e.tap(topic), e.tap(topic)
			e.publishers(topic, publishers, n)
			last := id{publishers, 1}
			e.publish(topic, last.payload())
			la, lb := a.awaitMessage(last), b.awaitMessage(last)
			at := make(map[id]pubsub.Position)
			for _, m := range la.unique() {
				at[m.id] = m.pos
			}
			for _, m := range lb.unique() {
				if other, ok := at[m.id]; ok && other != m.pos {
					e.Errorf("message %v is at %v for one stream and at %v for another", m.id, other, m.pos)
				}
			}
			if breach := la.positions(); breach != "" {
				e.Errorf("%s", breach)
			}
		},
	}, {
		name:   "Receive/slow-deliver",
		clause: "deliver may block (back-pressure): what passes meanwhile is delivered afterwards or marked lost.",
		run: func(e *env) {
			const n = 200
			topic := e.topic("slow")
			s := e.subscribe(topic, pubsub.Position{})
			var shut atomic.Bool
			release := make(chan struct{})
			s.hook = func(ctx context.Context, f pubsub.Frame) error {
				if shut.Load() && f.Kind == pubsub.KindMessage {
					return hold(ctx, s.ctx, release)
				}
				return nil
			}
			s.receive().begin()
			shut.Store(true)
			var err error
			ctx, cancel := e.deadline()
			defer cancel()
			published := e.goroutine(func() {
				for i := 1; i <= n && err == nil; i++ {
					err = e.Backend.Publish(ctx, topic, id{1, i}.payload())
				}
			})
			select {
			case <-published: // it does not make publishers wait
			case <-time.After(20 * time.Millisecond):
			}
			shut.Store(false)
			close(release)
			e.returned("Publish", published)
			if err != nil {
				e.Fatalf("Publish: %v", err)
			}
			e.publish(topic, id{1, n + 1}.payload())
			s.awaitMessage(id{1, n + 1})
			s.awaitLaw(n + 1)
		},
	}, {
		name:   "Receive/refused",
		clause: "If deliver returns an error then it did not take the frame, and marked the place itself; the backend goes on with the next frame.",
		run: func(e *env) {
			topic := e.topic("refused")
			s := e.subscribe(topic, pubsub.Position{})
			var refused atomic.Int32
			s.hook = func(_ context.Context, f pubsub.Frame) error {
				if i, err := parseID(f.Payload); err == nil && i == (id{1, 3}) {
					refused.Add(1)
					return errors.New("refused by the test")
				}
				return nil
			}
			s.receive().begin()
			for n := 1; n <= 6; n++ {
				if err := e.tryPublish(topic, id{1, n}.payload()); err != nil && n != 3 {
					e.Errorf("Publish: %v", err)
				}
			}
			l := s.awaitMessage(id{1, 6})
			if n := refused.Load(); n != 1 {
				e.Errorf("the frame that deliver refused was delivered %d times", n)
			}
			if holes := l.count(func(n entry) bool { return n.kind == pubsub.KindDiscontinuity }); holes > 0 {
				e.Errorf("the backend marked the place of the frame that deliver refused")
			}
			for _, n := range []int{1, 2, 4, 5, 6} {
				if !l.has(id{1, n}) {
					e.Errorf("message %d is missing, deliver refused message 3 only", n)
				}
			}
		},
	}, {
		name:   "Receive/ctx-idle",
		clause: "Receive returns nil soon after the ctx of Subscribe ended.",
		run: func(e *env) {
			s := e.tap(e.topic("idle"))
			s.cancel()
			if err := s.ends("its ctx ended"); err != nil {
				e.Errorf("want nil, got: %v", err)
			}
		},
	}, {
		name:   "Receive/ctx-early",
		clause: "Receive returns nil soon after the ctx of Subscribe ended, also if that was before Receive was called.",
		run: func(e *env) {
			topic := e.topic("early")
			s := e.subscribe(topic, pubsub.Position{})
			e.publish(topic, id{1, 1}.payload())
			s.cancel()
			if err := s.receive().ends("its ctx ended"); err != nil {
				e.Errorf("want nil, got: %v", err)
			}
		},
	}, {
		name:   "Receive/ctx-blocked",
		clause: "Receive returns nil soon after the ctx of Subscribe ended, also if deliver was blocked until then.",
		run: func(e *env) {
			topic := e.topic("blocked")
			s := e.subscribe(topic, pubsub.Position{})
			blocked := make(chan struct{})
			block := sync.OnceFunc(func() { close(blocked) })
			over, letGo := context.WithCancel(context.Background())
			defer letGo()
			s.hook = func(ctx context.Context, f pubsub.Frame) error {
				if i, err := parseID(f.Payload); err != nil || i != (id{1, 1}) {
					return nil
				}
				block()
				return hold(ctx, over, nil) // where ctx is the publisher's, the stream ends first
			}
			s.receive().begin()
			ctx, cancel := context.WithTimeout(context.Background(), 2*e.timeout)
			defer cancel()
			published := e.goroutine(func() { _ = e.Backend.Publish(ctx, topic, id{1, 1}.payload()) })
			select {
			case <-blocked:
			case <-time.After(e.timeout):
				e.Fatalf("the message has not come within %v", e.timeout)
			}
			s.cancel()
			if err := s.ends("its ctx ended"); err != nil {
				e.Errorf("want nil, got: %v", err)
			}
			cancel()
			e.returned("Publish", published)
		},
	}, {
		name:   "Receive/concurrent",
		clause: "All methods may be called from many goroutines at once.",
		run: func(e *env) {
			const topics, publishers, visitors, n = 3, 2, 3, 40
			var errs [topics*publishers + topics*visitors]error
			var done []<-chan struct{}
			var stay []*tap
			var names []string
			for range topics {
				names = append(names, e.topic("busy"))
				stay = append(stay, e.tap(names[len(names)-1]))
			}
			each := func(count int, f func(topic string, k int) error) {
				for range topics * count {
					k := len(done)
					done = append(done, e.goroutine(func() { errs[k] = f(names[k%topics], k) }))
				}
			}
			each(publishers, func(topic string, k int) error {
				ctx, cancel := e.deadline()
				defer cancel()
				for i := 1; i <= n; i++ {
					if err := e.Backend.Publish(ctx, topic, id{k, i}.payload()); err != nil {
						return err
					}
				}
				return nil
			})
			each(visitors, func(topic string, _ int) error {
				for range n / 4 {
					ctx, cancel := context.WithCancel(context.Background())
					s, err := careful{e}.Subscribe(ctx, topic, pubsub.Start{})
					if err != nil {
						cancel()
						return err
					}
					received := 0
					timer := time.AfterFunc(time.Millisecond, cancel)
					err = s.Receive(func(context.Context, pubsub.Frame) error {
						if received++; received == 5 {
							cancel()
						}
						return nil
					})
					if err == nil && ctx.Err() == nil {
						err = errEarly
					}
					timer.Stop()
					cancel()
					if err != nil {
						return err
					}
				}
				return nil
			})
			for k := range done {
				select {
				case <-done[k]:
				case <-time.After(e.timeout):
					e.Fatalf("a goroutine that publishes or subscribes is stuck")
				}
				if errs[k] != nil {
					e.Errorf("publish or subscribe: %v", errs[k])
				}
			}
			for i, s := range stay {
				e.publish(names[i], id{len(done), 1}.payload())
				s.awaitLaw(publishers*n + 1)
			}
		},
	}, {
		name:   "Receive/leak",
		clause: "Nothing of a stream is left behind when its ctx has ended and Receive has returned.",
		run: func(e *env) {
			before := e.warmUp()
			e.visit(visitors)
			after := 0
			var stacks string
			if !e.poll(func() bool { after, stacks = e.goroutines(); return after-before < visitors/2 }) {
				e.Errorf("%d streams left %d goroutines behind:\n%s", visitors, after-before, stacks)
			}
		},
	}, {
		name:   "Receive/leak-streams",
		clause: "A stream is closed at the service when its ctx has ended.",
		needs:  []capability{streams},
		run: func(e *env) {
			topic := e.topic("leak")
			a, b := e.tap(topic), e.tap(topic)
			if n := e.Streams(); n != 2 {
				e.Errorf("%d streams are open at the service, want 2", n)
			}
			for _, s := range []*tap{a, b} {
				s.cancel()
				s.ends("its ctx ended")
			}
			if !e.poll(func() bool { return e.Streams() == 0 }) {
				e.Errorf("%d streams are still open at the service, want 0", e.Streams())
			}
		},
	}}
}

// visitors is how many streams tell a leak from connections that are shared
// and kept.
const visitors = 24

// visit opens n streams at once and ends them.
func (e *env) visit(n int) {
	e.Helper()
	topic := e.topic("visit")
	var list []*tap
	for range n {
		list = append(list, e.tap(topic))
	}
	for _, s := range list {
		s.cancel()
		s.ends("its ctx ended")
	}
}

// warmUp has the backend make the connections that it shares and keeps, and
// returns how many goroutines there are then.
func (e *env) warmUp() int {
	e.Helper()
	e.visit(visitors)
	// What a stream leaves to end on its own has ended when no more do.
	n, _ := e.goroutines()
	for quiet, end := 0, time.Now().Add(e.timeout); quiet < 5 && time.Now().Before(end); {
		time.Sleep(2 * time.Millisecond)
		now, _ := e.goroutines()
		if quiet++; now < n {
			quiet = 0
		}
		n = now
	}
	return n
}

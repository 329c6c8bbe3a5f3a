package pubsubtest

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/memory"
)

// deliver is what a Stream's Receive calls.
type deliver = func(context.Context, pubsub.Frame) error

// broken is a memory backend with something wrong. Nil functions are those of
// memory.
type broken struct {
	*memory.Backend
	publish   func(ctx context.Context, topic string, p pubsub.Payload) error
	subscribe func(ctx context.Context, topic string, from pubsub.Start) (pubsub.Stream, error)
	close     func() error
	topic     func(via pubsub.Backend, name string) pubsub.TopicPublisher

	mu      sync.Mutex
	outside map[string]bool // payloads that were published past the backend
}

// publishOutside is the Target's Publish.
func (b *broken) publishOutside(topic string, p pubsub.Payload) error {
	b.mu.Lock()
	if b.outside == nil {
		b.outside = make(map[string]bool)
	}
	b.outside[topic+string(p.Data)] = true
	b.mu.Unlock()
	return b.Backend.Publish(context.Background(), topic, p)
}

func (b *broken) Publish(ctx context.Context, topic string, p pubsub.Payload) error {
	if b.publish == nil {
		return b.Backend.Publish(ctx, topic, p)
	}
	return b.publish(ctx, topic, p)
}

func (b *broken) Subscribe(ctx context.Context, topic string, from pubsub.Start) (pubsub.Stream, error) {
	if b.subscribe == nil {
		return b.Backend.Subscribe(ctx, topic, from)
	}
	return b.subscribe(ctx, topic, from)
}

func (b *broken) Close() error {
	if b.close == nil {
		return b.Backend.Close()
	}
	return b.close()
}

// Topic returns a handle whose Publish is the backend's, broken or not.
func (b *broken) Topic(via pubsub.Backend, name string) pubsub.TopicPublisher {
	if b.topic != nil {
		return b.topic(via, name)
	}
	if via != pubsub.Backend(b) {
		return nil
	}
	return b.handle(name)
}

// handle is a TopicPublisher and BatchPublisher made of functions.
type handle struct {
	publish func(context.Context, pubsub.Payload) error
	batch   func(context.Context, []pubsub.Payload) (int, error)
}

func (h *handle) Publish(ctx context.Context, p pubsub.Payload) error { return h.publish(ctx, p) }
func (h *handle) PublishBatch(ctx context.Context, ps []pubsub.Payload) (int, error) {
	return h.batch(ctx, ps)
}

func (b *broken) handle(name string) *handle {
	h := &handle{publish: func(ctx context.Context, p pubsub.Payload) error { return b.Publish(ctx, name, p) }}
	if b.publish == nil {
		h.batch = b.Backend.Topic(b.Backend, name).(pubsub.BatchPublisher).PublishBatch
		return h
	}
	h.batch = func(ctx context.Context, ps []pubsub.Payload) (int, error) {
		for i, p := range ps {
			if err := h.publish(ctx, p); err != nil {
				return i, err
			}
		}
		return len(ps), nil
	}
	return h
}

// handles breaks what Topic returns.
func (b *broken) handles(breaking func(name string, h *handle)) {
	b.topic = func(via pubsub.Backend, name string) pubsub.TopicPublisher {
		if via != pubsub.Backend(b) {
			return nil
		}
		h := b.handle(name)
		breaking(name, h)
		return h
	}
}

// replaced is a Stream with other methods. Nil functions are the Stream's.
type replaced struct {
	pubsub.Stream
	receive func(deliver) error
	runs    func(deliver, run) error
	start   func() pubsub.Position
	flush   func(done func())
	held    func() uint64
}

// run is what a Stream's ReceiveRuns calls.
type run = func(context.Context, pubsub.Position, []pubsub.Payload) (int, error)

func (r replaced) Receive(d deliver) error {
	if r.receive == nil {
		return r.Stream.Receive(d)
	}
	return r.receive(d)
}

func (r replaced) ReceiveRuns(d deliver, run run) error {
	switch {
	case r.runs != nil:
		return r.runs(d, run)
	case r.receive != nil:
		return r.receive(d)
	}
	return r.Stream.(pubsub.RunStream).ReceiveRuns(d, run)
}

func (r replaced) Start() pubsub.Position {
	if r.start == nil {
		return r.Stream.Start()
	}
	return r.start()
}

func (r replaced) Flush(done func()) {
	if r.flush == nil {
		r.Stream.(pubsub.Flusher).Flush(done)
		return
	}
	r.flush(done)
}

func (r replaced) Held() uint64 {
	if r.held == nil {
		return r.Stream.(pubsub.Holder).Held()
	}
	return r.held()
}

// streams breaks the streams that Subscribe returns.
func (b *broken) streams(breaking func(topic string, from pubsub.Start, r *replaced)) {
	b.subscribe = func(ctx context.Context, topic string, from pubsub.Start) (pubsub.Stream, error) {
		s, err := b.Backend.Subscribe(ctx, topic, from)
		if err != nil {
			return nil, err
		}
		r := replaced{Stream: s}
		breaking(topic, from, &r)
		return r, nil
	}
}

// begins breaks where streams begin.
func (b *broken) begins(change func(topic string, from *pubsub.Start)) {
	b.subscribe = func(ctx context.Context, topic string, from pubsub.Start) (pubsub.Stream, error) {
		change(topic, &from)
		return b.Backend.Subscribe(ctx, topic, from)
	}
}

func streamOf(s pubsub.Stream, receive func(deliver) error) pubsub.Stream {
	return replaced{Stream: s, receive: receive}
}

// receives breaks Receive.
func (b *broken) receives(breaking func(ctx context.Context, s pubsub.Stream, d deliver) error) {
	b.subscribe = func(ctx context.Context, topic string, from pubsub.Start) (pubsub.Stream, error) {
		s, err := b.Backend.Subscribe(ctx, topic, from)
		if err != nil {
			return nil, err
		}
		return streamOf(s, func(d deliver) error { return breaking(ctx, s, d) }), nil
	}
}

// delivers breaks what a stream delivers. make is called for each stream.
func (b *broken) delivers(make func(next deliver) deliver) {
	b.receives(func(_ context.Context, s pubsub.Stream, d deliver) error { return s.Receive(make(d)) })
}

// duringBreak breaks how messages are delivered that were published while the
// stream was down.
func (b *broken) duringBreak(replace func(next deliver, ctx context.Context, f pubsub.Frame) error) {
	b.subscribe = func(ctx context.Context, topic string, from pubsub.Start) (pubsub.Stream, error) {
		s, err := b.Backend.Subscribe(ctx, topic, from)
		if err != nil {
			return nil, err
		}
		return streamOf(s, func(d deliver) error {
			return s.Receive(func(ctx context.Context, f pubsub.Frame) error {
				b.mu.Lock()
				missed := b.outside[topic+string(f.Payload.Data)]
				b.mu.Unlock()
				if missed {
					return replace(d, ctx, f)
				}
				return d(ctx, f)
			})
		}), nil
	}
}

// some tells whether a frame is one message of fifty.
func some(f pubsub.Frame) bool { return f.Kind == pubsub.KindMessage && f.Position.Sequence%50 == 0 }

// isProbe tells whether a message was published by stream.flowing.
func isProbe(f pubsub.Frame) bool {
	i, err := parseID(f.Payload)
	return err == nil && i.publisher == probe
}

// swapped delivers a frame that held finds behind the message that follows it,
// of the same publisher if it is a message itself.
func swapped(held func(pubsub.Frame) bool) func(deliver) deliver {
	return func(next deliver) deliver {
		var late *pubsub.Frame
		return func(ctx context.Context, f pubsub.Frame) error {
			if late == nil && held(f) {
				late = &f
				return nil
			}
			err := next(ctx, f)
			if late == nil || f.Kind != pubsub.KindMessage {
				return err
			}
			a, _ := parseID(late.Payload)
			b, _ := parseID(f.Payload)
			if late.Kind != pubsub.KindMessage || a.publisher == b.publisher {
				err = errors.Join(err, next(ctx, *late))
				late = nil
			}
			return err
		}
	}
}

// without drops frames.
func without(dropped func(pubsub.Frame) bool) func(deliver) deliver {
	return func(next deliver) deliver {
		return func(ctx context.Context, f pubsub.Frame) error {
			if dropped(f) {
				return nil
			}
			return next(ctx, f)
		}
	}
}

// changed changes frames.
func changed(change func(*pubsub.Frame)) func(deliver) deliver {
	return func(next deliver) deliver {
		return func(ctx context.Context, f pubsub.Frame) error {
			change(&f)
			return next(ctx, f)
		}
	}
}

// opaque has lost the identity of an error.
func opaque(err error) error {
	if err == nil {
		return nil
	}
	return errors.New(err.Error())
}

// breakage is one way to break a backend.
type breakage struct {
	name  string
	wreck func(*broken)
	// meant is the case that is there to find it, also are others that find it
	// too, because they look at the same thing through a Bus or in a mixture.
	meant string
	also  []string
	maybe []string // and perhaps these, as goroutines are scheduled
	// broad: so much goes wrong that any case may find it, but none may panic
	// or wait for ever.
	broad bool
}

// perTopic numbers the streams of each topic.
type perTopic struct {
	mu sync.Mutex
	n  map[string]int
}

func (p *perTopic) next(topic string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.n == nil {
		p.n = make(map[string]int)
	}
	p.n[topic]++
	return p.n[topic]
}

var breakages = slices.Concat(deliveryBreakages, seamBreakages)

var deliveryBreakages = []breakage{{
	name:  "reorders messages",
	wreck: func(b *broken) { b.delivers(swapped(some)) },
	meant: "Publish/order",
	also:  []string{"Publish/order-of-each", "D2/order", "Law"},
	maybe: []string{"Receive/concurrent"}, // holds the last message for ever, if it is one that it swaps
}, {
	name: "delivers duplicates",
	wreck: func(b *broken) {
		b.delivers(func(next deliver) deliver {
			return func(ctx context.Context, f pubsub.Frame) error {
				if some(f) {
					_ = next(ctx, f)
				}
				return next(ctx, f)
			}
		})
	},
	meant: "Receive/no-duplicates",
	also:  []string{"Law", "Ends/account", "Ends/drain"},
}, {
	name:  "drops messages silently",
	wreck: func(b *broken) { b.delivers(without(some)) },
	meant: "Publish/delivered-or-marked",
	also:  []string{"Receive/slow-deliver", "Receive/concurrent", "Law", "Ends/account", "Ends/drain"},
}, {
	name: "reports a hole behind the message that follows it",
	wreck: func(b *broken) {
		b.delivers(swapped(func(f pubsub.Frame) bool {
			return f.Kind == pubsub.KindDiscontinuity && f.Discontinuity.Cause == pubsub.CauseBackend
		}))
	},
	meant: "Receive/gap-place",
	also:  []string{"D5/hole-in-place", "Law"},
}, {
	name: "reuses payload memory",
	wreck: func(b *broken) {
		b.delivers(func(next deliver) deliver {
			var memory []byte
			return func(ctx context.Context, f pubsub.Frame) error {
				memory = append(memory[:0], f.Payload.Data...)
				f.Payload.Data = memory
				return next(ctx, f)
			}
		})
	},
	meant: "Payload/stable",
	also:  []string{"D7/shared-memory", "Value/as-is"},
}, {
	name: "ignores the ctx of Subscribe",
	wreck: func(b *broken) {
		b.subscribe = func(ctx context.Context, topic string, from pubsub.Start) (pubsub.Stream, error) {
			return b.Backend.Subscribe(context.WithoutCancel(ctx), topic, from)
		}
	},
	meant: "Receive/ctx-idle",
	also:  []string{"Subscribe/ctx", "Subscribe/ctx-life", "Receive/ctx-early", "Receive/ctx-blocked", "Receive/concurrent", "Receive/leak", "Receive/leak-streams", "L1/one-stream", "L3/end", "Topic/same", "Flush/idle"},
}, {
	name: "leaks a goroutine for each stream until Close",
	wreck: func(b *broken) {
		closed := make(chan struct{})
		b.receives(func(_ context.Context, s pubsub.Stream, d deliver) error {
			go func() { <-closed }()
			return s.Receive(d)
		})
		b.close = func() error {
			select {
			case <-closed:
			default:
				close(closed)
			}
			return b.Backend.Close()
		}
	},
	meant: "Receive/leak",
	also:  []string{"L3/end"},
}, {
	name: "leaks a goroutine at Close",
	wreck: func(b *broken) {
		b.close = func() error {
			go time.Sleep(time.Minute) // gone before the bubble ends
			return b.Backend.Close()
		}
	},
	meant: "Close/leak",
}, {
	name: "loses what is published right after Subscribe returned",
	wreck: func(b *broken) {
		b.subscribe = func(ctx context.Context, topic string, from pubsub.Start) (pubsub.Stream, error) {
			if !from.After.IsZero() {
				return b.Backend.Subscribe(ctx, topic, from)
			}
			probeCtx, cancel := context.WithCancel(ctx)
			s, err := b.Backend.Subscribe(probeCtx, topic, from)
			if err != nil {
				cancel()
				return nil, err
			}
			return streamOf(s, func(d deliver) error {
				time.Sleep(time.Millisecond)
				cancel()
				if ctx.Err() != nil {
					return nil
				}
				s, err := b.Backend.Subscribe(ctx, topic, from)
				if err != nil {
					return err
				}
				return s.Receive(d)
			}), nil
		}
	},
	meant: "Subscribe/join-point",
	also:  []string{"D3/join-point", "Law", "Start/place", "Start/empty", "Start/resume", "Start/last", "Start/oldest", "Receive/more", "Flush/between", "Flush/idle", "L3/end", "L3/end-of-broken", "Ends/drain"},
}, {
	name: "sends Text as Binary",
	wreck: func(b *broken) {
		b.delivers(changed(func(f *pubsub.Frame) { f.Payload.Format = pubsub.Binary }))
	},
	meant: "Payload/format",
	also:  []string{"Topic/same", "Value/as-is"},
}, {
	name: "ends strings at a NUL",
	wreck: func(b *broken) {
		b.delivers(changed(func(f *pubsub.Frame) { f.Payload.Data, _, _ = bytes.Cut(f.Payload.Data, []byte{0}) }))
	},
	meant: "Payload/bytes",
}, {
	name: "drops empty payloads",
	wreck: func(b *broken) {
		b.delivers(without(func(f pubsub.Frame) bool { return f.Kind == pubsub.KindMessage && len(f.Payload.Data) == 0 }))
	},
	meant: "Payload/empty",
	also:  []string{"Payload/format", "Value/as-is"},
}, {
	name: "refuses what is too large without the sentinel",
	wreck: func(b *broken) {
		b.publish = func(ctx context.Context, topic string, p pubsub.Payload) error {
			err := b.Backend.Publish(ctx, topic, p)
			if errors.Is(err, pubsub.ErrPayloadTooLarge) {
				return opaque(err)
			}
			return err
		}
	},
	meant: "Payload/limit",
	also:  []string{"D6/errors", "Batch/prefix"},
}, {
	name: "writes to the payload it was given",
	wreck: func(b *broken) {
		b.publish = func(ctx context.Context, topic string, p pubsub.Payload) error {
			_ = append(p.Data, '\n') // the frame's end, say
			return b.Backend.Publish(ctx, topic, p)
		}
	},
	meant: "Payload/untouched",
}, {
	name: "delivers concurrently",
	wreck: func(b *broken) {
		b.delivers(func(next deliver) deliver {
			two := make(chan struct{}, 2)
			return func(ctx context.Context, f pubsub.Frame) error {
				select {
				case two <- struct{}{}:
				case <-ctx.Done():
					return ctx.Err()
				}
				done := make(chan error, 1)
				go func() {
					done <- next(ctx, f)
					<-two
				}()
				select {
				case err := <-done:
					return err
				case <-time.After(time.Microsecond): // deliver is slow
					return nil
				}
			}
		})
	},
	meant: "Receive/one-at-a-time",
	broad: true,
}, {
	name: "delivers some messages to one of two streams only",
	wreck: func(b *broken) {
		var streams perTopic
		b.subscribe = func(ctx context.Context, topic string, from pubsub.Start) (pubsub.Stream, error) {
			s, err := b.Backend.Subscribe(ctx, topic, from)
			if err != nil || !from.After.IsZero() || streams.next(topic)%2 == 1 {
				return s, err
			}
			return streamOf(s, func(d deliver) error {
				return s.Receive(without(func(f pubsub.Frame) bool {
					return f.Kind == pubsub.KindMessage && !isProbe(f) && f.Position.Sequence%10 == 6
				})(d))
			}), nil
		}
	},
	meant: "Publish/every-stream",
	also:  []string{"D5/overflow", "Law", "Start/resume", "Start/last", "Start/oldest", "Topic/same"},
}, {
	name: "orders messages differently for different streams",
	wreck: func(b *broken) {
		var streams perTopic
		b.subscribe = func(ctx context.Context, topic string, from pubsub.Start) (pubsub.Stream, error) {
			s, err := b.Backend.Subscribe(ctx, topic, from)
			if err != nil || streams.next(topic)%2 == 1 {
				return s, err
			}
			return streamOf(s, func(d deliver) error { return s.Receive(interleaved(d)) }), nil
		}
	},
	meant: "Publish/one-order",
	also:  []string{"D2/order", "Law"},
}, {
	name: "confuses concurrent publishers",
	wreck: func(b *broken) {
		b.delivers(func(next deliver) deliver {
			seen := make(map[int]bool)
			late := make(map[int]pubsub.Frame)
			return func(ctx context.Context, f pubsub.Frame) error {
				i, err := parseID(f.Payload)
				if f.Kind != pubsub.KindMessage || err != nil || i.publisher == probe {
					return next(ctx, f)
				}
				seen[i.publisher] = true
				if len(seen) > 1 && i.n == 20 {
					late[i.publisher] = f
					return nil
				}
				err = next(ctx, f)
				if held, ok := late[i.publisher]; ok {
					delete(late, i.publisher)
					err = errors.Join(err, next(ctx, held))
				}
				return err
			}
		})
	},
	meant: "Publish/order-of-each",
	also:  []string{"D2/order", "Law"},
}, {
	name: "drops when deliver is slow",
	wreck: func(b *broken) {
		b.receives(func(ctx context.Context, s pubsub.Stream, d deliver) error {
			frames := make(chan pubsub.Frame)
			over := make(chan struct{})
			go func() {
				for {
					select {
					case f := <-frames:
						_ = d(ctx, f)
					case <-over:
						return
					}
				}
			}()
			defer close(over)
			return s.Receive(func(_ context.Context, f pubsub.Frame) error {
				select {
				case frames <- f:
				case <-over:
				case <-time.After(time.Millisecond):
				}
				return nil
			})
		})
	},
	meant: "Receive/slow-deliver",
	also:  []string{"Batch/ctx", "Flush/between", "Flush/done", "Ends/drain-held", "Outcome/ctx"},
	maybe: []string{"Ends/dropped-held", "Held/count"}, // if the reader is slow there
}, {
	name: "delivers a refused frame again",
	wreck: func(b *broken) {
		b.delivers(func(next deliver) deliver {
			return func(ctx context.Context, f pubsub.Frame) error {
				err := next(ctx, f)
				if err != nil && ctx.Err() == nil {
					err = next(ctx, f)
				}
				return err
			}
		})
	},
	meant: "Receive/refused",
	also:  []string{"Runs/refused"},
}, {
	name: "returns ctx's error from Receive",
	wreck: func(b *broken) {
		b.receives(func(ctx context.Context, s pubsub.Stream, d deliver) error {
			if err := s.Receive(d); err != nil {
				return err
			}
			return ctx.Err()
		})
	},
	meant: "Receive/ctx-idle",
	also:  []string{"Receive/ctx-early", "Receive/ctx-blocked", "Receive/concurrent"},
}, {
	name: "fails if ctx ended before Receive",
	wreck: func(b *broken) {
		b.receives(func(ctx context.Context, s pubsub.Stream, d deliver) error {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return s.Receive(d)
		})
	},
	meant: "Receive/ctx-early",
}, {
	name: "does not end while deliver blocks",
	wreck: func(b *broken) {
		b.receives(func(_ context.Context, s pubsub.Stream, d deliver) error {
			delivering := make(chan struct{}, 1)
			err := s.Receive(func(ctx context.Context, f pubsub.Frame) error {
				delivering <- struct{}{}
				defer func() { <-delivering }()
				return d(ctx, f)
			})
			delivering <- struct{}{}
			<-delivering
			return err
		})
	},
	meant: "Receive/ctx-blocked",
}, {
	name: "ends all streams of a topic with one",
	wreck: func(b *broken) {
		var mu sync.Mutex
		lives := make(map[string][]context.Context)
		over := func(topic string) bool {
			mu.Lock()
			defer mu.Unlock()
			return slices.ContainsFunc(lives[topic], func(ctx context.Context) bool { return ctx.Err() != nil })
		}
		b.subscribe = func(ctx context.Context, topic string, from pubsub.Start) (pubsub.Stream, error) {
			s, err := b.Backend.Subscribe(ctx, topic, from)
			if err != nil {
				return nil, err
			}
			if over(topic) {
				mu.Lock()
				lives[topic] = nil
				mu.Unlock()
			}
			mu.Lock()
			lives[topic] = append(lives[topic], ctx)
			mu.Unlock()
			return streamOf(s, func(d deliver) error {
				return s.Receive(without(func(pubsub.Frame) bool { return over(topic) })(d))
			}), nil
		}
	},
	meant: "Subscribe/ctx-life",
	also:  []string{"Receive/concurrent", "Law", "Ends/dropped-held"},
}, {
	name: "loses the identity of ctx's error in Publish",
	wreck: func(b *broken) {
		b.publish = func(ctx context.Context, topic string, p pubsub.Payload) error {
			err := b.Backend.Publish(ctx, topic, p)
			if ctx.Err() != nil {
				return opaque(err)
			}
			return err
		}
	},
	meant: "Publish/ctx",
	also:  []string{"Topic/ctx", "Batch/ctx"},
}, {
	name: "loses the identity of ctx's error in Subscribe",
	wreck: func(b *broken) {
		b.subscribe = func(ctx context.Context, topic string, from pubsub.Start) (pubsub.Stream, error) {
			select {
			case <-time.After(10 * time.Microsecond):
				return b.Backend.Subscribe(ctx, topic, from)
			case <-ctx.Done():
				return nil, opaque(ctx.Err())
			}
		}
	},
	meant: "Subscribe/ctx",
}, {
	name: "loses the identity of Publish's errors",
	wreck: func(b *broken) {
		b.publish = func(ctx context.Context, topic string, p pubsub.Payload) error {
			err := b.Backend.Publish(ctx, topic, p)
			if ctx.Err() != nil || errors.Is(err, pubsub.ErrPayloadTooLarge) || errors.Is(err, pubsub.ErrClosed) {
				return err
			}
			return opaque(err)
		}
	},
	meant: "Publish/error",
	also:  []string{"D6/errors", "Topic/error", "Batch/error", "Outcome/accepted"},
}, {
	name: "loses the identity of Subscribe's errors",
	wreck: func(b *broken) {
		b.subscribe = func(ctx context.Context, topic string, from pubsub.Start) (pubsub.Stream, error) {
			s, err := b.Backend.Subscribe(ctx, topic, from)
			if errors.Is(err, pubsub.ErrClosed) {
				return nil, err
			}
			return s, opaque(err)
		}
	},
	meant: "Subscribe/error",
	also:  []string{"Subscribe/fail-fast", "L2/fail-fast"},
}, {
	name: "loses the identity of a permanent error",
	wreck: func(b *broken) {
		b.receives(func(_ context.Context, s pubsub.Stream, d deliver) error {
			err := s.Receive(d)
			if errors.Is(err, pubsub.ErrClosed) {
				return err
			}
			return opaque(err)
		})
	},
	meant: "Receive/permanent-error",
	also:  []string{"L2/permanent"},
}, {
	name: "loses the identity of ErrClosed in calls",
	wreck: func(b *broken) {
		b.subscribe = func(ctx context.Context, topic string, from pubsub.Start) (pubsub.Stream, error) {
			s, err := b.Backend.Subscribe(ctx, topic, from)
			if errors.Is(err, pubsub.ErrClosed) {
				err = opaque(err)
			}
			return s, err
		}
	},
	meant: "Close/later-calls",
}, {
	name: "loses the identity of ErrClosed in calls under way",
	wreck: func(b *broken) {
		b.publish = func(ctx context.Context, topic string, p pubsub.Payload) error {
			err := b.Backend.Publish(ctx, topic, p)
			if errors.Is(err, pubsub.ErrClosed) {
				err = opaque(err)
			}
			return err
		}
	},
	meant: "Close/busy",
	also:  []string{"Close/later-calls", "Topic/closed"},
}, {
	name: "loses the identity of ErrClosed in streams",
	wreck: func(b *broken) {
		b.receives(func(_ context.Context, s pubsub.Stream, d deliver) error {
			err := s.Receive(d)
			if errors.Is(err, pubsub.ErrClosed) {
				return opaque(err)
			}
			return err
		})
	},
	meant: "Close/streams",
}, {
	name: "refuses messages that nobody receives",
	wreck: func(b *broken) {
		b.publish = func(ctx context.Context, topic string, p pubsub.Payload) error {
			if b.Backend.Stats(topic).Streams == 0 && b.Backend.Stats(topic).Accepted == 0 {
				return pubsub.ErrNotFound
			}
			return b.Backend.Publish(ctx, topic, p)
		}
	},
	meant: "Publish/no-stream",
	also:  []string{"Law", "Start/place", "Start/resume", "Start/last", "Start/oldest", "Start/other-life", "Topic/same", "Topic/closed"},
}, {
	name: "ignores the case of topics",
	wreck: func(b *broken) {
		b.publish = func(ctx context.Context, topic string, p pubsub.Payload) error {
			return b.Backend.Publish(ctx, fold(topic), p)
		}
		b.subscribe = func(ctx context.Context, topic string, from pubsub.Start) (pubsub.Stream, error) {
			return b.Backend.Subscribe(ctx, fold(topic), from)
		}
	},
	meant: "Publish/topics-apart",
}, {
	name: "replays old messages to new streams",
	wreck: func(b *broken) {
		b.subscribe = func(ctx context.Context, topic string, from pubsub.Start) (pubsub.Stream, error) {
			if last := b.Backend.Stats(topic).Last; from.After.IsZero() && last.Sequence > 4 {
				from.After = pubsub.Position{Page: last.Page, Sequence: last.Sequence - 1}
			}
			return b.Backend.Subscribe(ctx, topic, from)
		}
	},
	meant: "Subscribe/present",
	also:  []string{"D1/at-most-once", "Law", "Start/last", "Start/oldest"},
}, {
	name: "ignores the position after",
	wreck: func(b *broken) {
		b.subscribe = func(ctx context.Context, topic string, _ pubsub.Start) (pubsub.Stream, error) {
			return b.Backend.Subscribe(ctx, topic, pubsub.Start{})
		}
	},
	meant: "Subscribe/after",
	also:  []string{"Subscribe/after-history", "Start/empty", "Start/resume", "Start/last", "Start/oldest", "Start/other-life", "Receive/more-replayed", "Flush/done", "Held/count", "Ends/drain-held", "Ends/dropped-held"},
}, {
	name: "resumes at the position, not behind it",
	wreck: func(b *broken) {
		b.subscribe = func(ctx context.Context, topic string, from pubsub.Start) (pubsub.Stream, error) {
			if !from.After.IsZero() {
				from.After.Sequence--
			}
			return b.Backend.Subscribe(ctx, topic, from)
		}
	},
	meant: "Subscribe/after-newest",
	also:  []string{"Subscribe/after", "Subscribe/after-history", "Start/resume", "Held/count", "Ends/drain-held", "Ends/dropped-held"},
	maybe: []string{"Flush/done"}, // passes about once in ten runs on a busy machine
}, {
	name:  "has no history though it says so",
	wreck: func(b *broken) { b.Backend = memory.New(memory.WithMaxPayload(memoryMaxPayload)) },
	meant: "Subscribe/after-history",
	also:  []string{"Receive/reconnect-history", "Start/resume", "Start/last", "Start/oldest", "Receive/more-replayed", "Flush/done", "Held/count", "Ends/drain-held", "Ends/dropped-held"},
}, {
	name: "goes on trying to subscribe",
	wreck: func(b *broken) {
		b.subscribe = func(ctx context.Context, topic string, from pubsub.Start) (pubsub.Stream, error) {
			for {
				s, err := b.Backend.Subscribe(ctx, topic, from)
				if err == nil || !strings.Contains(err.Error(), "disconnected") {
					return s, err
				}
				select {
				case <-ctx.Done():
					return nil, ctx.Err()
				case <-time.After(time.Second):
				}
			}
		}
	},
	meant: "Subscribe/fail-fast",
	also:  []string{"L2/fail-fast"},
}, {
	name: "does not number some messages",
	wreck: func(b *broken) {
		b.delivers(changed(func(f *pubsub.Frame) {
			if f.Kind == pubsub.KindMessage && f.Position.Sequence%20 == 0 {
				f.Position = pubsub.Position{}
			}
		}))
	},
	meant: "Receive/positions",
	also:  []string{"Law", "Runs/positions"},
}, {
	name: "miscounts holes",
	wreck: func(b *broken) {
		b.delivers(changed(func(f *pubsub.Frame) {
			if f.Kind == pubsub.KindDiscontinuity && f.Discontinuity.Cause == pubsub.CauseBackend {
				d := *f.Discontinuity
				d.Lost++
				f.Discontinuity = &d
			}
		}))
	},
	meant: "Receive/gap-count",
	also:  []string{"Law"},
}, {
	name: "does not report a reset",
	wreck: func(b *broken) {
		b.delivers(without(func(f pubsub.Frame) bool {
			return f.Kind == pubsub.KindDiscontinuity && f.Discontinuity.Cause == pubsub.CauseReset
		}))
	},
	meant: "Receive/reset",
	also:  []string{"Law", "Start/other-life"},
}, {
	name: "keeps heartbeats to itself",
	wreck: func(b *broken) {
		b.delivers(without(func(f pubsub.Frame) bool { return f.Kind == pubsub.KindHeartbeat }))
	},
	meant: "Receive/heartbeat",
}, {
	name: "keeps states to itself",
	wreck: func(b *broken) {
		b.delivers(without(func(f pubsub.Frame) bool { return f.Kind == pubsub.KindState }))
	},
	meant: "Receive/state",
	also:  []string{"L2/retried", "L3/end-of-broken", "Receive/kind"},
}, {
	name: "does not report what passed during a break",
	wreck: func(b *broken) {
		b.duringBreak(func(deliver, context.Context, pubsub.Frame) error { return nil })
	},
	meant: "Receive/reconnect",
	also:  []string{"Receive/reconnect-history", "D4/reconnect", "Law"},
}, {
	name: "repeats the last message after a break",
	wreck: func(b *broken) {
		b.delivers(func(next deliver) deliver {
			var last pubsub.Frame
			return func(ctx context.Context, f pubsub.Frame) error {
				if f.Kind == pubsub.KindMessage {
					last = f
				}
				if f.Kind == pubsub.KindState && f.State.State == pubsub.Resumed && !last.Position.IsZero() {
					_ = next(ctx, last)
				}
				return next(ctx, f)
			}
		})
	},
	meant: "Receive/reconnect-once",
	also:  []string{"D4/reconnect", "Law"},
}, {
	name: "goes on after a break with a report, though it has the messages",
	wreck: func(b *broken) {
		b.duringBreak(func(next deliver, ctx context.Context, f pubsub.Frame) error {
			return next(ctx, pubsub.Frame{Kind: pubsub.KindDiscontinuity, Discontinuity: &pubsub.Discontinuity{
				Cause: pubsub.CauseReconnect, Lost: 1, Exact: true}})
		})
	},
	meant: "Receive/reconnect-history",
}, {
	name: "keeps streams open at the service",
	wreck: func(b *broken) {
		b.subscribe = func(ctx context.Context, topic string, from pubsub.Start) (pubsub.Stream, error) {
			s, err := b.Backend.Subscribe(context.WithoutCancel(ctx), topic, from)
			if err != nil {
				return nil, err
			}
			return streamOf(s, func(d deliver) error {
				done := make(chan error, 1)
				go func() {
					done <- s.Receive(func(publisher context.Context, f pubsub.Frame) error {
						if ctx.Err() != nil {
							return nil
						}
						return d(publisher, f)
					})
				}()
				select {
				case err := <-done:
					return err
				case <-ctx.Done():
					return nil
				}
			}), nil
		}
	},
	meant: "Receive/leak-streams",
	also:  []string{"Receive/leak", "L1/one-stream", "L3/end", "Flush/idle", "Ends/dropped-held"},
}, {
	name: "delivers every message twice",
	wreck: func(b *broken) {
		b.delivers(func(next deliver) deliver {
			return func(ctx context.Context, f pubsub.Frame) error {
				if f.Kind == pubsub.KindMessage {
					_ = next(ctx, f)
				}
				return next(ctx, f)
			}
		})
	},
	meant: "Receive/no-duplicates",
	broad: true,
}, {
	name: "delivers messages that nobody published",
	wreck: func(b *broken) {
		b.delivers(func(next deliver) deliver {
			return func(ctx context.Context, f pubsub.Frame) error {
				for _, stray := range []id{{probe, 9999}, {99, 1}} {
					_ = next(ctx, pubsub.Frame{Kind: pubsub.KindMessage, Payload: stray.payload()})
				}
				return next(ctx, f)
			}
		})
	},
	meant: "Publish/topics-apart",
	broad: true,
}, {
	name: "delivers when Receive has returned",
	wreck: func(b *broken) {
		b.subscribe = func(ctx context.Context, topic string, from pubsub.Start) (pubsub.Stream, error) {
			s, err := b.Backend.Subscribe(context.WithoutCancel(ctx), topic, from)
			if err != nil {
				return nil, err
			}
			return streamOf(s, func(d deliver) error {
				done := make(chan error, 1)
				go func() { done <- s.Receive(d) }()
				select {
				case err := <-done:
					return err
				case <-ctx.Done():
					return nil
				}
			}), nil
		}
	},
	meant: "Subscribe/ctx-life",
	broad: true,
}, {
	name: "delivers with a nil ctx",
	wreck: func(b *broken) {
		b.delivers(func(next deliver) deliver {
			return func(_ context.Context, f pubsub.Frame) error { return next(nil, f) }
		})
	},
	meant: "Receive/ctx-blocked",
	broad: true,
}, {
	name: "delivers with a ctx that does not end",
	wreck: func(b *broken) {
		b.delivers(func(next deliver) deliver {
			return func(_ context.Context, f pubsub.Frame) error { return next(context.Background(), f) }
		})
	},
	meant: "Receive/ctx-blocked",
	broad: true,
}, {
	name:  "returns from Receive at once",
	wreck: func(b *broken) { b.receives(func(context.Context, pubsub.Stream, deliver) error { return nil }) },
	meant: "Publish/every-stream",
	broad: true,
}, {
	name: "returns from the Receive of later streams at once",
	wreck: func(b *broken) {
		var streams perTopic
		b.subscribe = func(ctx context.Context, topic string, from pubsub.Start) (pubsub.Stream, error) {
			s, err := b.Backend.Subscribe(ctx, topic, from)
			if err != nil || streams.next(topic) == 1 {
				return s, err
			}
			return streamOf(s, func(deliver) error { return nil }), nil
		}
	},
	meant: "Subscribe/ctx",
	broad: true,
}, {
	name: "returns from Receive when it likes",
	wreck: func(b *broken) {
		b.receives(func(ctx context.Context, s pubsub.Stream, d deliver) error {
			ctx, enough := context.WithCancel(ctx)
			defer enough()
			n := 0
			done := make(chan error, 1)
			go func() {
				done <- s.Receive(func(ctx context.Context, f pubsub.Frame) error {
					if n++; n > 4 {
						enough()
						return nil
					}
					return d(ctx, f)
				})
			}()
			select {
			case err := <-done:
				return err
			case <-ctx.Done():
				return nil
			}
		})
	},
	meant: "Publish/order",
	broad: true,
}, {
	name: "returns no stream and no error",
	wreck: func(b *broken) {
		var streams perTopic
		b.subscribe = func(ctx context.Context, topic string, from pubsub.Start) (pubsub.Stream, error) {
			if streams.next(topic) > 1 {
				return nil, nil
			}
			return b.Backend.Subscribe(ctx, topic, from)
		}
	},
	meant: "Subscribe/ctx",
	broad: true,
}, {
	name: "never returns a stream and no error",
	wreck: func(b *broken) {
		b.subscribe = func(context.Context, string, pubsub.Start) (pubsub.Stream, error) { return nil, nil }
	},
	meant: "Subscribe/join-point",
	broad: true,
}, {
	name:  "does not return from Subscribe",
	wreck: func(b *broken) { b.hangs(0, 0) },
	meant: "Subscribe/join-point",
	broad: true,
}, {
	name:  "does not return from a later Subscribe",
	wreck: func(b *broken) { b.hangs(1, 1<<30) },
	meant: "Subscribe/ctx",
	broad: true,
}, {
	name:  "does not return from Publish",
	wreck: func(b *broken) { b.hangs(1<<30, 0) },
	meant: "Publish/no-stream",
	broad: true,
}, {
	name:  "does not return from a later Publish",
	wreck: func(b *broken) { b.hangs(1<<30, 3) },
	meant: "Publish/ctx",
	broad: true,
}, {
	name:  "does not return from a much later Publish",
	wreck: func(b *broken) { b.hangs(1<<30, 15) },
	meant: "Publish/order",
	broad: true,
}, {
	name: "does not return from Close",
	wreck: func(b *broken) {
		b.close = func() error {
			time.Sleep(50 * time.Minute)
			return b.Backend.Close()
		}
	},
	meant: "Close/later-calls",
	also:  []string{"Close/streams", "Close/busy", "Close/leak", "Topic/closed"},
}, {
	name:  "does not close",
	wreck: func(b *broken) { b.close = func() error { return nil } },
	meant: "Close/later-calls",
	also:  []string{"Close/streams", "Close/busy", "Close/leak", "Topic/closed"},
}, {
	name: "does not close, and ignores the ctx of Publish",
	wreck: func(b *broken) {
		b.close = func() error { return nil }
		b.publish = func(ctx context.Context, topic string, p pubsub.Payload) error {
			return b.Backend.Publish(context.WithoutCancel(ctx), topic, p)
		}
	},
	meant: "Close/busy",
	also:  []string{"Close/later-calls", "Close/streams", "Close/leak", "Publish/ctx", "Receive/ctx-blocked", "Topic/ctx", "Topic/closed", "Batch/ctx", "Outcome/ctx"},
}, {
	name: "goes on publishing after Close",
	wreck: func(b *broken) {
		b.publish = func(ctx context.Context, topic string, p pubsub.Payload) error {
			if err := b.Backend.Publish(ctx, topic, p); !errors.Is(err, pubsub.ErrClosed) {
				return err
			}
			return nil
		}
	},
	meant: "Close/busy",
	also:  []string{"Close/later-calls", "Topic/closed"},
}, {
	name: "stops publishing at Close",
	wreck: func(b *broken) {
		b.publish = func(ctx context.Context, topic string, p pubsub.Payload) error {
			err := b.Backend.Publish(ctx, topic, p)
			if errors.Is(err, pubsub.ErrClosed) {
				time.Sleep(50 * time.Minute)
			}
			return err
		}
	},
	meant: "Close/busy",
	also:  []string{"Close/later-calls", "Topic/closed"},
}}

// hangs has a backend not return from Subscribe and from Publish once it did so
// many times, until Close.
func (b *broken) hangs(subscribes, publishes int64) {
	closed := make(chan struct{})
	b.close = sync.OnceValue(func() error {
		close(closed)
		return b.Backend.Close()
	})
	var subscribed, published atomic.Int64
	b.subscribe = func(ctx context.Context, topic string, from pubsub.Start) (pubsub.Stream, error) {
		if subscribed.Add(1) > subscribes {
			<-closed
		}
		return b.Backend.Subscribe(ctx, topic, from)
	}
	b.publish = func(ctx context.Context, topic string, p pubsub.Payload) error {
		if published.Add(1) > publishes {
			<-closed
		}
		return b.Backend.Publish(ctx, topic, p)
	}
}

// interleaved delivers the tenth message of each publisher, and what follows
// of the same, behind the next message of another publisher.
func interleaved(next deliver) deliver {
	var late []pubsub.Frame
	seen := make(map[int]bool)
	return func(ctx context.Context, f pubsub.Frame) error {
		i, err := parseID(f.Payload)
		if f.Kind != pubsub.KindMessage || err != nil || i.publisher == probe {
			return next(ctx, f)
		}
		seen[i.publisher] = true
		if len(late) > 0 {
			if held, _ := parseID(late[0].Payload); held.publisher == i.publisher {
				late = append(late, f)
				return nil
			}
		} else if i.n == 10 && len(seen) > 1 {
			late = append(late, f)
			return nil
		}
		err = next(ctx, f)
		for _, f := range late {
			err = errors.Join(err, next(ctx, f))
		}
		late = nil
		return err
	}
}

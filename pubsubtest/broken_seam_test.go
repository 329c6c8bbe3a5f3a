package pubsubtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/topicbus/pubsub"
)

// seamBreakages break where streams begin, and what a backend may do besides.
var seamBreakages = []breakage{{
	name: "tells a Start that is one too far",
	wreck: func(b *broken) {
		b.streams(func(_ string, _ pubsub.Start, r *replaced) {
			at := r.Stream.Start()
			at.Sequence++
			r.start = func() pubsub.Position { return at }
		})
	},
	meant: "Start/place",
	also:  []string{"Start/empty", "Start/resume", "Start/last", "Start/oldest"},
}, {
	name: "moves Start along",
	wreck: func(b *broken) {
		b.streams(func(_ string, _ pubsub.Start, r *replaced) {
			var at atomic.Pointer[pubsub.Position]
			first := r.Stream.Start()
			at.Store(&first)
			r.start = func() pubsub.Position { return *at.Load() }
			r.receive = func(d deliver) error {
				return r.Stream.Receive(func(ctx context.Context, f pubsub.Frame) error {
					if f.Kind == pubsub.KindMessage {
						at.Store(&f.Position)
					}
					return d(ctx, f)
				})
			}
		})
	},
	meant: "Start/place",
	also:  []string{"Start/resume", "Start/last", "Start/oldest"},
}, {
	name: "tells another page before the first message",
	wreck: func(b *broken) {
		b.streams(func(_ string, _ pubsub.Start, r *replaced) {
			if at := r.Stream.Start(); at.Sequence == 0 {
				at.Page--
				r.start = func() pubsub.Position { return at }
			}
		})
	},
	meant: "Start/empty",
	also:  []string{"Start/last", "Start/oldest"},
}, {
	name: "tells the newest message as the Start of a stream that replays",
	wreck: func(b *broken) {
		b.streams(func(topic string, from pubsub.Start, r *replaced) {
			if from.Last > 0 || from.Oldest {
				at := b.Backend.Stats(topic).Last
				r.start = func() pubsub.Position { return at }
			}
		})
	},
	meant: "Start/resume",
	also:  []string{"Start/last", "Start/oldest"},
}, {
	name: "replays one message more than Start.Last",
	wreck: func(b *broken) {
		b.begins(func(_ string, from *pubsub.Start) {
			if from.Last > 0 {
				from.Last++
			}
		})
	},
	meant: "Start/last",
}, {
	name: "takes Start.Last for the present",
	wreck: func(b *broken) {
		b.begins(func(_ string, from *pubsub.Start) { from.Last = 0 })
	},
	meant: "Start/last",
}, {
	name: "reports what is older than Start.Last lost",
	wreck: func(b *broken) {
		b.streams(func(_ string, from pubsub.Start, r *replaced) {
			if at := r.Stream.Start(); from.Last > 0 && at.Sequence > 0 {
				r.receive = func(d deliver) error { return r.Stream.Receive(hole(at.Sequence)(d)) }
			}
		})
	},
	meant: "Start/last",
}, {
	name: "begins with a few of the oldest",
	wreck: func(b *broken) {
		b.begins(func(_ string, from *pubsub.Start) {
			if from.Oldest {
				*from = pubsub.Start{Last: 7}
			}
		})
	},
	meant: "Start/oldest",
}, {
	name: "reports what is older than the oldest lost",
	wreck: func(b *broken) {
		b.streams(func(_ string, from pubsub.Start, r *replaced) {
			if at := r.Stream.Start(); from.Oldest && at.Sequence > 0 {
				r.receive = func(d deliver) error { return r.Stream.Receive(hole(at.Sequence)(d)) }
			}
		})
	},
	meant: "Start/oldest",
}, {
	name: "believes positions of another life",
	wreck: func(b *broken) {
		b.begins(func(topic string, from *pubsub.Start) {
			if last := b.Backend.Stats(topic).Last; !from.After.IsZero() && from.After.Page != last.Page && last.Sequence > 0 {
				from.After = pubsub.Position{Page: last.Page, Sequence: min(from.After.Sequence, last.Sequence)}
			}
		})
	},
	meant: "Start/other-life",
}, {
	name: "takes positions of a later page for the present",
	wreck: func(b *broken) {
		b.begins(func(topic string, from *pubsub.Start) {
			if last := b.Backend.Stats(topic).Last; from.After.Page > last.Page && last.Sequence > 0 {
				*from = pubsub.Start{}
			}
		})
	},
	meant: "Start/other-life",
}, {
	name: "forgets the Kind of heartbeats",
	wreck: func(b *broken) {
		b.delivers(changed(func(f *pubsub.Frame) {
			if f.Kind == pubsub.KindHeartbeat {
				f.Kind = 0
			}
		}))
	},
	meant: "Receive/kind",
	also:  []string{"Receive/heartbeat", "Law"},
}, {
	name: "delivers heartbeats with a state",
	wreck: func(b *broken) {
		b.delivers(changed(func(f *pubsub.Frame) {
			if f.Kind == pubsub.KindHeartbeat {
				f.State = new(pubsub.StateChange)
			}
		}))
	},
	meant: "Receive/kind",
}, {
	name:  "promises more with every message",
	wreck: func(b *broken) { b.delivers(changed(func(f *pubsub.Frame) { f.More = f.Kind == pubsub.KindMessage })) },
	meant: "Receive/more",
	broad: true,
}, {
	name: "promises more where a hole follows",
	wreck: func(b *broken) {
		b.delivers(func(next deliver) deliver {
			var before *pubsub.Frame // of a hole, perhaps
			return func(ctx context.Context, f pubsub.Frame) error {
				if before != nil {
					before.More = f.Kind == pubsub.KindDiscontinuity
					err := next(ctx, *before)
					before = nil
					if err != nil {
						return err
					}
				}
				if i, _ := parseID(f.Payload); i == (id{1, 12}) {
					before = &f
					return nil
				}
				return next(ctx, f)
			}
		})
	},
	meant: "Receive/more",
	broad: true, // that message comes late
}, {
	name: "promises more with everything that it replays",
	wreck: func(b *broken) {
		b.streams(func(_ string, from pubsub.Start, r *replaced) {
			if from.After.IsZero() {
				return
			}
			r.receive = func(d deliver) error {
				return r.Stream.Receive(changed(func(f *pubsub.Frame) { f.More = f.Kind == pubsub.KindMessage })(d))
			}
		})
	},
	meant: "Receive/more-replayed",
	also:  []string{"Ends/drain-held"},
}, {
	name: "numbers a run from its last message",
	wreck: func(b *broken) {
		b.inRuns(func(ctx context.Context, at pubsub.Position, ps []pubsub.Payload, run run) {
			at.Sequence += uint64(len(ps) - 1)
			_, _ = run(ctx, at, ps)
		})
	},
	meant: "Runs/positions",
}, {
	name: "leaves out the last of a run",
	wreck: func(b *broken) {
		b.inRuns(func(ctx context.Context, at pubsub.Position, ps []pubsub.Payload, run run) {
			if len(ps) > 20 {
				ps = ps[:len(ps)-5]
			}
			_, _ = run(ctx, at, ps)
		})
	},
	meant: "Runs/positions",
}, {
	name: "has a run begin again with what was refused",
	wreck: func(b *broken) {
		b.inRuns(func(ctx context.Context, at pubsub.Position, ps []pubsub.Payload, run run) {
			taken, err := run(ctx, at, ps)
			if err != nil && ctx.Err() == nil {
				at.Sequence += uint64(taken)
				_, _ = run(ctx, at, ps[taken:])
			}
		})
	},
	meant: "Runs/refused",
}, {
	name: "has a run begin again behind what was refused, with the number of that",
	wreck: func(b *broken) {
		b.inRuns(func(ctx context.Context, at pubsub.Position, ps []pubsub.Payload, run run) {
			taken, err := run(ctx, at, ps)
			if err != nil && ctx.Err() == nil {
				_, _ = run(ctx, at, ps[:taken])
			}
		})
	},
	meant: "Runs/refused",
}, {
	name: "gives a handle to whoever asks",
	wreck: func(b *broken) {
		b.topic = func(_ pubsub.Backend, name string) pubsub.TopicPublisher { return b.handle(name) }
	},
	meant: "Topic/other-via",
}, {
	name: "ignores the case of topics in handles",
	wreck: func(b *broken) {
		b.handles(func(name string, h *handle) {
			h.publish = func(ctx context.Context, p pubsub.Payload) error { return b.Publish(ctx, fold(name), p) }
		})
	},
	meant: "Topic/same",
}, {
	name: "sends Text as Binary in handles",
	wreck: func(b *broken) {
		b.handles(func(name string, h *handle) {
			h.publish = func(ctx context.Context, p pubsub.Payload) error {
				return b.Publish(ctx, name, pubsub.Payload{Data: p.Data})
			}
		})
	},
	meant: "Topic/same",
}, {
	name: "has handles publish a moment later",
	wreck: func(b *broken) {
		b.handles(func(name string, h *handle) {
			h.publish = func(ctx context.Context, p pubsub.Payload) error {
				if i, err := parseID(p); err != nil || i.n != 10 {
					return b.Publish(ctx, name, p)
				}
				time.AfterFunc(time.Millisecond, func() { _ = b.Publish(context.Background(), name, p) })
				return nil
			}
		})
	},
	meant: "Topic/order",
}, {
	name: "loses the identity of ctx's error in handles",
	wreck: func(b *broken) {
		b.handles(func(name string, h *handle) {
			h.publish = func(ctx context.Context, p pubsub.Payload) error {
				err := b.Publish(ctx, name, p)
				if ctx.Err() != nil {
					return opaque(err)
				}
				return err
			}
		})
	},
	meant: "Topic/ctx",
}, {
	name: "loses the identity of errors in handles",
	wreck: func(b *broken) {
		b.handles(func(name string, h *handle) {
			h.publish = func(ctx context.Context, p pubsub.Payload) error {
				err := b.Publish(ctx, name, p)
				if ctx.Err() == nil && !errors.Is(err, pubsub.ErrClosed) {
					return opaque(err)
				}
				return err
			}
		})
	},
	meant: "Topic/error",
}, {
	name: "goes on publishing by handles that were used before Close",
	wreck: func(b *broken) {
		b.handles(func(name string, h *handle) {
			used := false
			h.publish = func(ctx context.Context, p pubsub.Payload) error {
				err := b.Publish(ctx, name, p)
				if used && errors.Is(err, pubsub.ErrClosed) {
					return nil
				}
				used = true
				return err
			}
		})
	},
	meant: "Topic/closed",
}, {
	name: "publishes a batch backwards",
	wreck: func(b *broken) {
		b.batches(func(inner pubsub.BatchPublisher, ctx context.Context, ps []pubsub.Payload) (int, error) {
			ps = slices.Clone(ps)
			slices.Reverse(ps)
			return inner.PublishBatch(ctx, ps)
		})
	},
	meant: "Batch/order",
	broad: true,
}, {
	name: "keeps the slice of a batch",
	wreck: func(b *broken) {
		b.handles(func(_ string, h *handle) {
			inner := *h
			var kept []pubsub.Payload // for the next call
			h.batch = func(ctx context.Context, ps []pubsub.Payload) (int, error) {
				_, _ = inner.batch(ctx, kept)
				kept = nil
				if len(ps) < 20 {
					return inner.batch(ctx, ps)
				}
				n := len(ps) - 1
				kept = ps[n:]
				if accepted, err := inner.batch(ctx, ps[:n]); err != nil {
					return accepted, err
				}
				return len(ps), nil
			}
		})
	},
	meant: "Batch/order",
	also:  []string{"Receive/more", "Runs/positions"},
}, {
	name: "counts the payload that failed as accepted",
	wreck: func(b *broken) {
		b.batches(func(inner pubsub.BatchPublisher, ctx context.Context, ps []pubsub.Payload) (int, error) {
			n, err := inner.PublishBatch(ctx, ps)
			if errors.Is(err, pubsub.ErrPayloadTooLarge) {
				n++
			}
			return n, err
		})
	},
	meant: "Batch/prefix",
}, {
	name: "goes on behind a payload that is too large",
	wreck: func(b *broken) {
		b.batches(func(inner pubsub.BatchPublisher, ctx context.Context, ps []pubsub.Payload) (int, error) {
			n, err := inner.PublishBatch(ctx, ps)
			if errors.Is(err, pubsub.ErrPayloadTooLarge) {
				_, _ = inner.PublishBatch(ctx, ps[n+1:])
			}
			return n, err
		})
	},
	meant: "Batch/prefix",
}, {
	name: "loses the identity of errors in batches",
	wreck: func(b *broken) {
		b.batches(func(inner pubsub.BatchPublisher, ctx context.Context, ps []pubsub.Payload) (int, error) {
			n, err := inner.PublishBatch(ctx, ps)
			if ctx.Err() == nil && !errors.Is(err, pubsub.ErrPayloadTooLarge) {
				return n, opaque(err)
			}
			return n, err
		})
	},
	meant: "Batch/error",
}, {
	name: "counts all of a batch that failed as accepted",
	wreck: func(b *broken) {
		b.batches(func(inner pubsub.BatchPublisher, ctx context.Context, ps []pubsub.Payload) (int, error) {
			n, err := inner.PublishBatch(ctx, ps)
			if errors.Is(err, pubsub.ErrUnavailable) {
				n = len(ps)
			}
			return n, err
		})
	},
	meant: "Batch/error",
}, {
	name: "ignores the ctx of batches",
	wreck: func(b *broken) {
		b.batches(func(inner pubsub.BatchPublisher, ctx context.Context, ps []pubsub.Payload) (int, error) {
			return inner.PublishBatch(context.WithoutCancel(ctx), ps)
		})
	},
	meant: "Batch/ctx",
}, {
	name: "counts none of a batch whose ctx ended as accepted",
	wreck: func(b *broken) {
		b.batches(func(inner pubsub.BatchPublisher, ctx context.Context, ps []pubsub.Payload) (int, error) {
			n, err := inner.PublishBatch(ctx, ps)
			if ctx.Err() != nil {
				return 0, pubsub.WithOutcome(err, pubsub.NotAccepted)
			}
			return n, err
		})
	},
	meant: "Batch/ctx",
}, {
	name: "prints Go values",
	wreck: func(b *broken) {
		b.publish = func(ctx context.Context, topic string, p pubsub.Payload) error {
			if p.Format == pubsub.GoValue {
				p = pubsub.ValuePayload(fmt.Sprintf("%v", p.Value()))
			}
			return b.Backend.Publish(ctx, topic, p)
		}
	},
	meant: "Value/as-is",
}, {
	name: "calls done of Flush at once",
	wreck: func(b *broken) {
		b.streams(func(_ string, from pubsub.Start, r *replaced) {
			if !from.After.IsZero() {
				r.flush = func(done func()) { done() }
			}
		})
	},
	meant: "Flush/done",
	also:  []string{"Ends/drain-held", "Ends/dropped-held"},
}, {
	name: "calls done of Flush twice",
	wreck: func(b *broken) {
		b.streams(func(_ string, _ pubsub.Start, r *replaced) {
			r.flush = func(done func()) {
				r.Stream.(pubsub.Flusher).Flush(func() {
					done()
					done()
				})
			}
		})
	},
	meant: "Flush/done",
	broad: true, // a Bus or a test may crash on it
}, {
	name: "does not call done of Flush where nothing is held",
	wreck: func(b *broken) {
		b.streams(func(_ string, _ pubsub.Start, r *replaced) {
			r.flush = func(done func()) {
				if r.Stream.(pubsub.Holder).Held() > 0 {
					r.Stream.(pubsub.Flusher).Flush(done)
				}
			}
		})
	},
	meant: "Flush/idle",
	broad: true,
}, {
	name: "calls done of Flush after the end",
	wreck: func(b *broken) {
		b.streams(func(_ string, _ pubsub.Start, r *replaced) {
			var over atomic.Bool
			r.receive = func(d deliver) error {
				defer over.Store(true)
				return r.Stream.Receive(d)
			}
			r.flush = func(done func()) {
				if over.Load() {
					done()
					return
				}
				r.Stream.(pubsub.Flusher).Flush(done)
			}
		})
	},
	meant: "Flush/idle",
}, {
	name: "calls done of Flush on the spot where nothing is held",
	wreck: func(b *broken) {
		b.streams(func(_ string, _ pubsub.Start, r *replaced) {
			var over atomic.Bool
			r.receive = func(d deliver) error {
				defer over.Store(true)
				return r.Stream.Receive(d)
			}
			r.flush = func(done func()) {
				switch {
				case over.Load():
				case r.Stream.(pubsub.Holder).Held() > 0:
					r.Stream.(pubsub.Flusher).Flush(done)
				default:
					done()
				}
			}
		})
	},
	meant: "Flush/between",
}, {
	name: "waits in Flush for deliver",
	wreck: func(b *broken) {
		b.streams(func(_ string, _ pubsub.Start, r *replaced) {
			turn := make(chan struct{}, 1)
			r.receive = func(d deliver) error {
				return r.Stream.Receive(func(ctx context.Context, f pubsub.Frame) error {
					turn <- struct{}{}
					defer func() { <-turn }()
					return d(ctx, f)
				})
			}
			r.flush = func(done func()) {
				turn <- struct{}{}
				<-turn
				r.Stream.(pubsub.Flusher).Flush(done)
			}
		})
	},
	meant: "Flush/between",
	also:  []string{"Ends/dropped-held"},
}, {
	name: "hides what it holds",
	wreck: func(b *broken) {
		b.streams(func(_ string, _ pubsub.Start, r *replaced) { r.held = func() uint64 { return 0 } })
	},
	meant: "Held/count",
	also:  []string{"Ends/dropped-held"},
}, {
	name: "goes on counting what it has delivered as held",
	wreck: func(b *broken) {
		b.streams(func(_ string, _ pubsub.Start, r *replaced) {
			held := r.Stream.(pubsub.Holder).Held()
			r.held = func() uint64 { return held }
		})
	},
	meant: "Held/count",
	also:  []string{"Ends/dropped-held"},
}, {
	name: "counts what it is about to deliver as delivered",
	wreck: func(b *broken) {
		b.streams(func(_ string, _ pubsub.Start, r *replaced) {
			var inside atomic.Int64
			r.receive = func(d deliver) error {
				return r.Stream.Receive(func(ctx context.Context, f pubsub.Frame) error {
					if f.Kind == pubsub.KindMessage {
						inside.Store(1)
						defer inside.Store(0)
					}
					return d(ctx, f)
				})
			}
			r.held = func() uint64 {
				held := r.Stream.(pubsub.Holder).Held()
				return held - min(held, uint64(inside.Load()))
			}
		})
	},
	meant: "Held/count",
}, {
	name: "publishes what it tells to be refused",
	wreck: func(b *broken) {
		b.publish = func(ctx context.Context, topic string, p pubsub.Payload) error {
			err := b.Backend.Publish(ctx, topic, p)
			if isService(err) && pubsub.OutcomeOf(err) == pubsub.NotAccepted {
				_ = b.Backend.Publish(ctx, topic, p)
			}
			return err
		}
	},
	meant: "Outcome/refused",
	also:  []string{"Batch/error"},
}, {
	name: "tells that it accepted what it refused",
	wreck: func(b *broken) {
		b.publish = func(ctx context.Context, topic string, p pubsub.Payload) error {
			err := b.Backend.Publish(ctx, topic, p)
			if isService(err) {
				return pubsub.WithOutcome(err, pubsub.Accepted)
			}
			return err
		}
	},
	meant: "Outcome/refused",
	also:  []string{"Batch/error"},
}, {
	name: "takes every error for a refusal",
	wreck: func(b *broken) {
		b.publish = func(ctx context.Context, topic string, p pubsub.Payload) error {
			err := b.Backend.Publish(ctx, topic, p)
			if isService(err) {
				return pubsub.WithOutcome(err, pubsub.NotAccepted)
			}
			return err
		}
	},
	meant: "Outcome/accepted",
}, {
	name: "takes the end of ctx for a refusal",
	wreck: func(b *broken) {
		b.publish = func(ctx context.Context, topic string, p pubsub.Payload) error {
			err := b.Backend.Publish(ctx, topic, p)
			if ctx.Err() != nil {
				return pubsub.WithOutcome(err, pubsub.NotAccepted)
			}
			return err
		}
	},
	meant: "Outcome/ctx",
	also:  []string{"Batch/ctx"},
}, {
	name: "delivers the 55th message of a publisher twice",
	wreck: func(b *broken) {
		b.delivers(func(next deliver) deliver {
			return func(ctx context.Context, f pubsub.Frame) error {
				if i, err := parseID(f.Payload); err == nil && i.n == 55 {
					_ = next(ctx, f)
				}
				return next(ctx, f)
			}
		})
	},
	meant: "Ends/account",
	also:  []string{"Ends/drain", "Law"},
}, {
	name: "drops the 55th message of a publisher",
	wreck: func(b *broken) {
		b.delivers(without(func(f pubsub.Frame) bool {
			i, err := parseID(f.Payload)
			return err == nil && i.n == 55
		}))
	},
	meant: "Ends/drain",
	also:  []string{"Publish/delivered-or-marked", "Receive/slow-deliver", "Ends/account", "Law"},
}, {
	name: "does not call done of Flush where something is held",
	wreck: func(b *broken) {
		b.streams(func(_ string, _ pubsub.Start, r *replaced) {
			r.flush = func(done func()) {
				if r.Stream.(pubsub.Holder).Held() == 0 {
					r.Stream.(pubsub.Flusher).Flush(done)
				}
			}
		})
	},
	meant: "Ends/drain-held",
	also:  []string{"Flush/done"},
}}

// inRuns has a stream deliver what comes together in runs, broken ones.
func (b *broken) inRuns(breaking func(ctx context.Context, at pubsub.Position, ps []pubsub.Payload, run run)) {
	b.streams(func(_ string, _ pubsub.Start, r *replaced) {
		r.runs = func(d deliver, run run) error {
			var at pubsub.Position
			var ps []pubsub.Payload
			return r.Stream.Receive(func(ctx context.Context, f pubsub.Frame) error {
				if f.Kind != pubsub.KindMessage {
					return d(ctx, f)
				}
				if len(ps) == 0 {
					at = f.Position
				}
				if ps = append(ps, f.Payload); !f.More {
					breaking(ctx, at, ps, run)
					ps = nil
				}
				return nil
			})
		}
	})
}

// batches breaks PublishBatch of handles.
func (b *broken) batches(breaking func(inner pubsub.BatchPublisher, ctx context.Context, ps []pubsub.Payload) (int, error)) {
	b.handles(func(name string, h *handle) {
		inner := &handle{batch: h.batch}
		h.batch = func(ctx context.Context, ps []pubsub.Payload) (int, error) { return breaking(inner, ctx, ps) }
	})
}

// hole delivers a report of n lost messages before all else.
func hole(n uint64) func(deliver) deliver {
	return func(next deliver) deliver {
		told := false
		return func(ctx context.Context, f pubsub.Frame) error {
			if !told {
				told = true
				_ = next(ctx, pubsub.Frame{Kind: pubsub.KindDiscontinuity, Discontinuity: &pubsub.Discontinuity{
					Cause: pubsub.CauseBackend, Lost: n, Exact: true}})
			}
			return next(ctx, f)
		}
	}
}

// isService reports whether err is one that the suite has a service report.
func isService(err error) bool {
	return slices.ContainsFunc(serviceErrors(), func(sentinel error) bool { return errors.Is(err, sentinel) })
}

func fold(topic string) string { return strings.ToLower(topic) }

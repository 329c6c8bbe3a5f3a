package pubsub

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
)

// observe accounts for a note that is about to be handed out, and calls who
// wants to know of it. It reports false if the subscription is over.
func (s *Subscription[T]) observe(v *view[T], n *note) bool {
	if s.isKilled() {
		return false
	}
	switch {
	case n.discontinuity != nil:
		s.account(v, n.discontinuity)
	case n.state != nil:
		if f := s.topic.bus.cfg.observer.State; f != nil {
			f(s.topic.name, *n.state)
		}
	}
	if !s.cfg.hasCallback(n) {
		return true
	}
	return s.call(v, func() {
		switch {
		case n.discontinuity != nil:
			for _, f := range s.cfg.onDiscontinuity {
				f(n.discontinuity)
			}
		case n.state != nil:
			for _, f := range s.cfg.onState {
				f(*n.state)
			}
		default:
			for _, f := range s.cfg.onHeartbeat {
				f()
			}
		}
	})
}

func (c *subscribeConfig) hasCallback(n *note) bool {
	switch {
	case n.discontinuity != nil:
		return len(c.onDiscontinuity) > 0
	case n.state != nil:
		return len(c.onState) > 0
	default:
		return len(c.onHeartbeat) > 0
	}
}

// call runs f, which calls the application. A panic there ends the
// subscription, and harms nobody else.
func (s *Subscription[T]) call(v *view[T], f func()) (ok bool) {
	if p := v.pump; p != nil {
		// Close looks at busy after killing: either it sees us here, and does
		// not wait for a callback that may be its own caller, or we see that
		// it killed.
		p.busy.Store(true)
		defer p.busy.Store(false)
	}
	if s.isKilled() {
		return false
	}
	defer func() {
		if p := recover(); p != nil {
			s.topic.bus.log().LogAttrs(context.Background(), slog.LevelError, "pubsub: callback panicked; subscription ended",
				slog.String("topic", s.topic.name), slog.Any("panic", p), slog.String("stack", string(debug.Stack())))
			s.finish(fmt.Errorf("callback panicked: %v", p))
			ok = false
		}
	}()
	f()
	return true
}

// account counts what d reports lost, and tells the observer, or the log if
// nobody else is there to be told.
func (s *Subscription[T]) account(v *view[T], d *Discontinuity) {
	unobserved := len(s.cfg.onDiscontinuity) == 0 && v.pump != nil && v.pump.messagesOnly
	s.recount(func(c *counts) { c.lost.add(d) })
	s.mu.Lock()
	first := unobserved && !s.episode
	s.episode = s.episode || unobserved
	s.mu.Unlock()
	if f := s.topic.bus.cfg.observer.Discontinuity; f != nil {
		f(d)
	}
	if first {
		s.topic.bus.log().LogAttrs(context.Background(), slog.LevelWarn, "pubsub: messages lost, and no OnDiscontinuity to tell",
			slog.String("topic", d.Topic), slog.String("cause", d.Cause.String()),
			slog.Uint64("lost", d.Lost), slog.Bool("exact", d.Exact),
			slog.String("after", d.After.String()), slog.String("resume", d.Resume.String()),
			slog.Any("err", d.Err))
	}
}

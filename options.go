package pubsub

import (
	"context"
	"log/slog"
	"time"
)

// DefaultBuffer is the buffer of a bus made without [WithBuffer].
const DefaultBuffer = 256

// Option configures a [Bus].
type Option func(*config)

type config struct {
	buffer      int
	linger      time.Duration
	shareDecode bool
	logger      *slog.Logger
	observer    Observer
}

// WithBuffer sets how many messages a subscription may lag behind before its
// [OverflowPolicy] applies. It must be at least 1; the default is
// [DefaultBuffer]. The buffer is one ring per topic, shared by the topic's
// subscriptions and grown as it fills. While a topic has a subscription, the
// ring keeps the topic's newest n messages reachable, and up to 95 older ones; a
// subscription that stops in the middle of what is queued keeps up to 32 more.
// The channels of C and Events hold up to 32 messages (never more than n) each,
// in addition.
func WithBuffer(n int) Option { return func(c *config) { c.buffer = n } }

// WithLinger keeps a topic's stream open for d after its last subscription
// ended, so that a subscription that follows soon finds it established. The
// default, 0, ends the stream at once.
func WithLinger(d time.Duration) Option { return func(c *config) { c.linger = d } }

// WithSharedDecode has every message decoded once and its value given to all
// local subscribers of the topic, though T could let one of them modify what
// another sees. Use it where received values are treated as read-only.
func WithSharedDecode() Option { return func(c *config) { c.shareDecode = true } }

// WithLogger sets where the bus logs. The default is [slog.Default]. The bus
// logs discontinuities that nobody observes, at Warn, once per episode, and
// panics of callbacks, at Error.
func WithLogger(l *slog.Logger) Option { return func(c *config) { c.logger = l } }

// WithObserver sets functions that are told what happens on the bus. Given
// several times, each Observer is told, in that order.
func WithObserver(o Observer) Option {
	return func(c *config) { c.observer = c.observer.and(o) }
}

// Observer is told what happens on a [Bus]. Nil functions cost nothing. They
// are called synchronously, from many goroutines, with no lock held, and must
// be quick. They must not call Close.
type Observer struct {
	// Published: a Publish that was called with ctx took d and returned err.
	Published func(ctx context.Context, topic string, d time.Duration, err error)
	// Received: a message was handed to a subscription's reader.
	Received func(topic string, p Position)
	// Discontinuity: a subscription's reader came upon a hole.
	Discontinuity func(d *Discontinuity)
	// State: a subscription's reader came upon a change of the stream's state.
	State func(topic string, s StateChange)
}

// and returns an Observer that tells o, then p.
func (o Observer) and(p Observer) Observer {
	if f, g := o.Published, p.Published; f == nil {
		o.Published = g
	} else if g != nil {
		o.Published = func(ctx context.Context, topic string, d time.Duration, err error) {
			f(ctx, topic, d, err)
			g(ctx, topic, d, err)
		}
	}
	if f, g := o.Received, p.Received; f == nil {
		o.Received = g
	} else if g != nil {
		o.Received = func(topic string, at Position) { f(topic, at); g(topic, at) }
	}
	if f, g := o.Discontinuity, p.Discontinuity; f == nil {
		o.Discontinuity = g
	} else if g != nil {
		o.Discontinuity = func(d *Discontinuity) { f(d); g(d) }
	}
	if f, g := o.State, p.State; f == nil {
		o.State = g
	} else if g != nil {
		o.State = func(topic string, s StateChange) { f(topic, s); g(topic, s) }
	}
	return o
}

// SubscribeOption configures one subscription.
type SubscribeOption func(*subscribeConfig)

type subscribeConfig struct {
	policy          OverflowPolicy
	resume          bool
	after           Position
	private         bool
	shared          bool
	onDiscontinuity []func(*Discontinuity)
	onState         []func(StateChange)
	onHeartbeat     []func()
}

// OverflowPolicy tells what happens when a subscription is a full buffer
// behind.
type OverflowPolicy uint8

const (
	// DropOldest drops the oldest messages and reports them as a
	// [Discontinuity] with an exact count, in their place. The default.
	DropOldest OverflowPolicy = iota
	// Block makes the topic wait: publishers of the memory backend block until
	// their ctx ends; on Momento, reading stops and flow control takes over. A
	// topic's Block subscriptions share a stream of their own, so they never
	// hold up the topic's other subscriptions of the same process; a Block
	// subscription that is not read does hold up every publisher.
	Block
	// Fail ends the subscription with [ErrOverflow] after a [Discontinuity].
	Fail
)

var policyNames = [...]string{"drop-oldest", "block", "fail"}

// String returns the policy's name in lower case.
func (p OverflowPolicy) String() string { return nameOf(policyNames[:], int(p), "OverflowPolicy") }

// Overflow sets the subscription's overflow policy.
func Overflow(p OverflowPolicy) SubscribeOption {
	return func(c *subscribeConfig) { c.policy = p }
}

// ResumeAfter starts the subscription after position p instead of at the
// present: with what is still at hand of the messages that follow it, and a
// [Discontinuity] for those that are not. If the topic's shared stream is open
// and its buffer still holds the message at p, and the policy is not [Block],
// the subscription joins it; otherwise it gets a stream of its own, unless it is
// [Shared]. A zero p is no position and starts at the present.
//
// What a stream of its own replays passes through the buffer like any other
// message. If that can be more than [WithBuffer] holds, use Overflow(Block):
// with DropOldest or Fail the subscription may overflow before it is read.
//
// A position belongs to its topic. What the topic has at or before p counts as
// seen: a p of another topic may hide messages, where the backend cannot tell.
func ResumeAfter(p Position) SubscribeOption {
	return func(c *subscribeConfig) { c.resume, c.after = !p.IsZero(), p }
}

// Private gives the subscription a stream of its own.
func Private() SubscribeOption { return func(c *subscribeConfig) { c.private = true } }

// Shared keeps a subscription that resumes on the topic's shared stream; the
// backend is not asked for what was missed. With [ResumeAfter] it starts with
// the oldest message after the position that the stream's buffer still holds.
// It starts at the present if there is none, and under [Block]. What is missing
// before that is its first event, a [Discontinuity] of [CauseReconnect]; it has
// a count if it stays within a page. Shared is for many subscribers that come
// back at once, where a service limits streams.
//
// A position that the stream has not reached, such as one from another process
// that was ahead, is treated like one from an earlier life of the topic: what
// follows may have been seen before.
func Shared() SubscribeOption { return func(c *subscribeConfig) { c.shared = true } }

// OnDiscontinuity has f called for each discontinuity. Like all callbacks of
// a subscription, f runs in the stream's order, on the goroutine that reads
// the subscription (the caller of Next or All, or the one behind C or
// Events); reading waits for it. It may call anything, Close included. If it
// panics, the panic is logged and ends this subscription, with an error.
func OnDiscontinuity(f func(*Discontinuity)) SubscribeOption {
	return func(c *subscribeConfig) { c.onDiscontinuity = append(c.onDiscontinuity, f) }
}

// OnState has f called for each change of the stream's state; see
// [OnDiscontinuity] for when and where.
func OnState(f func(StateChange)) SubscribeOption {
	return func(c *subscribeConfig) { c.onState = append(c.onState, f) }
}

// OnHeartbeat has f called for each heartbeat of the stream; see
// [OnDiscontinuity] for when and where.
func OnHeartbeat(f func()) SubscribeOption {
	return func(c *subscribeConfig) { c.onHeartbeat = append(c.onHeartbeat, f) }
}

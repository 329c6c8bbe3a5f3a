package pubsub

import (
	"context"
	"fmt"
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
	bufferBytes int
	shareDecode bool
	logger      *slog.Logger
	observer    Observer
}

// WithBuffer sets how many messages a subscription may lag behind before its
// [OverflowPolicy] applies. It must be at least 1; the default is
// [DefaultBuffer].
//
// The buffer is one ring per topic. The topic's subscriptions share it, and it
// grows as it fills. It keeps the newest n messages in memory, and up to 95 older
// ones. A subscription that stops in the middle of what is queued keeps up to 32
// more. The channels of C and Events hold up to 32 messages each in addition,
// never more than n.
func WithBuffer(n int) Option { return func(c *config) { c.buffer = n } }

// WithBufferBytes bounds what the buffer of a topic holds besides [WithBuffer]:
// when the payloads of the messages that it keeps come to more than n bytes, it
// lets go of the oldest ones that all subscriptions have read. What a
// subscription has still to read stays, up to WithBuffer's number of messages.
// The default, 0, bounds only the number. It is for large messages: with the
// default buffer, 256 messages of a megabyte stay in memory until others take
// their place.
func WithBufferBytes(n int) Option { return func(c *config) { c.bufferBytes = n } }

// WithLinger keeps a topic's stream open for d after its last subscription
// ended, so that a subscription that follows soon finds it established. The
// default, 0, ends the stream at once.
func WithLinger(d time.Duration) Option { return func(c *config) { c.linger = d } }

// WithSharedDecode has every message decoded once and its value given to all
// local subscribers of the topic, though T could let one of them modify what
// another sees. Use it where received values are treated as read-only.
func WithSharedDecode() Option { return func(c *config) { c.shareDecode = true } }

// WithLogger sets where the bus logs. The default is [slog.Default]. The bus
// logs what nobody else would tell. At Warn: holes that no callback and no form
// of reading is told of, a line when they begin and one with their sum; messages
// dropped by an end that nobody asked for; subscriptions that are not read while
// messages wait. At Error: panics of callbacks, and backends that do not end a
// stream.
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
	_ struct{} // fields will be added: use their names

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
	name            string
	policy          OverflowPolicy
	from            Start
	private         bool
	shared          bool
	eventually      bool
	invalid         error
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
	// Block makes the topic wait. Over memory, Publish waits for room until its
	// ctx ends; then the message is accepted, and reported lost to these
	// subscriptions. Over a network, the stream stops reading. A topic's Block
	// subscriptions share a stream of their own, so they do not hold up its
	// other subscriptions. One that is not read holds up every publisher.
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

// Named gives the subscription a name, which tells it from others in [Stats], in
// logs, on the debug page and in the errors of publishers that wait for it. The
// default is the file and line of the call of Subscribe.
func Named(name string) SubscribeOption { return func(c *subscribeConfig) { c.name = name } }

// ResumeAfter starts the subscription behind position p instead of at the
// present: with what is still at hand of the messages that follow it, and a
// [Discontinuity] for those that are not. It reads an open stream of the topic
// whose buffer still holds the message at p, or one that is on its way there.
// Otherwise it opens a stream, which others who resume can read as well; see
// [Shared]. A zero p is no position: the subscription starts at the present.
//
// What a stream replays passes through the buffer. If it is more than
// [WithBuffer] holds, a reader that is slower than the replay loses some of it
// and is told. Make the buffer as large as what may be replayed. Or use
// Overflow(Block), and the replay waits for the reader; but then so do the
// topic's publishers, for as long as the subscription lives.
//
// A position belongs to its topic. What the topic has at or before p counts as
// seen: a p of another topic may hide messages, where the backend cannot tell.
func ResumeAfter(p Position) SubscribeOption {
	return func(c *subscribeConfig) { c.start(Start{After: p}) }
}

// FromOldest starts the subscription with the oldest message that is still at
// hand, in the backend or in the buffer of an open stream. What is older is not
// reported lost.
func FromOldest() SubscribeOption {
	return func(c *subscribeConfig) { c.start(Start{Oldest: true}) }
}

// FromLast starts the subscription with up to n of the newest messages, as many
// as are still at hand, and goes on with what comes. What is older is not
// reported lost. FromLast(1) gives the last value to those who come late. An n
// of 0 starts at the present.
func FromLast(n int) SubscribeOption {
	return func(c *subscribeConfig) {
		if n < 0 {
			c.invalid = fmt.Errorf("%w: FromLast(%d) is negative", ErrInvalidArgument, n)
			return
		}
		c.start(Start{Last: uint64(n)})
	}
}

// start sets where to start. A zero Start changes nothing.
func (c *subscribeConfig) start(from Start) {
	switch {
	case from == Start{}:
	case c.from != Start{} && c.from != from:
		c.invalid = fmt.Errorf("%w: ResumeAfter, FromOldest and FromLast exclude each other", ErrInvalidArgument)
	default:
		c.from = from
	}
}

// Eventually has Subscribe succeed while the service cannot be reached. The
// stream opens when it can. A state of [Reconnecting] comes first, and one of
// [Resumed] when it is open. Before that comes a [Discontinuity], since nobody
// can tell what passed meanwhile; not with [ResumeAfter], whose position tells.
// Between the attempts are 0.1 to 10 seconds. A permanent error still fails
// Subscribe, or ends the subscription later.
func Eventually() SubscribeOption { return func(c *subscribeConfig) { c.eventually = true } }

// Private gives the subscription a stream of its own.
func Private() SubscribeOption { return func(c *subscribeConfig) { c.private = true } }

// Shared is for [ResumeAfter], where a service limits streams: the subscription
// reads the topic's shared stream instead of opening one for the replay. It
// starts with the oldest message after the position that this stream's buffer
// still holds. What is missing before that is its first event: a [Discontinuity]
// of [CauseReconnect], with a count if it stays within a page.
//
// If the buffer holds nothing after the position, the subscription starts at the
// present. So it does under [Block]. A position that the stream has not reached
// is treated like one from an earlier life of the topic: what follows may have
// been seen before.
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
// [OnDiscontinuity] for when and where. A subscription that is overtaken is told
// only the newest of the changes that it skips, but never [Resumed] without
// [Reconnecting]. One that joins an outage is told Reconnecting first.
func OnState(f func(StateChange)) SubscribeOption {
	return func(c *subscribeConfig) { c.onState = append(c.onState, f) }
}

// OnHeartbeat has f called for each heartbeat of the stream; see
// [OnDiscontinuity] for when and where.
func OnHeartbeat(f func()) SubscribeOption {
	return func(c *subscribeConfig) { c.onHeartbeat = append(c.onHeartbeat, f) }
}

// check refuses options of New that cannot work.
func (c *config) check() error {
	switch {
	case c.buffer < 1:
		return fmt.Errorf("%w: WithBuffer(%d): a buffer holds at least 1 message", ErrInvalidArgument, c.buffer)
	case c.buffer > maxBuffer:
		return fmt.Errorf("%w: WithBuffer(%d): a buffer holds at most %d messages", ErrInvalidArgument, c.buffer, maxBuffer)
	case c.bufferBytes < 0:
		return fmt.Errorf("%w: WithBufferBytes(%d) is negative", ErrInvalidArgument, c.bufferBytes)
	case c.linger < 0:
		return fmt.Errorf("%w: WithLinger(%v) is negative", ErrInvalidArgument, c.linger)
	default:
		return nil
	}
}

// maxBuffer keeps the arithmetic of the smallest platforms safe.
const maxBuffer = 1 << 28

// newSubscribeConfig applies and checks the options of a Subscribe.
func newSubscribeConfig(opts []SubscribeOption) (subscribeConfig, error) {
	var cfg subscribeConfig
	for _, o := range opts {
		if o == nil {
			return cfg, fmt.Errorf("%w: nil SubscribeOption", ErrInvalidArgument)
		}
		o(&cfg)
	}
	switch {
	case cfg.invalid != nil:
		return cfg, cfg.invalid
	case cfg.policy > Fail:
		return cfg, fmt.Errorf("%w: Overflow(%v): use DropOldest, Block or Fail", ErrInvalidArgument, cfg.policy)
	case cfg.private && cfg.shared:
		return cfg, fmt.Errorf("%w: Private and Shared exclude each other", ErrInvalidArgument)
	case cfg.shared && cfg.from != Start{} && cfg.from.After.IsZero():
		return cfg, fmt.Errorf("%w: Shared goes with ResumeAfter only, not with FromOldest or FromLast", ErrInvalidArgument)
	}
	for _, f := range cfg.onDiscontinuity {
		if f == nil {
			return cfg, fmt.Errorf("%w: OnDiscontinuity(nil)", ErrInvalidArgument)
		}
	}
	for _, f := range cfg.onState {
		if f == nil {
			return cfg, fmt.Errorf("%w: OnState(nil)", ErrInvalidArgument)
		}
	}
	for _, f := range cfg.onHeartbeat {
		if f == nil {
			return cfg, fmt.Errorf("%w: OnHeartbeat(nil)", ErrInvalidArgument)
		}
	}
	return cfg, nil
}

package main

import (
	"context"

	"github.com/topicbus/pubsub"
)

// buffer is how far a viewer may lag behind before it misses messages, and how
// far back one who returns can resume.
const buffer = 1024

// feed keeps the stream of one topic open, from start to end of the program,
// so that the topic's viewers all share it, and a viewer who was away for a
// moment finds what it missed in the bus's buffer.
type feed struct {
	bus   pubsub.Bus[Quote]
	topic string
	sub   *pubsub.Subscription[Quote]
}

func openFeed(ctx context.Context, bus pubsub.Bus[Quote], topic string) (*feed, error) {
	sub, err := bus.Subscribe(ctx, topic)
	if err != nil {
		return nil, err
	}
	return &feed{bus: bus, topic: topic, sub: sub}, nil
}

// run follows the topic, in which it has no interest. It returns nil after the
// end of openFeed's ctx, and otherwise the permanent error that ended the stream.
func (f *feed) run(ctx context.Context) error {
	for range f.sub.All() {
	}
	if ctx.Err() != nil {
		return nil
	}
	return f.sub.Err()
}

// view subscribes a viewer who has seen everything up to after, or who is new
// if after is zero.
//
// Without Shared a viewer who was away for too long would get another stream,
// to ask the backend. It is not worth that: after a restart of this program
// all return at once, and a service like Momento limits the number of streams.
func (f *feed) view(ctx context.Context, after pubsub.Position) (*pubsub.Subscription[Quote], error) {
	return f.bus.Subscribe(ctx, f.topic, pubsub.ResumeAfter(after), pubsub.Shared())
}

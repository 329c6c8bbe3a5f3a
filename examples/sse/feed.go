package main

import (
	"context"
	"errors"
	"sync"

	"github.com/topicbus/pubsub"
)

const (
	// buffer is how far a viewer may lag behind before it misses messages.
	buffer = 1024
	// replay is how far back a viewer who returns can resume. It is well below
	// buffer, so that a position found here cannot leave the ring before the
	// viewer's subscription has found it too.
	replay = buffer / 2
)

// feed keeps the stream of one topic open, from start to end of the program,
// so that the topic's viewers all share it, and a viewer who was away for a
// moment finds what it missed in the ring.
//
// ResumeAfter with a position that the ring does not hold would open another
// stream, to ask the backend. A viewer is not worth that: after a restart of
// this program they all return at once, and a service like Momento limits the
// number of streams. So feed knows which positions the ring holds; for others
// it gives what there is and reports the rest as a gap.
type feed struct {
	bus   pubsub.Bus[Quote]
	topic string
	sub   *pubsub.Subscription[Quote]

	mu     sync.Mutex
	recent []pubsub.Position // of the newest messages, at most replay
}

func openFeed(ctx context.Context, bus pubsub.Bus[Quote], topic string) (*feed, error) {
	sub, err := bus.Subscribe(ctx, topic)
	if err != nil {
		return nil, err
	}
	return &feed{bus: bus, topic: topic, sub: sub}, nil
}

// run follows the topic. It returns nil after the end of openFeed's ctx, and
// otherwise the permanent error that ended the stream.
func (f *feed) run(ctx context.Context) error {
	for m, err := range f.sub.All() {
		if err == nil && !m.Position.IsZero() {
			f.received(m.Position)
		}
		// Gaps need no care here: viewers hear of them by their own
		// subscriptions, and an end shows below.
	}
	if ctx.Err() != nil {
		return nil
	}
	return f.sub.Err()
}

func (f *feed) received(at pubsub.Position) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.recent) == replay {
		f.recent = f.recent[1:] // append moves the rest to new memory now and then
	}
	f.recent = append(f.recent, at)
}

// view subscribes a viewer who has seen everything up to after, or who is new
// if after is zero. The gap is what the viewer misses before its subscription
// starts, or nil.
func (f *feed) view(ctx context.Context, after pubsub.Position) (*pubsub.Subscription[Quote], *pubsub.Discontinuity, error) {
	start, gap := f.resume(after)
	sub, err := f.bus.Subscribe(ctx, f.topic, pubsub.ResumeAfter(start)) // a zero start is the present
	return sub, gap, err
}

func (f *feed) resume(after pubsub.Position) (start pubsub.Position, gap *pubsub.Discontinuity) {
	if after.IsZero() {
		return after, nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	gap = &pubsub.Discontinuity{Topic: f.topic, Cause: pubsub.CauseReconnect, After: after, Err: errTooLongAway}
	if len(f.recent) == 0 {
		return pubsub.Position{}, gap
	}
	oldest, newest := f.recent[0], f.recent[len(f.recent)-1]
	switch {
	case after.Compare(newest) > 0: // of another life of the topic, or made up
		return pubsub.Position{}, gap
	case after.Compare(oldest) >= 0:
		return after, nil
	}
	if after.Page == oldest.Page { // otherwise nobody can count
		gap.Lost, gap.Exact = oldest.Sequence-after.Sequence, true
	}
	return oldest, gap
}

var errTooLongAway = errors.New("the viewer was away for too long")

package pubsub

import "context"

// Backend carries payloads between publishers and subscribers. It never sees
// a Go type other than [Payload], and a [Bus] never sees a transport.
// github.com/topicbus/pubsub/pubsubtest.Run checks every duty listed here.
//
// What the Bus guarantees to a Backend:
//   - topic is valid UTF-8 and not blank; a Text payload is valid UTF-8;
//     ctx is not nil and was not done when the call was made;
//   - the payload's bytes are not modified after Publish was called with them;
//   - Receive is called exactly once on every Stream that Subscribe returned.
//
// What a Backend owes:
//   - all methods may be called from many goroutines at once;
//   - calls return soon after their ctx ends, with an error in which errors.Is
//     finds ctx's error;
//   - errors match the sentinels of this package where one fits, and keep
//     their own cause reachable by errors.As;
//   - a service that cannot be reached is [ErrUnavailable]; a closed backend
//     answers every call, and ends every stream, with [ErrClosed];
//   - a Backend does not modify a payload, nor reuse its memory afterwards.
type Backend interface {
	// Publish hands p to the topic. A nil error means that it was accepted;
	// each stream of the topic then delivers it or marks it lost. Messages of
	// one caller keep their order. Publish does not retry on its own.
	Publish(ctx context.Context, topic string, p Payload) error

	// Subscribe opens a stream of the topic. A nil error means it is
	// established: everything accepted after Subscribe returned reaches the
	// Stream, in the topic's order. ctx governs the Stream's whole life.
	//
	// A zero after starts with what is accepted from now on. Otherwise the
	// Stream starts behind that position: with what the backend still has of
	// the messages that follow it, and a discontinuity for those it has not.
	//
	// Subscribe fails fast: it does not retry a first failure for long.
	Subscribe(ctx context.Context, topic string, after Position) (Stream, error)
}

// Stream is one open subscription of a [Backend].
type Stream interface {
	// Receive calls deliver for each frame, in the topic's order, one at a
	// time, until the stream ends. It returns nil soon after the ctx of
	// Subscribe ended, and otherwise the permanent error that ended it
	// (passing breaks are the backend's to mend; it tells of them with a state
	// of Reconnecting for each attempt, with Err and Attempt from 1, and one of
	// Resumed). Frames are gap-marked and free of duplicates: behind a hole the
	// backend delivers a discontinuity first, and it never delivers a numbered
	// message twice.
	//
	// deliver may be called from any goroutine. It may block (back-pressure)
	// until the ctx it is given ends; that ctx is the publisher's where the
	// publisher waits for it, and the stream's otherwise. If deliver returns
	// an error then it did not take the frame, and marked the place itself;
	// the backend goes on with the next frame. After Receive has returned
	// deliver does nothing, so a call that is under way may still finish.
	Receive(deliver func(ctx context.Context, f Frame) error) error
}

// Frame is what a [Stream] delivers. Kind tells which fields are set.
type Frame struct {
	Kind Kind

	// KindMessage. The Payload's bytes must not change after delivery.
	Payload   Payload
	Publisher string
	Position  Position

	// KindDiscontinuity. The Bus fills in its Topic. Must not change after
	// delivery.
	Discontinuity *Discontinuity

	// KindState. Must not change after delivery.
	State *StateChange
}

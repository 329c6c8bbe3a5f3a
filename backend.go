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
//   - a Backend does not modify a payload, nor reuse its memory afterwards;
//   - an error of Publish tells with [WithOutcome] what became of the message,
//     where the backend knows.
//
// What a Backend may do besides, by implementing an interface of one method:
//   - [TopicBackend]: publish through a topic that was looked up once;
//   - [BatchPublisher], of the [TopicPublisher] that it then returns: publish
//     many messages at once;
//   - [ValueCarrier]: carry Go values;
//   - [Flusher] and [Holder], of its streams: tell what they hold back;
//   - [RunStream], of its streams: deliver many messages in one call.
type Backend interface {
	// Publish hands p to the topic. A nil error means that it was accepted;
	// each stream of the topic then delivers it or marks it lost. Messages of
	// one caller keep their order. Publish does not retry on its own.
	Publish(ctx context.Context, topic string, p Payload) error

	// Subscribe opens a stream of the topic, which begins where from says. A
	// nil error means that it is established: everything accepted after
	// Subscribe returned reaches the Stream, in the topic's order. ctx governs
	// the Stream's whole life.
	//
	// Subscribe fails fast: it does not retry a first failure for long.
	Subscribe(ctx context.Context, topic string, from Start) (Stream, error)
}

// Start is where a [Stream] begins. The zero Start begins with what is
// accepted from now on. At most one field is set.
type Start struct {
	// After has the stream begin behind that position: with what the backend
	// still has of the messages that follow it, and a discontinuity for those
	// that it has not.
	After Position
	// Last has it begin with up to so many of the newest messages, as many as
	// the backend still has. What is older is not reported lost.
	Last uint64
	// Oldest has it begin with the oldest message that the backend still has.
	// What is older is not reported lost.
	Oldest bool
}

// Stream is one open subscription of a [Backend].
type Stream interface {
	// Start is the position that the stream begins behind: a later Subscribe
	// with it as Start.After gets the same messages, as far as they are still
	// there. On a topic without messages it has the topic's page and Sequence
	// 0. It is zero if the backend cannot tell. It does not change.
	Start() Position

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

	// More promises, of a message, that deliver is called with another one at
	// once. The Bus may let its readers wait for that one: waking them once for
	// many messages is what makes a batch cheap.
	More bool

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

// TopicBackend is a [Backend] that can look a topic up once, for many
// publishes.
type TopicBackend interface {
	// Topic returns a publisher to the topic. It does no I/O, and what it
	// returns needs no Close. via is the Backend that the Bus was given: if that
	// is another one, which embeds this one and may have a Publish of its own,
	// Topic returns nil and the Bus publishes by name.
	Topic(via Backend, name string) TopicPublisher
}

// TopicPublisher publishes to one topic of a [TopicBackend].
type TopicPublisher interface {
	// Publish does what Backend.Publish does.
	Publish(ctx context.Context, p Payload) error
}

// BatchPublisher is a [TopicPublisher] that can publish many messages at once.
type BatchPublisher interface {
	// PublishBatch publishes the payloads in their order. It returns how many
	// were accepted: all of them, or with an error the first so many. The error
	// is about the payload at that index; those behind it were not accepted,
	// unless the error's outcome is unknown. It does not keep ps.
	PublishBatch(ctx context.Context, ps []Payload) (accepted int, err error)
}

// ValueCarrier is a [Backend] that hands a [Payload] on as it is, inside the
// process, so that it can carry Go values ([GoValue]). It must not put other Data
// into such a payload: that is where part of the value is.
type ValueCarrier interface {
	CarriesValues() bool
}

// Flusher is a [Stream] that may hold back messages that were accepted, for
// example those that it replays.
type Flusher interface {
	// Flush has done called, once, when everything that was accepted before the
	// call, as far as the backend knows, has been delivered. It is called
	// between two frames by whoever may call deliver, before Flush returns if
	// nothing is held. It is not called if the stream ends before.
	Flush(done func())
}

// Holder is a [Stream] that can count what it holds back.
type Holder interface {
	// Held is how many messages were accepted for the stream and neither
	// delivered nor reported lost so far, as far as the backend knows. When
	// deliver is called, the frame that it is called with still counts, and none
	// of those before it. When Receive has returned Held is what the end threw
	// away, and stays that. It may be called at any time, also by deliver.
	Held() uint64
}

// RunStream is a [Stream] that can deliver runs of messages: such as stand one
// behind the other and have no Publisher.
type RunStream interface {
	// ReceiveRuns does what Receive does, and calls run in place of deliver where
	// it has a run. at is the position of the first message; those of the others
	// follow it. A Holder counts no message of a run. If run returns an error then it took the first so many, did not
	// take the next one, and marked the place of that itself; whether the backend
	// goes on with those behind it is for the backend to say. It does not keep ps.
	ReceiveRuns(deliver func(ctx context.Context, f Frame) error, run func(ctx context.Context, at Position, ps []Payload) (taken int, err error)) error
}

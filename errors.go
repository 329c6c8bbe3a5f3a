package pubsub

import (
	"errors"
	"fmt"
	"strconv"
)

// The errors of this package, to be tested with errors.Is. Errors of Publish,
// Subscribe, Pipe, Next, Drain, Wait and Err are of type *[Error] and keep their cause:
// context errors stay visible to errors.Is, a backend's own error types to
// errors.As.
var (
	// ErrClosed: the bus, the subscription or the backend is closed.
	ErrClosed = errors.New("closed")
	// ErrInvalidTopic: the topic is blank or not valid UTF-8.
	ErrInvalidTopic = errors.New("invalid topic")
	// ErrInvalidPayload: a Text payload is not valid UTF-8.
	ErrInvalidPayload = errors.New("invalid payload")
	// ErrPayloadTooLarge: the payload is larger than the backend takes.
	ErrPayloadTooLarge = errors.New("payload too large")
	// ErrInvalidArgument: an argument or option that cannot work, such as nil.
	ErrInvalidArgument = errors.New("invalid argument")
	// ErrNotFound: the backend's namespace (a Momento cache) does not exist.
	ErrNotFound = errors.New("not found")
	// ErrUnauthenticated: the backend does not accept the credentials.
	ErrUnauthenticated = errors.New("unauthenticated")
	// ErrPermissionDenied: the credentials do not permit this.
	ErrPermissionDenied = errors.New("permission denied")
	// ErrLimitExceeded: a rate, quota or number of streams is exhausted for now.
	ErrLimitExceeded = errors.New("limit exceeded")
	// ErrUnavailable: the backend cannot be reached or failed; try again later.
	ErrUnavailable = errors.New("unavailable")
	// ErrOverflow: the subscription fell further behind than its buffer.
	ErrOverflow = errors.New("overflow")
	// ErrCodec: the Codec returned an error or panicked.
	ErrCodec = errors.New("codec failed")
)

// Error is the error type of this package's operations, in the manner of
// [io/fs.PathError].
type Error struct {
	Op    string // "publish", "subscribe", "pipe", "receive", "drain" or "wait"
	Topic string // "" if the operation concerns none
	Err   error  // never nil
}

// Error returns "pubsub: op "topic": cause".
func (e *Error) Error() string {
	s := "pubsub: " + e.Op
	if e.Topic != "" {
		s += " " + quoted(e.Topic)
	}
	return s + ": " + e.Err.Error()
}

// quoted is a text as an error shows it: one that somebody made endless must not
// make endless errors.
func quoted(text string) string {
	const most = 200
	if len(text) <= most {
		return strconv.Quote(text)
	}
	return strconv.Quote(text[:most]) + fmt.Sprintf("... (%d bytes)", len(text))
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// DroppedError tells how many messages an end threw away unread; see
// [Subscription.Drain].
type DroppedError struct {
	Dropped uint64
	Err     error // why: ctx's error, usually
}

// Error returns the number of messages and why they were dropped.
func (e *DroppedError) Error() string {
	switch e.Dropped {
	case 0:
		return e.Err.Error()
	case 1:
		return "1 message dropped: " + e.Err.Error()
	}
	return strconv.FormatUint(e.Dropped, 10) + " messages dropped: " + e.Err.Error()
}

// Unwrap returns Err.
func (e *DroppedError) Unwrap() error { return e.Err }

// Outcome tells what became of a message whose publishing returned an error.
type Outcome uint8

const (
	// OutcomeUnknown: the message may have been accepted or not. Publishing it
	// again may duplicate it.
	OutcomeUnknown Outcome = iota
	// NotAccepted: nobody will receive the message. Publishing it again cannot
	// duplicate it.
	NotAccepted
	// Accepted: the backend took the message all the same, as after a nil
	// error. Publishing it again duplicates it.
	Accepted
)

var outcomeNames = [...]string{"outcome unknown", "not accepted", "accepted"}

// String returns "outcome unknown", "not accepted" or "accepted".
func (o Outcome) String() string { return nameOf(outcomeNames[:], int(o), "Outcome") }

// OutcomeOf tells what became of the message that err is about. err is an error
// of Publish, PublishAll or Pipe; for the latter two the message is the first
// that is not counted as accepted. A nil err is Accepted. An err that says
// nothing is OutcomeUnknown.
func OutcomeOf(err error) Outcome {
	if err == nil {
		return Accepted
	}
	var o interface{ Outcome() Outcome }
	if errors.As(err, &o) {
		return o.Outcome()
	}
	return OutcomeUnknown
}

// WithOutcome returns err, with its text and its chain, such that [OutcomeOf]
// returns o. It is for backends. A nil err stays nil.
func WithOutcome(err error, o Outcome) error {
	if err == nil {
		return nil
	}
	return &outcomeError{err, o}
}

type outcomeError struct {
	error
	outcome Outcome
}

func (e *outcomeError) Unwrap() error    { return e.error }
func (e *outcomeError) Outcome() Outcome { return e.outcome }

package pubsub

import (
	"errors"
	"strconv"
)

// The errors of this package, to be tested with errors.Is. Errors of Publish,
// Subscribe, Pipe and Next are of type *[Error] and keep their cause:
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
	Op    string // "publish", "subscribe", "pipe", "receive" or "drain"
	Topic string // "" if the operation concerns none
	Err   error  // never nil
}

// Error returns "pubsub: op "topic": cause".
func (e *Error) Error() string {
	s := "pubsub: " + e.Op
	if e.Topic != "" {
		s += " " + strconv.Quote(e.Topic)
	}
	return s + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

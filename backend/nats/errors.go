package nats

import (
	"context"
	"errors"
	"fmt"
	"strings"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/topicbus/pubsub"
)

var (
	errClosed  = fmt.Errorf("nats backend: %w", pubsub.ErrClosed)
	errTimeout = fmt.Errorf("%w: no answer within the timeout", pubsub.ErrUnavailable)
	errStalled = fmt.Errorf("%w: nothing received within the stall timeout", pubsub.ErrUnavailable)
	errGap     = fmt.Errorf("%w: messages were lost between server and client", pubsub.ErrUnavailable)
	errUnruly  = fmt.Errorf("%w: the stream was deleted and made again, over and over", pubsub.ErrUnavailable)
)

// meaning is what an error amounts to, and what it says about a message whose
// publishing it ended.
type meaning struct {
	sentinel error
	outcome  pubsub.Outcome
}

// codes maps the codes of JetStream's answers. An answer says that the server
// refused the message. A code that is not listed counts as unavailable: what is
// unknown may pass.
var codes = map[jetstream.ErrorCode]error{
	jetstream.JSErrCodeStreamNotFound:                pubsub.ErrNotFound,
	jetstream.JSErrCodeJetStreamNotEnabled:           pubsub.ErrNotFound, // in the server
	jetstream.JSErrCodeJetStreamNotEnabledForAccount: pubsub.ErrNotFound,
	jetstream.JSErrCodeBadRequest:                    pubsub.ErrInvalidArgument,
	codeInvalidJSON:                                  pubsub.ErrInvalidArgument,
	codeInvalidStreamConfig:                          pubsub.ErrInvalidArgument,
	codeReplicasNotSupported:                         pubsub.ErrInvalidArgument,
	codeReplicasTooMany:                              pubsub.ErrInvalidArgument,
	codeWrongStream:                                  pubsub.ErrInvalidArgument, // another stream has the subject
	codeSubjectOverlap:                               pubsub.ErrInvalidArgument,
	codeInactiveThreshold:                            pubsub.ErrInvalidArgument, // the stream does not let consumers be as they must
	codeNotACounter:                                  pubsub.ErrInvalidArgument, // the stream takes counters only
	jetstream.JSErrCodeMaximumConsumersLimit:         pubsub.ErrLimitExceeded,
	codeMaximumStreams:                               pubsub.ErrLimitExceeded,
	codeAccountResources:                             pubsub.ErrLimitExceeded,
	codeInsufficientResources:                        pubsub.ErrLimitExceeded,
	codeMemoryResources:                              pubsub.ErrLimitExceeded,
	codeStorageResources:                             pubsub.ErrLimitExceeded,
	codeStoreFailed:                                  pubsub.ErrLimitExceeded, // the stream's limits, or the disk is full
	codeMessageTooLarge:                              pubsub.ErrPayloadTooLarge,
}

// Codes of the server to which the client library gives no name.
const (
	codeAccountResources      jetstream.ErrorCode = 10002
	codeInsufficientResources jetstream.ErrorCode = 10023
	codeInvalidJSON           jetstream.ErrorCode = 10025
	codeMaximumStreams        jetstream.ErrorCode = 10027
	codeMemoryResources       jetstream.ErrorCode = 10028
	codeStorageResources      jetstream.ErrorCode = 10047
	codeInvalidStreamConfig   jetstream.ErrorCode = 10052
	codeMessageTooLarge       jetstream.ErrorCode = 10054
	codeWrongStream           jetstream.ErrorCode = 10060
	codeSubjectOverlap        jetstream.ErrorCode = 10065
	codeReplicasNotSupported  jetstream.ErrorCode = 10074
	codeStoreFailed           jetstream.ErrorCode = 10077
	codeReplicasTooMany       jetstream.ErrorCode = 10117
	codeInactiveThreshold     jetstream.ErrorCode = 10153
	codeNotACounter           jetstream.ErrorCode = 10169
)

// clientErrors maps the client library's own errors, the first that fits. One
// that is not listed counts as unavailable, with an unknown outcome. Those that
// end a connection leave the outcome of what was under way unknown.
var clientErrors = []struct {
	err error
	meaning
}{
	{natsgo.ErrAuthorization, meaning{pubsub.ErrUnauthenticated, pubsub.OutcomeUnknown}},
	{natsgo.ErrAuthExpired, meaning{pubsub.ErrUnauthenticated, pubsub.OutcomeUnknown}},
	{natsgo.ErrAuthRevoked, meaning{pubsub.ErrUnauthenticated, pubsub.OutcomeUnknown}},
	{natsgo.ErrAccountAuthExpired, meaning{pubsub.ErrUnauthenticated, pubsub.OutcomeUnknown}},
	{natsgo.ErrPermissionViolation, meaning{pubsub.ErrPermissionDenied, pubsub.OutcomeUnknown}},
	{natsgo.ErrMaxPayload, meaning{pubsub.ErrPayloadTooLarge, pubsub.NotAccepted}},
	{natsgo.ErrBadSubject, meaning{pubsub.ErrInvalidTopic, pubsub.NotAccepted}},
	{natsgo.ErrHeadersNotSupported, meaning{pubsub.ErrInvalidArgument, pubsub.NotAccepted}},
	{jetstream.ErrNoStreamResponse, meaning{pubsub.ErrUnavailable, pubsub.NotAccepted}},
	{natsgo.ErrNoResponders, meaning{pubsub.ErrUnavailable, pubsub.NotAccepted}},
	{natsgo.ErrReconnectBufExceeded, meaning{pubsub.ErrUnavailable, pubsub.NotAccepted}},
	{natsgo.ErrConnectionDraining, meaning{pubsub.ErrUnavailable, pubsub.NotAccepted}},
	{natsgo.ErrMaxConnectionsExceeded, meaning{pubsub.ErrLimitExceeded, pubsub.OutcomeUnknown}},
	{natsgo.ErrMaxAccountConnectionsExceeded, meaning{pubsub.ErrLimitExceeded, pubsub.OutcomeUnknown}},
}

// meaningOf finds what an error of the client library amounts to.
func meaningOf(err error) meaning {
	var api *jetstream.APIError
	if errors.As(err, &api) {
		if sentinel, ok := codes[api.ErrorCode]; ok {
			return meaning{sentinel, pubsub.NotAccepted}
		}
		return meaning{pubsub.ErrUnavailable, pubsub.NotAccepted}
	}
	for _, row := range clientErrors {
		if errors.Is(err, row.err) {
			return row.meaning
		}
	}
	// Said while connecting, the client library hands it on as a text.
	text := strings.ToLower(err.Error())
	for _, refusal := range []string{
		natsgo.AUTHORIZATION_ERR, natsgo.AUTHENTICATION_EXPIRED_ERR, natsgo.AUTHENTICATION_REVOKED_ERR, natsgo.ACCOUNT_AUTHENTICATION_EXPIRED_ERR,
	} {
		if strings.Contains(text, refusal) {
			return meaning{pubsub.ErrUnauthenticated, pubsub.OutcomeUnknown}
		}
	}
	return meaning{pubsub.ErrUnavailable, pubsub.OutcomeUnknown}
}

// translate gives an error its meaning. user is the caller's ctx, and call the
// one made of it, which may have been ended for a reason of our own.
func translate(user, call context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, pubsub.ErrClosed):
		return err
	case user.Err() != nil:
		if cause := context.Cause(user); errors.Is(cause, pubsub.ErrClosed) {
			return cause
		}
		if errors.Is(err, user.Err()) {
			return err
		}
		return &serviceError{sentinel: user.Err(), cause: err}
	case call.Err() != nil && context.Cause(call) != call.Err():
		err = context.Cause(call) // ours
		if deniedPublish(err) {
			return pubsub.WithOutcome(err, pubsub.NotAccepted)
		}
		return err
	case translated(err):
		return err
	}
	m := meaningOf(err)
	return pubsub.WithOutcome(&serviceError{sentinel: m.sentinel, cause: err}, m.outcome)
}

// deniedPublish reports whether err says that the client may not publish to a
// subject. That it may not listen for answers tells nothing of what it
// published.
func deniedPublish(err error) bool {
	return errors.Is(err, natsgo.ErrPermissionViolation) && strings.Contains(err.Error(), "Violation for Publish")
}

// translated reports whether err has been given its meaning.
func translated(err error) bool { return permanent(err) || passing(err) }

// passing reports whether err may be mended by trying again.
func passing(err error) bool {
	return errors.Is(err, pubsub.ErrUnavailable) || errors.Is(err, pubsub.ErrLimitExceeded) || errors.Is(err, pubsub.ErrPayloadTooLarge)
}

// permanent reports whether err ends a subscription: trying again cannot help.
// A connection that broke can come back, whatever the reason.
func permanent(err error) bool {
	var broke *breakError
	if errors.As(err, &broke) {
		return false
	}
	for _, sentinel := range []error{
		pubsub.ErrUnauthenticated, pubsub.ErrPermissionDenied, pubsub.ErrNotFound, pubsub.ErrInvalidArgument, pubsub.ErrInvalidTopic, pubsub.ErrClosed,
	} {
		if errors.Is(err, sentinel) {
			return true
		}
	}
	return false
}

// serviceError is an error of the client library with the pubsub error it
// amounts to. Both stay visible to errors.Is and errors.As.
type serviceError struct {
	sentinel error
	cause    error
}

func (e *serviceError) Error() string {
	return e.sentinel.Error() + ": " + strings.TrimPrefix(e.cause.Error(), "nats: ")
}

func (e *serviceError) Unwrap() []error { return []error{e.sentinel, e.cause} }

// breakError says that the connection broke, or a stream's consumer went.
type breakError struct {
	what  string
	cause error // nil if unknown
}

func (e *breakError) Error() string {
	s := pubsub.ErrUnavailable.Error() + ": " + e.what
	if e.cause != nil {
		s += ": " + strings.TrimPrefix(e.cause.Error(), "nats: ")
	}
	return s
}

func (e *breakError) Unwrap() []error {
	if e.cause == nil {
		return []error{pubsub.ErrUnavailable}
	}
	return []error{pubsub.ErrUnavailable, e.cause}
}

// invalid returns an error about an argument that cannot work.
func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: %s", pubsub.ErrInvalidArgument, fmt.Sprintf(format, args...))
}

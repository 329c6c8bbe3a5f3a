package momento

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	sdk "github.com/momentohq/client-sdk-go/momento"
	"github.com/topicbus/pubsub"
	"google.golang.org/grpc/status"
)

var (
	errClosed    = fmt.Errorf("momento backend: %w", pubsub.ErrClosed)
	errNoValue   = errors.New("the service sent an item without a value")
	errMuteStart = fmt.Errorf("%w: no first message within the subscribe timeout", pubsub.ErrUnavailable)
	errStalled   = fmt.Errorf("%w: nothing received within the stall timeout", pubsub.ErrUnavailable)
)

// deadlineSlack is by how much the service may be ahead of a ctx's deadline.
const deadlineSlack = 10 * time.Millisecond

// sentinels maps the SDK's error codes to the errors of package pubsub, if it
// is the service that speaks. A code that is not listed counts as unavailable:
// what is unknown may pass. So does BadRequestError, which is what the SDK makes
// of a method that is not implemented and of numbers that are out of range: the
// first is what proxies and services that are being replaced answer.
var sentinels = map[string]error{
	sdk.AuthenticationError:          pubsub.ErrUnauthenticated,
	sdk.PermissionError:              pubsub.ErrPermissionDenied,
	sdk.CacheNotFoundError:           pubsub.ErrNotFound,
	sdk.StoreNotFoundError:           pubsub.ErrNotFound,
	sdk.ItemNotFoundError:            pubsub.ErrNotFound,
	sdk.InvalidArgumentError:         pubsub.ErrInvalidArgument,
	sdk.LimitExceededError:           pubsub.ErrLimitExceeded,
	sdk.ClientResourceExhaustedError: pubsub.ErrLimitExceeded,
	sdk.ServerUnavailableError:       pubsub.ErrUnavailable,
	sdk.ConnectionError:              pubsub.ErrUnavailable,
	sdk.TimeoutError:                 pubsub.ErrUnavailable,
	sdk.CanceledError:                pubsub.ErrUnavailable,
	sdk.InternalServerError:          pubsub.ErrUnavailable,
	sdk.UnknownServiceError:          pubsub.ErrUnavailable,
	sdk.FailedPreconditionError:      pubsub.ErrUnavailable,
	sdk.AlreadyExistsError:           pubsub.ErrUnavailable,
	sdk.ClientSdkError:               pubsub.ErrUnavailable,
}

// permanent reports whether err ends a subscription, if it lasts: trying again
// cannot help.
func permanent(err error) bool {
	for _, sentinel := range []error{
		pubsub.ErrUnauthenticated, pubsub.ErrPermissionDenied, pubsub.ErrNotFound, pubsub.ErrInvalidArgument, pubsub.ErrClosed,
	} {
		if errors.Is(err, sentinel) {
			return true
		}
	}
	return false
}

// deaf reports whether err may come from a connection that has stopped
// listening, so that a new one could do better.
func deaf(err error) bool {
	switch code(err) {
	case sdk.ServerUnavailableError, sdk.ConnectionError, sdk.TimeoutError:
		return true
	}
	return errors.Is(err, errMuteStart)
}

// unconnected reports whether err is gRPC's own: it could not connect, or find
// where to. Only its text tells that from an answer of the service.
func unconnected(err error) bool {
	var me sdk.MomentoError
	return errors.As(err, &me) && me.Code() == sdk.ServerUnavailableError &&
		(strings.Contains(me.Message(), "connection error: ") || strings.Contains(me.Message(), "resolver error: "))
}

// exhausted reports whether the SDK's own pool refused a stream.
func exhausted(err error) bool { return code(err) == sdk.ClientResourceExhaustedError }

// between reports whether err was not said by the service, but by gRPC itself
// or by something between us and the service, such as a proxy. An error page
// has a code that gRPC derives from its HTTP status; only the texts tell that
// from the service's own word. A refusal without any text counts too: it is
// what proxies give that have no text of their own, and the service has one. The
// list of texts cannot be complete, and what the service says is written down
// nowhere: what is taken for its word must last, see [WithRefusalPatience].
func between(err error) bool {
	text, ok := said(err)
	return ok && (text == "" || hasPrefix(text, notTheService))
}

// said returns the text that an error of the SDK came with. What the SDK writes
// before it is left out.
func said(err error) (text string, ok bool) {
	var me sdk.MomentoError
	if !errors.As(err, &me) {
		return "", false
	}
	if st, ok := status.FromError(me.OriginalErr()); ok && me.OriginalErr() != nil {
		return strings.TrimSpace(st.Message()), true
	}
	return strings.TrimSpace(me.Message()), true
}

// notTheService begins what gRPC itself and common proxies say.
var notTheService = []string{
	"unexpected HTTP status code received from server: ", // an error page
	"transport: ", // an unexpected content type, a malformed status
	"malformed header: ",
	"stream terminated by RST_STREAM with error code: ",
	"grpc: ", // what arrived cannot be read
	"connection error: ",
	"error reading from server: ",
	"RBAC: access denied", // Envoy's filters
	"Jwt ",
	"upstream ",
	"no healthy upstream",
}

func hasPrefix(text string, prefixes []string) bool {
	return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(text, p) })
}

// undecodable reports whether err says that gRPC could not make a message of
// what arrived. If it is not the network's fault, it is so again each time.
func undecodable(err error) bool {
	text, ok := said(err)
	return ok && hasPrefix(text, []string{
		"grpc: failed to unmarshal the received message",
		"grpc: failed to decompress the",
		"grpc: Decompressor is not installed",
		"grpc: compressed flag set",
		"grpc: received unexpected payload format",
	})
}

// oversize reports whether err says that a received message exceeded gRPC's
// limit. A limit of the service has the same code; only gRPC's own text tells
// them apart.
func oversize(err error) bool {
	var me sdk.MomentoError
	if !errors.As(err, &me) || me.Code() != sdk.LimitExceededError {
		return false
	}
	text := me.Message()
	return strings.Contains(text, "grpc: received message") && strings.Contains(text, "larger than max")
}

// code returns the SDK's code in err, or "".
func code(err error) string {
	var me sdk.MomentoError
	if errors.As(err, &me) {
		return me.Code()
	}
	return ""
}

// serviceError is an error of the SDK with the pubsub error it amounts to.
// Both stay visible to errors.Is and errors.As, and so does what the SDK's
// error hides because it has no Unwrap.
type serviceError struct {
	sentinel error
	cause    error
}

// Error says it in one line.
func (e *serviceError) Error() string {
	text := e.cause.Error()
	var me sdk.MomentoError
	if errors.As(e.cause, &me) {
		text = me.Code() + ": " + strings.TrimSpace(me.Message())
		if original := me.OriginalErr(); original != nil && !strings.Contains(original.Error(), "rpc error:") {
			text += ": " + original.Error()
		}
	}
	return e.sentinel.Error() + ": " + strings.ReplaceAll(text, "\n", " ")
}

func (e *serviceError) Unwrap() []error {
	errs := []error{e.sentinel, e.cause}
	var me sdk.MomentoError
	if errors.As(e.cause, &me) && me.OriginalErr() != nil {
		errs = append(errs, me.OriginalErr())
	}
	return errs
}

// translate gives an error of the SDK its meaning. ctx is that of the call: if
// it ended, then that is why, whatever the SDK makes of it.
func translate(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if deadline, ok := ctx.Deadline(); ok && code(err) == sdk.TimeoutError && time.Until(deadline) < deadlineSlack {
		<-ctx.Done() // the service knows the deadline too, and may be first
	}
	if ctx.Err() != nil {
		switch cause := context.Cause(ctx); cause {
		case errClosed, errMuteStart, errStalled:
			return cause
		}
		if err == ctx.Err() {
			return err
		}
		return &serviceError{sentinel: ctx.Err(), cause: err}
	}
	sentinel := sentinels[code(err)]
	if sentinel == nil || permanent(sentinel) && between(err) {
		sentinel = pubsub.ErrUnavailable
	}
	return &serviceError{sentinel: sentinel, cause: err}
}

// translatePublish is translate for Publish, where a limit may be that of the
// payload's size: the service's, or gRPC's own.
func translatePublish(ctx context.Context, err error) error {
	err = translate(ctx, err)
	var me sdk.MomentoError
	if errors.Is(err, pubsub.ErrLimitExceeded) && errors.As(err, &me) {
		text := strings.ToLower(me.Message())
		if strings.Contains(text, "size limit exceeded") || strings.Contains(text, "larger than max") {
			return &serviceError{sentinel: pubsub.ErrPayloadTooLarge, cause: me}
		}
	}
	return err
}

// timedOut reports whether err took a whole timeout to come about.
func timedOut(err error) bool {
	return code(err) == sdk.TimeoutError || errors.Is(err, errMuteStart)
}

package momento

import (
	"strings"

	sdk "github.com/momentohq/client-sdk-go/momento"
	"github.com/topicbus/pubsub"
)

// outcomeOf tells what became of the message of a Publish that failed with an
// error of the SDK. It is not accepted only if that is certain: the request
// never left this process, or the service itself refused it. Everything else
// may be said of a message that was accepted, such as that the connection broke
// before the answer came.
func outcomeOf(err error) pubsub.Outcome {
	switch {
	case unsent(err):
		return pubsub.NotAccepted
	case between(err):
		return pubsub.OutcomeUnknown
	}
	switch code(err) {
	case sdk.AuthenticationError, sdk.PermissionError, sdk.InvalidArgumentError, sdk.LimitExceededError,
		sdk.CacheNotFoundError, sdk.StoreNotFoundError, sdk.ItemNotFoundError:
		return pubsub.NotAccepted
	}
	return pubsub.OutcomeUnknown
}

// unsent reports whether err says that the request was not sent. It is gRPC
// that says it; only its texts tell.
func unsent(err error) bool {
	text, ok := said(err)
	return ok && (exhausted(err) || hasPrefix(text, notSent) ||
		strings.HasSuffix(text, " while waiting for connections to become ready"))
}

// notSent begins what gRPC says of a call that it did not begin to send.
var notSent = []string{
	// The message cannot be.
	"trying to send message larger than max ",
	"grpc: message too large (",
	"grpc: error while marshaling: ",
	// There is no connection.
	`connection error: desc = "transport: Error while dialing`,
	`connection error: desc = "transport: authentication handshake failed`,
	`connection error: desc = "error reading server preface`,
	"last connection error: ",
	"name resolver error: ",
	"last resolver error: ",
	// The call's time ended while it waited for one.
	"latest balancer error: ",
	"received context error while waiting for new LB policy update: ",
}

// attempts joins the outcomes of the attempts of one Publish: if any of them may
// have been accepted then so may the message.
type attempts struct{ unknown bool }

// failed takes note of an attempt's error.
func (a *attempts) failed(err error) {
	a.unknown = a.unknown || pubsub.OutcomeOf(err) != pubsub.NotAccepted
}

// tell returns err, which is what Publish returns, with the outcome of all.
func (a *attempts) tell(err error) error {
	if a.unknown && pubsub.OutcomeOf(err) != pubsub.OutcomeUnknown {
		return pubsub.WithOutcome(err, pubsub.OutcomeUnknown)
	}
	return err
}

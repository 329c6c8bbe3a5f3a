package momento

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	sdk "github.com/momentohq/client-sdk-go/momento"
	"github.com/stretchr/testify/require"
	"github.com/topicbus/pubsub"
)

// What is taken for an oversize message is skipped, so nothing else may be.
func TestOversize(t *testing.T) {
	for text, want := range map[string]bool{
		"grpc: received message larger than max (5000000 vs. 4194304)":                     true,
		"grpc: received message after decompression larger than max (5000000 vs. 4194304)": true,
		"Too many subscribers (limit: 100)":                                                false,
		"grpc: received message of unknown kind":                                           false,
		"trying to send message larger than max (1 vs. 0)":                                 false,
		"": false,
	} {
		require.Equal(t, want, oversize(sdk.NewMomentoError(sdk.LimitExceededError, text, nil)), text)
		require.False(t, oversize(sdk.NewMomentoError(sdk.InternalServerError, text, nil)), text)
	}
	require.False(t, oversize(io.EOF))
}

// The service knows the deadline of a call, and may say that it passed before
// the caller's ctx does.
func TestDeadlineToldByTheService(t *testing.T) {
	timeout := sdk.NewMomentoError(sdk.TimeoutError, "deadline exceeded", nil)
	synctest.Test(t, func(t *testing.T) {
		for left, want := range map[time.Duration]bool{5 * time.Millisecond: true, time.Second: false} {
			ctx, cancel := context.WithTimeout(t.Context(), left)
			defer cancel()
			require.Equal(t, want, errors.Is(translate(ctx, timeout), context.DeadlineExceeded))
			require.Equal(t, want, ctx.Err() != nil)
		}
	})
}

// A client that gRPC cannot connect is replaced sooner than others.
func TestUnconnected(t *testing.T) {
	for text, want := range map[string]bool{
		`connection error: desc = "transport: Error while dialing: dial tcp 127.0.0.1:1: connect: connection refused"`: true,
		`connection error: desc = "transport: authentication handshake failed: EOF"`:                                   true,
		`last connection error: connection error: desc = "error reading server preface: EOF"`:                          true,
		"name resolver error: produced zero addresses":                                                                 true,
		"upstream connect error or disconnect/reset before headers":                                                    false,
		"unexpected HTTP status code received from server: 503 (Service Unavailable)":                                  false,
		"overloaded": false,
	} {
		require.Equal(t, want, unconnected(sdk.NewMomentoError(sdk.ServerUnavailableError, text, nil)), text)
		require.False(t, unconnected(sdk.NewMomentoError(sdk.TimeoutError, text, nil)), text)
	}
	require.False(t, unconnected(errMuteStart))
}

// What gRPC says, in its versions, of a call that was not sent, and of others
// that look alike.
func TestOutcomeOfGRPCsOwnErrors(t *testing.T) {
	for _, test := range []struct {
		code, text string
		want       pubsub.Outcome
	}{
		{sdk.ServerUnavailableError, `connection error: desc = "transport: Error while dialing: dial tcp 127.0.0.1:1: connect: connection refused"`, pubsub.NotAccepted},
		{sdk.ServerUnavailableError, `connection error: desc = "transport: authentication handshake failed: EOF"`, pubsub.NotAccepted},
		{sdk.ServerUnavailableError, `connection error: desc = "error reading server preface: EOF"`, pubsub.NotAccepted},
		{sdk.ServerUnavailableError, `last connection error: connection error: desc = "transport: Error while dialing: EOF"`, pubsub.NotAccepted},
		{sdk.ServerUnavailableError, "name resolver error: produced zero addresses", pubsub.NotAccepted},
		{sdk.TimeoutError, "latest balancer error: connection error", pubsub.NotAccepted},
		{sdk.TimeoutError, "context deadline exceeded while waiting for connections to become ready", pubsub.NotAccepted},
		{sdk.CanceledError, "received context error while waiting for new LB policy update: context canceled", pubsub.NotAccepted},
		{sdk.LimitExceededError, "trying to send message larger than max (6 vs. 5)", pubsub.NotAccepted},
		{sdk.LimitExceededError, "grpc: message too large (6 bytes)", pubsub.NotAccepted},
		{sdk.InternalServerError, "grpc: error while marshaling: string field contains invalid UTF-8", pubsub.NotAccepted},
		{sdk.ClientResourceExhaustedError, "Already at maximum", pubsub.NotAccepted},

		{sdk.ServerUnavailableError, `connection error: desc = "error reading from server: EOF"`, pubsub.OutcomeUnknown},
		{sdk.ServerUnavailableError, "error reading from server: EOF", pubsub.OutcomeUnknown},
		{sdk.ServerUnavailableError, "the connection is draining", pubsub.OutcomeUnknown},
		{sdk.ServerUnavailableError, `upstream said: connection error: desc = "transport: Error while dialing`, pubsub.OutcomeUnknown},
		{sdk.TimeoutError, "context deadline exceeded", pubsub.OutcomeUnknown},
		{sdk.CanceledError, "grpc: the client connection is closing", pubsub.OutcomeUnknown},
		{sdk.LimitExceededError, "grpc: received message larger than max (6 vs. 5)", pubsub.OutcomeUnknown},
		{sdk.LimitExceededError, "stream terminated by RST_STREAM with error code: ENHANCE_YOUR_CALM", pubsub.OutcomeUnknown},
		{sdk.PermissionError, "stream terminated by RST_STREAM with error code: INADEQUATE_SECURITY", pubsub.OutcomeUnknown},
		{sdk.BadRequestError, `grpc: Decompressor is not installed for grpc-encoding "br"`, pubsub.OutcomeUnknown},
		{sdk.PermissionError, "", pubsub.OutcomeUnknown},
	} {
		require.Equal(t, test.want.String(), outcomeOf(sdk.NewMomentoError(test.code, test.text, nil)).String(), "%s: %s", test.code, test.text)
	}
	require.Equal(t, pubsub.OutcomeUnknown, outcomeOf(io.EOF))
}

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

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

package consume_test

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// An UnhandledError may be made by a test, with nothing in it.
func TestUnhandledErrorOfNothing(t *testing.T) {
	require.EqualError(t, &unhandledError{Err: errHandler}, "consume: 0 messages were taken and not handled: handler")
}

package nats

import (
	"testing"

	natsgo "github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// However many messages the server says are not to come, a session goes on
// asking for some.
func TestAbsurdPendingMessages(t *testing.T) {
	for text, want := range map[string]int{
		"0":                    batchMessages,
		"56":                   batchMessages - 56,
		"256":                  0,
		"257":                  0,
		"9223372036854775808":  0,
		"18446744073709551615": 0,
		"99999999999999999999": 0,
		"-1":                   batchMessages,
	} {
		it, err := read(&natsgo.Msg{Header: natsgo.Header{"Status": {"408"}, "Nats-Pending-Messages": {text}}})
		require.NoError(t, err)
		s := &session{pending: batchMessages}
		s.settle(it.returned)
		assert.Equal(t, want, s.pending, text)
	}
	s := &session{}
	s.settle(1)
	assert.Zero(t, s.pending, "more than was asked for")
}

// Nobody waits for a message whose number cannot be.
func TestHoldRefusesTheAbsurd(t *testing.T) {
	h := newHold(5, largest)
	assert.Zero(t, h.held())
	h.learn(6 + maxJump)
	assert.Zero(t, h.held())
	h.learn(7)
	assert.Equal(t, uint64(2), h.held())
	h.learn(5 + maxJump)
	assert.Equal(t, uint64(maxJump), h.held())
	h.reset(0, largest)
	assert.Zero(t, h.held())

	// The numbers begin anew: those who wait do so for the new ones.
	h.take()
	h.give(largest - 9)
	h.learn(largest)
	done := false
	h.flush(func() { done = true })
	assert.False(t, done)
	h.reset(5, 6)
	assert.Equal(t, uint64(1), h.held())
	h.take()
	h.give(6)
	assert.True(t, done)
}

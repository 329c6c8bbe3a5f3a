package peers

import (
	"os"
	"os/exec"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/topicbus/pubsub/bench/shape"
)

// What Peer says of a library is shown here, so that nobody is wronged.

func TestLossless(t *testing.T) {
	for _, p := range All() {
		t.Run(p.Name, func(t *testing.T) {
			require.NoError(t, flood(p.Contender))
		})
	}
}

func TestUnorderedOnesAre(t *testing.T) {
	for _, p := range All() {
		if !p.Unordered {
			continue // TestLossless shows their order
		}
		t.Run(p.Name, func(t *testing.T) {
			p.Contender.Unordered = false
			require.ErrorContains(t, flood(p.Contender), "out of order")
		})
	}
}

func TestStuckSubscriber(t *testing.T) {
	const messages = 20_000 // far more than all the buffers on the way hold
	for _, p := range All() {
		t.Run(p.Name, func(t *testing.T) {
			r, err := shape.Start(p.Contender, shape.Bytes(1, 128), shape.Fleet{Subscribers: 2}, messages, nil)
			require.NoError(t, err)
			taken, err := r.Jam(500 * time.Millisecond)
			require.NoError(t, err)
			require.NoError(t, r.Close())
			stuck := Blocks
			if taken == messages {
				stuck = Unbounded
			}
			require.Equal(t, p.Stuck, stuck, "took %d of %d messages", taken, messages)
		})
	}
}

// A bubble that does not end takes the process with it, so each gets its own.
func TestBubble(t *testing.T) {
	const selected = "PEER_IN_BUBBLE"
	for _, p := range All() {
		if os.Getenv(selected) == p.Name {
			synctest.Test(t, func(t *testing.T) { require.NoError(t, flood(p.Contender)) })
			return
		}
	}
	for _, p := range All() {
		t.Run(p.Name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestBubble$", "-test.timeout=20s")
			cmd.Env = append(os.Environ(), selected+"="+p.Name)
			out, err := cmd.CombinedOutput()
			require.Equal(t, p.Bubble, err == nil, "%s", out)
		})
	}
}

func flood(c shape.Contender[[]byte]) error {
	r, err := shape.Start(c, shape.Bytes(1, 128), shape.Fleet{Subscribers: 3}, 500, nil)
	if err != nil {
		return err
	}
	if _, err := r.Flood(); err != nil {
		return err
	}
	return r.Close()
}

package pubsub_test

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub"
)

func TestPosition(t *testing.T) {
	ordered := []pubsub.Position{{}, {0, 1}, {1, 0}, {1, 9}, {2, 1}, {1 << 63, 1<<64 - 1}}
	for i, p := range ordered {
		for j, q := range ordered {
			want := 0
			if i < j {
				want = -1
			} else if i > j {
				want = 1
			}
			require.Equal(t, want, p.Compare(q), "%v %v", p, q)
		}
		back, err := pubsub.ParsePosition(p.String())
		require.NoError(t, err)
		require.Equal(t, p, back)
		text, err := json.Marshal(p)
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(text, &back))
		require.Equal(t, p, back)
	}
	require.Equal(t, "1/9", ordered[3].String())
	require.Equal(t, "-", ordered[0].String())
	for _, s := range []string{"", "1", "/", "1/", "/1", "1/-1", "1/2/3", "a/b", "18446744073709551616/1", " 1/1"} {
		_, err := pubsub.ParsePosition(s)
		require.ErrorIs(t, err, pubsub.ErrInvalidArgument, s)
	}
}

func TestDiscontinuityIsAnError(t *testing.T) {
	cause := errors.New("cause")
	d := &pubsub.Discontinuity{Topic: "t", Cause: pubsub.CauseBackend, Lost: 3, Exact: true, Err: cause,
		After: pubsub.Position{Page: 1, Sequence: 2}, Resume: pubsub.Position{Page: 1, Sequence: 6}}
	require.EqualError(t, d, `pubsub: topic "t": 3 messages lost (backend) after 1/2, resuming at 1/6: cause`)
	require.ErrorIs(t, d, cause)
	d.Exact = false
	require.ErrorContains(t, d, "at least 3 messages lost")
	d.Lost = 0
	require.ErrorContains(t, d, "an unknown number of messages lost")
	d.Lost, d.Exact = 1, true
	require.ErrorContains(t, d, "1 message lost")
}

func TestNames(t *testing.T) {
	require.Equal(t, "discontinuity", pubsub.KindDiscontinuity.String())
	require.Equal(t, "reconnect", pubsub.CauseReconnect.String())
	require.Equal(t, "resumed", pubsub.Resumed.String())
	require.Equal(t, "block", pubsub.Block.String())
	require.Equal(t, "text", pubsub.Text.String())
	require.Equal(t, "Kind(9)", pubsub.Kind(9).String())
	require.Equal(t, "Cause(0)", pubsub.Cause(0).String())
	require.Equal(t, "Format(9)", pubsub.Format(9).String())
}

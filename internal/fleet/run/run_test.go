package run

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub"
)

// Of ten messages a viewer may get some and be told of the others.
func TestTheLaw(t *testing.T) {
	const atLeastOne = 0
	for _, c := range []struct {
		name string
		got  []int // numbers of messages; -n reports n lost
		ok   bool
	}{
		{"all", []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, true},
		{"reported in its place", []int{1, 2, -3, 6, 7, 8, 9, 10}, true},
		{"reported last", []int{1, 2, 3, 4, 5, 6, 7, 8, -2}, true},
		{"reported without a count", []int{1, 2, atLeastOne, 6, 7, 8, 9, 10}, true},
		{"one is missing", []int{1, 2, 3, 4, 6, 7, 8, 9, 10}, false},
		{"one is missing elsewhere", []int{1, 2, atLeastOne, 6, 7, 9, 10}, false},
		{"the last is missing", []int{1, 2, 3, 4, 5, 6, 7, 8, 9}, false},
		{"reported too late", []int{1, 3, -1, 4, 5, 6, 7, 8, 9, 10}, false},
		{"more reported than lost", []int{1, 2, -4, 6, 7, 8, 9, 10}, false},
		{"twice", []int{1, 2, 2, 3, 4, 5, 6, 7, 8, 9}, false},
		{"twice behind a hole", []int{1, 2, 3, 4, 5, atLeastOne, 5, 6, 7, 8, 9, 10}, false},
		{"out of order", []int{1, 3, 2, 4, 5, 6, 7, 8, 9, 10}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var v viewer
			for _, n := range c.got {
				switch {
				case n == atLeastOne:
					v.miss(&pubsub.Discontinuity{Lost: 1})
				case n < 0:
					v.miss(&pubsub.Discontinuity{Lost: uint64(-n), Exact: true})
				default:
					v.take(uint64(n), pubsub.Position{})
				}
			}
			r := newReport("test", config{})
			r.accepted = []uint64{10}
			r.latency[steadyPhase].add(time.Second)
			r.viewer(v)
			require.Equal(t, c.ok, r.check() == nil)
		})
	}
}

func TestHistogram(t *testing.T) {
	h := new(histogram)
	require.Zero(t, h.quantile(0.5))
	for i := range 1000 {
		h.add(time.Duration(i+1) * time.Millisecond)
	}
	text, err := json.Marshal(h)
	require.NoError(t, err)
	back := new(histogram)
	require.NoError(t, json.Unmarshal(text, back))
	back.merge(h)
	require.EqualValues(t, 2000, back.count())
	require.InEpsilon(t, 500*time.Millisecond, back.quantile(0.5), 0.07)
	require.InEpsilon(t, 990*time.Millisecond, back.quantile(0.99), 0.07)
	require.InEpsilon(t, time.Second, back.quantile(1), 0.07)

	for _, d := range []time.Duration{-1, 0, 1, 15, 16, 31, 32, 33, time.Microsecond, time.Hour, 1<<63 - 1} {
		bucket := bucketOf(d)
		require.GreaterOrEqual(t, upTo(bucket), d)
		if bucket > 0 {
			require.Less(t, upTo(bucket-1), d)
		}
	}
}

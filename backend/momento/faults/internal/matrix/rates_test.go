package matrix

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestRateOf(t *testing.T) {
	var asked []time.Duration
	for n := range time.Duration(10) {
		asked = append(asked, n*100*time.Millisecond) // ten in the first second
	}
	asked = append(asked, 1000*time.Millisecond, 1050*time.Millisecond) // eleven in one that begins later
	for at := RateTime - RateLater; at < RateTime; at += time.Second {
		asked = append(asked, at)
	}
	asked = append(asked, RateTime)
	require.Equal(t, Rate{Worst: 11, Later: 1}, rateOf(asked))
	require.Zero(t, rateOf(nil))
}

package momento

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cenkalti/backoff/v4"
	sdk "github.com/momentohq/client-sdk-go/momento"
	"github.com/stretchr/testify/require"
	"github.com/topicbus/pubsub"
)

// listen subscribes to n topics with names that begin with prefix.
func listen(t *testing.T, b *Backend, prefix string, n int) (all []*receiver) {
	for i := range n {
		s, err := b.Subscribe(t.Context(), fmt.Sprint(prefix, i), pubsub.Start{})
		require.NoError(t, err)
		all = append(all, run(s))
	}
	return all
}

// A stream that breaks comes back at once though hundreds stay down, because of
// what is wrong with their topics, and though its own first attempts fail.
func TestStreamsDoNotWaitForThoseThatStayDown(t *testing.T) {
	for _, test := range []struct {
		name    string
		failing int // attempts
		within  time.Duration
	}{
		{"the first attempt succeeds", 0, 75 * time.Millisecond},
		{"the fourth attempt succeeds", 3, 6 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newService(t)
				tries := make(map[string]int)
				s.onTry = func(_ int, r *sdk.TopicSubscribeRequest) ([]any, error) {
					n := tries[r.TopicName]
					tries[r.TopicName]++
					switch {
					case n == 0 && r.TopicName == "well-0":
						return []any{time.Hour, errReset}, nil
					case n == 0:
						return []any{time.Minute, errReset}, nil
					case r.TopicName == "well-0" && n > test.failing:
						return nil, nil
					}
					return nil, errOverloaded
				}
				b := s.openBackend(WithStallTimeout(0))
				listen(t, b, "sick-", 300)
				r := listen(t, b, "well-", 1)[0]
				require.LessOrEqual(t, r.state(t, pubsub.Resumed).Downtime, test.within)
				require.NoError(t, b.Close())
			})
		})
	}
}

// Streams that a rate limit refuses come back about as fast as it allows,
// however long the outage was.
func TestLimitAfterAnOutage(t *testing.T) {
	for _, outage := range []time.Duration{time.Second, 10 * time.Minute} {
		t.Run(outage.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const streams, perSecond = 50, 10
				s := newService(t)
				var tokens float64
				asOf := time.Now()
				s.onTry = func(n int, _ *sdk.TopicSubscribeRequest) ([]any, error) {
					if n <= streams {
						return []any{sdk.TopicHeartbeat{}, time.Minute, errReset}, nil
					}
					tokens = min(perSecond, tokens+time.Since(asOf).Seconds()*perSecond)
					asOf = time.Now()
					if tokens < 1 {
						return nil, errLimit
					}
					tokens--
					return nil, nil
				}
				b := s.openBackend(WithStallTimeout(0))
				all := listen(t, b, "topic-", streams)
				time.Sleep(time.Minute - time.Millisecond)
				back := time.Now().Add(outage)
				s.mu.Lock()
				s.downUntil = back
				s.mu.Unlock()
				for _, r := range all {
					r.state(t, pubsub.Resumed)
				}
				took := time.Since(back)
				t.Logf("all were back after %v", took)
				require.Less(t, took, 45*time.Second)
				require.NoError(t, b.Close())
			})
		})
	}
}

// Who has waited in the queue for as long as its policy says is back as soon as
// another one is.
func TestWaitingInTheQueueCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		s.onTry = func(n int, _ *sdk.TopicSubscribeRequest) ([]any, error) {
			if n <= 3 {
				return []any{sdk.TopicHeartbeat{}, time.Minute, errReset}, nil
			}
			return []any{sdk.TopicHeartbeat{}}, nil
		}
		b := s.openBackend(WithStallTimeout(0), WithBackoff(func() backoff.BackOff { return backoff.NewConstantBackOff(10 * time.Second) }))
		all := listen(t, b, "topic-", 3)
		time.Sleep(time.Minute - time.Millisecond)
		s.mu.Lock()
		s.downUntil = time.Now().Add(25 * time.Second) // up for the second turn, behind the attempt that each makes by itself
		s.mu.Unlock()
		var took []time.Duration
		for _, r := range all {
			took = append(took, r.state(t, pubsub.Resumed).Downtime.Round(time.Second))
		}
		slices.Sort(took)
		require.Equal(t, []time.Duration{30 * time.Second, 30 * time.Second, 40 * time.Second}, took, "the last has its turn when the second is back")
		require.NoError(t, b.Close())
	})
}

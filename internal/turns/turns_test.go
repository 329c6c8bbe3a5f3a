package turns

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, streams := range []int64{1, 100} {
			b := &budget{Budget: Budget{Spare: 40, PerSecond: 1}}
			for range 2*streams + 20 {
				require.Zero(t, b.spend(streams))
			}
			require.True(t, b.wake(int(streams), streams))
			require.False(t, b.wake(int(streams)+21, streams), "so many are not left")
			require.True(t, b.wake(int(streams)+20, streams))
			perSecond := max(1, streams/10)
			for n := 1; n <= 3; n++ {
				require.InDelta(t, float64(n)/float64(perSecond), b.spend(streams).Seconds(), 1e-6)
			}
			time.Sleep(time.Hour)
			require.Zero(t, b.spend(streams))
		}
	})
}

// A stream that failed waits for its turn, unless another one is back or what it
// waits for has become moot.
func TestWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := New(Budget{Spare: 40, PerSecond: 1})
		second := backoff.NewConstantBackOff(time.Second)
		early := make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		begun := time.Now()
		var mu sync.Mutex
		var done []time.Duration // guarded by mu
		so := func() []time.Duration {
			mu.Lock()
			defer mu.Unlock()
			return slices.Clone(done)
		}
		wait := func(failures int, early <-chan struct{}) {
			r.Enter()
			go func() {
				if r.Wait(ctx, early, second, failures, false) {
					mu.Lock()
					defer mu.Unlock()
					done = append(done, time.Since(begun))
				}
			}()
			synctest.Wait()
		}
		wait(0, nil)
		time.Sleep(time.Millisecond)
		for range 5 {
			wait(2, nil)
		}
		wait(1, nil)
		wait(2, early)
		time.Sleep(2500 * time.Millisecond)
		assert.Equal(t, []time.Duration{time.Second, time.Second + time.Millisecond, 2*time.Second + time.Millisecond}, so())
		close(early)
		synctest.Wait()
		assert.Equal(t, 2501*time.Millisecond, so()[3])
		time.Sleep(time.Second)
		r.Proven()
		synctest.Wait()
		assert.Len(t, so(), 7, "but for the one whose turn it is")
		wait(1, nil)
		cancel()
		synctest.Wait()
		assert.Len(t, so(), 7)
	})
}

// Streams that are disturbed while they wait for the budget do not wait longer
// for it, however often that is.
func TestSpendDisturbed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const streams = 100
		r := New(Budget{})
		for range streams {
			r.Enter()
		}
		spend := func(early <-chan struct{}) (done chan struct{}) {
			var all sync.WaitGroup
			for range streams {
				all.Go(func() { assert.True(t, r.Spend(t.Context(), early)) })
			}
			synctest.Wait()
			done = make(chan struct{})
			go func() { all.Wait(); close(done) }()
			return done
		}
		for range 4 {
			<-spend(nil) // all that there is
		}
		for range 1000 {
			early := make(chan struct{})
			done := spend(early)
			close(early)
			<-done
		}
		begun := time.Now()
		<-spend(nil)
		assert.Equal(t, 10*time.Second, time.Since(begun).Round(time.Millisecond))
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		assert.False(t, r.Spend(ctx, nil))
	})
}

func TestWaitStops(t *testing.T) {
	r := New(Budget{})
	assert.False(t, r.Wait(t.Context(), nil, &backoff.StopBackOff{}, 0, false))
	assert.False(t, r.Wait(t.Context(), nil, &backoff.StopBackOff{}, 1, false))
	assert.Zero(t, r.usual.count())
}

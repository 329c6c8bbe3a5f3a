package pubsub_test

import (
	"context"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/memory"
)

// What a service says is missing may be absurd. No sum of it wraps around, in
// the log or in Stats.
func TestSumsOfAbsurdHoles(t *testing.T) {
	const most = "18446744073709551615"
	t.Run("lost", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var log logOf
			backend := memory.New()
			bus := pubsub.New(backend, ints{}, log.option())
			defer bus.Close()
			s := subscribe(t, bus, "t")
			for range 3 {
				backend.Lose(math.MaxUint64, "t")
			}
			publish(t, bus, "t", 1)
			go func() { // which finds all of that: between two holes it may be through, or not
				for range s.Messages() {
				}
			}()
			synctest.Wait()
			time.Sleep(10 * time.Second)
			backend.Lose(5, "t")
			publish(t, bus, "t", 2)
			synctest.Wait()
			s.Close()
			bus.Close()
			require.Equal(t, uint64(math.MaxUint64), bus.Stats().Lost.Total())
			require.Equal(t, 2, strings.Count(log.String(), "lost="+most), log.String()) // the first, and the sum of the others
			require.Equal(t, 1, strings.Count(log.String(), "lost=5"), log.String())
		})
	})
	t.Run("dropped", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var log logOf
			backend := memory.New()
			bus := pubsub.New(backend, ints{}, log.option())
			defer bus.Close()
			subscribe(t, bus, "t") // so that it is one stream
			end := func() {
				ctx, cancel := context.WithCancel(t.Context())
				_, err := bus.Subscribe(ctx, "t")
				require.NoError(t, err)
				backend.Lose(math.MaxUint64, "t")
				cancel()
				synctest.Wait()
			}
			for range 3 {
				end()
			}
			time.Sleep(10 * time.Second)
			end()
			require.Equal(t, uint64(math.MaxUint64), bus.Stats().Dropped)
			require.Equal(t, 2, strings.Count(log.String(), "dropped="+most), log.String()) // the first, and the sum of the others
		})
	})
}

package pubsub_test

import (
	"context"
	"regexp"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/memory"
)

var lostAttr = regexp.MustCompile(` (?:before\.)?lost=(\d+)`)

// lost is how many messages the log says were lost.
func (l *logOf) lost(t *testing.T) (sum uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, m := range lostAttr.FindAllStringSubmatch(l.String(), -1) {
		var n uint64
		for _, c := range m[1] {
			n = n*10 + uint64(c-'0')
		}
		sum += n
	}
	return sum
}

// A reader that keeps falling behind is logged now and then, with all that it
// lost: not once per hole, and not only the first one.
func TestLossesAreLoggedWithTheirSum(t *testing.T) {
	for _, drain := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			var log logOf
			bus := pubsub.New(memory.New(), ints{}, pubsub.WithBuffer(1), log.option())
			defer bus.Close()
			s := subscribe(t, bus, "t")
			s.C()
			go func() {
				for range s.C() {
				}
			}()
			for range 1000 {
				for n := range 7 {
					publish(t, bus, "t", n)
				}
				synctest.Wait()
				time.Sleep(20 * time.Millisecond)
			}
			require.Greater(t, s.Stats().Lost.Total(), uint64(1000))
			require.LessOrEqual(t, log.lines("lost"), 8, "in 20 seconds")
			if drain {
				require.NoError(t, s.Drain(t.Context()))
			} else {
				s.Close()
			}
			synctest.Wait()
			require.Equal(t, s.Stats().Lost.Total(), log.lost(t), log.String())
		})
	}
}

// A hole is logged where the reader is not handed it, and nowhere else.
func TestWhoseLossesAreLogged(t *testing.T) {
	for name, c := range map[string]struct {
		read func(*pubsub.Subscription[int])
		want int
	}{
		"C":        {func(s *pubsub.Subscription[int]) { s.C() }, 1},
		"Messages": {func(s *pubsub.Subscription[int]) { _ = slices.Collect(s.Messages()) }, 1},
		"Events":   {func(s *pubsub.Subscription[int]) { s.Events() }, 0},
		"Next":     {func(s *pubsub.Subscription[int]) { _, _ = s.Next(context.Background()) }, 0},
		"All": {func(s *pubsub.Subscription[int]) {
			for range s.All() {
			}
		}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log logOf
				backend := &script{}
				bus := pubsub.New(backend, ints{}, log.option())
				s := subscribe(t, bus, "t")
				go c.read(s)
				backend.stream(0).play(gap(7, true))
				synctest.Wait()
				bus.Close()
				require.Equal(t, c.want, log.lines("lost=7"), log.String())
			})
		})
	}
}

// The limit is of a stream, whatever the number of its subscriptions.
func TestLossesOfManyAreLoggedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log logOf
		bus := pubsub.New(memory.New(), ints{}, pubsub.WithBuffer(1), log.option())
		var reading sync.WaitGroup
		for range 100 {
			s := subscribe(t, bus, "t")
			reading.Go(func() {
				for range s.Messages() {
				}
			})
		}
		synctest.Wait()
		for range 10 {
			_, err := bus.Topic("t").PublishAll(t.Context(), make([]int, 50))
			require.NoError(t, err)
			synctest.Wait()
		}
		require.LessOrEqual(t, log.lines("lost"), 2)
		bus.Close()
		reading.Wait()
		require.LessOrEqual(t, log.lines("lost"), 102)
	})
}

func TestStuckReadersAreLogged(t *testing.T) {
	t.Run("messages wait", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var log logOf
			bus := pubsub.New(memory.New(), ints{}, log.option())
			defer bus.Close()
			subscribe(t, bus, "t", pubsub.Named("asleep"))
			awake := subscribe(t, bus, "t", pubsub.Named("awake"))
			go func() {
				for range awake.Messages() {
				}
			}()
			for range 100 {
				for n := range 32 {
					publish(t, bus, "t", n)
				}
				synctest.Wait()
				time.Sleep(time.Second)
			}
			require.Equal(t, 1, log.lines("asleep"), log.String())
			require.Zero(t, log.lines("awake"))
			require.NotZero(t, log.lines("waiting="))
		})
	})
	t.Run("and again when it was read", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var log logOf
			bus := pubsub.New(memory.New(), ints{}, log.option())
			defer bus.Close()
			s := subscribe(t, bus, "t", pubsub.Named("asleep"), pubsub.OnDiscontinuity(func(*pubsub.Discontinuity) {}))
			for round := 1; round <= 2; round++ {
				for range 60 {
					for n := range 32 {
						publish(t, bus, "t", n)
					}
					time.Sleep(time.Second)
				}
				require.Equal(t, round, log.lines("asleep"), log.String())
				next(t, s, 5)
			}
		})
	})
	t.Run("a publisher waits", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var log logOf
			bus := pubsub.New(memory.New(), ints{}, pubsub.WithBuffer(1), log.option())
			defer bus.Close()
			subscribe(t, bus, "t", pubsub.Named("in the way"), pubsub.Overflow(pubsub.Block))
			publish(t, bus, "t", 1)
			for range 2 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				err := bus.Publish(ctx, "t", 2)
				cancel()
				require.ErrorIs(t, err, context.DeadlineExceeded)
			}
			require.Equal(t, 1, log.lines("holds up its topic"), log.String())
			require.Equal(t, 1, log.lines(`subscription="in the way"`))
		})
	})
}

// Who holds a publisher up is named in its error.
func TestNamesOfSubscriptions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log logOf
		bus := pubsub.New(memory.New(), ints{}, pubsub.WithBuffer(1), log.option())
		defer bus.Close()
		named, err := bus.Subscribe(t.Context(), "t", pubsub.Named("mine"), pubsub.Overflow(pubsub.Block))
		require.NoError(t, err)
		require.Equal(t, "mine", named.Name())
		byBus, err := bus.Subscribe(t.Context(), "t")
		require.NoError(t, err)
		byTopic, err := bus.Topic("t").Subscribe(t.Context())
		require.NoError(t, err)
		fromLast, err := bus.Topic("t").Subscribe(t.Context(), pubsub.FromLast(9))
		require.NoError(t, err)
		for _, s := range []*pubsub.Subscription[int]{byBus, byTopic, fromLast} {
			require.Regexp(t, `^logs_test\.go:\d+$`, s.Name())
			require.Equal(t, s.Name(), s.Stats().Name)
		}
		require.NotEqual(t, byBus.Name(), byTopic.Name())
		publish(t, bus, "t", 1)
		atHand, err := bus.Subscribe(t.Context(), "t", pubsub.FromLast(1))
		require.NoError(t, err)
		require.Equal(t, []string{"1"}, next(t, atHand, 1), "of the buffer of another one's stream")
		require.Regexp(t, `^logs_test\.go:\d+$`, atHand.Name())
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorContains(t, bus.Publish(ctx, "t", 2), `mine`)
		var names []string
		for _, topic := range bus.Stats().Topics {
			for _, s := range topic.Subscriptions {
				names = append(names, s.Name)
			}
		}
		require.ElementsMatch(t, []string{"mine", byBus.Name(), byTopic.Name(), fromLast.Name(), atHand.Name()}, names)
	})
}

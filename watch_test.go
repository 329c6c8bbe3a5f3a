package pubsub_test

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/memory"
)

var droppedAttr = regexp.MustCompile(` dropped=(\d+)`)

// dropped is how many messages the log says ends threw away.
func (l *logOf) dropped(t *testing.T) (sum uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, m := range droppedAttr.FindAllStringSubmatch(l.Buffer.String(), -1) {
		n, err := strconv.ParseUint(m[1], 10, 64)
		require.NoError(t, err)
		sum += n
	}
	return sum
}

// What ends threw away is in the log in full: at once if the stream ends with
// them, and otherwise when ten seconds are over.
func TestDropsAreLoggedWithTheirSum(t *testing.T) {
	const readers, queued = 5, 10
	for name, c := range map[string]struct {
		linger time.Duration
		stays  bool // another subscription goes on
		drain  bool // instead of the end of ctx
	}{
		"the stream ends":               {},
		"the stream lives on":           {stays: true},
		"the stream lingers":            {linger: time.Hour},
		"by Drain":                      {drain: true},
		"by Drain, the stream lives on": {drain: true, stays: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log logOf
				bus := pubsub.New(memory.New(), ints{}, pubsub.WithLinger(c.linger), log.option())
				defer bus.Close()
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if c.stays {
					s := subscribe(t, bus, "t")
					go func() {
						for range s.Messages() {
						}
					}()
				}
				subs := make([]*pubsub.Subscription[int], readers)
				for i := range subs {
					s, err := bus.Subscribe(ctx, "t")
					require.NoError(t, err)
					subs[i] = s
				}
				for n := range queued {
					publish(t, bus, "t", n)
				}
				if c.drain {
					ended, end := context.WithCancel(t.Context())
					end()
					for _, s := range subs {
						require.Error(t, s.Drain(ended))
					}
				}
				cancel()
				synctest.Wait()
				require.EqualValues(t, readers*queued, bus.Stats().Dropped)
				if c.stays || c.linger > 0 {
					require.EqualValues(t, queued, log.dropped(t), log.text())
					time.Sleep(11 * time.Second)
					synctest.Wait()
				}
				require.EqualValues(t, readers*queued, log.dropped(t), log.text())
				require.Equal(t, 2, log.lines("ended with messages unread"), log.text())
				bus.Close()
				require.EqualValues(t, readers*queued, log.dropped(t), log.text())
			})
		})
	}
}

// What is held back when the bus is closed is told before Close returns.
func TestCloseLogsWhatWasHeldBack(t *testing.T) {
	for _, closes := range []bool{false, true} { // the last subscription, or the bus
		synctest.Test(t, func(t *testing.T) {
			var log logOf
			bus := pubsub.New(memory.New(), ints{}, log.option())
			defer bus.Close()
			ctx, cancel := context.WithCancel(t.Context())
			stays := subscribe(t, bus, "t")
			for range 3 {
				_, err := bus.Subscribe(ctx, "t")
				require.NoError(t, err)
			}
			publish(t, bus, "t", 1)
			next(t, stays, 1)
			cancel()
			synctest.Wait()
			require.EqualValues(t, 1, log.dropped(t))
			if closes {
				bus.Close()
			} else {
				stays.Close()
			}
			require.EqualValues(t, 3, log.dropped(t), log.text())
		})
	}
}

// A bus that is drained in vain tells once for each stream, and tells all.
func TestDrainOfTheBusLogsTheSumOfEachStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log logOf
		bus := pubsub.New(memory.New(), ints{}, log.option())
		for i := range 20 {
			subscribe(t, bus, strconv.Itoa(i%2))
		}
		publish(t, bus, "0", 1, 2, 3)
		publish(t, bus, "1", 1)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.EqualValues(t, 40, droppedBy(bus.Drain(ctx)))
		require.EqualValues(t, 40, log.dropped(t), log.text())
		require.Equal(t, 2, log.lines("unread"), log.text())
	})
}

// Losses that were held back are told when the time is over, though no loss
// follows, the reader has caught up and the subscription goes on.
func TestLossesHeldBackAreLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log logOf
		bus := pubsub.New(memory.New(), ints{}, pubsub.WithBuffer(1), log.option())
		defer bus.Close()
		s := subscribe(t, bus, "t")
		go func() {
			for range s.Messages() {
			}
		}()
		for range 5 {
			_, err := bus.Topic("t").PublishAll(t.Context(), make([]int, 50))
			require.NoError(t, err)
			synctest.Wait()
			time.Sleep(time.Second)
		}
		lost := s.Stats().Lost.Total()
		require.NotZero(t, lost)
		require.Less(t, log.lost(t), lost)
		time.Sleep(20 * time.Second)
		require.Equal(t, lost, log.lost(t), log.text())
		require.LessOrEqual(t, log.lines("lost"), 3, log.text())
	})
}

// A reader that stays away is found on a quiet topic, too, about ten seconds after
// the first message that waits for it.
func TestStuckReadersAreLoggedWhereItIsQuiet(t *testing.T) {
	const text = "nobody has read the subscription"
	for _, waiting := range []int{1, 10, 200} {
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
			time.Sleep(time.Hour)
			for n := range waiting {
				publish(t, bus, "t", n)
			}
			time.Sleep(10*time.Second - 1)
			synctest.Wait()
			require.Zero(t, log.lines(text), log.text())
			time.Sleep(time.Nanosecond)
			synctest.Wait()
			require.Equal(t, 1, log.lines(text), log.text())
			require.Equal(t, 1, log.lines(fmt.Sprintf("subscription=asleep waiting=%d for=10s", waiting)), log.text())
			for n := range 10 {
				time.Sleep(time.Minute)
				publish(t, bus, "t", n)
			}
			time.Sleep(time.Hour)
			require.Equal(t, 1, log.lines(text), "once until it is read again")
		})
	}
	rows := map[string]struct {
		act  func(*testing.T, pubsub.Bus[int], *pubsub.Subscription[int], *memory.Backend)
		want int
	}{
		"one message a second": {act: func(t *testing.T, bus pubsub.Bus[int], _ *pubsub.Subscription[int], _ *memory.Backend) {
			for n := range 12 {
				publish(t, bus, "t", n)
				time.Sleep(time.Second)
			}
		}, want: 1},
		"a slow reader that is behind": {act: func(t *testing.T, bus pubsub.Bus[int], s *pubsub.Subscription[int], _ *memory.Backend) {
			for n := range 100 {
				publish(t, bus, "t", n)
			}
			for range 100 {
				time.Sleep(9 * time.Second)
				next(t, s, 1)
			}
		}, want: 0},
		"a reader that is never behind for long": {act: func(t *testing.T, bus pubsub.Bus[int], s *pubsub.Subscription[int], _ *memory.Backend) {
			for n := range 100 {
				publish(t, bus, "t", n)
				time.Sleep(9 * time.Second)
				next(t, s, 1)
			}
		}, want: 0},
		"it stops in the middle": {act: func(t *testing.T, bus pubsub.Bus[int], s *pubsub.Subscription[int], _ *memory.Backend) {
			for n := range 50 {
				publish(t, bus, "t", n)
			}
			for range 20 {
				time.Sleep(time.Second)
				next(t, s, 1)
			}
			time.Sleep(20 * time.Second)
		}, want: 1},
		"it joins behind, and nothing comes": {act: func(t *testing.T, bus pubsub.Bus[int], _ *pubsub.Subscription[int], _ *memory.Backend) {
			other := subscribe(t, bus, "u", pubsub.FromOldest())
			publish(t, bus, "u", 1)
			next(t, other, 1)
			time.Sleep(time.Hour)
			s := subscribe(t, bus, "u", pubsub.FromOldest())
			require.EqualValues(t, 1, s.Stats().Lag)
			time.Sleep(20 * time.Second)
		}, want: 1},
		"its stream has ended": {act: func(t *testing.T, bus pubsub.Bus[int], _ *pubsub.Subscription[int], backend *memory.Backend) {
			publish(t, bus, "t", 1)
			backend.EndStreams(nil)
			time.Sleep(10 * time.Second)
		}, want: 1},
		"it is closed in time": {act: func(t *testing.T, bus pubsub.Bus[int], s *pubsub.Subscription[int], _ *memory.Backend) {
			publish(t, bus, "t", 1)
			time.Sleep(9 * time.Second)
			s.Close()
			time.Sleep(time.Hour)
		}, want: 0},
	}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log logOf
				backend := memory.New()
				bus := pubsub.New(backend, ints{}, log.option())
				defer bus.Close()
				s := subscribe(t, bus, "t")
				row.act(t, bus, s, backend)
				synctest.Wait()
				require.Equal(t, row.want, log.lines(text), log.text())
			})
		})
	}
}

// A subscription that was logged as not read is logged again when a publisher
// begins to wait for it.
func TestStuckReaderThatComesToHoldUpItsTopic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log logOf
		bus := pubsub.New(memory.New(), ints{}, pubsub.WithBuffer(2), log.option())
		defer bus.Close()
		subscribe(t, bus, "t", pubsub.Overflow(pubsub.Block))
		publish(t, bus, "t", 1)
		time.Sleep(time.Minute)
		require.Equal(t, 1, log.lines("nobody has read"), log.text())
		publish(t, bus, "t", 2)
		for range 2 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			require.Error(t, bus.Publish(ctx, "t", 3))
			cancel()
		}
		require.Equal(t, 1, log.lines("holds up its topic"), log.text())
		require.Equal(t, 1, log.lines("nobody has read"), log.text())
	})
}

// The look for readers that stay away lets a bubble come to rest: time does not go
// on for ever where everybody waits for ever.
func TestStuckReadersDoNotHideADeadlock(t *testing.T) {
	var log logOf
	require.PanicsWithError(t, "deadlock: all goroutines in bubble are blocked", func() {
		synctest.Test(t, func(t *testing.T) {
			bus := pubsub.New(memory.New(), ints{}, log.option())
			subscribe(t, bus, "t")
			ahead := subscribe(t, bus, "t")
			for n := range 10 {
				publish(t, bus, "t", n)
			}
			next(t, ahead, 5)
			<-make(chan int)
		})
	})
	require.Equal(t, 2, log.lines("nobody has read"), log.text())
}

// A stream that is not of the bubble in which its publisher or its end is.
func TestWatchAcrossBubbles(t *testing.T) {
	var log logOf
	bus := pubsub.New(memory.New(), ints{}, log.option())
	s := subscribe(t, bus, "t")
	for range 2 { // when the first has come the stream's goroutine is there, and the second waits until it is at rest
		publish(t, bus, "t", 1)
		next(t, s, 1)
	}
	for round := 1; round <= 2; round++ {
		synctest.Test(t, func(t *testing.T) {
			publish(t, bus, "t", 1)
			inside := subscribe(t, bus, "u")
			publish(t, bus, "u", 1)
			time.Sleep(time.Hour)
			require.Equal(t, round, log.lines("topic=u"), log.text())
			inside.Close()
		})
	}
	publish(t, bus, "t", 1)
	next(t, s, 3)
	require.NoError(t, bus.Close())
	require.Zero(t, log.lines("topic=t"), log.text())
}

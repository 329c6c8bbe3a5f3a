package momento

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	sdk "github.com/momentohq/client-sdk-go/momento"
	"github.com/stretchr/testify/require"
	"github.com/topicbus/pubsub"
)

var _ pubsub.Flusher = (*stream)(nil)

// Flush is done behind what the service sends of before, and not held up by what
// it does not tell.
func TestFlush(t *testing.T) {
	items := func(from, to uint64, pause time.Duration) (script []any) {
		for n := from; n <= to; n++ {
			script = append(script, text(7, n, "x"), pause)
		}
		return script
	}
	for _, test := range []struct {
		name   string
		from   pubsub.Start
		script []any
		flush  time.Duration // after Receive was called
		done   time.Duration // likewise
		got    int           // messages before that
	}{
		{"now", pubsub.Start{}, items(1, 9, time.Second), 500 * time.Millisecond, 500 * time.Millisecond, 1},
		{"replayed without a pause", pubsub.Start{After: at(7, 0)}, items(1, 1000, 0), 0, caughtUpAfter, 1000},
		{"replayed with pauses", pubsub.Start{After: at(7, 0)}, append(items(1, 9, caughtUpAfter/2), time.Hour), 0, 8*caughtUpAfter/2 + caughtUpAfter, 9},
		{"heartbeats are no messages", pubsub.Start{After: at(7, 0)}, []any{text(7, 1, "x"), caughtUpAfter / 2, sdk.TopicHeartbeat{}, caughtUpAfter / 3, sdk.TopicHeartbeat{}}, 0, caughtUpAfter, 1},
		{"nothing there", pubsub.Start{After: at(7, 0)}, nil, 0, caughtUpAfter, 0},
		{"caught up before", pubsub.Start{After: at(7, 0)}, items(1, 3, 0), time.Minute, time.Minute, 3},
		{"a busy topic", pubsub.Start{After: at(7, 0)}, items(1, 1000, caughtUpAfter/2), 0, catchUpMax, int(catchUpMax/(caughtUpAfter/2)) + 1},
		{"a hole held meanwhile", pubsub.Start{After: at(7, 0)}, append(items(1, 2, 0), discontinuity(9, 7)), 0, caughtUpAfter, 2},
		{"what could not be read is held for longer", pubsub.Start{After: at(7, 0)}, []any{text(7, 1, "x"), "panic"}, 0, caughtUpAfter, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newService(t)
				s.onTry = script(test.script)
				stream, err := s.newBackend(WithStallTimeout(0)).Subscribe(t.Context(), "topic", test.from)
				require.NoError(t, err)
				var got atomic.Int64
				done := make(chan int64, 2)
				begun := time.Now()
				go func() {
					_ = stream.Receive(func(_ context.Context, f pubsub.Frame) error {
						if f.Kind == pubsub.KindMessage {
							got.Add(1)
						}
						return nil
					})
				}()
				time.Sleep(test.flush)
				stream.(pubsub.Flusher).Flush(func() { done <- got.Load() })
				n := <-done
				require.InDelta(t, test.done, time.Since(begun), float64(time.Millisecond))
				require.InDelta(t, test.got, n, 1)
				time.Sleep(time.Hour)
				require.Empty(t, done, "it is called once")
			})
		})
	}
}

// While a stream is down nobody knows what it will bring: an end is prompt then.
func TestFlushDuringAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		down := true
		s.onTry = func(n int, _ *sdk.TopicSubscribeRequest) ([]any, error) {
			if n == 1 {
				return []any{text(7, 1, "a"), 50 * time.Millisecond, errReset}, nil
			}
			if down {
				return nil, errOverloaded
			}
			return []any{text(7, 2, "b")}, nil
		}
		stream, err := s.newBackend(WithStallTimeout(0)).Subscribe(t.Context(), "topic", pubsub.Start{After: at(7, 0)})
		require.NoError(t, err)
		var calls atomic.Int32
		stream.(pubsub.Flusher).Flush(func() { calls.Add(1) })
		require.Zero(t, calls.Load())
		r := run(stream)
		r.state(t, pubsub.Reconnecting)
		synctest.Wait() // until deliver has returned
		require.EqualValues(t, 1, calls.Load(), "it broke before it had caught up")
		stream.(pubsub.Flusher).Flush(func() { calls.Add(1) })
		require.EqualValues(t, 2, calls.Load(), "it is down")
		time.Sleep(time.Second)
		s.mu.Lock()
		down = false
		s.mu.Unlock()
		r.state(t, pubsub.Resumed)
		require.Equal(t, at(7, 2), r.nextOf(t, pubsub.KindMessage).Position)
		done := make(chan struct{})
		begun := time.Now()
		stream.(pubsub.Flusher).Flush(func() { close(done) })
		<-done
		require.Equal(t, caughtUpAfter, time.Since(begun))
		require.EqualValues(t, 2, calls.Load(), "each is called once")
	})
}

// A stream that has ended calls nobody, and neither does one that ends before it
// has caught up.
func TestFlushOfAStreamThatEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, end := range []error{errToken, nil} {
			s := newService(t)
			s.onTry = script([]any{text(7, 1, "a"), caughtUpAfter / 2, end})
			ctx, cancel := context.WithCancel(t.Context())
			stream, err := s.newBackend().Subscribe(ctx, "topic", pubsub.Start{After: at(7, 0)})
			require.NoError(t, err)
			var calls atomic.Int32
			stream.(pubsub.Flusher).Flush(func() { calls.Add(1) })
			r := run(stream)
			if end == nil {
				cancel()
			}
			<-r.done
			stream.(pubsub.Flusher).Flush(func() { calls.Add(1) })
			time.Sleep(time.Hour)
			require.Zero(t, calls.Load())
			cancel()
		}
	})
}

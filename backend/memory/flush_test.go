package memory_test

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/memory"
)

func held(r *receiver) uint64 { return r.stream.(pubsub.Holder).Held() }

// flush notes in the log of frames when it is done.
func (r *receiver) flush() {
	r.stream.(pubsub.Flusher).Flush(func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.frames = append(r.frames, pubsub.Frame{Kind: pubsub.KindMessage, Payload: text("flushed")})
	})
}

const flushed = "-=flushed"

func TestFlushOfAnIdleStream(t *testing.T) {
	bubble(t, func(t *testing.T, b *memory.Backend) {
		r := open(t, b, "a", pubsub.Position{}).start(nil)
		synctest.Wait()
		r.flush()
		publish(t, b, "a", "1")
		r.flush()
		require.Equal(t, []string{flushed, "1/1=1", flushed}, r.log()) // without waiting
		publish(t, b, "a", "2")
		require.Zero(t, held(r))
		require.Equal(t, "1/2=2", r.log()[3])
	})
}

func TestFlushBehindTheQueue(t *testing.T) {
	bubble(t, func(t *testing.T, b *memory.Backend) {
		publish(t, b, "a", "1", "2")
		block, release := stall()
		r := open(t, b, "a", at(1, 0))
		require.Equal(t, uint64(2), held(r))
		publish(t, b, "a", "3")
		require.Equal(t, uint64(3), held(r))
		r.flush()
		r.start(block)
		synctest.Wait()
		require.Equal(t, uint64(3), held(r)) // drain has taken them, and delivered none
		r.flush()
		done := make(chan struct{})
		go func() { defer close(done); publish(t, b, "a", "4") }()
		synctest.Wait()
		require.Equal(t, uint64(4), held(r)) // its publisher waits
		r.flush()
		release()
		<-done
		synctest.Wait()
		require.Equal(t, []string{"1/1=1", "1/2=2", "1/3=3", flushed, flushed, "1/4=4", flushed}, r.log())
		require.Zero(t, held(r))
	}, memory.WithHistory(10))
}

// A publisher has the turn, with a message that was accepted before the call.
func TestFlushDuringAPublish(t *testing.T) {
	bubble(t, func(t *testing.T, b *memory.Backend) {
		block, release := stall()
		r := open(t, b, "a", pubsub.Position{}).start(block)
		synctest.Wait()
		done := make(chan struct{})
		go func() { defer close(done); publish(t, b, "a", "1") }()
		synctest.Wait()
		r.flush()
		require.Empty(t, r.log())
		release()
		<-done
		synctest.Wait()
		require.Equal(t, []string{"1/1=1", flushed}, r.log())
	})
}

func TestHeldAndFlushDuringAnOutage(t *testing.T) {
	for _, history := range []int{0, 2, 10} {
		bubble(t, func(t *testing.T, b *memory.Backend) {
			r := open(t, b, "a", pubsub.Position{}).start(nil)
			synctest.Wait()
			publish(t, b, "a", "1")
			b.Disconnect(nil, "a")
			synctest.Wait()
			r.flush()
			require.Equal(t, flushed, r.log()[2]) // nothing has passed
			publish(t, b, "a", "2", "3", "4")
			b.Lose(5, "a")
			require.Equal(t, uint64(8), held(r))
			r.flush()
			synctest.Wait()
			require.Len(t, r.log(), 3)
			b.Reconnect("a")
			synctest.Wait()
			log := r.log()
			require.Equal(t, flushed, log[len(log)-1])
			require.Equal(t, "resumed 1 0s", log[3])
			require.Zero(t, held(r))
		}, memory.WithHistory(history))
	}
}

func TestHeldIsWhatAnEndThrewAway(t *testing.T) {
	for _, end := range []string{"ctx", "close", "ctx during an outage", "close during an outage", "ctx while a publisher waits"} {
		t.Run(end, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *memory.Backend) {
				publish(t, b, "a", "1", "2", "3")
				first := true
				block, release := stall()
				r := open(t, b, "a", at(1, 0)).start(func(ctx context.Context, f pubsub.Frame) error {
					if first {
						first = false
						return nil
					}
					return block(ctx, f)
				})
				synctest.Wait()
				require.Equal(t, uint64(2), held(r))
				r.flush()
				switch end {
				case "ctx":
					r.cancel()
					require.NoError(t, <-r.done)
					// The one that was being delivered was refused, and marked lost;
					// so was the one behind it, which More had promised.
					require.Zero(t, held(r))
				case "close":
					require.NoError(t, b.Close())
					release()
					require.ErrorIs(t, <-r.done, pubsub.ErrClosed)
					require.Zero(t, held(r)) // it ends behind the queue
				case "ctx during an outage":
					b.Disconnect(nil)
					publish(t, b, "a", "4", "5")
					require.Equal(t, uint64(4), held(r))
					r.cancel()
					require.NoError(t, <-r.done)
					require.Equal(t, uint64(2), held(r))
					b.Reconnect()
					require.Equal(t, uint64(2), held(r))
				case "close during an outage":
					b.Disconnect(nil)
					publish(t, b, "a", "4", "5")
					require.NoError(t, b.Close())
					require.Equal(t, uint64(4), held(r))
					release()
					require.ErrorIs(t, <-r.done, pubsub.ErrClosed)
					require.Equal(t, uint64(2), held(r))
				case "ctx while a publisher waits":
					published := make(chan error)
					go func() { published <- b.Publish(context.Background(), "a", text("4")) }()
					synctest.Wait()
					r.cancel()
					require.NoError(t, <-r.done)
					require.NoError(t, <-published)
					require.Equal(t, uint64(1), held(r))
				}
				r.flush()
				if end == "close" || end == "close during an outage" {
					require.Equal(t, flushed, r.log()[3])
					require.NotContains(t, r.log()[4:], flushed) // the one before the end
				} else {
					require.NotContains(t, r.log(), flushed)
				}
			}, memory.WithHistory(10))
		})
	}
}

package consume_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/memory"
	"github.com/topicbus/pubsub/codec"
	"github.com/topicbus/pubsub/consume"
)

// collect notes the batches of d, with when they came.
func (b *book) collect(d *desk, n int, wait time.Duration) <-chan error {
	began := time.Now()
	return start(func() error {
		for batch, err := range consume.Batches(d.sub, n, wait) {
			what := fmt.Sprint(err)
			if err == nil {
				var list []string
				for _, m := range batch {
					list = append(list, m.Value.String())
				}
				what = strings.Join(list, " ")
			} else if len(batch) > 0 {
				what += " with a batch"
			}
			b.add("%v: %s", time.Since(began), what)
		}
		return nil
	})
}

// A batch comes when it is full, or exactly wait after its first message.
func TestBatches(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk) {
		var b book
		done := b.collect(d, 3, time.Second)
		d.send("a1", "a2", "a3", "a4")
		synctest.Wait()
		require.Equal(t, []string{"0s: a1 a2 a3"}, b.all())
		time.Sleep(time.Second - 1)
		d.send("a5")
		synctest.Wait()
		require.Empty(t, b.all())
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		require.Equal(t, []string{"1s: a4 a5"}, b.all())

		time.Sleep(time.Hour)
		d.send("b1")
		time.Sleep(700 * time.Millisecond)
		d.send("b2", "b3", "b4")
		time.Sleep(time.Second + 1)
		d.send("b5")
		time.Sleep(time.Second)
		synctest.Wait()
		require.Equal(t, []string{"1h0m1.7s: b1 b2 b3", "1h0m2.7s: b4", "1h0m3.700000001s: b5"}, b.all())
		d.drain()
		require.NoError(t, <-done)
		require.Empty(t, b.all())
	})
}

// A hole ends a batch and is yielded behind it.
func TestBatchesEndAtHoles(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk) {
		var b book
		d.backend.Lose(1, "orders")
		d.send("a1", "a2")
		d.backend.Lose(2, "orders")
		d.backend.Heartbeat()
		d.send("a3")
		done := b.collect(d, 10, time.Second)
		time.Sleep(time.Minute)
		got := b.all()
		require.Len(t, got, 4)
		require.Contains(t, got[0], "0s: pubsub: topic \"orders\": 1 message lost")
		require.Equal(t, "0s: a1 a2", got[1])
		require.Contains(t, got[2], "0s: pubsub: topic \"orders\": 2 messages lost")
		require.Equal(t, "1s: a3", got[3])
		d.drain()
		require.NoError(t, <-done)
	})
}

// The end yields what was taken, and then what All would.
func TestBatchesAtTheEnd(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(*desk)
		want string
	}{
		"Drain":     {func(d *desk) { d.drain() }, ""},
		"Close":     {func(d *desk) { d.sub.Close() }, ""},
		"Bus.Close": {func(d *desk) { d.bus.Close() }, ""},
		"stream":    {func(d *desk) { d.backend.EndStreams(pubsub.ErrPermissionDenied) }, "permission denied"},
		"backend":   {func(d *desk) { d.backend.Close() }, "closed"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, d *desk) {
				var b book
				done := b.collect(d, 10, time.Hour)
				d.send("a1", "a2")
				require.True(t, running(done))
				c.end(d)
				require.NoError(t, <-done)
				got := b.all()
				require.Equal(t, "0s: a1 a2", got[0])
				if c.want == "" {
					require.Len(t, got, 1)
					return
				}
				require.Len(t, got, 2)
				require.Contains(t, got[1], c.want)
			})
		})
	}
}

// With no wait a batch is what is queued.
func TestBatchesWithoutWaiting(t *testing.T) {
	for _, wait := range []time.Duration{0, -1} {
		bubble(t, func(t *testing.T, d *desk) {
			var b book
			d.send("a1", "a2", "a3", "a4", "a5")
			done := b.collect(d, 3, wait)
			synctest.Wait()
			require.Equal(t, []string{"0s: a1 a2 a3", "0s: a4 a5"}, b.all())
			d.send("b1")
			synctest.Wait()
			require.Equal(t, []string{"0s: b1"}, b.all())
			d.drain()
			require.NoError(t, <-done)
		})
	}
}

// Leaving the loop loses no message, and slices are not used again.
func TestBatchesLeft(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk) {
		d.send("a1", "a2", "a3", "a4", "a5")
		var kept [][]message
		for range 2 {
			for batch, err := range consume.Batches(d.sub, 2, time.Hour) {
				require.NoError(t, err)
				kept = append(kept, batch)
				break
			}
		}
		require.Equal(t, []int{1, 2, 3, 4}, []int{kept[0][0].Value.N, kept[0][1].Value.N, kept[1][0].Value.N, kept[1][1].Value.N})
		e, err := d.sub.Next(t.Context())
		require.NoError(t, err)
		require.Equal(t, "a5", e.Message.Value.String())
	})
}

func TestBadBatches(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk) {
		for _, bad := range []func(func([]message, error) bool){
			consume.Batches[order](nil, 1, 0), consume.Batches(d.sub, 0, 0),
		} {
			n := 0
			for batch, err := range bad {
				n++
				require.Nil(t, batch)
				require.ErrorIs(t, err, pubsub.ErrInvalidArgument)
			}
			require.Equal(t, 1, n)
		}
	})
}

// The Fail policy's error comes behind its hole.
func TestBatchesOverflow(t *testing.T) {
	bus := pubsub.New(memory.New(), codec.JSON[order](), pubsub.WithBuffer(2))
	defer bus.Close()
	sub, err := bus.Subscribe(t.Context(), "orders", pubsub.Overflow(pubsub.Fail))
	require.NoError(t, err)
	for i := range 3 {
		require.NoError(t, bus.Publish(t.Context(), "orders", order{"a", i}))
	}
	var errs []error
	for batch, err := range consume.Batches(sub, 2, time.Hour) {
		require.Empty(t, batch)
		errs = append(errs, err)
	}
	require.Len(t, errs, 2)
	var h *pubsub.Discontinuity
	require.True(t, errors.As(errs[0], &h))
	require.False(t, errors.As(errs[1], &h))
	require.ErrorIs(t, errs[1], pubsub.ErrOverflow)
	require.NoError(t, drain(sub))
}

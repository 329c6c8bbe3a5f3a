package consume_test

import (
	"bytes"
	"context"
	"log/slog"
	"math"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/consume"
)

// OnLoss is told of a hole before any message behind it is handled; with one
// goroutine, after all messages before it are.
func TestOnLoss(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk) {
		var b book
		d.send("a1")
		d.backend.Lose(3, "orders")
		d.send("a2")
		done := start(func() error {
			return consume.Each(t.Context(), d.sub, b.handle, options{
				OnLoss: func(h *pubsub.Discontinuity) error { b.add("lost %d", h.Lost); return nil },
			})
		})
		synctest.Wait()
		require.Equal(t, []string{"a1", "lost 3", "a2"}, b.all())
		d.drain()
		require.NoError(t, <-done)
	})
	bubble(t, func(t *testing.T, d *desk) {
		var b book
		d.send("a1")
		d.backend.Lose(3, "orders")
		d.send("a2")
		done := start(func() error {
			return consume.Each(t.Context(), d.sub, func(ctx context.Context, m message) error {
				if m.Value.N == 1 {
					time.Sleep(time.Minute)
				}
				return b.handle(ctx, m)
			}, options{Workers: 2, OnLoss: func(h *pubsub.Discontinuity) error {
				time.Sleep(time.Second)
				b.add("lost %d", h.Lost)
				return nil
			}})
		})
		time.Sleep(time.Hour)
		require.Equal(t, []string{"lost 3", "a2", "a1"}, b.all())
		d.drain()
		require.NoError(t, <-done)
	})
}

func TestFailOnLoss(t *testing.T) {
	each(t, func(t *testing.T, d *desk, o options) {
		var b book
		o.OnLoss = consume.FailOnLoss
		d.send("a1")
		d.backend.Lose(3, "orders")
		d.send("a2")
		err := consume.Each(t.Context(), d.sub, b.handle, o)
		var h *pubsub.Discontinuity
		require.ErrorAs(t, err, &h)
		require.Equal(t, uint64(3), h.Lost)
		require.NotContains(t, b.all(), "a2")
		require.Equal(t, uint64(1), d.sub.Stats().Delivered)
	})
}

// A hole that was read ahead is told of, whatever ends Each.
func TestLossReadAhead(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk) {
		var b book
		ctx, cancel := context.WithCancel(t.Context())
		d.send("a1")
		d.backend.Lose(3, "orders")
		d.send("a2")
		done := start(func() error {
			return consume.Each(ctx, d.sub, func(context.Context, message) error { return errHandler }, options{
				Retry:  constant(time.Hour),
				OnLoss: func(h *pubsub.Discontinuity) error { b.add("lost %d", h.Lost); return nil },
			})
		})
		require.True(t, running(done))
		require.Empty(t, b.all(), "a1 is not done")
		cancel()
		require.ErrorIs(t, <-done, context.Canceled)
		require.Equal(t, []string{"lost 3"}, b.all())
	})
}

// Without OnLoss holes are logged, but not each of thousands.
func TestLossIsLogged(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk) {
		var log bytes.Buffer
		monitor := new(consume.Monitor)
		var b book
		done := start(func() error {
			return consume.Each(t.Context(), d.sub, b.handle, options{Logger: slog.New(slog.NewTextHandler(&log, nil)), Monitor: monitor})
		})
		hole := func() {
			d.backend.Lose(2, "orders")
			d.send("a1")
			synctest.Wait()
		}
		lines := func() (list []string) {
			for _, l := range regexp.MustCompile(`topic=orders holes=\d+ lost=\d+`).FindAllString(log.String(), -1) {
				list = append(list, strings.TrimPrefix(l, "topic=orders "))
			}
			return list
		}
		hole()
		require.Equal(t, []string{"holes=1 lost=2"}, lines())
		for range 5 {
			hole()
		}
		require.Len(t, lines(), 1)
		time.Sleep(time.Second)
		hole()
		require.Equal(t, []string{"holes=1 lost=2", "holes=6 lost=12"}, lines())
		hole()
		d.drain()
		require.NoError(t, <-done)
		require.Equal(t, []string{"holes=1 lost=2", "holes=6 lost=12", "holes=1 lost=2"}, lines(), "the rest at the end")
		require.Contains(t, log.String(), "level=WARN")
		st := monitor.Stats()
		require.Equal(t, []uint64{8, 16}, []uint64{st.Holes, st.Lost})
	})
}

// However much a service says is missing, no sum of it wraps around.
func TestAbsurdLossIsLogged(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk) {
		var log bytes.Buffer
		monitor := new(consume.Monitor)
		var b book
		done := start(func() error {
			return consume.Each(t.Context(), d.sub, b.handle, options{Logger: slog.New(slog.NewTextHandler(&log, nil)), Monitor: monitor})
		})
		for range 3 {
			d.backend.Lose(1<<59, "orders") // which has a number yet
			d.backend.Lose(math.MaxUint64, "orders")
			synctest.Wait()
		}
		d.drain()
		require.NoError(t, <-done)
		require.Contains(t, log.String(), "holes=1 lost=576460752303423488 exact=true")
		require.Contains(t, log.String(), "holes=5 lost=18446744073709551615 exact=false")
		require.Equal(t, uint64(math.MaxUint64), monitor.Stats().Lost)
	})
}

package memory_test

import (
	"context"
	"errors"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/memory"
)

func TestOutage(t *testing.T) {
	for _, c := range []struct {
		name    string
		history int
		want    []string
	}{
		{"history reaches", 10, []string{"1/3=c", "1/4=d"}},
		{"history reaches part", 1, []string{"reconnect 1 1/2>1/4", "1/4=d"}},
		{"no history", 0, []string{"reconnect 2 1/2>1/5"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *memory.Backend) {
				r := open(t, b, "a", pubsub.Position{}).start(nil)
				synctest.Wait()
				publish(t, b, "a", "a", "b")
				gone := errors.New("gone")
				b.Disconnect(gone, "a")
				publish(t, b, "a", "c")
				time.Sleep(time.Second)
				b.Disconnect(gone, "a")
				b.Heartbeat("a")
				_, err := b.Subscribe(t.Context(), "a", pubsub.Start{})
				require.ErrorIs(t, err, pubsub.ErrUnavailable)
				require.ErrorIs(t, err, gone)
				publish(t, b, "a", "d")
				time.Sleep(time.Second)
				b.Reconnect("a")
				b.Reconnect("a")
				publish(t, b, "a", "e", "f")
				want := append([]string{"1/1=a", "1/2=b", "reconnecting 1 0s", "reconnecting 2 1s", "resumed 2 2s"}, c.want...)
				require.Equal(t, append(want, "1/5=e", "1/6=f"), r.log())
				require.ErrorIs(t, r.frames[2].State.Err, gone)
			}, memory.WithHistory(c.history))
		})
	}
}

func TestOutageOfAll(t *testing.T) {
	bubble(t, func(t *testing.T, b *memory.Backend) {
		r := open(t, b, "a", pubsub.Position{}).start(nil)
		synctest.Wait()
		b.Disconnect(nil)
		for _, topic := range []string{"a", "new"} {
			_, err := b.Subscribe(t.Context(), topic, pubsub.Start{})
			require.ErrorIs(t, err, pubsub.ErrUnavailable)
		}
		publish(t, b, "a", "lost")
		b.Reconnect()
		open(t, b, "new", pubsub.Position{})
		synctest.Wait()
		require.Equal(t, []string{"reconnecting 1 0s", "resumed 1 0s", "reconnect 1 ->1/2"}, r.log())
	})
}

func TestLose(t *testing.T) {
	bubble(t, func(t *testing.T, b *memory.Backend) {
		r := open(t, b, "a", pubsub.Position{}).start(nil)
		synctest.Wait()
		b.Lose(1, "a")
		publish(t, b, "a", "x")
		b.Lose(3)
		b.Lose(0)
		publish(t, b, "a", "y")
		want := []string{"backend 1 ->1/2", "1/2=x", "backend 3 1/2>1/6", "1/6=y"}
		require.Equal(t, want, r.log())
		require.Equal(t, uint64(6), b.Stats("a").Accepted)

		again := open(t, b, "a", at(1, 0)).start(nil)
		synctest.Wait()
		require.Equal(t, want[1:], again.log()[1:])
	}, memory.WithHistory(10))
}

func TestLoseDuringOutage(t *testing.T) {
	bubble(t, func(t *testing.T, b *memory.Backend) {
		r := open(t, b, "a", pubsub.Position{}).start(nil)
		synctest.Wait()
		b.Disconnect(nil)
		publish(t, b, "a", "1")
		b.Lose(2)
		publish(t, b, "a", "4")
		b.Lose(1)
		b.Reconnect()
		synctest.Wait()
		require.Equal(t, []string{"reconnecting 1 0s", "resumed 1 0s", "1/1=1", "backend 2 1/1>1/4", "1/4=4", "backend 1 1/4>1/6"}, r.log())
	}, memory.WithHistory(10))
}

func TestReconnectWithNothingMissed(t *testing.T) {
	bubble(t, func(t *testing.T, b *memory.Backend) {
		r := open(t, b, "a", pubsub.Position{}).start(nil)
		synctest.Wait()
		publish(t, b, "a", "x")
		b.Disconnect(nil)
		b.Reconnect()
		publish(t, b, "a", "y")
		synctest.Wait()
		require.Equal(t, []string{"1/1=x", "reconnecting 1 0s", "resumed 1 0s", "1/2=y"}, r.log())
	})
}

func TestResetPage(t *testing.T) {
	bubble(t, func(t *testing.T, b *memory.Backend) {
		r := open(t, b, "a", pubsub.Position{}).start(nil)
		synctest.Wait()
		publish(t, b, "a", "x", "y")
		b.ResetPage("a")
		b.ResetPage("a")
		publish(t, b, "a", "z")
		require.Equal(t, []string{"1/1=x", "1/2=y", "reset 0? 1/2>2/1", "reset 0? ->3/1", "3/1=z"}, r.log())
		require.Equal(t, memory.Stats{Streams: 1, Accepted: 3, Last: at(3, 1)}, b.Stats("a"))

		b.Disconnect(nil)
		publish(t, b, "a", "missed")
		b.ResetPage()
		publish(t, b, "a", "new")
		b.Reconnect()
		synctest.Wait()
		require.Equal(t, []string{"reconnecting 1 0s", "resumed 1 0s", "reset 2? 3/1>4/2"}, r.log()[5:])

		// How far the page went that was reset is known of the last one only.
		for _, c := range []struct {
			after pubsub.Position
			want  string
		}{
			{at(1, 1), "reset 1? 1/1>4/2"},
			{at(3, 1), "reset 2? 3/1>4/2"},
			{at(3, 2), "reset 1? 3/2>4/2"},
			{at(3, 9), "reset 1? 3/9>4/2"},
		} {
			late := open(t, b, "a", c.after).start(nil)
			synctest.Wait()
			require.Equal(t, []string{c.want}, late.log())
		}
	})
}

func TestHeartbeat(t *testing.T) {
	bubble(t, func(t *testing.T, b *memory.Backend) {
		x, y := open(t, b, "a", pubsub.Position{}).start(nil), open(t, b, "b", pubsub.Position{}).start(nil)
		synctest.Wait()
		b.Heartbeat()
		b.Heartbeat("b")
		synctest.Wait()
		require.Equal(t, []string{"heartbeat"}, x.log())
		require.Equal(t, []string{"heartbeat", "heartbeat"}, y.log())
	})
}

func TestDuplicate(t *testing.T) {
	bubble(t, func(t *testing.T, b *memory.Backend) {
		r := open(t, b, "a", pubsub.Position{}).start(nil)
		synctest.Wait()
		publish(t, b, "a", "1", "2", "3")
		b.Duplicate(2, "a")
		b.Duplicate(100)
		synctest.Wait()
		require.Equal(t, []string{"1/1=1", "1/2=2", "1/3=3"}, r.log())
		require.Equal(t, uint64(5), b.Stats("a").Suppressed)
	}, memory.WithHistory(10))
}

func TestEndStreams(t *testing.T) {
	bubble(t, func(t *testing.T, b *memory.Backend) {
		live, fresh := open(t, b, "a", pubsub.Position{}).start(nil), open(t, b, "a", pubsub.Position{})
		other := open(t, b, "b", pubsub.Position{}).start(nil)
		synctest.Wait()
		publish(t, b, "a", "x")
		b.Heartbeat("a")
		b.EndStreams(pubsub.ErrNotFound, "a")
		require.Equal(t, 1, b.Streams())
		publish(t, b, "a", "nobody")
		require.ErrorIs(t, <-live.done, pubsub.ErrNotFound)
		fresh.start(nil)
		require.ErrorIs(t, <-fresh.done, pubsub.ErrNotFound)
		require.Equal(t, []string{"1/1=x", "heartbeat"}, live.log())
		require.Equal(t, []string{"1/1=x", "heartbeat"}, fresh.log())
		b.EndStreams(nil)
		require.ErrorIs(t, <-other.done, pubsub.ErrPermissionDenied)
		open(t, b, "a", pubsub.Position{})
	})
}

func TestFailPublishes(t *testing.T) {
	bubble(t, func(t *testing.T, b *memory.Backend) {
		b.FailPublishes(2, pubsub.ErrLimitExceeded)
		for range 2 {
			require.ErrorIs(t, b.Publish(t.Context(), "a", pubsub.Payload{}), pubsub.ErrLimitExceeded)
		}
		publish(t, b, "a", "x")
		b.FailPublishes(1, pubsub.ErrUnavailable)
		b.FailPublishes(0, nil)
		publish(t, b, "a", "y")
		b.FailPublishes(1, nil)
		require.ErrorIs(t, b.Publish(t.Context(), "a", pubsub.Payload{}), pubsub.ErrUnavailable)
		require.Len(t, b.Published("a"), 2)
	}, memory.WithHistory(10))
}

func TestFailPublishesUntilTakenBack(t *testing.T) {
	bubble(t, func(t *testing.T, b *memory.Backend) {
		for _, always := range []int{-1, math.MinInt} {
			b.FailPublishes(always, pubsub.ErrLimitExceeded)
			for range 100 {
				require.ErrorIs(t, b.Publish(t.Context(), "a", pubsub.Payload{}), pubsub.ErrLimitExceeded)
			}
			open(t, b, "a", pubsub.Position{})
			b.FailPublishes(0, nil)
			publish(t, b, "a", "x")
		}
	})
}

func TestFailSubscribesUntilTakenBack(t *testing.T) {
	bubble(t, func(t *testing.T, b *memory.Backend) {
		for _, always := range []int{-1, math.MinInt} {
			b.FailSubscribes(always, pubsub.ErrUnauthenticated)
			for range 100 {
				_, err := b.Subscribe(t.Context(), "a", pubsub.Start{})
				require.ErrorIs(t, err, pubsub.ErrUnauthenticated)
			}
			publish(t, b, "a", "x")
			b.FailSubscribes(0, nil)
			open(t, b, "a", pubsub.Position{})
		}
	})
}

func TestFailSubscribes(t *testing.T) {
	bubble(t, func(t *testing.T, b *memory.Backend) {
		b.FailSubscribes(1, pubsub.ErrUnauthenticated)
		_, err := b.Subscribe(t.Context(), "a", pubsub.Start{})
		require.ErrorIs(t, err, pubsub.ErrUnauthenticated)
		b.FailSubscribes(1, nil)
		_, err = b.Subscribe(t.Context(), "a", pubsub.Start{})
		require.ErrorIs(t, err, pubsub.ErrUnavailable)
		open(t, b, "a", pubsub.Position{})
	})
}

func TestDelayPublishes(t *testing.T) {
	bubble(t, func(t *testing.T, b *memory.Backend) {
		b.DelayPublishes(time.Hour)
		began := time.Now()
		publish(t, b, "a", "x")
		require.Equal(t, time.Hour, time.Since(began))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		require.ErrorIs(t, b.Publish(ctx, "a", pubsub.Payload{}), context.DeadlineExceeded)
		require.Len(t, b.Published("a"), 1)
		b.DelayPublishes(0)
		publish(t, b, "a", "y")
		require.Equal(t, time.Hour+time.Minute, time.Since(began))
	}, memory.WithHistory(10))
}

func TestPublished(t *testing.T) {
	bubble(t, func(t *testing.T, b *memory.Backend) {
		require.Empty(t, b.Published("a"))
		publish(t, b, "a", "1", "2", "3")
		require.Equal(t, []pubsub.Message[pubsub.Payload]{
			{Topic: "a", Position: at(1, 2), Value: pubsub.Payload{Format: pubsub.Text, Data: []byte("2")}},
			{Topic: "a", Position: at(1, 3), Value: pubsub.Payload{Format: pubsub.Text, Data: []byte("3")}},
		}, b.Published("a"))
	}, memory.WithHistory(2))
}

// fails tells for each topic whether a publish to it fails.
func fails(t *testing.T, b *memory.Backend, topics ...string) (log []bool) {
	t.Helper()
	for _, topic := range topics {
		log = append(log, b.Publish(t.Context(), topic, text("x")) != nil)
	}
	return log
}

func TestFailPublishesToTopics(t *testing.T) {
	boom := errors.New("boom")
	for name, fail := range map[string]func(*memory.Backend, int, ...string){
		"not accepted": func(b *memory.Backend, n int, topics ...string) { b.FailPublishes(n, boom, topics...) },
		"accepted":     func(b *memory.Backend, n int, topics ...string) { b.FailAcceptedPublishes(n, boom, topics...) },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *memory.Backend) {
				fail(b, 2, "a", "b")
				fail(b, -1, "never")
				require.Equal(t, []bool{true, false, true, true, false}, fails(t, b, "a", "c", "a", "b", "a"))
				fail(b, 1) // the next one to any topic; it replaces all others
				require.Equal(t, []bool{true, false, false}, fails(t, b, "c", "b", "never"))
				fail(b, 1, "a")
				fail(b, 0, "a")
				fail(b, -1, "b")
				require.Equal(t, []bool{false, true, true}, fails(t, b, "a", "b", "b"))
				fail(b, 0)
				require.Equal(t, []bool{false, false}, fails(t, b, "a", "b"))
			})
		})
	}
}

func TestDelayPublishesToTopics(t *testing.T) {
	bubble(t, func(t *testing.T, b *memory.Backend) {
		waits := func(topic string) time.Duration {
			began := time.Now()
			publish(t, b, topic, "x")
			return time.Since(began)
		}
		b.DelayPublishes(time.Hour, "a")
		require.Equal(t, time.Hour, waits("a"))
		require.Zero(t, waits("b"))
		b.DelayPublishes(time.Minute)
		b.DelayPublishes(0, "b")
		require.Equal(t, time.Minute, waits("a"))
		require.Zero(t, waits("b"))
		b.DelayPublishes(0)
		require.Zero(t, waits("a"))
	})
}

// The answer is lost, the message is not.
func TestFailAcceptedPublishes(t *testing.T) {
	bubble(t, func(t *testing.T, b *memory.Backend) {
		r := open(t, b, "a", pubsub.Position{}).start(nil)
		synctest.Wait()
		b.FailAcceptedPublishes(2, pubsub.ErrUnavailable, "a")
		h := b.Topic(b, "a")
		require.ErrorIs(t, h.Publish(t.Context(), text("1")), pubsub.ErrUnavailable)
		require.ErrorIs(t, b.Publish(t.Context(), "a", text("2")), pubsub.ErrUnavailable)
		require.NoError(t, h.Publish(t.Context(), text("3")))
		require.Equal(t, []string{"1/1=1", "1/2=2", "1/3=3"}, r.log())
		b.FailAcceptedPublishes(1, nil)
		require.ErrorIs(t, b.Publish(t.Context(), "nobody", text("x")), pubsub.ErrUnavailable)
	})
}

func TestFaultsOfHandlesThatKnowTheirTopic(t *testing.T) {
	bubble(t, func(t *testing.T, b *memory.Backend) {
		heard, silent := b.Topic(b, "a"), b.Topic(b, "b")
		open(t, b, "a", pubsub.Position{}).start(nil)
		synctest.Wait()
		for range 3 {
			require.NoError(t, heard.Publish(t.Context(), text("x")))
			require.NoError(t, silent.Publish(t.Context(), text("x")))
			b.FailPublishes(4, pubsub.ErrLimitExceeded)
			for range 2 {
				require.ErrorIs(t, heard.Publish(t.Context(), text("x")), pubsub.ErrLimitExceeded)
				require.ErrorIs(t, silent.Publish(t.Context(), text("x")), pubsub.ErrLimitExceeded)
			}
		}
		require.Equal(t, uint64(3), b.Stats("a").Accepted)
	})
}

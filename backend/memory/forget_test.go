package memory_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/memory"
)

func published(b *memory.Backend, topic string) (log []string) {
	for _, m := range b.Published(topic) {
		log = append(log, m.Position.String()+"="+string(m.Value.Data))
	}
	return log
}

func TestHistoryBytes(t *testing.T) {
	four := []string{"aa", "bbb", "c", "dddd"}
	for _, c := range []struct {
		name string
		opts []memory.Option
		sent []string
		want []string
	}{
		{"bytes alone", []memory.Option{memory.WithHistoryBytes(5)}, four, []string{"1/3=c", "1/4=dddd"}},
		{"just so many", []memory.Option{memory.WithHistoryBytes(8)}, four, []string{"1/2=bbb", "1/3=c", "1/4=dddd"}},
		{"room for all", []memory.Option{memory.WithHistoryBytes(10)}, four, []string{"1/1=aa", "1/2=bbb", "1/3=c", "1/4=dddd"}},
		{"messages bind", []memory.Option{memory.WithHistoryBytes(8), memory.WithHistory(2)}, four, []string{"1/3=c", "1/4=dddd"}},
		{"bytes bind", []memory.Option{memory.WithHistory(3), memory.WithHistoryBytes(5)}, four, []string{"1/3=c", "1/4=dddd"}},
		{"too large for it", []memory.Option{memory.WithHistoryBytes(3)}, four, nil},
		{"the next fits", []memory.Option{memory.WithHistoryBytes(3)}, append(four, "e"), []string{"1/5=e"}},
		{"empty ones count", []memory.Option{memory.WithHistoryBytes(2)}, []string{"", "", ""}, []string{"1/2=", "1/3="}},
		{"no limit", []memory.Option{memory.WithHistoryBytes(0), memory.WithHistory(2)}, four, []string{"1/3=c", "1/4=dddd"}},
		{"taken back", []memory.Option{memory.WithHistoryBytes(3), memory.WithHistoryBytes(-1)}, four, nil},
		{"wraps around", []memory.Option{memory.WithHistory(3)}, strings.Split("abcdefghij", ""), []string{"1/8=h", "1/9=i", "1/10=j"}},
		{"grows around", []memory.Option{memory.WithHistoryBytes(6)}, []string{"aaa", "bbb", "c", "d", "e", "f", "g", "h"},
			[]string{"1/3=c", "1/4=d", "1/5=e", "1/6=f", "1/7=g", "1/8=h"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *memory.Backend) {
				publish(t, b, "a", c.sent...)
				require.Equal(t, c.want, published(b, "a"))
			}, c.opts...)
		})
	}
}

// What the bytes had no room for is reported as what the count had none for.
func TestResumeBehindHistoryBytes(t *testing.T) {
	bubble(t, func(t *testing.T, b *memory.Backend) {
		publish(t, b, "a", "a", "bbbb", "cc", "d")
		r := open(t, b, "a", at(1, 1)).start(nil)
		synctest.Wait()
		require.Equal(t, []string{"reconnect 1 1/1>1/3", "1/3=cc", "1/4=d"}, r.log())
	}, memory.WithHistoryBytes(3))
}

func TestForget(t *testing.T) {
	for _, all := range []bool{false, true} {
		t.Run(fmt.Sprint("all=", all), func(t *testing.T) {
			bubble(t, func(t *testing.T, b *memory.Backend) {
				h := b.Topic(b, "a")
				publish(t, b, "a", "1", "2")
				require.NoError(t, h.Publish(t.Context(), text("3")))
				publish(t, b, "heard", "1", "2")
				publish(t, b, "down", "1")
				publish(t, b, "kept", "1")
				r := open(t, b, "heard", pubsub.Position{}).start(nil)
				b.Disconnect(nil, "down")
				synctest.Wait()
				if all {
					b.Forget()
				} else {
					b.Forget("a", "heard", "down", "unknown", "")
				}
				require.Equal(t, all, len(b.Published("kept")) == 0)

				// Nobody listened: it is used again with greater numbers.
				require.Zero(t, b.Stats("a"))
				require.Zero(t, b.Stats("unknown"))
				require.NoError(t, h.Publish(t.Context(), text("new")))
				publish(t, b, "a", "new too")
				require.Equal(t, []string{"2/1=new", "2/2=new too"}, published(b, "a"))
				again := open(t, b, "a", at(1, 2)).start(nil)
				synctest.Wait()
				require.Equal(t, []string{"reset 0? 1/2>2/1", "2/1=new", "2/2=new too"}, again.log())

				// One with streams goes on.
				require.Empty(t, b.Published("heard"))
				publish(t, b, "heard", "3")
				require.Equal(t, []string{"1/3=3"}, r.log())
				late := open(t, b, "heard", at(1, 1)).start(nil)
				synctest.Wait()
				require.Equal(t, []string{"reconnect 1 1/1>1/3", "1/3=3"}, late.log())

				// So does one whose outage is not over.
				require.Equal(t, at(1, 1), b.Stats("down").Last)
				require.Empty(t, b.Published("down"))
				_, err := b.Subscribe(t.Context(), "down", now)
				require.ErrorIs(t, err, pubsub.ErrUnavailable)
			}, memory.WithHistory(10))
		})
	}
}

// An idle topic that is forgotten leaves the line of those that will be.
func TestForgetAnIdleTopic(t *testing.T) {
	bubble(t, func(t *testing.T, b *memory.Backend) {
		visit := func(topic string) {
			r := open(t, b, topic, pubsub.Position{}).start(nil)
			synctest.Wait()
			publish(t, b, topic, "x")
			r.cancel()
			require.NoError(t, <-r.done)
		}
		visit("a")
		b.Forget("a")
		require.Zero(t, b.Stats("a"))
		visit("a")
		require.Equal(t, at(2, 1), b.Stats("a").Last)
		for i := range 1023 {
			visit(fmt.Sprint(i))
		}
		require.Equal(t, at(2, 1), b.Stats("a").Last)
		visit("one more")
		require.Zero(t, b.Stats("a"))
	})
}

func TestForgetWhileAPublisherIsStuck(t *testing.T) {
	bubble(t, func(t *testing.T, b *memory.Backend) {
		block, release := stall()
		r := open(t, b, "a", pubsub.Position{}).start(block)
		synctest.Wait()
		done := make(chan struct{})
		go func() { defer close(done); publish(t, b, "a", "1") }()
		synctest.Wait()
		b.Forget("a") // takes effect right after the message
		require.Len(t, b.Published("a"), 1)
		release()
		<-done
		require.Empty(t, b.Published("a"))
		require.Equal(t, []string{"1/1=1"}, r.log())
	}, memory.WithHistory(10))
}

func TestForgetAfterClose(t *testing.T) {
	b := memory.New(memory.WithHistory(10))
	publish(t, b, "a", "1")
	require.NoError(t, b.Close())
	b.Forget()
	b.Forget("a")
	require.ErrorIs(t, b.Publish(context.Background(), "a", text("2")), pubsub.ErrClosed)
}

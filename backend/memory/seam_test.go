package memory_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/memory"
)

// bubble runs f in a synctest bubble with a backend that starts with
// page 1 and is closed at its end.
func bubble(t *testing.T, f func(t *testing.T, b *memory.Backend), opts ...memory.Option) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := memory.New(append([]memory.Option{memory.WithPage(1)}, opts...)...)
		t.Cleanup(func() { require.NoError(t, b.Close()) })
		f(t, b)
	})
}

func TestKeepsWhatIsPublishedBeforeReceive(t *testing.T) {
	bubble(t, func(t *testing.T, b *memory.Backend) {
		r := open(t, b, "a", pubsub.Position{})
		publish(t, b, "a", "x", "y")
		r.start(nil)
		publish(t, b, "a", "z")
		synctest.Wait()
		publish(t, b, "a", "live", "short way")
		require.Equal(t, []string{"1/1=x", "1/2=y", "1/3=z", "1/4=live", "1/5=short way"}, r.log())
	})
}

func TestDeliversOnThePublishersGoroutine(t *testing.T) {
	bubble(t, func(t *testing.T, b *memory.Backend) {
		r := open(t, b, "a", pubsub.Position{}).start(nil)
		synctest.Wait()
		publish(t, b, "a", "x")
		require.Equal(t, []string{"1/1=x"}, r.log()) // without waiting
	})
}

func TestKeepsFormatAndBytes(t *testing.T) {
	bubble(t, func(t *testing.T, b *memory.Backend) {
		r := open(t, b, "a", pubsub.Position{}).start(nil)
		synctest.Wait()
		require.NoError(t, b.Publish(t.Context(), "a", pubsub.Payload{Format: pubsub.Text, Data: []byte("x")}))
		require.NoError(t, b.Publish(t.Context(), "a", pubsub.Payload{Format: pubsub.Binary, Data: []byte{0xff}}))
		require.NoError(t, b.Publish(t.Context(), "a", pubsub.Payload{}))
		require.Equal(t, []pubsub.Payload{
			{Format: pubsub.Text, Data: []byte("x")}, {Format: pubsub.Binary, Data: []byte{0xff}}, {},
		}, []pubsub.Payload{r.frames[0].Payload, r.frames[1].Payload, r.frames[2].Payload})
	})
}

func TestResume(t *testing.T) {
	for _, c := range []struct {
		name    string
		history int
		after   pubsub.Position
		want    []string
	}{
		{"all of it is held", 10, at(1, 2), []string{"1/3=c", "1/4=d"}},
		{"at the end", 10, at(1, 4), nil},
		{"part of it is held", 1, at(1, 2), []string{"reconnect 1 1/2>1/4", "1/4=d"}},
		{"nothing is held", 0, at(1, 1), []string{"reconnect 3 1/1>1/5"}},
		{"no history, at the end", 0, at(1, 4), nil},
		{"behind the end", 10, at(1, 9), []string{"reset 0? 1/9>1/5"}},
		{"a later page", 10, at(7, 1), []string{"reset 0? 7/1>1/5"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *memory.Backend) {
				first := open(t, b, "a", pubsub.Position{}).start(nil) // numbers without a history too
				publish(t, b, "a", "a", "b", "c", "d")
				first.cancel()
				r := open(t, b, "a", c.after).start(nil)
				synctest.Wait()
				publish(t, b, "a", "e")
				require.Equal(t, append(c.want, "1/5=e"), r.log())
			}, memory.WithHistory(c.history))
		})
	}
}

func TestResumeOnAnEarlierPage(t *testing.T) {
	bubble(t, func(t *testing.T, b *memory.Backend) {
		publish(t, b, "a", "a", "b", "c")
		b.ResetPage("a")
		publish(t, b, "a", "d", "e")
		r := open(t, b, "a", at(1, 1)).start(nil)
		synctest.Wait()
		require.Equal(t, []string{"reset 2? 1/1>2/1", "2/1=d", "2/2=e"}, r.log())
	}, memory.WithHistory(10))
}

func TestRefusalGoesOnWithTheOthers(t *testing.T) {
	bubble(t, func(t *testing.T, b *memory.Backend) {
		block, _ := stall()
		slow := open(t, b, "a", pubsub.Position{}).start(block)
		other := open(t, b, "a", pubsub.Position{}).start(nil)
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := b.Publish(ctx, "a", pubsub.Payload{Data: []byte("x")})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorContains(t, err, "accepted, but 1 of 2 streams")
		require.Equal(t, []string{"1/1=x"}, other.log())
		require.Empty(t, slow.log())
		slow.cancel()
		require.NoError(t, <-slow.done)
		publish(t, b, "a", "y")
		require.Equal(t, []string{"1/1=x", "1/2=y"}, other.log())
	})
}

func TestRefusalOfAStreamIsNotThePublishers(t *testing.T) {
	bubble(t, func(t *testing.T, b *memory.Backend) {
		open(t, b, "a", pubsub.Position{}).start(func(context.Context, pubsub.Frame) error { return errors.New("no") })
		synctest.Wait()
		publish(t, b, "a", "x", "y")
	})
}

// While a publisher is stuck in deliver, only publishers of its topic wait.
func TestStuckPublisher(t *testing.T) {
	bubble(t, func(t *testing.T, b *memory.Backend) {
		block, release := stall()
		slow := open(t, b, "a", pubsub.Position{}).start(block)
		early := open(t, b, "a", pubsub.Position{}).start(nil)
		leaver := open(t, b, "a", pubsub.Position{}).start(nil)
		synctest.Wait()
		stuck := make(chan error, 1)
		go func() { stuck <- b.Publish(t.Context(), "a", pubsub.Payload{Data: []byte("1")}) }()
		synctest.Wait()
		began := time.Now()

		leaver.cancel()
		require.NoError(t, <-leaver.done)
		late := open(t, b, "a", at(1, 0)).start(nil) // subscribes at once
		require.Equal(t, memory.Stats{Streams: 3, Accepted: 1, Last: at(1, 1)}, b.Stats("a"))
		publish(t, b, "other", "x")

		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		require.Zero(t, time.Since(began))
		err := b.Publish(ctx, "a", pubsub.Payload{Data: []byte("2")})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorContains(t, err, "not accepted")
		require.Equal(t, time.Minute, time.Since(began))

		b.Heartbeat("a") // comes behind the message that is under way
		go func() { stuck <- b.Publish(t.Context(), "a", pubsub.Payload{Data: []byte("3")}) }()
		synctest.Wait()
		release()
		require.NoError(t, <-stuck)
		require.NoError(t, <-stuck)
		synctest.Wait()
		require.Equal(t, []string{"1/1=1", "heartbeat", "1/2=3"}, slow.log())
		require.Equal(t, []string{"1/1=1", "heartbeat", "1/2=3"}, early.log())
		require.Equal(t, []string{"reconnect 1 ->1/2", "heartbeat", "1/2=3"}, late.log())
	})
}

// A replay that the taker does not take holds up publishers as a live stream
// would, and what they give up is reported in one piece.
func TestBackPressureWhileDraining(t *testing.T) {
	bubble(t, func(t *testing.T, b *memory.Backend) {
		publish(t, b, "a", "1", "2", "3")
		block, release := stall()
		r := open(t, b, "a", at(1, 1)).start(block)
		synctest.Wait()
		for range 2 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			err := b.Publish(ctx, "a", pubsub.Payload{})
			cancel()
			require.ErrorIs(t, err, context.DeadlineExceeded)
		}
		done := make(chan struct{})
		go func() { defer close(done); publish(t, b, "a", "6") }()
		synctest.Wait()
		release()
		<-done
		require.Equal(t, []string{"1/2=2", "1/3=3", "overflow 2 1/3>1/6", "1/6=6"}, r.log())
		require.ErrorIs(t, r.frames[2].Discontinuity, pubsub.ErrOverflow)
	}, memory.WithHistory(10))
}

func TestStreamEnd(t *testing.T) {
	bubble(t, func(t *testing.T, b *memory.Backend) {
		require.Zero(t, b.Streams())
		x, y := open(t, b, "a", pubsub.Position{}).start(nil), open(t, b, "b", pubsub.Position{})
		synctest.Wait()
		require.Equal(t, 2, b.Streams())
		x.cancel()
		require.NoError(t, <-x.done)
		y.cancel()
		require.NoError(t, y.stream.Receive(nil)) // ended before it began
		require.Zero(t, b.Streams())
		publish(t, b, "a", "after")
		require.Empty(t, x.log())
	})
}

func TestStreamNobodyReceivesEndsWithItsContext(t *testing.T) {
	bubble(t, func(t *testing.T, b *memory.Backend) {
		r := open(t, b, "a", pubsub.Position{})
		r.cancel()
		publish(t, b, "a", "x")
		require.Zero(t, b.Streams())
	})
}

func TestReceiveTwice(t *testing.T) {
	bubble(t, func(t *testing.T, b *memory.Backend) {
		r := open(t, b, "a", pubsub.Position{}).start(nil)
		synctest.Wait()
		require.ErrorIs(t, r.stream.Receive(nil), pubsub.ErrInvalidArgument)
	})
}

func TestClose(t *testing.T) {
	bubble(t, func(t *testing.T, b *memory.Backend) {
		live := open(t, b, "a", pubsub.Position{}).start(nil)
		fresh := open(t, b, "b", pubsub.Position{})
		block, release := stall()
		slow := open(t, b, "c", pubsub.Position{}).start(block)
		synctest.Wait()
		publish(t, b, "b", "queued")
		stuck, waiting := make(chan error, 1), make(chan error, 1)
		go func() { stuck <- b.Publish(t.Context(), "c", pubsub.Payload{}) }()
		synctest.Wait()
		go func() { waiting <- b.Publish(t.Context(), "c", pubsub.Payload{}) }()
		synctest.Wait()

		require.NoError(t, b.Close())
		require.NoError(t, b.Close())
		require.ErrorIs(t, <-live.done, pubsub.ErrClosed)
		require.ErrorIs(t, <-waiting, pubsub.ErrClosed)
		require.ErrorIs(t, <-slow.done, pubsub.ErrClosed)
		fresh.start(nil)
		require.ErrorIs(t, <-fresh.done, pubsub.ErrClosed)
		require.Equal(t, []string{"1/1=queued"}, fresh.log())
		require.Zero(t, b.Streams())
		for _, topic := range []string{"a", "c", "new"} {
			require.ErrorIs(t, b.Publish(t.Context(), topic, pubsub.Payload{}), pubsub.ErrClosed)
			_, err := b.Subscribe(t.Context(), topic, pubsub.Start{})
			require.ErrorIs(t, err, pubsub.ErrClosed)
		}
		b.Disconnect(nil)
		b.Heartbeat("a", "new")
		release()
		err := <-stuck
		require.ErrorIs(t, err, pubsub.ErrClosed)
		require.ErrorContains(t, err, "message 1/1 of topic \"c\" accepted, but perhaps not delivered")
	})
}

func TestInvalid(t *testing.T) {
	bubble(t, func(t *testing.T, b *memory.Backend) {
		for _, topic := range []string{"", " \t", "a\xff"} {
			require.ErrorIs(t, b.Publish(t.Context(), topic, pubsub.Payload{}), pubsub.ErrInvalidTopic)
			_, err := b.Subscribe(t.Context(), topic, pubsub.Start{})
			require.ErrorIs(t, err, pubsub.ErrInvalidTopic)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		why := errors.New("why")
		cancel(why)
		_, err := b.Subscribe(ctx, "a", pubsub.Start{})
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorIs(t, err, why)
	})
}

func TestMaxPayload(t *testing.T) {
	bubble(t, func(t *testing.T, b *memory.Backend) {
		publish(t, b, "a", "123")
		require.ErrorIs(t, b.Publish(t.Context(), "a", pubsub.Payload{Data: []byte("1234")}), pubsub.ErrPayloadTooLarge)
		require.Len(t, b.Published("a"), 1)
	}, memory.WithMaxPayload(3), memory.WithHistory(5))
}

// As with momentotest.WithMaxPayload.
func TestNoMaxPayload(t *testing.T) {
	for _, none := range []int{0, -1} {
		bubble(t, func(t *testing.T, b *memory.Backend) {
			publish(t, b, "a", "", "1", strings.Repeat("x", 1<<20))
		}, memory.WithMaxPayload(3), memory.WithMaxPayload(none))
	}
}

func TestNoHistory(t *testing.T) {
	for _, none := range []int{0, -1} {
		bubble(t, func(t *testing.T, b *memory.Backend) {
			publish(t, b, "a", "x")
			require.Empty(t, b.Published("a"))
		}, memory.WithHistory(3), memory.WithHistory(none))
	}
}

func TestPublishToAnotherTopicInsideDeliver(t *testing.T) {
	bubble(t, func(t *testing.T, b *memory.Backend) {
		other := open(t, b, "b", pubsub.Position{}).start(nil)
		open(t, b, "a", pubsub.Position{}).start(func(ctx context.Context, f pubsub.Frame) error {
			require.NoError(t, b.Publish(ctx, "b", f.Payload))
			ctx, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			require.ErrorIs(t, b.Publish(ctx, "a", f.Payload), context.DeadlineExceeded) // would wait for itself
			return nil
		})
		synctest.Wait()
		publish(t, b, "a", "x")
		require.Equal(t, []string{"1/1=x"}, other.log())
	})
}

// A position never stands for two messages, though the backend forgets topics.
func TestForgottenTopicsStartOnANewPage(t *testing.T) {
	bubble(t, func(t *testing.T, b *memory.Backend) {
		use := func(topic string) []string {
			r := open(t, b, topic, pubsub.Position{}).start(nil)
			synctest.Wait()
			publish(t, b, topic, "x")
			r.cancel()
			require.NoError(t, <-r.done)
			return r.log()
		}
		require.Equal(t, []string{"1/1=x"}, use("first"))
		require.Equal(t, []string{"1/2=x"}, use("first"))
		for i := range 1100 {
			require.Equal(t, []string{"1/1=x"}, use(fmt.Sprint(i)), "topic %d", i)
			if i == 1000 {
				break
			}
		}
		require.Equal(t, []string{"1/3=x"}, use("first"))
		for i := range 1025 {
			use(fmt.Sprint("more", i))
		}
		require.Zero(t, b.Stats("0"))
		publish(t, b, "0", "nobody")
		require.Equal(t, []string{"2/1=x"}, use("0"))
	})
}

// A topic kept the place in line of the first time that it was idle, and was
// forgotten as soon as the last stream had gone.
func TestTopicsAreForgottenInTheOrderOfTheirLastStream(t *testing.T) {
	b := memory.New(memory.WithPage(1))
	use := func(name string) {
		ctx, cancel := context.WithCancel(t.Context())
		s, err := b.Subscribe(ctx, name, pubsub.Start{})
		require.NoError(t, err)
		cancel()
		require.NoError(t, s.Receive(func(context.Context, pubsub.Frame) error { return nil }))
	}
	use("a")
	for i := range 1023 {
		use(fmt.Sprint(i))
	}
	use("a")
	use("one more")
	require.Equal(t, at(1, 0), b.Stats("a").Last)
	require.Zero(t, b.Stats("0").Last)
}

func TestNothingIsKeptForTopicsNobodyListensTo(t *testing.T) {
	bubble(t, func(t *testing.T, b *memory.Backend) {
		for range 3 {
			publish(t, b, "a", "x")
		}
		require.Zero(t, b.Stats("a"))
		r := open(t, b, "a", pubsub.Position{}).start(nil)
		synctest.Wait()
		publish(t, b, "a", "y")
		require.Equal(t, []string{"1/1=y"}, r.log())
	})
}

// Whatever the backend remembers in order to publish fast, a stream gets what
// is published after Subscribe returned: also where nobody listened until then,
// while others publish, and with more topics than places to remember them in.
func TestNoTopicIsOverlooked(t *testing.T) {
	b := memory.New()
	defer b.Close()
	const topics = 3000
	names := make([]string, topics)
	for i := range names {
		names[i] = "orders." + strconv.Itoa(i)
	}
	stop := make(chan struct{})
	var others sync.WaitGroup
	for range 2 {
		others.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
					_ = b.Publish(context.Background(), names[i%topics], pubsub.Payload{})
				}
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	var streams sync.WaitGroup
	for _, name := range names {
		publish(t, b, name, "nobody")
		s, err := b.Subscribe(ctx, name, pubsub.Start{})
		require.NoError(t, err)
		came := make(chan struct{})
		streams.Go(func() {
			_ = s.Receive(func(_ context.Context, f pubsub.Frame) error {
				if string(f.Payload.Data) == "after" {
					close(came)
				}
				return nil
			})
		})
		publish(t, b, name, "after")
		select {
		case <-came:
		case <-time.After(10 * time.Second):
			t.Fatalf("%s was overlooked", name)
		}
	}
	close(stop)
	others.Wait()
	cancel()
	streams.Wait()
}

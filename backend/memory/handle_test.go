package memory_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/memory"
)

func text(s string) pubsub.Payload { return pubsub.Payload{Format: pubsub.Text, Data: []byte(s)} }

func texts(ss ...string) (ps []pubsub.Payload) {
	for _, s := range ss {
		ps = append(ps, text(s))
	}
	return ps
}

func batcher(t *testing.T, b *memory.Backend, topic string) pubsub.BatchPublisher {
	t.Helper()
	h, ok := b.Topic(b, topic).(pubsub.BatchPublisher)
	require.True(t, ok)
	return h
}

type louder struct{ *memory.Backend }

func (l louder) Publish(ctx context.Context, topic string, p pubsub.Payload) error {
	return l.Backend.Publish(ctx, topic, text(strings.ToUpper(string(p.Data))))
}

// Who embeds the backend and has a Publish of his own is not passed by.
func TestTopicOfAnotherBackend(t *testing.T) {
	b := memory.New()
	defer b.Close()
	var l pubsub.Backend = louder{b}
	require.Nil(t, l.(pubsub.TopicBackend).Topic(l, "a"))
	require.Nil(t, b.Topic(memory.New(), "a"))
	require.Nil(t, b.Topic(nil, "a"))
	require.NotNil(t, b.Topic(b, "a"))
}

func TestHandle(t *testing.T) {
	bubble(t, func(t *testing.T, b *memory.Backend) {
		h := b.Topic(b, "a")
		publish := func(s string) { t.Helper(); require.NoError(t, h.Publish(t.Context(), text(s))) }
		publish("nobody")
		publish("nobody")
		require.Zero(t, b.Stats("a")) // nothing is kept of a topic without streams
		r := open(t, b, "a", pubsub.Position{}).start(nil)
		synctest.Wait()
		publish("1")
		publish("2")
		r.cancel()
		require.NoError(t, <-r.done)
		publish("3")
		again := open(t, b, "a", pubsub.Position{}).start(nil)
		synctest.Wait()
		publish("4")
		require.Equal(t, []string{"1/1=1", "1/2=2"}, r.log())
		require.Equal(t, []string{"1/4=4"}, again.log())
	})
}

func TestHandleOfABadTopic(t *testing.T) {
	bubble(t, func(t *testing.T, b *memory.Backend) {
		for _, topic := range []string{"", " \t", "a\xff"} {
			h := batcher(t, b, topic)
			for range 2 {
				require.ErrorIs(t, b.Topic(b, topic).Publish(t.Context(), text("x")), pubsub.ErrInvalidTopic)
				n, err := h.PublishBatch(t.Context(), texts("x", "y"))
				require.Zero(t, n)
				require.ErrorIs(t, err, pubsub.ErrInvalidTopic)
			}
		}
	})
}

// A handle finds the topic that took the place of the one that it had.
func TestHandleOfAForgottenTopic(t *testing.T) {
	bubble(t, func(t *testing.T, b *memory.Backend) {
		h := b.Topic(b, "a")
		var last pubsub.Position
		for round := range 3 {
			r := open(t, b, "a", pubsub.Position{}).start(nil)
			synctest.Wait()
			require.NoError(t, h.Publish(t.Context(), text("x")))
			require.NoError(t, h.Publish(t.Context(), text("y")))
			require.Len(t, r.frames, 2, "round %d", round)
			require.Positive(t, r.frames[0].Position.Compare(last))
			last = r.frames[1].Position
			r.cancel()
			require.NoError(t, <-r.done)
			for i := range 1025 {
				r := open(t, b, fmt.Sprint(round, i), pubsub.Position{}).start(nil)
				r.cancel()
				require.NoError(t, <-r.done)
			}
			require.Zero(t, b.Stats("a"))
			if round > 0 {
				require.NoError(t, h.Publish(t.Context(), text("nobody")))
			}
		}
	})
}

// What its namesake says of a publish is told, when a handle's topic was forgotten.
func TestOutcomeOfAForgottenTopicsHandle(t *testing.T) {
	bubble(t, func(t *testing.T, b *memory.Backend) {
		h := b.Topic(b, "a")
		require.NoError(t, h.Publish(t.Context(), text("x")))
		for i := range 1025 {
			r := open(t, b, fmt.Sprint(i), pubsub.Position{}).start(nil)
			r.cancel()
			require.NoError(t, <-r.done)
		}
		require.Zero(t, b.Stats("a"))
		block, release := stall()
		defer release()
		open(t, b, "a", pubsub.Position{}).start(block)
		synctest.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		err := h.Publish(ctx, text("y"))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, pubsub.Accepted, pubsub.OutcomeOf(err))
	})
}

func TestHandleAfterClose(t *testing.T) {
	b := memory.New()
	with, without := batcher(t, b, "a"), batcher(t, b, "b")
	attach(t, b, "a", 1)
	_, err := with.PublishBatch(t.Context(), texts("x"))
	require.NoError(t, err)
	_, err = without.PublishBatch(t.Context(), texts("x"))
	require.NoError(t, err)
	require.NoError(t, b.Close())
	for _, h := range []pubsub.BatchPublisher{with, without, batcher(t, b, "c")} {
		n, err := h.PublishBatch(t.Context(), texts("x", "y"))
		require.Zero(t, n)
		require.ErrorIs(t, err, pubsub.ErrClosed)
		require.ErrorIs(t, h.(pubsub.TopicPublisher).Publish(t.Context(), text("x")), pubsub.ErrClosed)
	}
}

func TestValues(t *testing.T) {
	bubble(t, func(t *testing.T, b *memory.Backend) {
		require.True(t, b.CarriesValues())
		type order struct{ id int }
		v := &order{1}
		p := pubsub.ValuePayload(v)
		r := open(t, b, "a", pubsub.Position{}).start(nil)
		require.NoError(t, b.Publish(t.Context(), "a", p))
		require.NoError(t, b.Topic(b, "a").Publish(t.Context(), p))
		for _, f := range r.frames {
			require.Equal(t, pubsub.GoValue, f.Payload.Format)
			require.Same(t, v, f.Payload.Value())
		}
		require.Len(t, r.frames, 2)
		require.Same(t, v, b.Published("a")[1].Value.Value())
	}, memory.WithMaxPayload(1), memory.WithHistory(5))
}

// more tells of each message whether another one was promised.
func more(r *receiver) (log []bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, f := range r.frames {
		log = append(log, f.More)
	}
	return log
}

func TestBatch(t *testing.T) {
	for _, c := range []struct {
		name string
		opts []memory.Option
	}{
		{"no history", nil},
		{"history", []memory.Option{memory.WithHistory(10)}},
	} {
		for _, end := range []bool{false, true} {
			t.Run(fmt.Sprint(c.name, " ctx can end ", end), func(t *testing.T) {
				bubble(t, func(t *testing.T, b *memory.Backend) {
					ctx := context.Background()
					if end {
						ctx = t.Context()
					}
					h := batcher(t, b, "a")
					all := func(ss ...string) {
						t.Helper()
						n, err := h.PublishBatch(ctx, texts(ss...))
						require.NoError(t, err)
						require.Equal(t, len(ss), n)
					}
					all()
					r := open(t, b, "a", pubsub.Position{}).start(nil)
					synctest.Wait()
					for range 2 { // the slow way and the short one
						all("1", "2", "3")
					}
					all("one")
					all()
					require.Equal(t, []string{"1/1=1", "1/2=2", "1/3=3", "1/4=1", "1/5=2", "1/6=3", "1/7=one"}, r.log())
					require.Equal(t, []bool{true, true, false, true, true, false, false}, more(r))

					second := open(t, b, "a", pubsub.Position{}).start(nil)
					synctest.Wait()
					for range 2 {
						all("1", "2")
					}
					require.Equal(t, []string{"1/8=1", "1/9=2", "1/10=1", "1/11=2"}, second.log())
					// One stream may block while the other one has the first
					// message: its reader must not be asked to wait for more.
					require.Equal(t, []bool{false, false, false, false}, more(second))
					require.Equal(t, uint64(11), b.Stats("a").Accepted)
				}, c.opts...)
			})
		}
	}
}

func TestBatchTooLarge(t *testing.T) {
	bubble(t, func(t *testing.T, b *memory.Backend) {
		r := open(t, b, "a", pubsub.Position{}).start(nil)
		synctest.Wait()
		h := batcher(t, b, "a")
		n, err := h.PublishBatch(t.Context(), texts("1", "22", "333", "4"))
		require.Equal(t, 2, n)
		require.ErrorIs(t, err, pubsub.ErrPayloadTooLarge)
		require.Equal(t, pubsub.NotAccepted, pubsub.OutcomeOf(err))
		require.Equal(t, []string{"1/1=1", "1/2=22"}, r.log())
		require.Equal(t, []bool{true, false}, more(r))
		n, err = h.PublishBatch(t.Context(), texts("333", "4"))
		require.Zero(t, n)
		require.ErrorIs(t, err, pubsub.ErrPayloadTooLarge)
	}, memory.WithMaxPayload(2))
}

// The end of ctx in the middle: those before were accepted, the one that a
// stream did not take was too, those behind it were not.
func TestBatchAndTheEndOfItsContext(t *testing.T) {
	for _, history := range []int{0, 10} {
		bubble(t, func(t *testing.T, b *memory.Backend) {
			h := batcher(t, b, "a")
			taken := 0
			r := open(t, b, "a", pubsub.Position{}).start(func(ctx context.Context, f pubsub.Frame) error {
				if taken++; taken > 5 && taken < 8 {
					<-ctx.Done()
					return ctx.Err()
				}
				return nil
			})
			synctest.Wait()
			for round := range 2 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				n, err := h.PublishBatch(ctx, texts("1", "2", "3"))
				require.NoError(t, err)
				require.Equal(t, 3, n)
				n, err = h.PublishBatch(ctx, texts("4", "5", "6", "7", "8"))
				require.ErrorIs(t, err, context.DeadlineExceeded)
				require.Equal(t, pubsub.Accepted, pubsub.OutcomeOf(err))
				require.Equal(t, 2, n)
				require.Equal(t, uint64(6*(round+1)), b.Stats("a").Accepted)
				taken = 0
				cancel()
			}
			publish(t, b, "a", "next")
			require.Equal(t, []string{
				"1/1=1", "1/2=2", "1/3=3", "1/4=4", "1/5=5",
				"1/7=1", "1/8=2", "1/9=3", "1/10=4", "1/11=5", "1/13=next",
			}, r.log())
		}, memory.WithHistory(history))
	}
}

func TestBatchThatWaitsForItsTurn(t *testing.T) {
	bubble(t, func(t *testing.T, b *memory.Backend) {
		block, release := stall()
		open(t, b, "a", pubsub.Position{}).start(block)
		synctest.Wait()
		go b.Publish(context.Background(), "a", text("x"))
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		n, err := batcher(t, b, "a").PublishBatch(ctx, texts("1", "2"))
		require.Zero(t, n)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, pubsub.NotAccepted, pubsub.OutcomeOf(err))
		release()
	})
}

// Streams that come during a batch get what is accepted after that, at its
// place; faults take effect between two of its messages where ctx can end.
func TestWhatComesDuringABatch(t *testing.T) {
	bubble(t, func(t *testing.T, b *memory.Backend) {
		var second *receiver
		step := make(chan struct{})
		n := 0
		first := open(t, b, "a", pubsub.Position{}).start(func(_ context.Context, f pubsub.Frame) error {
			if n++; n == 4 {
				<-step
			}
			return nil
		})
		synctest.Wait()
		publish(t, b, "a", "1")
		go batcher(t, b, "a").PublishBatch(t.Context(), texts("2", "3", "4", "5", "6"))
		synctest.Wait()
		second = open(t, b, "a", pubsub.Position{}).start(nil)
		require.Equal(t, at(1, 6), second.stream.Start(), "a batch is numbered as one")
		b.Heartbeat("a")
		b.Lose(2, "a")
		close(step)
		synctest.Wait()
		want := []string{"heartbeat", "backend 2 1/6>1/9"}
		require.Equal(t, append([]string{"1/1=1", "1/2=2", "1/3=3", "1/4=4", "1/5=5", "1/6=6"}, want...), first.log())
		require.Equal(t, want, second.log())
	})
}

func TestBatchDuringClose(t *testing.T) {
	for _, end := range []bool{false, true} {
		bubble(t, func(t *testing.T, b *memory.Backend) {
			ctx := context.Background()
			if end {
				ctx = t.Context()
			}
			block, release := stall()
			r := open(t, b, "a", pubsub.Position{}).start(nil)
			synctest.Wait()
			publish(t, b, "a", "1")
			slow := open(t, b, "a", pubsub.Position{}).start(block)
			synctest.Wait()
			type result struct {
				n   int
				err error
			}
			c := make(chan result)
			go func() {
				n, err := batcher(t, b, "a").PublishBatch(ctx, texts("2", "3", "4"))
				c <- result{n, err}
			}()
			synctest.Wait()
			require.NoError(t, b.Close())
			require.ErrorIs(t, <-slow.done, pubsub.ErrClosed)
			require.ErrorIs(t, <-r.done, pubsub.ErrClosed)
			release()
			got := <-c
			require.ErrorIs(t, got.err, pubsub.ErrClosed)
			if end {
				require.Equal(t, 1, got.n)
				require.Equal(t, pubsub.NotAccepted, pubsub.OutcomeOf(got.err))
			} else {
				require.Equal(t, 2, got.n)
				require.Equal(t, pubsub.Accepted, pubsub.OutcomeOf(got.err))
			}
		})
	}
}

// The same on the short way, where all was counted at once.
func TestQuickBatchDuringClose(t *testing.T) {
	bubble(t, func(t *testing.T, b *memory.Backend) {
		block, release := stall()
		open(t, b, "a", pubsub.Position{}).start(func(ctx context.Context, f pubsub.Frame) error {
			if string(f.Payload.Data) == "3" {
				return block(ctx, f)
			}
			return nil
		})
		synctest.Wait()
		publish(t, b, "a", "1")
		go func() {
			synctest.Wait()
			b.Close()
			release()
		}()
		n, err := batcher(t, b, "a").PublishBatch(context.Background(), texts("2", "3", "4"))
		require.Equal(t, 2, n)
		require.ErrorIs(t, err, pubsub.ErrClosed)
		require.Equal(t, pubsub.Accepted, pubsub.OutcomeOf(err))
		require.Equal(t, uint64(4), b.Stats("a").Accepted)

		// The error is about the message at that index.
		n, err = batcher(t, b, "a").PublishBatch(context.Background(), texts("2", "too large"))
		require.Zero(t, n)
		require.ErrorIs(t, err, pubsub.ErrClosed)
	}, memory.WithMaxPayload(2))
}

// Of a batch over a hook the first message fails, and the rest with it.
func TestFaultsOfABatch(t *testing.T) {
	bubble(t, func(t *testing.T, b *memory.Backend) {
		boom := errors.New("boom")
		h := batcher(t, b, "a")
		r := open(t, b, "a", pubsub.Position{}).start(nil)
		synctest.Wait()
		b.FailPublishes(1, boom)
		n, err := h.PublishBatch(t.Context(), texts("1", "2"))
		require.Zero(t, n)
		require.ErrorIs(t, err, boom)
		require.Equal(t, pubsub.NotAccepted, pubsub.OutcomeOf(err))
		b.FailAcceptedPublishes(1, boom)
		n, err = h.PublishBatch(t.Context(), texts("3", "4"))
		require.Zero(t, n)
		require.ErrorIs(t, err, boom)
		require.Equal(t, pubsub.OutcomeUnknown, pubsub.OutcomeOf(err))
		b.DelayPublishes(time.Hour)
		began := time.Now()
		n, err = h.PublishBatch(t.Context(), texts("5", "6"))
		require.Equal(t, 2, n)
		require.NoError(t, err)
		require.Equal(t, time.Hour, time.Since(began))
		require.Equal(t, []string{"1/1=3", "1/2=5", "1/3=6"}, r.log())
	})
}

// Handles of one topic, and its name, used by many at once.
func TestHandlesInParallel(t *testing.T) {
	b := memory.New()
	defer b.Close()
	h := batcher(t, b, "a")
	var senders sync.WaitGroup
	const senderCount, each = 4, 300
	got := make(map[uint64]bool)
	s, err := b.Subscribe(t.Context(), "a", pubsub.Start{})
	require.NoError(t, err)
	ended := make(chan error, 1)
	go func() {
		ended <- s.Receive(func(_ context.Context, f pubsub.Frame) error {
			got[f.Position.Sequence] = true
			return nil
		})
	}()
	for i := range senderCount {
		senders.Go(func() {
			for range each {
				var err error
				switch i % 3 {
				case 0:
					_, err = h.PublishBatch(context.Background(), texts("1", "2"))
				case 1:
					_, err = h.PublishBatch(t.Context(), texts("1", "2"))
				default:
					err = errors.Join(h.(pubsub.TopicPublisher).Publish(t.Context(), text("1")), b.Publish(t.Context(), "a", text("2")))
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	senders.Wait()
	require.NoError(t, b.Close())
	require.ErrorIs(t, <-ended, pubsub.ErrClosed)
	require.Len(t, got, senderCount*each*2)
	require.True(t, got[senderCount*each*2])
}

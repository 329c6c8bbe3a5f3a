package memory_test

import (
	"context"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/memory"
)

// openFrom is open for all that a Start can say.
func openFrom(t *testing.T, b *memory.Backend, topic string, from pubsub.Start) *receiver {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	s, err := b.Subscribe(ctx, topic, from)
	require.NoError(t, err)
	return &receiver{stream: s, cancel: cancel, done: make(chan error, 1)}
}

func last(n uint64) pubsub.Start               { return pubsub.Start{Last: n} }
func after(page, sequence uint64) pubsub.Start { return pubsub.Start{After: at(page, sequence)} }

var (
	now    pubsub.Start
	oldest = pubsub.Start{Oldest: true}
)

func TestStart(t *testing.T) {
	four := func(t *testing.T, b *memory.Backend) { publish(t, b, "a", "1", "2", "3", "4") }
	holes := func(t *testing.T, b *memory.Backend) { // 1 - 3 4 - - 7 -
		publish(t, b, "a", "1")
		b.Lose(1, "a")
		publish(t, b, "a", "3", "4")
		b.Lose(2, "a")
		publish(t, b, "a", "7")
		b.Lose(1, "a")
	}
	pages := func(t *testing.T, b *memory.Backend) {
		publish(t, b, "a", "1", "2")
		b.ResetPage("a")
		publish(t, b, "a", "1", "2")
	}
	empty := func(t *testing.T, b *memory.Backend) { publish(t, b, "a", "1", "2"); b.ResetPage("a") }
	nothing := func(*testing.T, *memory.Backend) {}
	for _, c := range []struct {
		name    string
		history int
		before  func(*testing.T, *memory.Backend)
		from    pubsub.Start
		start   pubsub.Position
		want    []string
	}{
		{"empty topic, now", 10, nothing, now, at(1, 0), nil},
		{"empty topic, last", 10, nothing, last(3), at(1, 0), nil},
		{"empty topic, oldest", 10, nothing, oldest, at(1, 0), nil},
		{"empty topic, after", 10, nothing, after(1, 5), at(1, 5), []string{"reset 0? 1/5>1/1"}},
		{"no history, oldest", 0, four, oldest, at(1, 4), nil},
		{"now", 10, four, now, at(1, 4), nil},
		{"after", 10, four, after(1, 3), at(1, 3), []string{"1/4=4"}},
		{"after the first page", 10, pages, after(1, 1), at(1, 1), []string{"reset 1? 1/1>2/1", "2/1=1", "2/2=2"}},
		{"last 0", 10, four, last(0), at(1, 4), nil},
		{"last 1", 10, four, last(1), at(1, 3), []string{"1/4=4"}},
		{"last, all", 10, four, last(4), at(1, 0), []string{"1/1=1", "1/2=2", "1/3=3", "1/4=4"}},
		{"last, more than all", 10, four, last(math.MaxUint64), at(1, 0), []string{"1/1=1", "1/2=2", "1/3=3", "1/4=4"}},
		{"last, more than held", 2, four, last(3), at(1, 2), []string{"1/3=3", "1/4=4"}},
		{"oldest", 10, four, oldest, at(1, 0), []string{"1/1=1", "1/2=2", "1/3=3", "1/4=4"}},
		{"oldest held", 2, four, oldest, at(1, 2), []string{"1/3=3", "1/4=4"}},
		{"last 1 before a hole", 10, holes, last(1), at(1, 6), []string{"1/7=7", "backend 1 1/7>1/9"}},
		{"last 2 around a hole", 10, holes, last(2), at(1, 3), []string{"1/4=4", "backend 2 1/4>1/7", "1/7=7", "backend 1 1/7>1/9"}},
		{"last 3 behind a hole", 10, holes, last(3), at(1, 2), []string{"1/3=3", "1/4=4", "backend 2 1/4>1/7", "1/7=7", "backend 1 1/7>1/9"}},
		{"oldest, behind a hole", 3, holes, oldest, at(1, 2), []string{"1/3=3", "1/4=4", "backend 2 1/4>1/7", "1/7=7", "backend 1 1/7>1/9"}},
		{"last on a new page", 10, empty, last(5), at(2, 0), nil},
		{"oldest on a new page", 10, empty, oldest, at(2, 0), nil},
		{"now on a new page", 10, empty, now, at(2, 0), nil},
		{"last, this page only", 10, pages, last(5), at(2, 0), []string{"2/1=1", "2/2=2"}},
		{"oldest, this page only", 10, pages, oldest, at(2, 0), []string{"2/1=1", "2/2=2"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *memory.Backend) {
				// Someone has the topic numbered, where there is no history.
				open(t, b, "a", pubsub.Position{}).start(nil)
				synctest.Wait()
				c.before(t, b)
				synctest.Wait()
				r := openFrom(t, b, "a", c.from)
				require.Equal(t, c.start, r.stream.Start())
				r.start(nil)
				synctest.Wait()
				require.Equal(t, append([]string{}, c.want...), r.log())
				// A later stream from there gets the same.
				again := openFrom(t, b, "a", pubsub.Start{After: r.stream.Start()}).start(nil)
				synctest.Wait()
				require.Equal(t, r.log(), again.log())

				publish(t, b, "a", "next")
				next := b.Stats("a").Last.String() + "=next"
				require.Equal(t, next, r.log()[len(c.want)])
				require.Equal(t, next, again.log()[len(c.want)])
				require.Equal(t, c.start, r.stream.Start()) // it does not change
			}, memory.WithHistory(c.history))
		})
	}
}

// A stream that joins during resets and losses stands where its Start says.
func TestStartDuringResets(t *testing.T) {
	bubble(t, func(t *testing.T, b *memory.Backend) {
		block, release := stall()
		open(t, b, "a", pubsub.Position{}).start(block)
		synctest.Wait()
		done := make(chan struct{})
		go func() { defer close(done); publish(t, b, "a", "1") }()
		synctest.Wait()
		b.ResetPage("a") // waits for the publisher
		r := open(t, b, "a", pubsub.Position{})
		require.Equal(t, at(1, 1), r.stream.Start())
		r.start(nil)
		release()
		<-done
		synctest.Wait()
		late := open(t, b, "a", pubsub.Position{})
		require.Equal(t, at(2, 0), late.stream.Start())
		late.start(nil)
		synctest.Wait()
		publish(t, b, "a", "2")
		require.Equal(t, []string{"reset 0? 1/1>2/1", "2/1=2"}, r.log())
		require.Equal(t, []string{"2/1=2"}, late.log())
	})
}

// Streams that start further back while publishers run get each number once,
// in order, and report what is missing.
func TestReplayWhilePublishersRun(t *testing.T) {
	for _, history := range []int{4, 1000} {
		b := memory.New(memory.WithPage(1), memory.WithHistory(history))
		h := batcher(t, b, "a")
		stop := make(chan struct{})
		var senders, receivers sync.WaitGroup
		for i := range 2 {
			senders.Go(func() {
				ctx := context.Background()
				if i == 1 {
					ctx = t.Context()
				}
				for n := uint32(1); ; n += 3 {
					select {
					case <-stop:
						return
					default:
					}
					var ps []pubsub.Payload
					for k := range uint32(3) {
						ps = append(ps, pubsub.Payload{Data: binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, uint32(i)), n+k)})
					}
					if _, err := h.PublishBatch(ctx, ps); err != nil {
						t.Error(err)
					}
				}
			})
		}
		seed := rand.Uint64()
		t.Log("seed", seed)
		rng := rand.New(rand.NewPCG(seed, 0))
		var auditors []*auditor
		for range 200 {
			from := []pubsub.Start{now, last(rng.Uint64N(10)), oldest}[rng.IntN(3)]
			ctx, cancel := context.WithCancel(t.Context())
			s, err := b.Subscribe(ctx, "a", from)
			require.NoError(t, err)
			a := &auditor{last: s.Start(), from: map[uint32]uint32{}}
			auditors = append(auditors, a)
			time.AfterFunc(time.Duration(rng.IntN(300))*time.Microsecond, cancel)
			receivers.Go(func() {
				if err := s.Receive(a.deliver); err != nil {
					a.problem("Receive returned %v", err)
				}
			})
			if rng.IntN(4) == 0 {
				b.Lose(rng.Uint64N(3), "a")
			}
		}
		receivers.Wait()
		close(stop)
		senders.Wait()
		require.NoError(t, b.Close())
		for _, a := range auditors {
			require.Empty(t, a.problems)
		}
	}
}

func TestPageFromTheClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pages := map[uint64]bool{}
		began := time.Now()
		time.Sleep(time.Hour)
		for range 8 {
			b := memory.New()
			r := open(t, b, "a", pubsub.Position{})
			page := r.stream.Start().Page
			require.Greater(t, page, uint64(began.UnixNano()))
			require.Less(t, page, uint64(time.Now().UnixNano()+1024))
			pages[page] = true
			require.NoError(t, b.Close())
		}
		require.Greater(t, len(pages), 1) // though all were made at one instant
	})
}

// A position that another process handed out is not believed.
func TestPositionOfAnotherLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		earlier := memory.New(memory.WithHistory(10))
		publish(t, earlier, "a", "1", "2", "3")
		kept := earlier.Stats("a").Last
		require.NoError(t, earlier.Close())

		time.Sleep(time.Second) // the process starts again
		b := memory.New(memory.WithHistory(10))
		publish(t, b, "a", "1", "2", "3", "4")
		r := open(t, b, "a", kept).start(nil)
		synctest.Wait()
		require.Len(t, r.frames, 5)
		d := r.frames[0].Discontinuity
		require.Equal(t, pubsub.CauseReset, d.Cause)
		require.False(t, d.Exact)
		require.Equal(t, kept, d.After)
		require.Equal(t, r.frames[1].Position, d.Resume)
		require.Equal(t, kept, r.stream.Start())
		require.NoError(t, b.Close())
		require.ErrorIs(t, <-r.done, pubsub.ErrClosed)
	})
}

func TestPageOfTheOption(t *testing.T) {
	for n, want := range map[uint64]uint64{7: 7, math.MaxUint64: 1 << 63} {
		b := memory.New(memory.WithPage(n), memory.WithHistory(1))
		publish(t, b, "a", "1")
		require.Equal(t, at(want, 1), b.Stats("a").Last)
		b.ResetPage()
		require.Equal(t, at(want+1, 0), b.Stats("a").Last)
		require.NoError(t, b.Close())
	}
	b := memory.New(memory.WithPage(0))
	defer b.Close()
	require.NotZero(t, open(t, b, "a", pubsub.Position{}).stream.Start().Page)
}

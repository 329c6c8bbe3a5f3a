package pubsub_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/memory"
)

func droppedBy(err error) uint64 {
	var d *pubsub.DroppedError
	if errors.As(err, &d) {
		return d.Dropped
	}
	return 0
}

// What a replay had still to bring, or an outage held up, was thrown away
// without a word.
func TestDrainCountsWhatTheBackendHolds(t *testing.T) {
	t.Run("behind a replay", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			bus := pubsub.New(memory.New(memory.WithPage(1), memory.WithHistory(1000)), ints{}, pubsub.WithBuffer(16))
			defer bus.Close()
			for n := 1; n <= 1000; n++ {
				publish(t, bus, "t", n)
			}
			s := subscribe(t, bus, "t", pubsub.ResumeAfter(pubsub.Position{Page: 1, Sequence: 1}), pubsub.Overflow(pubsub.Block))
			require.Len(t, next(t, s, 16), 16)
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			err := s.Drain(ctx)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.EqualValues(t, 983, droppedBy(err))
			require.EqualValues(t, 983, s.Stats().Dropped)
			require.EqualValues(t, 983, bus.Stats().Dropped)
		})
	})
	t.Run("and waits for it", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			bus := pubsub.New(memory.New(memory.WithPage(1), memory.WithHistory(1000)), ints{}, pubsub.WithBuffer(16))
			defer bus.Close()
			for n := 1; n <= 1000; n++ {
				publish(t, bus, "t", n)
			}
			s := subscribe(t, bus, "t", pubsub.ResumeAfter(pubsub.Position{Page: 1, Sequence: 1}), pubsub.Overflow(pubsub.Block))
			drained := drain(s)
			n := 0
			for range s.Messages() {
				n++
			}
			require.NoError(t, <-drained)
			require.Equal(t, 999, n)
			require.Zero(t, s.Stats().Dropped)
		})
	})
	t.Run("behind an outage", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			backend := memory.New(memory.WithHistory(1000))
			bus := pubsub.New(backend, ints{})
			defer bus.Close()
			a, b := subscribe(t, bus, "t"), subscribe(t, bus, "t")
			synctest.Wait()
			backend.Disconnect(nil)
			for n := range 100 {
				publish(t, bus, "t", n)
			}
			drained := drain(a)
			time.Sleep(time.Minute) // which is no fault of the reader, though the ctx has no deadline
			select {
			case err := <-drained:
				t.Fatal(err)
			default:
			}
			require.NoError(t, b.Close())
			require.EqualValues(t, 100, b.Stats().Dropped)
			go func() {
				for range a.Messages() {
				}
			}()
			backend.Reconnect()
			require.NoError(t, <-drained)
			require.EqualValues(t, 100, a.Stats().Delivered)
		})
	})
	t.Run("and comes just before Drain looks for readers", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			backend := memory.New(memory.WithHistory(1000))
			bus := pubsub.New(backend, ints{})
			defer bus.Close()
			s := subscribe(t, bus, "t")
			synctest.Wait()
			backend.Disconnect(nil)
			publish(t, bus, "t", 1, 2, 3)
			drained := drain(s)
			time.Sleep(time.Minute - time.Millisecond) // it looks every 5 s
			backend.Reconnect()
			time.Sleep(time.Second) // the reader is on its way
			go func() {
				for range s.Messages() {
				}
			}()
			require.NoError(t, <-drained)
			require.Zero(t, s.Stats().Dropped)
		})
	})
	t.Run("and the stream ends before it came", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			backend := memory.New(memory.WithHistory(1000))
			bus := pubsub.New(backend, ints{})
			defer bus.Close()
			s := subscribe(t, bus, "t")
			synctest.Wait()
			backend.Disconnect(nil)
			publish(t, bus, "t", 1, 2, 3)
			drained := drain(s)
			backend.Close()
			for range s.Messages() {
				t.Fatal("nobody brings what was held")
			}
			require.ErrorIs(t, s.Err(), pubsub.ErrClosed)
			err := <-drained
			require.EqualValues(t, 3, droppedBy(err), "%v", err)
			require.EqualValues(t, 3, s.Stats().Dropped)
		})
	})
}

// Each who shares a stream would have got what it holds, but what it had seen.
func TestHeldCountsForEachThatShares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := pubsub.New(memory.New(memory.WithPage(1), memory.WithHistory(1000)), ints{}, pubsub.WithBuffer(100))
		defer bus.Close()
		for n := 1; n <= 1000; n++ {
			publish(t, bus, "t", n)
		}
		at := func(n uint64) pubsub.SubscribeOption {
			return pubsub.ResumeAfter(pubsub.Position{Page: 1, Sequence: n})
		}
		block := pubsub.Overflow(pubsub.Block)
		first := subscribe(t, bus, "t", at(100), block)
		begin := time.Now()
		synctest.Wait() // the replay waits for it
		ahead, far := subscribe(t, bus, "t", at(700), block), subscribe(t, bus, "t", at(990), block)
		require.Equal(t, 1, bus.Stats().Streams)
		require.Len(t, next(t, first, 50), 50)
		synctest.Wait()
		for s, want := range map[*pubsub.Subscription[int]]uint64{far: 10, ahead: 300, first: 850} {
			synctest.Wait() // who left may have made room, and the replay gone on
			require.NoError(t, s.Close())
			require.Equal(t, want, s.Stats().Dropped)
		}
		require.EqualValues(t, 1160, bus.Stats().Dropped)
		require.Zero(t, time.Since(begin), "a stream that waits for room answers at once")
		require.Zero(t, bus.Stats().Streams)
	})
}

// The message of a publisher that waits for room is none that nobody counts.
func TestBlockedPublisherIsCounted(t *testing.T) {
	for _, end := range []string{"Close", "Bus.Close"} {
		synctest.Test(t, func(t *testing.T) {
			bus := pubsub.New(memory.New(), ints{}, pubsub.WithBuffer(4))
			defer bus.Close()
			s := subscribe(t, bus, "t", pubsub.Overflow(pubsub.Block))
			var accepted uint64
			var publishing sync.WaitGroup
			publishing.Go(func() {
				for range 5 {
					if pubsub.OutcomeOf(bus.Publish(t.Context(), "t", 1)) == pubsub.Accepted {
						accepted++
					}
				}
			})
			synctest.Wait()
			if end == "Close" {
				require.NoError(t, s.Close())
			} else {
				require.NoError(t, bus.Close())
			}
			publishing.Wait()
			require.EqualValues(t, 5, accepted)
			require.EqualValues(t, 5, s.Stats().Dropped)
		})
	}
}

// logOf counts the lines of a log.
type logOf struct {
	mu sync.Mutex
	bytes.Buffer
}

func (l *logOf) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Buffer.Write(p)
}

func (l *logOf) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.String()
}

func (l *logOf) lines(text string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.String()) {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}

func (l *logOf) option() pubsub.Option {
	return pubsub.WithLogger(slog.New(slog.NewTextHandler(l, nil)))
}

// An end that nobody asked for says in the log what it threw away; every end says
// it in the incidents.
func TestEndsTellWhatTheyDropped(t *testing.T) {
	for name, c := range map[string]struct {
		end   func(*testing.T, pubsub.Bus[int], *pubsub.Subscription[int], context.CancelFunc)
		lines int
		err   error
	}{
		"Close": {func(_ *testing.T, _ pubsub.Bus[int], s *pubsub.Subscription[int], _ context.CancelFunc) { s.Close() }, 0, nil},
		"ctx": {func(_ *testing.T, _ pubsub.Bus[int], _ *pubsub.Subscription[int], cancel context.CancelFunc) {
			cancel()
		}, 1, context.Canceled},
		"Drain": {func(t *testing.T, _ pubsub.Bus[int], s *pubsub.Subscription[int], _ context.CancelFunc) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			require.EqualValues(t, 66, droppedBy(s.Drain(ctx)))
		}, 1, context.DeadlineExceeded},
		"Bus.Close": {func(_ *testing.T, b pubsub.Bus[int], _ *pubsub.Subscription[int], _ context.CancelFunc) { b.Close() }, 1, pubsub.ErrClosed},
		"Bus.Drain": {func(t *testing.T, b pubsub.Bus[int], _ *pubsub.Subscription[int], _ context.CancelFunc) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			err := b.Drain(ctx)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.EqualValues(t, 66, droppedBy(err))
		}, 1, context.DeadlineExceeded},
	} {
		for _, reader := range []string{"nobody", "C full"} {
			t.Run(name+"/"+reader, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var log logOf
					bus := pubsub.New(memory.New(), ints{}, log.option())
					defer bus.Close()
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					s, err := bus.Subscribe(ctx, "t", pubsub.Named("mine"))
					require.NoError(t, err)
					if reader == "C full" {
						s.C()
						for n := range 32 { // which its channel takes
							publish(t, bus, "t", n)
						}
						synctest.Wait()
					}
					for n := range 66 {
						publish(t, bus, "t", n)
					}
					synctest.Wait()
					c.end(t, bus, s, cancel)
					synctest.Wait()
					require.EqualValues(t, 66, s.Stats().Dropped)
					require.EqualValues(t, 66, bus.Stats().Dropped)
					require.Equal(t, c.lines, log.lines("unread"), log.String())
					require.Equal(t, c.lines, log.lines("dropped=66"), log.String())
					in := bus.Stats().Incidents
					require.Len(t, in, 1)
					require.EqualValues(t, 66, in[0].Dropped)
					if c.err == nil {
						require.NoError(t, s.Err())
					} else {
						require.ErrorIs(t, s.Err(), c.err)
						require.ErrorIs(t, in[0].Err, c.err)
					}
				})
			})
		}
	}
}

// Drain for each form: what is done when it returns nil.
func TestWhatDrainMeans(t *testing.T) {
	const n = 100
	work := func(done *atomic.Int32) { time.Sleep(time.Second); done.Add(1) }
	for form, c := range map[string]struct {
		read func(*pubsub.Subscription[int], *atomic.Int32)
		done int32
	}{
		"Messages": {func(s *pubsub.Subscription[int], done *atomic.Int32) {
			for range s.Messages() {
				work(done)
			}
		}, n},
		"All": {func(s *pubsub.Subscription[int], done *atomic.Int32) {
			for range s.All() {
				work(done)
			}
		}, n},
		"Next": {func(s *pubsub.Subscription[int], done *atomic.Int32) {
			for {
				if _, err := s.Next(context.Background()); err != nil {
					return
				}
				work(done)
			}
		}, n},
		"C": {func(s *pubsub.Subscription[int], done *atomic.Int32) {
			for range s.C() {
				work(done)
			}
		}, n - 32 - 1},
	} {
		t.Run(form, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				bus := pubsub.New(memory.New(), ints{})
				defer bus.Close()
				s := subscribe(t, bus, "t")
				for i := range n {
					publish(t, bus, "t", i)
				}
				var done atomic.Int32
				var reading sync.WaitGroup
				reading.Go(func() { c.read(s, &done) })
				require.NoError(t, s.Drain(t.Context()))
				require.GreaterOrEqual(t, done.Load(), c.done)
				reading.Wait()
				require.EqualValues(t, n, done.Load())
				require.NoError(t, s.Err())
			})
		})
	}
}

// A slow handler is not a reader that has gone: nothing is dropped, however long
// each message takes.
func TestDrainWaitsForSlowHandlers(t *testing.T) {
	const n, each = 40, 50 * time.Second
	ctx := context.Background() // without a deadline
	work := func(done *atomic.Int32) { time.Sleep(each); done.Add(1) }
	forms := map[string]func(*pubsub.Subscription[int], *atomic.Int32){
		"Messages": func(s *pubsub.Subscription[int], done *atomic.Int32) {
			for range s.Messages() {
				work(done)
			}
		},
		"All": func(s *pubsub.Subscription[int], done *atomic.Int32) {
			for range s.All() {
				work(done)
			}
		},
		"Next": func(s *pubsub.Subscription[int], done *atomic.Int32) {
			for {
				if _, err := s.Next(ctx); err != nil {
					return
				}
				work(done)
			}
		},
		"C": func(s *pubsub.Subscription[int], done *atomic.Int32) {
			for range s.C() {
				work(done)
			}
		},
	}
	for name, drain := range map[string]func(pubsub.Bus[int], *pubsub.Subscription[int]) error{
		"Drain":     func(_ pubsub.Bus[int], s *pubsub.Subscription[int]) error { return s.Drain(ctx) },
		"Bus.Drain": func(b pubsub.Bus[int], _ *pubsub.Subscription[int]) error { return b.Drain(ctx) },
	} {
		for form, read := range forms {
			t.Run(name+"/"+form, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					bus := pubsub.New(memory.New(), ints{})
					defer bus.Close()
					s := subscribe(t, bus, "t")
					for i := range n {
						publish(t, bus, "t", i)
					}
					var done atomic.Int32
					var reading sync.WaitGroup
					reading.Go(func() { read(s, &done) })
					synctest.Wait()
					require.NoError(t, drain(bus, s))
					reading.Wait()
					require.EqualValues(t, n, done.Load())
					require.Zero(t, s.Stats().Dropped)
				})
			})
		}
	}
}

// A Drain by the only reader hung, or did not, as the channel's size would have it.
func TestDrainByTheOnlyReader(t *testing.T) {
	const says = "not if Drain is called from the loop that reads"
	for name, c := range map[string]struct {
		read  func(t *testing.T, s *pubsub.Subscription[int]) error
		after time.Duration
	}{
		"Messages": {func(t *testing.T, s *pubsub.Subscription[int]) error {
			for range s.Messages() {
				return s.Drain(t.Context())
			}
			return nil
		}, 5 * time.Second},
		"All": {func(t *testing.T, s *pubsub.Subscription[int]) error {
			for _, err := range s.All() {
				require.NoError(t, err)
				return s.Drain(t.Context())
			}
			return nil
		}, 5 * time.Second},
		"Next": {func(t *testing.T, s *pubsub.Subscription[int]) error {
			_, err := s.Next(t.Context())
			require.NoError(t, err)
			return s.Drain(t.Context())
		}, time.Minute},
		"C": {func(t *testing.T, s *pubsub.Subscription[int]) error {
			<-s.C()
			synctest.Wait() // the channel is full again: what follows was taken by nobody
			return s.Drain(t.Context())
		}, time.Minute},
	} {
		for _, n := range []int{10, 100} {
			t.Run(fmt.Sprint(name, n), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					bus := pubsub.New(memory.New(), ints{})
					defer bus.Close()
					s := subscribe(t, bus, "t")
					for i := range n {
						publish(t, bus, "t", i)
					}
					start := time.Now()
					err := c.read(t, s)
					if name == "C" && n == 10 { // all of it is in the channel
						require.NoError(t, err)
						return
					}
					require.ErrorContains(t, err, says)
					require.Equal(t, c.after, time.Since(start))
					require.Zero(t, s.Stats().Dropped, "it goes on draining")
				})
			})
		}
	}
}

// Bus.Drain does not wait for one after the other of those that nobody reads.
func TestBusDrainSideBySide(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log logOf
		bus := pubsub.New(memory.New(), ints{}, log.option())
		for range 50 {
			subscribe(t, bus, "t")
		}
		publish(t, bus, "t", 1)
		start := time.Now()
		err := bus.Drain(context.Background())
		require.EqualValues(t, 50, droppedBy(err), "%v", err)
		require.ErrorContains(t, err, "nobody has read")
		require.LessOrEqual(t, time.Since(start), 6*time.Second)
		require.Equal(t, 1, log.lines("unread"), "one line for all")
		require.EqualValues(t, 50, log.dropped(t), log.text())
		require.ErrorIs(t, bus.Publish(t.Context(), "t", 1), pubsub.ErrClosed)
	})
}

// Every Publish that returned nil while Bus.Drain began is delivered or counted.
func TestBusDrainWithPublishers(t *testing.T) {
	for round := range 100 {
		backend := memory.New()
		bus := pubsub.New(backend, ints{}, pubsub.WithBuffer(1+round), pubsub.WithLogger(slog.New(slog.DiscardHandler)))
		s := subscribe(t, bus, "t", pubsub.Overflow(pubsub.OverflowPolicy(round%2)))
		var accepted, maybe, delivered atomic.Uint64
		var running, reading sync.WaitGroup
		for range 3 {
			running.Go(func() {
				for {
					err := bus.Publish(context.Background(), "t", 1)
					switch pubsub.OutcomeOf(err) {
					case pubsub.Accepted:
						if err == nil {
							accepted.Add(1)
						} else {
							maybe.Add(1)
						}
					}
					if err != nil {
						return
					}
				}
			})
		}
		reading.Go(func() {
			for range s.Messages() {
				delivered.Add(1)
			}
		})
		for delivered.Load() < uint64(round) {
			time.Sleep(time.Microsecond)
		}
		require.NoError(t, bus.Drain(context.Background()))
		running.Wait()
		reading.Wait()
		st := s.Stats()
		require.Equal(t, delivered.Load(), st.Delivered)
		known := st.Delivered + st.Lost.Total() + st.Dropped
		require.LessOrEqual(t, accepted.Load(), known)
		require.LessOrEqual(t, known, accepted.Load()+maybe.Load())
		backend.Close()
	}
}

// After Close a callback may be at work; Wait tells when it is done.
func TestWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backend := memory.New()
		bus := pubsub.New(backend, ints{})
		defer bus.Close()
		proceed := make(chan struct{})
		s := subscribe(t, bus, "t", pubsub.OnHeartbeat(func() { <-proceed }))
		s.C()
		backend.Heartbeat("t")
		synctest.Wait()
		require.NoError(t, s.Close())
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, s.Wait(ctx), context.DeadlineExceeded)
		close(proceed)
		require.NoError(t, s.Wait(t.Context()))
		require.ErrorIs(t, s.Wait(noContext), pubsub.ErrInvalidArgument)
	})
}

// deaf is a Backend whose streams do not end when they are told to.
type deaf struct {
	script
	end chan struct{}
}

func (d *deaf) Subscribe(context.Context, string, pubsub.Start) (pubsub.Stream, error) {
	return deafStream{d}, nil
}

type deafStream struct{ d *deaf }

func (deafStream) Start() pubsub.Position { return pubsub.Position{} }

func (s deafStream) Receive(func(context.Context, pubsub.Frame) error) error { <-s.d.end; return nil }

func (deafStream) Held() uint64 { return 7 }

func TestForeignCodeThatDoesNotReturn(t *testing.T) {
	for _, end := range []string{"Close", "Bus.Close", "Bus.Drain"} {
		synctest.Test(t, func(t *testing.T) {
			var log logOf
			backend := &deaf{end: make(chan struct{})}
			bus := pubsub.New(backend, ints{}, log.option())
			var subs []*pubsub.Subscription[int]
			for _, topic := range []string{"a", "b", "c", "c"} {
				subs = append(subs, subscribe(t, bus, topic))
			}
			start := time.Now()
			switch end {
			case "Close":
				require.NoError(t, subs[0].Close())
				require.Equal(t, 1, log.lines("has not ended a stream"))
				require.Equal(t, 5*time.Second, time.Since(start))
				require.NoError(t, bus.Close())
			case "Bus.Close":
				require.NoError(t, bus.Close())
				require.Equal(t, 5*time.Second, time.Since(start), "for all together")
				require.Equal(t, 3, log.lines("has not ended a stream"))
			case "Bus.Drain":
				require.NoError(t, bus.Drain(t.Context()))
			}
			close(backend.end)
		})
	}
}

// unopened is a Backend whose Subscribe does not return when it is told to.
type unopened struct {
	script
	end chan struct{}
}

func (u *unopened) Subscribe(context.Context, string, pubsub.Start) (pubsub.Stream, error) {
	<-u.end
	return nil, pubsub.ErrUnavailable
}

// The end of its ctx is enough for a Subscribe to return, under each policy.
func TestSubscribeOfABackendThatDoesNotReturn(t *testing.T) {
	for _, policy := range []pubsub.OverflowPolicy{pubsub.DropOldest, pubsub.Block, pubsub.Fail} {
		synctest.Test(t, func(t *testing.T) {
			backend := &unopened{end: make(chan struct{})}
			bus := pubsub.New(backend, ints{})
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			start := time.Now()
			_, err := bus.Subscribe(ctx, "t", pubsub.Overflow(policy))
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.Equal(t, time.Second, time.Since(start))
			close(backend.end)
			require.NoError(t, bus.Close())
		})
	}
}

// slowErr is a ctx that takes its time to say why it ended.
type slowErr struct {
	context.Context
	ended chan struct{}
	told  chan struct{}
}

func (c slowErr) Done() <-chan struct{} { return c.ended }

func (c slowErr) Err() error {
	select {
	case <-c.ended:
		<-c.told
		return context.Canceled
	default:
		return nil
	}
}

// Close counts the message of a publisher that has given up, but has not said so.
func TestCloseWaitsForWhoFoundNoRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := pubsub.New(memory.New(), ints{}, pubsub.WithBuffer(2))
		defer bus.Close()
		s := subscribe(t, bus, "t", pubsub.Overflow(pubsub.Block))
		publish(t, bus, "t", 1, 2)
		ctx := slowErr{t.Context(), make(chan struct{}), make(chan struct{})}
		go bus.Publish(ctx, "t", 3)
		synctest.Wait()
		close(ctx.ended)
		synctest.Wait()
		tell := sync.OnceFunc(func() { close(ctx.told) })
		defer tell()
		time.AfterFunc(time.Minute, tell)
		require.NoError(t, s.Close())
		require.EqualValues(t, 3, s.Stats().Dropped)
	})
}

// Close of a bus says how many subscriptions it took unread messages from.
func TestBusCloseCountsWhoDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log logOf
		bus := pubsub.New(memory.New(), ints{}, log.option())
		for range 2 {
			subscribe(t, bus, "t")
		}
		read := subscribe(t, bus, "t")
		publish(t, bus, "t", 1, 2)
		next(t, read, 2)
		bus.Close()
		require.Equal(t, 1, log.lines("dropped=4 subscriptions=2"), log.String())
	})
}

// Drain of a bus gives up a channel that is full and that nobody reads.
func TestBusDrainWithAFullChannel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := pubsub.New(memory.New(), ints{})
		s := subscribe(t, bus, "t")
		c := s.C()
		for n := range 50 {
			publish(t, bus, "t", n)
		}
		synctest.Wait()
		require.Error(t, bus.Drain(context.Background()))
		require.EqualValues(t, 18, s.Stats().Dropped)
		got := 0
		for range c {
			got++
		}
		require.Equal(t, 32, got)
	})
}

// Wait, begun while a callback runs, returns with it.
func TestWaitForACallback(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backend := &script{}
		bus := pubsub.New(backend, ints{})
		defer bus.Close()
		release := make(chan struct{})
		s := subscribe(t, bus, "t", pubsub.OnHeartbeat(func() { <-release }))
		go func() {
			for range s.Messages() {
			}
		}()
		backend.stream(0).play(heartbeat())
		synctest.Wait()
		s.Close()
		waited := make(chan error, 1)
		go func() { waited <- s.Wait(context.Background()) }()
		synctest.Wait()
		require.Empty(t, waited)
		close(release)
		require.NoError(t, <-waited)
	})
}

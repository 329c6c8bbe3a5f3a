package pubsub_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/memory"
)

var (
	lawSeed = flag.Uint64("law.seed", 0, "run TestLaw with this seed only")
	lawTime = flag.Duration("law.time", 2*time.Second, "how long TestLaw tries new seeds")
)

// TestLaw checks the promise: for every subscription, what was delivered and
// what was reported lost add up to what was accepted, in order and without
// duplicates. Each seed is another schedule.
func TestLaw(t *testing.T) {
	if *lawSeed != 0 {
		law(t, *lawSeed)
		return
	}
	end := time.Now().Add(*lawTime)
	for n := 0; n == 0 || time.Now().Before(end); n++ {
		seed := rand.Uint64()
		if !t.Run(fmt.Sprint(seed), func(t *testing.T) { law(t, seed) }) {
			t.Fatalf("reproduce with: go test -run TestLaw -law.seed %d", seed)
		}
	}
}

func law(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 1))
	backend := memory.New(memory.WithHistory(r.IntN(2) * 64))
	bus := pubsub.New[int](backend, ints{}, pubsub.WithBuffer(1+r.IntN(100)))
	ctx := context.Background()

	// The publishers count what was accepted; the numbers they publish are
	// their own, so that order and duplicates show.
	const publishers = 3
	messages := 200 + r.IntN(2000)
	var publishing sync.WaitGroup
	accepted := make([]int, publishers)
	start := make(chan struct{})
	for p := range publishers {
		r := rand.New(rand.NewPCG(seed, uint64(2+p)))
		publishing.Go(func() {
			<-start
			for i := range messages {
				if err := bus.Publish(ctx, "t", i*publishers+p); err != nil {
					t.Error(err)
					return
				}
				accepted[p]++
				if r.IntN(100) == 0 {
					runtime.Gosched()
				}
			}
		})
	}

	var reading sync.WaitGroup
	check := func(r *rand.Rand, whole bool) {
		policy := pubsub.OverflowPolicy(r.IntN(3))
		opts := []pubsub.SubscribeOption{pubsub.Overflow(policy)}
		if r.IntN(4) == 0 {
			opts = append(opts, pubsub.Private())
		}
		var lostByCallback uint64
		opts = append(opts, pubsub.OnDiscontinuity(func(d pubsub.Discontinuity) { lostByCallback += d.Lost }))
		sub, err := bus.Subscribe(ctx, "t", opts...)
		if err != nil {
			t.Error(err)
			return
		}
		form, pace, leave := r.IntN(4), r.IntN(50), -1
		if !whole {
			leave = r.IntN(messages)
		}
		reading.Go(func() {
			c := consumer{t: t, next: make([]int, publishers), leave: leave, pace: pace, r: r}
			c.read(sub, form)
			err := sub.Err()
			switch {
			case leave >= 0:
				sub.Close()
				return // left early: nothing to add up
			case errors.Is(err, pubsub.ErrOverflow) && policy == pubsub.Fail:
				return
			case err != nil && !errors.Is(err, pubsub.ErrClosed):
				t.Error(err)
			}
			total := uint64(publishers * messages)
			if c.delivered+lostByCallback != total {
				t.Errorf("%v, form %d: delivered %d + lost %d != accepted %d", policy, form, c.delivered, lostByCallback, total)
			}
			if form != 1 && c.lost != lostByCallback {
				t.Errorf("reported %d lost in the stream, %d by callback", c.lost, lostByCallback)
			}
			if policy == pubsub.Block && lostByCallback != 0 {
				t.Errorf("Block lost %d", lostByCallback)
			}
			if st := sub.Stats(); st.Delivered != c.delivered || st.Lost.Total() != lostByCallback {
				t.Errorf("Stats say %+v; delivered %d, lost %d", st, c.delivered, lostByCallback)
			}
		})
	}
	for range 1 + r.IntN(6) {
		check(rand.New(rand.NewPCG(seed, r.Uint64())), true)
	}
	close(start)
	for range r.IntN(10) {
		check(rand.New(rand.NewPCG(seed, r.Uint64())), false)
		runtime.Gosched()
	}
	publishing.Wait()
	for _, n := range accepted {
		require.Equal(t, messages, n)
	}
	backend.Close() // the streams end behind what is queued
	reading.Wait()
	require.NoError(t, bus.Close())
}

// consumer checks the order of what it reads.
type consumer struct {
	t               *testing.T
	r               *rand.Rand
	next            []int // per publisher, the least number that may come
	delivered, lost uint64
	leave, pace     int
	position        pubsub.Position
}

// message returns false when the consumer leaves.
func (c *consumer) message(m pubsub.Message[int]) bool {
	c.delivered++
	p := m.Value % len(c.next)
	if m.Value < c.next[p] {
		c.t.Errorf("%d came after %d: order or duplicate", m.Value, c.next[p])
	}
	c.next[p] = m.Value + 1
	if m.Position.Compare(c.position) <= 0 {
		c.t.Errorf("position %v came after %v", m.Position, c.position)
	}
	c.position = m.Position
	if c.pace > 0 && c.r.IntN(c.pace) == 0 {
		runtime.Gosched()
	}
	c.leave--
	return c.leave != 0
}

// missing checks that a discontinuity's count fits the hole behind it.
func (c *consumer) missing(d *pubsub.Discontinuity) {
	c.lost += d.Lost
	if !d.Resume.IsZero() && d.Resume.Page == d.After.Page && d.Resume.Sequence-d.After.Sequence-1 != d.Lost {
		c.t.Errorf("%v: the positions say otherwise", d)
	}
}

func (c *consumer) read(s *pubsub.Subscription[int], form int) {
	switch form {
	case 0:
		for m, err := range s.All() {
			var d *pubsub.Discontinuity
			switch {
			case errors.As(err, &d):
				c.missing(d)
			case err == nil && !c.message(m):
				return
			}
		}
	case 1:
		for m := range s.C() {
			if !c.message(m) {
				return
			}
		}
	case 2:
		for e := range s.Events() {
			if e.Kind == pubsub.KindDiscontinuity {
				c.missing(e.Discontinuity)
			} else if e.Kind == pubsub.KindMessage && !c.message(e.Message) {
				return
			}
		}
	case 3:
		for {
			e, err := s.Next(context.Background())
			if err != nil {
				return
			}
			if e.Kind == pubsub.KindDiscontinuity {
				c.missing(e.Discontinuity)
			} else if e.Kind == pubsub.KindMessage && !c.message(e.Message) {
				return
			}
		}
	}
}

// TestLawForThoseWhoComeBack checks the same for one who leaves now and then,
// and comes back to the shared stream with the number it saw last: over all its
// subscriptions, every number was delivered or reported lost.
func TestLawForThoseWhoComeBack(t *testing.T) {
	seed := *lawSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	defer func() {
		if t.Failed() {
			t.Logf("reproduce with: go test -run TestLawForThoseWhoComeBack -law.seed %d", seed)
		}
	}()
	r := rand.New(rand.NewPCG(seed, 0))
	for range 60 {
		synctest.Test(t, func(t *testing.T) {
			backend := memory.New()
			bus := pubsub.New(backend, ints{}, pubsub.WithBuffer(1+r.IntN(60)))
			defer bus.Close()
			subscribe(t, bus, "t") // keeps the stream open
			publish(t, bus, "t", 0)
			f := follower{last: pubsub.Position{Page: 1, Sequence: 1}}
			for range 30 {
				s := f.subscribe(t, bus)
				for range r.IntN(4) {
					publish(t, bus, "t", make([]int, r.IntN(40))...)
					backend.Lose(r.Uint64N(3), "t")
					f.follow(t, s, r.IntN(50))
				}
				s.Close()
				publish(t, bus, "t", make([]int, r.IntN(40))...)
				backend.Lose(r.Uint64N(3), "t")
			}
			s := f.subscribe(t, bus)
			publish(t, bus, "t", 0) // a hole is counted when something follows
			f.follow(t, s, 1000)
			require.Equal(t, backend.Stats("t").Last, f.last)
			require.Equal(t, 1, bus.Stats().Streams)
		})
	}
}

// follower keeps the number up to which it knows what became of every message.
type follower struct {
	last   pubsub.Position
	unsure bool // more than that may be missing: a gap could not say how much
}

func (f *follower) subscribe(t *testing.T, bus pubsub.Bus[int]) *pubsub.Subscription[int] {
	f.unsure = false // the answer will be about last
	return subscribe(t, bus, "t", pubsub.ResumeAfter(f.last), pubsub.Shared())
}

// follow reads so many events, if there are.
func (f *follower) follow(t *testing.T, s *pubsub.Subscription[int], n int) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	for range n {
		e, err := s.Next(ctx)
		if err != nil {
			require.ErrorIs(t, err, context.DeadlineExceeded)
			return
		}
		switch d := e.Discontinuity; {
		case e.Kind == pubsub.KindMessage:
			f.account(t, 1, e.Message.Position)
		case d.Exact:
			if !d.After.IsZero() && !f.unsure {
				require.Equal(t, d.After, f.last)
			}
			f.account(t, d.Lost, before(d.Resume))
		default: // the log had no place behind last: what follows will tell
			require.Equal(t, f.last, d.After)
			require.False(t, f.unsure)
			f.unsure = true
		}
	}
}

// account adds n messages, of which the newest has the number at, zero if it
// is not known. The first number behind an inexact gap ends that gap.
func (f *follower) account(t *testing.T, n uint64, at pubsub.Position) {
	f.last.Sequence += n
	if at.IsZero() {
		return
	}
	if f.unsure {
		require.LessOrEqual(t, f.last.Compare(at), 0, "%v after %v", at, f.last)
		f.last, f.unsure = at, false
	}
	require.Equal(t, at, f.last)
}

func before(p pubsub.Position) pubsub.Position {
	if p.Sequence > 0 {
		p.Sequence--
	}
	return p
}

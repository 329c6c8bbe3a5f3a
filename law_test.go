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
		opts = append(opts, pubsub.OnDiscontinuity(func(d *pubsub.Discontinuity) { lostByCallback += d.Lost }))
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

// TestLawWhenTheBackendCloses: a Publish that returned nil is accounted for even
// if the backend was being closed.
func TestLawWhenTheBackendCloses(t *testing.T) {
	for _, policy := range []pubsub.OverflowPolicy{pubsub.DropOldest, pubsub.Block} {
		for round := range 200 {
			backend := memory.New()
			bus := pubsub.New(backend, ints{}, pubsub.WithBuffer(1+round%4))
			s := subscribe(t, bus, "t", pubsub.Overflow(policy))
			var accepted, known uint64
			var running sync.WaitGroup
			running.Go(func() {
				for bus.Publish(t.Context(), "t", 1) == nil {
					accepted++
				}
			})
			enough := make(chan struct{})
			running.Go(func() {
				for n := 0; ; n++ {
					if n == round {
						close(enough)
					}
					e, err := s.Next(t.Context())
					switch {
					case err != nil:
						return
					case e.Kind == pubsub.KindMessage:
						known++
					case e.Kind == pubsub.KindDiscontinuity:
						known += e.Discontinuity.Lost
					}
				}
			})
			<-enough
			backend.Close()
			running.Wait()
			require.NoError(t, bus.Close())
			require.LessOrEqual(t, accepted, known, "%v, round %d", policy, round)
			require.LessOrEqual(t, known, accepted+1, "%v, round %d: only the last one may have got through", policy, round)
		}
	}
}

// TestLawOfPlaces checks that for every number of a topic a subscription is
// told in order, once, what became of it; for one who leaves now and then and
// comes back with the number it saw last: over all its subscriptions. Holes of
// all kinds come beside, inside and behind each other, many at a time, too.
func TestLawOfPlaces(t *testing.T) {
	if *lawSeed != 0 {
		synctest.Test(t, func(t *testing.T) { lawOfPlaces(t, *lawSeed) })
		return
	}
	end := time.Now().Add(*lawTime)
	for n := 0; n == 0 || time.Now().Before(end); n++ {
		seed := rand.Uint64()
		if !t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { lawOfPlaces(t, seed) })
		}) {
			t.Fatalf("reproduce with: go test -run TestLawOfPlaces -law.seed %d", seed)
		}
	}
}

func lawOfPlaces(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 1))
	backend := memory.New(memory.WithPage(1), memory.WithHistory(r.IntN(2)*r.IntN(60)))
	opts := []pubsub.Option{pubsub.WithBuffer(1 + r.IntN(70))}
	if r.IntN(2) == 0 {
		opts = append(opts, pubsub.WithSharedDecode())
	}
	bus := pubsub.New(backend, anything{}, opts...)
	defer bus.Close()
	policy := pubsub.OverflowPolicy(r.IntN(2)) // DropOldest, Block
	resets, outages := r.IntN(3) == 0, r.IntN(2) == 0
	if r.IntN(2) == 0 {
		subscribe(t, bus, "t") // keeps the stream open
	}
	f := follower{last: pubsub.Position{Page: 1}}
	s := subscribe(t, bus, "t", pubsub.Overflow(policy))
	subs := []*pubsub.Subscription[any]{s}
	publishSome := func(n int) {
		for range n {
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			err := bus.Publish(ctx, "t", r.IntN(20))
			cancel()
			if policy != pubsub.Block { // which refuses for want of room
				require.NoError(t, err)
			}
		}
	}
	down := false
	for range 25 {
		switch op := r.IntN(12); {
		case op < 3:
			publishSome(r.IntN(30))
		case op == 3:
			publishSome(r.IntN(300))
		case op == 4:
			backend.Lose(r.Uint64N(5), "t")
		case op == 5 && r.IntN(5) == 0: // more than the log of rare events takes
			for range r.IntN(2 * 256) {
				backend.Lose(1, "t")
				synctest.Wait()
				publishSome(r.IntN(2))
			}
		case op == 6:
			backend.Heartbeat("t")
		case op == 7 && resets:
			backend.ResetPage("t")
		case op == 8 && outages:
			if down {
				backend.Reconnect("t")
			} else {
				backend.Disconnect(nil, "t")
			}
			down = !down
		case op == 9 && !down && !f.unsure && f.last.Sequence > 0:
			synctest.Wait() // what it saw is in the shared stream, too
			s.Close()
			o := []pubsub.SubscribeOption{pubsub.ResumeAfter(f.last), pubsub.Overflow(policy)}
			switch r.IntN(3) {
			case 0:
				o = append(o, pubsub.Shared())
			case 1:
				o = append(o, pubsub.Private())
			}
			s = subscribe(t, bus, "t", o...)
			subs = append(subs, s)
		default:
			f.follow(t, s, 1+r.IntN(40))
		}
		if r.IntN(2) == 0 {
			synctest.Wait()
		}
		if r.IntN(3) == 0 {
			pubsub.Compact(s)
		}
	}
	if down {
		backend.Reconnect("t")
	}
	synctest.Wait()
	publishSome(1) // a hole is counted when something follows
	synctest.Wait()
	if r.IntN(2) == 0 {
		f.follow(t, s, 1_000_000)
		backend.Lose(1+r.Uint64N(3), "t")
		synctest.Wait()
		if r.IntN(2) == 0 {
			backend.Disconnect(nil, "t")
			backend.Reconnect("t")
			synctest.Wait()
		}
	}
	end := backend.Stats("t")
	if policy != pubsub.Block && r.IntN(2) == 0 {
		go s.Drain(t.Context())
		synctest.Wait()
		pace := r.IntN(3)
		for range r.IntN(60) * (1 + 9*r.IntN(2)) { // all of this comes too late
			publishSome(r.IntN(1 + pace))
			backend.Lose(r.Uint64N(3), "t")
			if r.IntN(10) == 0 {
				backend.Disconnect(nil, "t")
				backend.Reconnect("t")
			}
			synctest.Wait()
			pubsub.Compact(s)
		}
	}
	f.follow(t, s, 1_000_000)

	require.LessOrEqual(t, f.delivered+f.lost, end.Accepted)
	if !f.inexact {
		require.Equal(t, end.Accepted, f.delivered+f.lost)
	}
	if !f.unsure {
		require.Equal(t, end.Last, f.last)
	}
	var delivered, lost uint64
	for _, s := range subs {
		st := s.Stats()
		delivered += st.Delivered
		lost += st.Lost.Total()
	}
	require.Equal(t, []uint64{f.delivered, f.lost}, []uint64{delivered, lost}, "Stats")
}

// anything is a codec of numbers for which subscriptions decode for themselves,
// unless told to share. It does not decode 0.
type anything struct{}

func (anything) Encode(n any) (pubsub.Payload, error) { return ints{}.Encode(n.(int)) }

func (anything) Decode(p pubsub.Payload) (any, error) {
	n, err := ints{}.Decode(p)
	if n == 0 {
		return nil, errors.New("zero")
	}
	return n, err
}

// follower keeps the number up to which it knows what became of every message.
type follower struct {
	last            pubsub.Position
	unsure          bool // more than that may be missing: a gap could not say how much
	inexact         bool // there was such a gap
	delivered, lost uint64
}

// follow reads so many events, if there are.
func (f *follower) follow(t *testing.T, s *pubsub.Subscription[any], n int) {
	for range n {
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		e, err := s.Next(ctx)
		cancel()
		switch {
		case err != nil:
			return
		case e.Kind == pubsub.KindMessage:
			f.message(t, e.Message.Position)
		case e.Kind == pubsub.KindDiscontinuity:
			f.hole(t, e.Discontinuity)
		}
	}
}

func (f *follower) message(t *testing.T, at pubsub.Position) {
	f.delivered++
	if f.last.Sequence++; f.unsure {
		require.GreaterOrEqual(t, at.Compare(f.last), 0, "%v comes after at least %v", at, f.last)
	} else {
		require.Equal(t, f.last, at)
	}
	f.last, f.unsure = at, false
}

func (f *follower) hole(t *testing.T, d *pubsub.Discontinuity) {
	f.lost += d.Lost
	f.inexact = f.inexact || !d.Exact
	if !f.unsure && !d.After.IsZero() {
		require.Equal(t, f.last, d.After, "%v", d)
	}
	if d.Exact && !d.After.IsZero() && d.After.Page == d.Resume.Page {
		require.Equal(t, d.Resume.Sequence-d.After.Sequence-1, d.Lost, "%v", d)
	}
	f.last.Sequence += d.Lost
	if d.Resume.IsZero() {
		f.unsure = f.unsure || !d.Exact
		return
	}
	end := d.Resume
	end.Sequence--
	switch {
	case f.unsure || !d.Exact || end.Page != f.last.Page:
		require.GreaterOrEqual(t, end.Compare(f.last), 0, "%v comes after at least %v", d, f.last)
	default:
		require.Equal(t, end, f.last, "%v", d)
	}
	f.last, f.unsure = end, false
}

package memory_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/memory"
)

// auditor checks what one stream delivers: one call at a time, messages in
// order, nothing twice, and every hole reported in front of the message that
// follows it, by number.
type auditor struct {
	busy      atomic.Bool
	last      pubsub.Position // what the stream stands behind, zero: anywhere
	delivered uint64
	lost      uint64
	refuse    *rand.Rand        // refuses some messages if not nil
	from      map[uint32]uint32 // the last number of each publisher
	problems  []string
}

func (a *auditor) problem(format string, args ...any) {
	a.problems = append(a.problems, fmt.Sprintf(format, args...))
}

func (a *auditor) deliver(ctx context.Context, f pubsub.Frame) error {
	if a.busy.Swap(true) {
		panic("two calls of deliver at once")
	}
	defer a.busy.Store(false)
	switch f.Kind {
	case pubsub.KindMessage:
		if !a.last.IsZero() && f.Position != (pubsub.Position{Page: a.last.Page, Sequence: a.last.Sequence + 1}) {
			a.problem("%v follows %v unreported", f.Position, a.last)
		}
		a.last = f.Position
		publisher, n := binary.BigEndian.Uint32(f.Payload.Data), binary.BigEndian.Uint32(f.Payload.Data[4:])
		if n <= a.from[publisher] {
			a.problem("publisher %d: %d follows %d", publisher, n, a.from[publisher])
		}
		a.from[publisher] = n
		if a.refuse != nil && a.refuse.IntN(100) == 0 {
			a.lost++ // as the taker that marks the place itself
			if a.refuse.IntN(4) == 0 {
				select {
				case <-ctx.Done(): // the publisher's, or the end of the stream
				case <-time.After(200 * time.Microsecond):
				}
			}
			return errors.New("refused")
		}
		a.delivered++
	case pubsub.KindDiscontinuity:
		d := f.Discontinuity
		if !a.last.IsZero() && a.last.Sequence > 0 && d.After != a.last {
			a.problem("hole after %v, but the stream stands at %v", d.After, a.last)
		}
		if d.Exact && d.After.Page == d.Resume.Page && d.Lost != d.Resume.Sequence-d.After.Sequence-1 {
			a.problem("%v", d)
		}
		a.lost += d.Lost
		a.last = pubsub.Position{Page: d.Resume.Page, Sequence: d.Resume.Sequence - 1}
	}
	return nil
}

// The law: for each stream, what it delivered and what it reported lost is
// what was accepted from the moment it stands behind to the moment it ended. What
// was accepted is what the publishers were told.
func TestLaw(t *testing.T) {
	rounds := 12
	if testing.Short() {
		rounds = 3
	}
	for seed := range uint64(rounds) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			t.Parallel()
			law(t, seed)
		})
	}
}

// publishSomehow publishes ps by name, by a handle, or as a batch, with a ctx that
// may end meanwhile or with one that does not.
func publishSomehow(ctx context.Context, rng *rand.Rand, b *memory.Backend, h pubsub.BatchPublisher, ps []pubsub.Payload) (int, error) {
	if rng.IntN(8) == 0 {
		ctx = context.Background()
	} else {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(50+rng.IntN(100))*time.Microsecond)
		defer cancel()
	}
	way := rng.IntN(3)
	if way == 0 {
		return h.PublishBatch(ctx, ps)
	}
	for i, p := range ps {
		var err error
		if way == 1 {
			err = b.Publish(ctx, "a", p)
		} else {
			err = h.(pubsub.TopicPublisher).Publish(ctx, p)
		}
		if err != nil {
			return i, err
		}
	}
	return len(ps), nil
}

func law(t *testing.T, seed uint64) {
	const publishers, streams, messages = 4, 6, 3000
	rng := rand.New(rand.NewPCG(seed, 0))
	history := []int{0, 3, 5000}[rng.IntN(3)]
	b := memory.New(memory.WithPage(1), memory.WithHistory(history))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()

	// The first streams see everything; they keep the topic numbered, too.
	var auditors []*auditor
	var open []pubsub.Stream
	var receivers, senders, others sync.WaitGroup
	receive := func(s pubsub.Stream, a *auditor) {
		receivers.Add(1)
		go func() {
			defer receivers.Done()
			if err := s.Receive(a.deliver); !errors.Is(err, pubsub.ErrClosed) {
				a.problem("Receive returned %v", err)
			}
		}()
	}
	for i := range streams {
		s, err := b.Subscribe(ctx, "a", pubsub.Start{})
		require.NoError(t, err)
		a := &auditor{last: at(1, 0), from: map[uint32]uint32{}}
		if i%2 == 1 {
			a.refuse = rand.New(rand.NewPCG(seed, uint64(i)))
		}
		auditors, open = append(auditors, a), append(open, s)
		receive(s, a)
	}
	// flush checks that what has been accepted is delivered or reported lost
	// when Flush is done. The other end of the channel waits for that.
	flush := func(i int) <-chan struct{} {
		a, accepted, done := auditors[i], b.Stats("a").Accepted, make(chan struct{})
		open[i].(pubsub.Flusher).Flush(func() {
			if a.busy.Swap(true) {
				panic("flushed in the middle of a frame")
			}
			if a.delivered+a.lost < accepted {
				a.problem("flushed with %d of %d", a.delivered+a.lost, accepted)
			}
			a.busy.Store(false)
			close(done)
		})
		return done
	}

	h := batcher(t, b, "a")
	var told atomic.Uint64 // how many were accepted or lost by the service
	for p := range uint32(publishers) {
		rng := rand.New(rand.NewPCG(seed, uint64(100+p)))
		senders.Add(1)
		go func() {
			defer senders.Done()
			for n := uint32(0); n < messages; {
				var ps []pubsub.Payload
				for range 1 + rng.IntN(6) {
					n++
					ps = append(ps, pubsub.Payload{Data: binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, p), n)})
				}
				accepted, err := publishSomehow(ctx, rng, b, h, ps)
				if err != nil && !errors.Is(err, context.DeadlineExceeded) {
					t.Error(err)
				}
				switch pubsub.OutcomeOf(err) {
				case pubsub.Accepted:
					if err != nil {
						accepted++
					}
				case pubsub.OutcomeUnknown:
					t.Error(err)
				}
				told.Add(uint64(accepted))
				if rng.IntN(200) == 0 {
					time.Sleep(time.Microsecond)
				}
			}
		}()
	}
	stop := make(chan struct{})
	// Faults.
	others.Add(2)
	go func() {
		defer others.Done()
		for down := false; ; {
			select {
			case <-stop:
				b.Reconnect()
				return
			case <-time.After(time.Duration(rng.IntN(300)) * time.Microsecond):
			}
			switch rng.IntN(9) {
			case 8:
				flush(rng.IntN(streams))
			case 0:
				n := rng.Uint64N(4)
				b.Lose(n, "a")
				told.Add(n)
			case 1:
				b.Heartbeat()
			case 2:
				b.Duplicate(3)
			case 3:
				if !down { // what an outage and a reset take together is a lower bound
					b.ResetPage("a")
				}
			case 4, 5:
				if down = !down; down {
					b.Disconnect(nil)
				} else {
					b.Reconnect()
				}
			}
		}
	}()
	// Streams that come, resume from somewhere, and leave.
	var guests []*auditor
	go func() {
		defer others.Done()
		rng := rand.New(rand.NewPCG(seed, 7))
		for {
			select {
			case <-stop:
				return
			default:
			}
			after := pubsub.Position{}
			if rng.IntN(2) == 0 {
				after = b.Stats("a").Last
				after.Sequence -= min(after.Sequence, rng.Uint64N(8))
			}
			ctx, cancel := context.WithCancel(ctx)
			if s, err := b.Subscribe(ctx, "a", pubsub.Start{After: after}); err == nil {
				a := &auditor{last: after, from: map[uint32]uint32{}}
				guests = append(guests, a)
				timer := time.AfterFunc(time.Duration(rng.IntN(500))*time.Microsecond, cancel)
				if err := s.Receive(a.deliver); err != nil {
					a.problem("Receive returned %v", err)
				}
				timer.Stop()
			}
			cancel()
			if rng.IntN(4) == 0 {
				time.Sleep(time.Millisecond)
			}
		}
	}()

	senders.Wait()
	close(stop)
	others.Wait()
	total := b.Stats("a").Accepted
	require.Equal(t, told.Load(), total)
	for i, s := range open {
		<-flush(i)
		require.Zero(t, s.(pubsub.Holder).Held())
	}
	require.NoError(t, b.Close())
	receivers.Wait()
	require.NotZero(t, total)
	for i, a := range auditors {
		require.Empty(t, a.problems, "stream %d", i)
		require.Equal(t, total, a.delivered+a.lost, "stream %d: %d delivered, %d reported lost", i, a.delivered, a.lost)
	}
	for i, a := range guests {
		require.Empty(t, a.problems, "guest %d", i)
	}
	t.Logf("history %d: %d accepted, %d guests, first stream: %d delivered", history, total, len(guests), auditors[0].delivered)
}

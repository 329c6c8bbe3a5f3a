package pubsub_test

import (
	"context"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/memory"
)

// What Next left in the ring is not only for Next to come back to: a hole that
// another form of reading finds there stands behind the message that Next took.
func TestAfterWhereNextLeftOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := pubsub.New(memory.New(), ints{}, pubsub.WithBuffer(64))
		defer bus.Close()
		s := subscribe(t, bus, "t")
		for n := range 10 {
			publish(t, bus, "t", n)
		}
		require.Equal(t, []string{"0", "1"}, next(t, s, 2))
		for n := range 64 {
			publish(t, bus, "t", 10+n)
		}
		for _, err := range s.All() {
			d, ok := err.(*pubsub.Discontinuity)
			require.True(t, ok, err)
			require.EqualValues(t, 8, d.Lost)
			require.EqualValues(t, 2, d.After.Sequence)
			require.EqualValues(t, 11, d.Resume.Sequence)
			break
		}
	})
}

// A hole behind a delivered message says so, however the publisher and Next
// interleave.
func TestNextAlwaysKnowsWhatAHoleIsBehind(t *testing.T) {
	for _, buffer := range []int{1, 8, 32} {
		bus := pubsub.New(memory.New(), ints{}, pubsub.WithBuffer(buffer))
		s := subscribe(t, bus, "t")
		stop := make(chan struct{})
		var publishing sync.WaitGroup
		publishing.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
					_ = bus.Publish(context.Background(), "t", n)
				}
			}
		})
		var last pubsub.Position
		unknown, wrong, holes := 0, 0, 0
		for end := time.Now().Add(300 * time.Millisecond); time.Now().Before(end); {
			e, err := s.Next(t.Context())
			require.NoError(t, err)
			switch e.Kind {
			case pubsub.KindMessage:
				last = e.Message.Position
			case pubsub.KindDiscontinuity:
				holes++
				switch {
				case last.IsZero():
				case e.Discontinuity.After.IsZero():
					unknown++
				case e.Discontinuity.After != last:
					wrong++
				}
				last = pubsub.Position{}
			}
		}
		close(stop)
		publishing.Wait()
		require.NoError(t, bus.Close())
		require.Zero(t, unknown, "buffer %d, %d holes", buffer, holes)
		require.Zero(t, wrong, "buffer %d, %d holes", buffer, holes)
	}
}

type object struct {
	n int
	_ [100]byte
}

// objects makes values whose life can be watched.
type objects struct{ made *[]weak.Pointer[object] }

func (objects) Encode(o *object) (pubsub.Payload, error) { return ints{}.Encode(o.n) }

func (c objects) Decode(p pubsub.Payload) (*object, error) {
	n, err := ints{}.Decode(p)
	o := &object{n: n}
	*c.made = append(*c.made, weak.Make(o))
	return o, err
}

// A subscription that has read all there was holds on to nothing in the ring,
// however long it is away from Next.
func TestBetweenCallsOfNextNothingIsKept(t *testing.T) {
	var made []weak.Pointer[object]
	bus := pubsub.New(memory.New(), objects{&made}, pubsub.WithBuffer(64), pubsub.WithSharedDecode())
	defer bus.Close()
	const subscriptions = 10
	ctx := context.Background()
	for n := range subscriptions {
		s := subscribe(t, bus, "t")
		for range 100 {
			publish(t, bus, "t", &object{n: n})
		}
		for {
			if e, err := s.Next(ctx); err != nil {
				t.Fatal(err)
			} else if s.Stats().Lag == 0 && e.Kind == pubsub.KindMessage {
				break
			}
		}
	}
	for n := range 1000 {
		publish(t, bus, "t", &object{n: n})
	}
	runtime.GC()
	runtime.GC()
	alive := 0
	for _, w := range made {
		if w.Value() != nil {
			alive++
		}
	}
	require.LessOrEqual(t, alive, 64+95)
}

func TestMaxLagNeverFalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := pubsub.New(memory.New(), ints{})
		defer bus.Close()
		s := subscribe(t, bus, "t")
		publish(t, bus, "t", make([]int, 32)...)
		next(t, s, 1)
		publish(t, bus, "t", make([]int, 100)...)
		require.EqualValues(t, 131, s.Stats().MaxLag)
		next(t, s, 131)
		require.EqualValues(t, 131, s.Stats().MaxLag)
	})
}

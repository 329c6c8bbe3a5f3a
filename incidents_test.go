package pubsub_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/memory"
)

// incidents renders the incidents of a bus for comparison, newest first.
func incidents[T any](b pubsub.Bus[T], start time.Time) []string {
	var list []string
	for _, n := range b.Stats().Incidents {
		s := fmt.Sprintf("%s %v-%v x%d ", n.Topic, n.First.Sub(start), n.Last.Sub(start), n.Count)
		switch {
		case n.Discontinuity != nil:
			d := n.Discontinuity
			s += fmt.Sprintf("%v lost %d %v %v..%v", d.Cause, d.Lost, d.Exact, d.After, d.Resume)
		case n.State != nil:
			s += n.State.State.String()
		default:
			s += n.Err.Error()
		}
		list = append(list, s)
	}
	return list
}

func TestIncidents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		backend := &script{}
		bus := pubsub.New(backend, ints{}, pubsub.WithBuffer(2))
		s := subscribe(t, bus, "t")
		other := subscribe(t, bus, "t")
		require.Empty(t, bus.Stats().Incidents)

		stream := backend.stream(0)
		stream.play(gap(4, true), gap(1, false))
		require.Equal(t, []string{"t 0s-0s x2 backend lost 5 false -..-"}, incidents(bus, start),
			"those alike are one, and those of a stream are told once, before anybody reads")

		time.Sleep(2 * time.Second)
		down := pubsub.Frame{Kind: pubsub.KindState, State: &pubsub.StateChange{State: pubsub.Reconnecting}}
		stream.play(gap(1, true), down)
		time.Sleep(time.Minute)
		stream.play(down, state(pubsub.Resumed), down)
		require.Equal(t, []string{
			"t 1m2s-1m2s x1 reconnecting",
			"t 1m2s-1m2s x1 resumed",
			"t 2s-1m2s x2 reconnecting",
			"t 2s-2s x1 backend lost 1 true -..-",
			"t 0s-0s x2 backend lost 5 false -..-",
		}, incidents(bus, start), "later ones stand alone; an outage is one, however long")

		next(t, s, 6)
		require.Len(t, bus.Stats().Incidents, 5, "reading adds nothing to what the stream told")
		stream.play(msg(1), msg(2), msg(3), msg(4), text("panic"), msg(5), msg(6))
		next(t, s, 2)
		next(t, other, 5)
		all := incidents(bus, start)
		require.Equal(t, []string{
			"t 1m2s-1m2s x2 overflow lost 8 true -..-",
			"t 1m2s-1m2s x1 decode lost 1 true -..-",
		}, all[:2], "each subscription's own overflow counts; without what the stream had told")
		require.Nil(t, bus.Stats().Incidents[1].Discontinuity.Payload)
		require.Len(t, all, 7)

		stream.end <- errors.New("permanent")
		synctest.Wait()
		require.Equal(t, "t 1m2s-1m2s x1 permanent", incidents(bus, start)[0])

		for i := range 100 {
			subscribe(t, bus, fmt.Sprint(i))
			backend.stream(1 + i).play(gap(1, true))
		}
		all = incidents(bus, start)
		require.Len(t, all, 64)
		require.True(t, strings.HasPrefix(all[0], "99 ") && strings.HasPrefix(all[63], "36 "), all)
		bus.Close()
		require.Equal(t, all[:63], incidents(bus, start)[1:], "they outlive their streams")
		require.EqualValues(t, 103, bus.Stats().Incidents[0].Dropped, "what Close threw away is one")
	})
}

// What is joined begins where the first began, and ends where the last did.
func TestIncidentsAreJoined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		backend := &script{}
		bus := pubsub.New(backend, ints{})
		defer bus.Close()
		subscribe(t, bus, "t")
		hole := func(after, resume uint64) pubsub.Frame {
			return pubsub.Frame{Kind: pubsub.KindDiscontinuity, Discontinuity: &pubsub.Discontinuity{
				Cause: pubsub.CauseBackend, Lost: resume - after - 1, Exact: true,
				After: pubsub.Position{Page: 1, Sequence: after}, Resume: pubsub.Position{Page: 1, Sequence: resume}}}
		}
		backend.stream(0).play(hole(2, 4), hole(7, 9))
		require.Equal(t, []string{"t 0s-0s x2 backend lost 2 true 1/2..1/9"}, incidents(bus, start))

		end := func(n int) {
			s := subscribe(t, bus, "t")
			for i := range n {
				backend.stream(0).play(msg(100 + i))
			}
			s.Close()
		}
		end(1)
		end(2)
		time.Sleep(2 * time.Second)
		end(4)
		list := bus.Stats().Incidents
		require.Len(t, list, 3)
		require.EqualValues(t, []uint64{4, 3}, []uint64{list[0].Dropped, list[1].Dropped})
		require.EqualValues(t, []int{1, 2}, []int{int(list[0].Count), int(list[1].Count)})
	})
}

func TestIncidentsOfOwnDecoding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // those within a second are joined
		backend := &script{}
		bus := pubsub.New[*int](backend, boxed{})
		defer bus.Close()
		a, b := subscribe(t, bus, "t"), subscribe(t, bus, "t")
		backend.stream(0).play(text("bad"))
		next(t, a, 1)
		next(t, b, 1)
		list := bus.Stats().Incidents
		require.Len(t, list, 1)
		require.EqualValues(t, 2, list[0].Count)
		require.Equal(t, pubsub.CauseDecode, list[0].Discontinuity.Cause)
	})
}

func TestIncidentsOfBackPressure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		bus := pubsub.New(memory.New(memory.WithPage(1)), ints{}, pubsub.WithBuffer(1))
		defer bus.Close()
		subscribe(t, bus, "t", pubsub.Overflow(pubsub.Block))
		publish(t, bus, "t", 1)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		require.ErrorIs(t, bus.Publish(ctx, "t", 2), context.DeadlineExceeded)
		require.Equal(t, []string{"t 1m0s-1m0s x1 overflow lost 1 true 1/1..1/3"}, incidents(bus, start))
	})
}

func TestEveryObserverIsTold(t *testing.T) {
	var told []string
	observer := func(name string) pubsub.Option {
		return pubsub.WithObserver(pubsub.Observer{
			Published: func(ctx context.Context, topic string, _ time.Duration, err error) {
				told = append(told, fmt.Sprintf("%s published %s %v %v", name, topic, err == nil, ctx.Value(observerKey{})))
			},
			Received:      func(_ string, p pubsub.Position) { told = append(told, name+" received "+p.String()) },
			Discontinuity: func(d *pubsub.Discontinuity) { told = append(told, name+" "+d.Cause.String()) },
			State:         func(_ string, s pubsub.StateChange) { told = append(told, name+" "+s.State.String()) },
		})
	}
	backend := &script{}
	bus := pubsub.New(backend, ints{}, pubsub.WithObserver(pubsub.Observer{}), observer("a"), pubsub.WithObserver(pubsub.Observer{}), observer("b"))
	defer bus.Close()
	s := subscribe(t, bus, "t")
	ctx := context.WithValue(t.Context(), observerKey{}, "mine")
	require.NoError(t, bus.Publish(ctx, "t", 1))
	//lint:ignore SA1012 nil on purpose: an observer need not expect it
	require.Error(t, bus.Publish(nil, "t", 1))
	backend.stream(0).play(msg(1), gap(1, true), state(pubsub.Resumed))
	next(t, s, 3)
	require.Equal(t, []string{
		"a published t true mine", "b published t true mine",
		"a published t false <nil>", "b published t false <nil>",
		"a received 1/1", "b received 1/1", "a backend", "b backend", "a resumed", "b resumed",
	}, told)
}

type observerKey struct{}

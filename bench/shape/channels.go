package shape

import (
	"sync"

	"github.com/topicbus/pubsub"
)

// Channels is the contender to beat: one channel of that capacity per
// subscriber, and a publisher that loops over them. What they carry has the
// fields of [pubsub.Message], so that a subscriber is told as much as by the
// Bus; but nobody counts, all messages have the same position. It does not
// have what a program needs besides (topics by name, subscribing while
// publishing, a slow subscriber that harms only itself).
func Channels[T any](name string, capacity int) Contender[T] {
	return Contender[T]{Name: name, Open: func(f Fleet) (System[T], error) {
		c := &channels[T]{names: f.TopicNames()}
		c.open(f, capacity)
		return c, nil
	}}
}

// BareChannels is [Channels] that carry the value alone.
func BareChannels[T any](name string, capacity int) Contender[T] {
	return Contender[T]{Name: name, Open: func(f Fleet) (System[T], error) {
		c := new(bareChannels[T])
		c.open(f, capacity)
		return c, nil
	}}
}

type channels[T any] struct {
	fan[pubsub.Message[T]]
	names []string
}

func (c *channels[T]) Subscribe(topic int, s *Sink[T]) error {
	ch := c.add(topic)
	c.readers.Go(func() {
		for m := range ch {
			s.Take(m.Value)
		}
	})
	return nil
}

func (c *channels[T]) Publish(topic int, v T) error {
	m := pubsub.Message[T]{
		Value: v, Topic: c.names[topic], Publisher: "publisher",
		Position: pubsub.Position{Page: 1, Sequence: 1},
	}
	for _, ch := range c.topics[topic] {
		ch <- m
	}
	return nil
}

type bareChannels[T any] struct{ fan[T] }

func (c *bareChannels[T]) Subscribe(topic int, s *Sink[T]) error {
	ch := c.add(topic)
	c.readers.Go(func() {
		for v := range ch {
			s.Take(v)
		}
	})
	return nil
}

func (c *bareChannels[T]) Publish(topic int, v T) error {
	for _, ch := range c.topics[topic] {
		ch <- v
	}
	return nil
}

// fan is the channels of the subscribers, by topic.
type fan[M any] struct {
	capacity int
	topics   [][]chan M
	readers  sync.WaitGroup
}

func (f *fan[M]) open(fleet Fleet, capacity int) {
	f.capacity, f.topics = capacity, make([][]chan M, fleet.Topics)
}

func (f *fan[M]) add(topic int) <-chan M {
	ch := make(chan M, f.capacity)
	f.topics[topic] = append(f.topics[topic], ch)
	return ch
}

func (f *fan[M]) Close() error {
	for _, topic := range f.topics {
		for _, ch := range topic {
			close(ch)
		}
	}
	f.readers.Wait()
	return nil
}

package shape

import "sync"

// Channels is the contender to beat: one channel of that capacity per
// subscriber, and a publisher that loops over them. It does not have what a
// program needs besides (topics by name, subscribing while publishing, a
// slow subscriber that harms only itself).
func Channels[T any](name string, capacity int) Contender[T] {
	return Contender[T]{Name: name, Open: func(f Fleet) (System[T], error) {
		return &channels[T]{capacity: capacity, topics: make([][]chan T, f.Topics)}, nil
	}}
}

type channels[T any] struct {
	capacity int
	topics   [][]chan T
	readers  sync.WaitGroup
}

func (c *channels[T]) Subscribe(topic int, s *Sink[T]) error {
	ch := make(chan T, c.capacity)
	c.topics[topic] = append(c.topics[topic], ch)
	c.readers.Go(func() {
		for v := range ch {
			s.Take(v)
		}
	})
	return nil
}

func (c *channels[T]) Publish(topic int, v T) error {
	for _, ch := range c.topics[topic] {
		ch <- v
	}
	return nil
}

func (c *channels[T]) Close() error {
	for _, topic := range c.topics {
		for _, ch := range topic {
			close(ch)
		}
	}
	c.readers.Wait()
	return nil
}

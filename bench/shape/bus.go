package shape

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/memory"
)

// Bus is a contender: a [pubsub.Bus], read in one of its forms.
type Bus[T any] struct {
	Name    string
	Codec   pubsub.Codec[T]
	Read    Form[T]
	Policy  pubsub.OverflowPolicy // Block, if it is not to lose anything
	Options []pubsub.Option
	ByName  bool // publish by the topic's name, not through a handle
	Batch   int  // publish so many at once, if it is more than 1
	// Backend opens a backend and says how it is closed. Nil is memory.
	Backend func() (pubsub.Backend, func() error, error)
}

// Form reads a subscription until it ends.
type Form[T any] func(*pubsub.Subscription[T], *Sink[T])

// All reads by iterator.
func All[T any](sub *pubsub.Subscription[T], s *Sink[T]) {
	for m, err := range sub.All() {
		if err != nil {
			takeHole(s, err)
			continue
		}
		s.Take(m.Value)
	}
}

// Messages reads by iterator too. It takes no holes.
func Messages[T any](sub *pubsub.Subscription[T], s *Sink[T]) {
	for m := range sub.Messages() {
		s.Take(m.Value)
	}
}

// Next reads by call.
func Next[T any](sub *pubsub.Subscription[T], s *Sink[T]) {
	for {
		e, err := sub.Next(context.Background())
		if err != nil {
			takeEnd(s, err)
			return
		}
		takeEvent(s, e)
	}
}

// C reads by channel of messages. It takes no holes.
func C[T any](sub *pubsub.Subscription[T], s *Sink[T]) {
	for m := range sub.C() {
		s.Take(m.Value)
	}
}

// Events reads by channel of everything.
func Events[T any](sub *pubsub.Subscription[T], s *Sink[T]) {
	for e := range sub.Events() {
		takeEvent(s, e)
	}
}

func takeEvent[T any](s *Sink[T], e pubsub.Event[T]) {
	switch e.Kind {
	case pubsub.KindMessage:
		s.Take(e.Message.Value)
	case pubsub.KindDiscontinuity:
		takeHole(s, e.Discontinuity)
	}
}

func takeHole[T any](s *Sink[T], err error) {
	var hole *pubsub.Discontinuity
	if !errors.As(err, &hole) {
		takeEnd(s, err)
		return
	}
	if !hole.Exact {
		s.Fail(fmt.Errorf("not exact: %w", err))
	}
	s.Lost(hole.Lost)
}

func takeEnd[T any](s *Sink[T], err error) {
	if !errors.Is(err, pubsub.ErrClosed) {
		s.Fail(err)
	}
}

// Contender returns b as one.
func (b Bus[T]) Contender() Contender[T] {
	open := b.Backend
	if open == nil {
		open = func() (pubsub.Backend, func() error, error) {
			m := memory.New()
			return m, m.Close, nil
		}
	}
	return Contender[T]{Name: b.Name, Open: func(f Fleet) (System[T], error) {
		backend, closeBackend, err := open()
		if err != nil {
			return nil, err
		}
		s := &busSystem[T]{
			Bus:          b,
			bus:          pubsub.New(backend, b.Codec, b.Options...),
			closeBackend: closeBackend,
		}
		for _, name := range f.TopicNames() {
			s.topics = append(s.topics, s.bus.Topic(name))
		}
		return s, nil
	}}
}

type busSystem[T any] struct {
	Bus[T]
	bus          pubsub.Bus[T]
	closeBackend func() error
	topics       []*pubsub.Topic[T]
	readers      sync.WaitGroup
}

func (b *busSystem[T]) Subscribe(topic int, s *Sink[T]) error {
	sub, err := b.topics[topic].Subscribe(context.Background(), pubsub.Overflow(b.Policy))
	if err != nil {
		return err
	}
	b.readers.Go(func() { b.Read(sub, s) })
	return nil
}

func (b *busSystem[T]) Publish(topic int, v T) error {
	if b.ByName {
		return b.bus.Publish(context.Background(), b.topics[topic].Name(), v)
	}
	return b.topics[topic].Publish(context.Background(), v)
}

func (b *busSystem[T]) BatchSize() int { return b.Batch }

func (b *busSystem[T]) PublishAll(topic int, vs []T) error {
	_, err := b.topics[topic].PublishAll(context.Background(), vs)
	return err
}

func (b *busSystem[T]) Close() error {
	err := b.bus.Close()
	b.readers.Wait()
	return errors.Join(err, b.closeBackend())
}

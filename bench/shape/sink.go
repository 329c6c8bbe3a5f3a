package shape

import (
	"errors"
	"fmt"
)

// Sink takes what one subscriber receives, and keeps the books. Its methods
// must not be called concurrently.
type Sink[T any] struct {
	number   func(T) uint64
	next     [maxPublishers]uint64 // how many came in order, by publisher
	got      uint64
	lost     uint64
	stop     uint64         // got + lost at the end
	finished func()         // called then
	arrived  func(i uint64) // if set, called before the message is taken, with how many were
	late     [][]uint64     // how often each slot came since order was lost, by publisher
	err      error          // what else went wrong
	_        [64]byte       // keeps neighbours' books off the cache line
}

// Take takes a message.
func (s *Sink[T]) Take(v T) {
	if s.arrived != nil {
		s.arrived(s.got)
	}
	n := s.number(v)
	publisher, slot := n>>32%maxPublishers, n%window
	if slot == s.next[publisher]%window && s.late == nil {
		s.next[publisher]++
	} else {
		s.disorder(publisher, slot)
	}
	s.got++
	if s.got+s.lost == s.stop {
		s.finished()
	}
}

// Lost takes the report that n messages are missing at this place. It fits
// fleets of one publisher.
func (s *Sink[T]) Lost(n uint64) {
	s.lost += n
	s.next[0] += n
	if s.got+s.lost == s.stop {
		s.finished()
	}
}

// Fail takes an error that must not happen.
func (s *Sink[T]) Fail(err error) { s.err = errors.Join(s.err, err) }

// disorder counts a message that is out of place, and all that follow.
func (s *Sink[T]) disorder(publisher, slot uint64) {
	if s.late == nil {
		s.late = make([][]uint64, maxPublishers)
		for p := range s.late {
			s.late[p] = make([]uint64, window)
		}
	}
	s.late[publisher][slot]++
}

// check tells what is wrong with the books, when each publisher sent so many
// messages and nobody calls the sink any more.
func (s *Sink[T]) check(publishers int, each uint64, unordered bool) error {
	switch {
	case s.err != nil:
		return s.err
	case s.got+s.lost != s.stop:
		return fmt.Errorf("%d messages received and %d reported lost, of %d published", s.got, s.lost, s.stop)
	case s.late == nil:
		return nil
	case !unordered:
		return fmt.Errorf("a message is lost, doubled or out of order behind the first %d", s.next[0])
	}
	for p := range publishers {
		for slot, n := range s.late[p] {
			if want := uses(each, slot) - uses(s.next[p], slot); n != want {
				return fmt.Errorf("message %d received %d times too often", slot, int64(n-want))
			}
		}
	}
	return nil
}

// uses tells how many of a publisher's first n messages are in the slot.
func uses(n uint64, slot int) uint64 { return (n + window - 1 - uint64(slot)) / window }

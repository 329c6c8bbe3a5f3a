package shape

import (
	"errors"
	"fmt"
)

// books are what a sink knows of the messages it took.
type books struct {
	expect uint64 // number of the next message, if order and publisher go on
	left   uint64 // messages to come

	since     uint64                // expect, when next was up to date
	publisher uint64                // who expect is about
	next      [maxPublishers]uint64 // how many came in order, by publisher
	stop      uint64                // how many there are in all
	lost      uint64                // of them
	extra     uint64                // more than there are
	late      [][]uint64            // how often each slot came since order was lost, by publisher
	err       error                 // what else went wrong
	finished  func()                // called when none are left
	arrived   func(i uint64)        // if set, called before a message counts, with how many did
	_         [64]byte              // keeps a neighbour's books off the cache line
}

// never is what no message has for a number.
const never = ^uint64(0)

func newBooks(stop uint64, finished func()) books {
	return books{left: stop, stop: stop, finished: finished}
}

// watch has f called before each message counts, with how many did.
func (b *books) watch(f func(i uint64)) { b.arrived, b.expect, b.since = f, never, never }

// record counts the message of that number. It is small enough to be inlined.
func (b *books) record(number uint64) {
	if number == b.expect && b.left > 1 {
		b.expect++
		b.left--
		return
	}
	b.examine(number)
}

// examine is record for all that is not the next message of the same publisher
// within the window, with more to come.
func (b *books) examine(number uint64) {
	if b.arrived != nil {
		b.arrived(b.got())
	}
	b.settle()
	publisher, slot := number>>32%maxPublishers, number%window
	if slot == b.next[publisher]%window && b.late == nil {
		b.next[publisher]++
	} else {
		b.disorder(publisher, slot)
	}
	b.resume(publisher)
	b.count(1)
}

// lose counts n messages that are reported lost.
func (b *books) lose(n uint64) {
	b.settle()
	b.next[0] += n
	b.lost += n
	b.resume(0)
	b.count(n)
}

func (b *books) fail(err error) { b.err = errors.Join(b.err, err) }

func (b *books) got() uint64 { return b.stop - b.left - b.lost }

// settle brings next up to date.
func (b *books) settle() {
	b.next[b.publisher] += b.expect - b.since
	b.since = b.expect
}

// resume expects the next message of the publisher.
func (b *books) resume(publisher uint64) {
	b.publisher, b.expect = publisher, publisher<<32|b.next[publisher]%window
	if b.arrived != nil || b.late != nil {
		b.expect = never
	}
	b.since = b.expect
}

func (b *books) count(n uint64) {
	if b.left < n {
		b.extra += n - b.left
		return
	}
	if b.left -= n; b.left == 0 {
		b.finished()
	}
}

// disorder counts a message that is out of place, and all that follow.
func (b *books) disorder(publisher, slot uint64) {
	if b.late == nil {
		b.late = make([][]uint64, maxPublishers)
		for p := range b.late {
			b.late[p] = make([]uint64, window)
		}
	}
	b.late[publisher][slot]++
}

// check tells what is wrong, when each publisher sent so many messages and no
// more come.
func (b *books) check(publishers int, each uint64, unordered bool) error {
	switch {
	case b.err != nil:
		return b.err
	case b.left > 0 || b.extra > 0:
		return fmt.Errorf("%d messages received and %d reported lost, of %d published", b.got()+b.extra, b.lost, b.stop)
	case b.late == nil:
		return nil
	case !unordered:
		return fmt.Errorf("a message is lost, doubled or out of order behind the first %d", b.next[0])
	}
	for p := range publishers {
		for slot, n := range b.late[p] {
			if want := uses(each, slot) - uses(b.next[p], slot); n != want {
				return fmt.Errorf("message %d received %d times too often", slot, int64(n-want))
			}
		}
	}
	return nil
}

// uses tells how many of a publisher's first n messages are in the slot.
func uses(n uint64, slot int) uint64 { return (n + window - 1 - uint64(slot)) / window }

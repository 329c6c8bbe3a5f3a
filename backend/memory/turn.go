package memory

import (
	"context"
	"slices"
	"time"
)

// A topic's word holds the number of messages accepted so far, and with it who
// may touch the topic. Both in one word make the usual publish cost two
// atomic operations, and give Subscribe an exact place in the order without
// waiting for a publisher.
const (
	// held: somebody has the turn. Only he calls deliver on live streams.
	held uint64 = 1 << iota
	// call: who gives the turn back must look for waiters and ops, and who
	// comes must queue up.
	call
	// slow: who takes the turn must not count and deliver right away, but
	// lock mu first: there is a history, a pause, a hook, or a change of streams.
	slow

	flags    = held | call | slow
	seqShift = 3
	one      = uint64(1) << seqShift
)

// spins bounds how often a publisher looks again before it queues up. A turn
// is usually shorter than a sleep.
const spins = 30

// handOver is after how many lost races a waiter is given the turn directly.
// Before, running publishers may overtake it, which is much faster than a
// switch of goroutines per message.
const handOver = 3

// turn lets publishers of one topic in one after the other. It is waited for
// through channels, so a wait ends with ctx and is durable in a bubble. The
// topic's mu guards it.
type turn struct {
	waiters []*waiter
	waking  *waiter  // woken, and not back yet
	ops     []func() // what waits for the turn to be free
}

type waiter struct {
	c     chan verdict
	tries int
}

// verdict ends a sleep of a waiter.
type verdict uint8

const (
	again     verdict = iota // the turn may be free
	yours                    // you have the turn
	dismissed                // the engine was closed
)

// enter takes the turn. It fails with ctx's end, the engine's, or if the publisher
// waits for itself.
func (t *topic) enter(ctx context.Context) error {
	for range spins {
		w := t.word.Load()
		if w&call != 0 {
			break
		}
		if w&held == 0 && t.word.CompareAndSwap(w, w|held) {
			return nil
		}
	}
	t.mu.Lock()
	if t.take() {
		t.mu.Unlock()
		return nil
	}
	if t.closed {
		t.mu.Unlock()
		return errClosed
	}
	w := &waiter{c: make(chan verdict, 1)}
	t.waiters = append(t.waiters, w)
	t.mu.Unlock()
	long := time.NewTimer(selfWait)
	defer long.Stop()
	for {
		select {
		case v := <-w.c:
			switch v {
			case yours:
				return nil
			case dismissed:
				return errClosed
			}
			t.mu.Lock()
			t.waking = nil
			if t.take() {
				t.mu.Unlock()
				return nil
			}
			if t.closed {
				t.mu.Unlock()
				return errClosed
			}
			w.tries++
			t.waiters = slices.Insert(t.waiters, 0, w)
			t.mu.Unlock()
		case <-ctx.Done():
			t.resign(w)
			return cause(ctx)
		case <-long.C:
			if insideDelivery() {
				t.resign(w)
				return errSelfWait
			}
		}
	}
}

// dismiss ends the wait of all. mu is held.
func (t *topic) dismiss() {
	for _, w := range t.waiters {
		w.c <- dismissed
	}
	t.waiters = nil
	t.settle()
}

// take takes the turn if it is free, and asks to be called if it is not.
// mu is held.
func (t *topic) take() bool {
	if t.word.Or(held|call)&held != 0 {
		return false
	}
	t.settle()
	return true
}

// settle corrects the call bit after waiters or ops changed. mu is held.
func (t *topic) settle() {
	if len(t.ops) > 0 || len(t.waiters) > 0 && t.waking == nil {
		t.word.Or(call)
	} else {
		t.word.And(^call)
	}
}

// resign ends the wait of w, and passes on what it was given meanwhile.
func (t *topic) resign(w *waiter) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if i := slices.Index(t.waiters, w); i >= 0 {
		t.waiters = slices.Delete(t.waiters, i, i+1)
		t.settle()
		return
	}
	switch <-w.c {
	case dismissed:
		return
	case again:
		t.waking = nil
		if !t.take() {
			return // who has it wakes the next one
		}
	}
	t.release()
}

// leave gives the turn back.
func (t *topic) leave() {
	for {
		w := t.word.Load()
		if w&call != 0 {
			break
		}
		if t.word.CompareAndSwap(w, w&^held) {
			return
		}
	}
	t.mu.Lock()
	t.release()
	t.mu.Unlock()
}

// release gives the turn back after the ops that waited for it, and wakes
// the first waiter. mu is held.
func (t *topic) release() {
	t.runOps()
	if len(t.waiters) > 0 && t.waking == nil {
		w := t.waiters[0]
		t.waiters = slices.Delete(t.waiters, 0, 1)
		if w.tries >= handOver {
			t.settle()
			w.c <- yours
			return
		}
		t.waking = w
		w.c <- again
	}
	t.word.And(^(held | call))
}

// runOps does what waits for the turn to be free, for who has it. mu is held.
func (t *topic) runOps() {
	if len(t.ops) > 0 {
		for _, op := range t.ops {
			op()
		}
		t.ops = nil
		t.word.Or(slow) // the last message may have cleared it
	}
}

// do runs op, with mu held, while nobody has the turn: at once if it is free,
// otherwise when it is given back. It does not wait for that.
func (t *topic) do(op func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.doLocked(op)
}

// doLocked is do with mu held. It must not be called by an op.
func (t *topic) doLocked(op func()) {
	if t.word.Or(slow|call)&held != 0 {
		t.ops = append(t.ops, op)
		return
	}
	op() // who comes now must lock mu: call is set
	t.settle()
}

package consume

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/topicbus/pubsub"
)

// alone handles one message after the other, on the caller's goroutine.
type alone[T any] struct {
	*consumer[T]
	task  task[T]
	at    bool         // task is not done
	since atomic.Int64 // when the message was taken, in nanoseconds behind epoch; 0: there is none
	epoch time.Time    // before all
}

func (a *alone[T]) run() {
	defer a.putDown()
	for {
		m, ok := a.next()
		if !ok {
			return
		}
		a.number++
		a.task = task[T]{message: m, number: a.number}
		if a.Monitor != nil {
			a.since.Store(int64(time.Since(a.epoch)))
		}
		a.at = true
		a.handle(&a.task)
		a.at = false
		a.since.Store(0)
	}
}

func (a *alone[T]) stop() {} // the ctx that it reads and waits with tells

func (a *alone[T]) oldest() time.Time {
	if ns := a.since.Load(); ns != 0 {
		return a.epoch.Add(time.Duration(ns))
	}
	return time.Time{}
}

// handle tries a message until it is handled or given up.
func (a *alone[T]) handle(t *task[T]) {
	for {
		err := a.try(t)
		if err == nil {
			a.Monitor.finish(handled)
			return
		}
		wait, again := a.failed(t, err)
		var why error
		if again {
			if why = a.pause(wait); why == nil {
				continue
			}
		}
		a.giveUp(t, why)
		return
	}
}

// pause waits for the next try, or says why there is none.
//
// It reads one event ahead: that is how it hears of the end of the subscription
// while it waits.
func (a *alone[T]) pause(d time.Duration) (why error) {
	a.Monitor.wait(1)
	defer a.Monitor.wait(-1)
	due := time.Now().Add(d)
	a.lookAhead(due)
	if why := a.life.noTry(due); why != nil {
		return why
	}
	timer := time.NewTimer(time.Until(due))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-a.life.read.Done():
		return errStopped
	}
}

func (a *alone[T]) lookAhead(until time.Time) {
	if a.hand != nil || a.over {
		return
	}
	deadline, cancel := context.WithDeadline(a.life.read, until)
	defer cancel()
	ctx := &late{Context: deadline, out: a.life.read}
	for {
		e, err := a.event(ctx)
		if err != nil {
			return
		}
		if e.Kind == pubsub.KindMessage || e.Kind == pubsub.KindDiscontinuity {
			a.hand = &e
			return
		}
	}
}

// late is a ctx whose deadline only those see who wait for its end. With it Next
// looks once before it says that there is no time: a policy that never waits has
// to hear of the end of the subscription, too. It is for one goroutine.
type late struct {
	context.Context
	out    context.Context // whose end is seen at once
	waited bool
}

func (c *late) Done() <-chan struct{} {
	c.waited = true
	return c.Context.Done()
}

func (c *late) Err() error {
	if c.waited || c.out.Err() != nil {
		return c.Context.Err()
	}
	return nil
}

// putDown accounts for what was read ahead and is not handled any more, and for
// what runtime.Goexit or the like ended the goroutine at.
func (a *alone[T]) putDown() {
	if a.at {
		a.drop(&a.task, errExited)
	}
	e := a.hand
	switch {
	case e == nil:
	case e.Kind == pubsub.KindMessage:
		a.number++
		a.drop(&task[T]{message: e.Message, number: a.number}, nil)
	default:
		a.lost(e.Discontinuity)
	}
	a.hand = nil
}

package consume

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/topicbus/pubsub"
)

// task is a message that was taken.
type task[T any] struct {
	message pubsub.Message[T]
	number  uint64    // in the order of taking
	since   time.Time // when it was taken, if somebody asks
	tries   int
	policy  backoff.BackOff // made by the first failure
	err     error           // of the last try

	// Of the workers, guarded by pool.mu.
	key  string
	due  time.Time // of the next try
	why  error     // if set, there is none
	next *task[T]  // of the same key
	link *task[T]  // in the queue or the free list
}

// outcome is what became of a task.
type outcome uint8

const (
	handled outcome = iota + 1
	gaveUp          // with success
	dropped         // not handled
	again           // to be tried again
)

// consumer is one call of Each. What is here does not know how many goroutines
// there are.
type consumer[T any] struct {
	sub     *pubsub.Subscription[T]
	handler Handler[T]
	Options[T]
	life   *life
	losses lossLog
	clock  clock

	// Of the goroutine that reads.
	number uint64
	hand   *pubsub.Event[T] // read ahead
	over   bool             // the subscription has ended
	endErr error            // with this error

	mu        sync.Mutex // guards what follows
	unhandled []numbered[T]
}

type numbered[T any] struct {
	Unhandled[T]
	number uint64
}

func (c *consumer[T]) close() {
	c.life.close()
	c.losses.flush()
}

// result is what Each returns.
func (c *consumer[T]) result() error {
	err, outEnded := c.life.why()
	switch {
	case err != nil:
	case !c.over:
		err = outEnded
	case c.endErr != nil:
		err = c.endErr
	case len(c.unhandled) > 0:
		err = outEnded // its grace was over before all was handled
	}
	if len(c.unhandled) == 0 {
		if err != nil {
			err = fmt.Errorf("consume: %w", err)
		}
		return err
	}
	slices.SortFunc(c.unhandled, func(a, b numbered[T]) int { return cmp.Compare(a.number, b.number) })
	e := &UnhandledError[T]{Err: err}
	for _, u := range c.unhandled {
		e.Unhandled = append(e.Unhandled, u.Unhandled)
	}
	return e
}

// next returns the next message. It tells of the holes before it. It returns
// false when there is nothing more to read, or Each is to end.
func (c *consumer[T]) next() (m pubsub.Message[T], ok bool) {
	for c.life.read.Err() == nil {
		e, err := c.event(c.life.read)
		switch {
		case err != nil && c.over:
			return m, false
		case err != nil: // that of ctx
		case e.Kind == pubsub.KindMessage:
			return e.Message, true
		case e.Kind == pubsub.KindDiscontinuity:
			c.lost(e.Discontinuity)
		}
	}
	c.life.stop(nil) // which may not have heard of the end of ctx yet
	return m, false
}

// event takes the next event, or the one at hand.
func (c *consumer[T]) event(ctx context.Context) (e pubsub.Event[T], err error) {
	switch {
	case c.hand != nil:
		e, c.hand = *c.hand, nil
		return e, nil
	case c.over:
		return e, pubsub.ErrClosed
	}
	if e, err = c.sub.Next(ctx); err != nil {
		if !errors.Is(err, ctx.Err()) {
			c.ended(err)
		}
		return e, err
	}
	if e.Kind == pubsub.KindMessage {
		c.Monitor.take()
	}
	return e, nil
}

// ended notes that the subscription has ended.
func (c *consumer[T]) ended(err error) {
	c.over = true
	c.life.end()
	if c.endErr = c.sub.Err(); c.endErr == nil && !errors.Is(err, pubsub.ErrClosed) {
		c.endErr = err
	}
}

// lost tells of a hole.
func (c *consumer[T]) lost(d *pubsub.Discontinuity) {
	c.Monitor.hole(d)
	if c.OnLoss == nil {
		c.losses.add(d)
		return
	}
	if err := guard(func() error { return c.OnLoss(d) }); err != nil {
		c.life.stop(err)
	}
}

// try calls the handler.
func (c *consumer[T]) try(t *task[T]) (err error) {
	ctx, cancel := c.life.handler()
	t.tries++
	c.Monitor.start(t.tries)
	returned := false
	defer func() {
		if !returned {
			err = panicked(recover())
		}
		if cancel != nil {
			cancel()
		}
		c.Monitor.stop()
	}()
	err = c.handler(withTry(ctx, t.tries), t.message)
	returned = true
	return err
}

// failed notes the error of a try, and returns how long to wait before the next
// one, or false if there is to be none.
func (c *consumer[T]) failed(t *task[T], err error) (wait time.Duration, again bool) {
	c.Monitor.fail()
	t.err = err
	if p, ok := err.(*backoff.PermanentError); ok && p.Err != nil {
		t.err = p.Err // it has said what it is for
	}
	var permanent *backoff.PermanentError
	if c.Retry == nil || errors.As(err, &permanent) {
		return 0, false
	}
	wait = backoff.Stop
	if err := guard(func() error {
		if t.policy == nil {
			if t.policy = c.Retry(); t.policy == nil {
				return nil
			}
			t.policy.Reset()
		}
		wait = t.policy.NextBackOff()
		return nil
	}); err != nil {
		t.err = fmt.Errorf("%w; the policy of Retry: %w", t.err, err)
		return 0, false
	}
	return wait, wait != backoff.Stop
}

// giveUp does with a task what is to be done when there is no next try. why says
// so if it was not the policy.
func (c *consumer[T]) giveUp(t *task[T], why error) outcome {
	if why != nil {
		t.err = fmt.Errorf("%w; %w", t.err, why)
	}
	if c.GiveUp == nil {
		c.drop(t, t.err)
		c.life.stop(t.err)
		return dropped
	}
	ctx, cancel := c.life.giveUp()
	defer cancel()
	err := guard(func() error { return c.GiveUp(ctx, t.message, t.err) })
	if err == nil {
		c.Monitor.finish(gaveUp)
		return gaveUp
	}
	if !errors.Is(err, t.err) {
		err = fmt.Errorf("GiveUp: %w; it was called for: %w", err, t.err)
	}
	c.drop(t, err)
	c.life.stop(err)
	return dropped
}

// drop notes that a task was not handled. err may be nil.
func (c *consumer[T]) drop(t *task[T], err error) {
	c.Monitor.finish(dropped)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unhandled = append(c.unhandled, numbered[T]{Unhandled[T]{t.message, t.tries, err}, t.number})
}

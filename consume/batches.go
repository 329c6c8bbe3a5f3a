package consume

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/topicbus/pubsub"
)

// Batches returns an iterator over the messages of s, up to n at a time: it is
// [pubsub.Subscription.All] for those who write many at once. A batch is full at
// n messages; it is yielded with fewer when wait has passed since its first one
// came. With a wait of 0 or less it has what is queued, and nothing is waited
// for but its first message.
//
// A hole ends a batch. It is yielded behind it, with a nil batch and a
// [*pubsub.Discontinuity] for an error; the loop goes on after it. When the
// subscription ends, what was taken is yielded. If its stream failed or the Fail
// policy ended it, that error is yielded last; if the application ended it the
// loop just ends.
//
// The slice belongs to the loop. Leaving the loop leaves the subscription as it
// is: another reader goes on with the next message. A hole behind the batch that
// the loop was left at is not yielded then; OnDiscontinuity and Stats have it.
//
// Batches starts no goroutine.
func Batches[T any](s *pubsub.Subscription[T], n int, wait time.Duration) iter.Seq2[[]pubsub.Message[T], error] {
	return func(yield func([]pubsub.Message[T], error) bool) {
		if s == nil || n < 1 {
			yield(nil, fmt.Errorf("consume: Batches: %w: it needs a Subscription and at least 1 message in a batch, not %d", pubsub.ErrInvalidArgument, n))
			return
		}
		last := 0 // the length of the batch before
		for {
			batch, hole, more := collect(s, n, wait, last)
			last = len(batch)
			if last > 0 && !yield(batch, nil) {
				return
			}
			if hole != nil && !yield(nil, hole) {
				return
			}
			if !more {
				break
			}
		}
		for _, err := range s.All() { // which knows whether its error is to be told
			if err != nil && !yield(nil, err) {
				return
			}
		}
	}
}

// collect takes a batch, and the hole that ended it, if one did. It returns
// false if the subscription has ended.
func collect[T any](s *pubsub.Subscription[T], n int, wait time.Duration, likely int) (batch []pubsub.Message[T], hole *pubsub.Discontinuity, more bool) {
	ctx := context.Background()
	for len(batch) < n {
		if len(batch) > 0 && wait <= 0 && s.Stats().Lag == 0 {
			return batch, nil, true
		}
		e, err := s.Next(ctx)
		switch {
		case err != nil:
			return batch, nil, errors.Is(err, ctx.Err())
		case e.Kind == pubsub.KindDiscontinuity:
			return batch, e.Discontinuity, true
		case e.Kind != pubsub.KindMessage:
			continue
		}
		if batch == nil {
			batch = make([]pubsub.Message[T], 0, min(n, max(likely, 1)))
			if wait > 0 && n > 1 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, wait)
				defer cancel()
			}
		}
		batch = append(batch, e.Message)
	}
	return batch, nil, true
}

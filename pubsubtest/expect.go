package pubsubtest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/topicbus/pubsub"
)

// Deadline is how long [Expect], [ExpectDiscontinuity] and [Recorder.Wait]
// wait for each thing that they expect.
const Deadline = 10 * time.Second

// Expect reads the next messages of sub and fails t unless they carry the
// values want, in this order, and nothing is reported missing before or among
// them. Heartbeats and states are passed over. It returns the messages, so that
// more than their values can be checked.
//
// Values are compared by [reflect.DeepEqual]. Expect must be called from the
// goroutine of the test.
func Expect[T any](t testing.TB, sub *pubsub.Subscription[T], want ...T) []pubsub.Message[T] {
	t.Helper()
	var got []pubsub.Message[T]
	for i, value := range want {
		ev, err := next(sub, Deadline)
		switch {
		case err != nil:
			t.Fatalf("pubsubtest: message %d of %d, %+v, has not come: %v", i+1, len(want), value, err)
		case ev.Discontinuity != nil:
			t.Fatalf("pubsubtest: in place of message %d of %d, %+v: %v", i+1, len(want), value, ev.Discontinuity)
		case !reflect.DeepEqual(ev.Message.Value, value):
			t.Fatalf("pubsubtest: message %d of %d:\n\tgot  %+v\n\twant %+v", i+1, len(want), ev.Message.Value, value)
		}
		got = append(got, ev.Message)
	}
	return got
}

// ExpectDiscontinuity reads sub and fails t unless a discontinuity of the
// given cause comes before another message. It returns the discontinuity.
// Heartbeats and states are passed over.
func ExpectDiscontinuity[T any](t testing.TB, sub *pubsub.Subscription[T], cause pubsub.Cause) *pubsub.Discontinuity {
	t.Helper()
	ev, err := next(sub, Deadline)
	switch {
	case err != nil:
		t.Fatalf("pubsubtest: a discontinuity (%v) has not come: %v", cause, err)
	case ev.Discontinuity == nil:
		t.Fatalf("pubsubtest: in place of a discontinuity (%v) a message came: %+v", cause, ev.Message.Value)
	case ev.Discontinuity.Cause != cause:
		t.Fatalf("pubsubtest: in place of a discontinuity (%v): %v", cause, ev.Discontinuity)
	}
	return ev.Discontinuity
}

// ExpectNone fails t if a message or a discontinuity comes within d, or the
// subscription ends. It always takes all of d, and can prove only that nothing
// came by then: use it in a [testing/synctest] bubble, where d costs nothing
// and includes all that the program does by itself.
func ExpectNone[T any](t testing.TB, sub *pubsub.Subscription[T], d time.Duration) {
	t.Helper()
	ev, err := next(sub, d)
	switch {
	case errors.Is(err, errNothing):
	case err != nil:
		t.Fatalf("pubsubtest: the subscription ended: %v", err)
	case ev.Discontinuity != nil:
		t.Fatalf("pubsubtest: want nothing, got: %v", ev.Discontinuity)
	default:
		t.Fatalf("pubsubtest: want nothing, got the message: %+v", ev.Message.Value)
	}
}

// Collect reads the next n messages of sub. It returns early, with those it
// has, when ctx or the subscription ends or a discontinuity comes, which is
// then the error.
func Collect[T any](ctx context.Context, sub *pubsub.Subscription[T], n int) ([]pubsub.Message[T], error) {
	var got []pubsub.Message[T]
	for len(got) < n {
		ev, err := nextLoss(ctx, sub)
		switch {
		case err != nil:
			return got, err
		case ev.Discontinuity != nil:
			return got, ev.Discontinuity
		}
		got = append(got, ev.Message)
	}
	return got, nil
}

var errNothing = errors.New("nothing came")

// next returns the next message or discontinuity.
func next[T any](sub *pubsub.Subscription[T], d time.Duration) (pubsub.Event[T], error) {
	ctx, cancel := context.WithTimeoutCause(context.Background(), d, errNothing)
	defer cancel()
	ev, err := nextLoss(ctx, sub)
	if errors.Is(err, errNothing) {
		err = fmt.Errorf("%w within %v", errNothing, d)
	}
	return ev, err
}

func nextLoss[T any](ctx context.Context, sub *pubsub.Subscription[T]) (pubsub.Event[T], error) {
	for {
		ev, err := sub.Next(ctx)
		if err != nil || ev.Kind == pubsub.KindMessage || ev.Kind == pubsub.KindDiscontinuity {
			return ev, err
		}
	}
}

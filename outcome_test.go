package pubsub_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/memory"
	"github.com/topicbus/pubsub/codec"
)

// failingPublish is a Backend whose Publish returns what the test sets.
type failingPublish struct {
	script
	err error
}

func (f *failingPublish) Publish(context.Context, string, pubsub.Payload) error { return f.err }

// TestOutcomes has a row for every error of publishing.
func TestOutcomes(t *testing.T) {
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	bg := context.Background()
	for name, c := range map[string]struct {
		publish func(t *testing.T) error
		want    pubsub.Outcome
		is      error
	}{
		"none": {func(t *testing.T) error { return nil }, pubsub.Accepted, nil},
		"nil ctx": {func(t *testing.T) error {
			return pubsub.New(memory.New(), ints{}).Publish(noContext, "t", 1)
		}, pubsub.NotAccepted, pubsub.ErrInvalidArgument},
		"ctx had ended":   {func(t *testing.T) error { return pubsub.New(memory.New(), ints{}).Publish(ended, "t", 1) }, pubsub.NotAccepted, context.Canceled},
		"invalid topic":   {func(t *testing.T) error { return pubsub.New(memory.New(), ints{}).Publish(bg, " ", 1) }, pubsub.NotAccepted, pubsub.ErrInvalidTopic},
		"nil backend":     {func(t *testing.T) error { return pubsub.New(nil, ints{}).Publish(bg, "t", 1) }, pubsub.NotAccepted, pubsub.ErrInvalidArgument},
		"invalid option":  {func(t *testing.T) error { return pubsub.New(memory.New(), ints{}, nil).Publish(bg, "t", 1) }, pubsub.NotAccepted, pubsub.ErrInvalidArgument},
		"Encode fails":    {func(t *testing.T) error { return pubsub.New(memory.New(), ints{}).Publish(bg, "t", -1) }, pubsub.NotAccepted, pubsub.ErrCodec},
		"Encode panics":   {func(t *testing.T) error { return pubsub.New(memory.New(), ints{}).Publish(bg, "t", -2) }, pubsub.NotAccepted, pubsub.ErrCodec},
		"Text not UTF-8":  {func(t *testing.T) error { return pubsub.New(memory.New(), ints{}).Publish(bg, "t", -3) }, pubsub.NotAccepted, pubsub.ErrInvalidPayload},
		"unknown Format":  {func(t *testing.T) error { return pubsub.New(memory.New(), ints{}).Publish(bg, "t", -4) }, pubsub.NotAccepted, pubsub.ErrInvalidPayload},
		"Go value abroad": {func(t *testing.T) error { return pubsub.New(&script{}, codec.Value[int]()).Publish(bg, "t", 1) }, pubsub.NotAccepted, pubsub.ErrInvalidPayload},
		"bus closed": {func(t *testing.T) error {
			bus := pubsub.New(memory.New(), ints{})
			bus.Close()
			return bus.Publish(bg, "t", 1)
		}, pubsub.NotAccepted, pubsub.ErrClosed},
		"backend closed": {func(t *testing.T) error {
			backend := memory.New()
			backend.Close()
			return pubsub.New(backend, ints{}).Publish(bg, "t", 1)
		}, pubsub.NotAccepted, pubsub.ErrClosed},
		"bus closed meanwhile": {func(t *testing.T) error {
			c := &closer{}
			bus := pubsub.New(memory.New(), c)
			c.close = func() { bus.Close() }
			return bus.Publish(bg, "t", 1)
		}, pubsub.Accepted, pubsub.ErrClosed},
		"payload too large": {func(t *testing.T) error {
			return pubsub.New(memory.New(memory.WithMaxPayload(2)), ints{}).Publish(bg, "t", 1000)
		}, pubsub.NotAccepted, pubsub.ErrPayloadTooLarge},
		"backend says nothing": {func(t *testing.T) error {
			return pubsub.New(&failingPublish{err: errors.New("what")}, ints{}).Publish(bg, "t", 1)
		}, pubsub.OutcomeUnknown, nil},
		"backend says so, deep inside": {func(t *testing.T) error {
			err := fmt.Errorf("a: %w", pubsub.WithOutcome(fmt.Errorf("b: %w", pubsub.ErrLimitExceeded), pubsub.NotAccepted))
			return pubsub.New(&failingPublish{err: err}, ints{}).Publish(bg, "t", 1)
		}, pubsub.NotAccepted, pubsub.ErrLimitExceeded},
		"Block holds it until ctx ends": {func(t *testing.T) error {
			bus := pubsub.New(memory.New(), ints{}, pubsub.WithBuffer(1))
			defer bus.Close()
			subscribe(t, bus, "t", pubsub.Overflow(pubsub.Block), pubsub.Named("the slow one"))
			publish(t, bus, "t", 1)
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			return bus.Publish(ctx, "t", 2)
		}, pubsub.Accepted, context.DeadlineExceeded},
		"another holds the turn until ctx ends": {func(t *testing.T) error {
			bus := pubsub.New(memory.New(), ints{}, pubsub.WithBuffer(1))
			defer bus.Close()
			subscribe(t, bus, "t", pubsub.Overflow(pubsub.Block))
			publish(t, bus, "t", 1)
			go bus.Publish(context.Background(), "t", 2)
			synctest.Wait()
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			return bus.Publish(ctx, "t", 3)
		}, pubsub.NotAccepted, context.DeadlineExceeded},
		"PublishAll, of the one it is about": {func(t *testing.T) error {
			n, err := pubsub.New(memory.New(), ints{}).Topic("t").PublishAll(bg, []int{1, 2, -1, 3})
			require.Equal(t, 2, n)
			return err
		}, pubsub.NotAccepted, pubsub.ErrCodec},
		"Pipe": {func(t *testing.T) error {
			in := make(chan int, 3)
			in <- 1
			in <- -1
			in <- 2
			err := pubsub.New(memory.New(), ints{}).Pipe(bg, "t", in)
			var u *pubsub.Unpublished[int]
			require.ErrorAs(t, err, &u)
			require.Equal(t, []int{-1, 2}, u.Values)
			return err
		}, pubsub.NotAccepted, pubsub.ErrCodec},
		"Pipe of nil": {func(t *testing.T) error { return pubsub.New(memory.New(), ints{}).Pipe(bg, "t", nil) }, pubsub.NotAccepted, pubsub.ErrInvalidArgument},
		"Pipe, ctx ends while it waits": {func(t *testing.T) error {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			return pubsub.New(memory.New(), ints{}).Pipe(ctx, "t", make(chan int))
		}, pubsub.NotAccepted, context.DeadlineExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				err := c.publish(t)
				require.Equal(t, c.want, pubsub.OutcomeOf(err), "%v", err)
				if c.is != nil {
					require.ErrorIs(t, err, c.is)
				}
				if name == "Block holds it until ctx ends" {
					require.ErrorIs(t, err, context.DeadlineExceeded)
				}
				var e *pubsub.Error
				require.True(t, err == nil || errors.As(err, &e))
			})
		})
	}
}

// closer closes the bus while a message is under way.
type closer struct {
	ints
	close func()
}

func (c *closer) Encode(n int) (pubsub.Payload, error) { c.close(); return c.ints.Encode(n) }

// noContext is a nil Context.
var noContext context.Context

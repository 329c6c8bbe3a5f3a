package codec_test

import (
	"context"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/memory"
	"github.com/topicbus/pubsub/codec"
)

func ExampleValue_memory() {
	ctx := context.Background()
	bus := pubsub.New(memory.New(), codec.Value[*account]())
	defer bus.Close()
	sub, err := bus.Subscribe(ctx, "accounts")
	if err != nil {
		fmt.Println(err)
		return
	}
	sent := &account{balance: 7, err: io.EOF}
	if err := bus.Publish(ctx, "accounts", sent); err != nil {
		fmt.Println(err)
		return
	}
	ev, err := sub.Next(ctx)
	fmt.Println(ev.Message.Value == sent, err)
	// Output: true <nil>
}

func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// subscribed opens a bus over the backend and subscribes to its topic.
func subscribed[T any](t *testing.T, b pubsub.Backend, c pubsub.Codec[T], opts ...pubsub.SubscribeOption) (pubsub.Bus[T], *pubsub.Subscription[T]) {
	bus := pubsub.New(b, c)
	t.Cleanup(func() { require.NoError(t, bus.Close()) })
	sub, err := bus.Subscribe(within(t), "a", opts...)
	require.NoError(t, err)
	return bus, sub
}

func event[T any](t *testing.T, sub *pubsub.Subscription[T]) pubsub.Event[T] {
	t.Helper()
	ev, err := sub.Next(within(t))
	require.NoError(t, err)
	return ev
}

// arrives publishes v and returns what two subscribers got.
func arrives[T any](t *testing.T, v T) (T, T) {
	t.Helper()
	bus, first := subscribed(t, memory.New(), codec.Value[T]())
	second, err := bus.Subscribe(within(t), "a")
	require.NoError(t, err)
	require.NoError(t, bus.Publish(within(t), "a", v))
	e1, e2 := event(t, first), event(t, second)
	require.Equal(t, pubsub.KindMessage, e1.Kind, "%v", e1)
	require.Equal(t, pubsub.KindMessage, e2.Kind, "%v", e2)
	return e1.Message.Value, e2.Message.Value
}

func TestValueOverMemory(t *testing.T) {
	sent := &account{balance: 7, err: io.EOF, notify: func() string { return "called" }}
	first, second := arrives(t, sent)
	require.Same(t, sent, first)
	require.Same(t, sent, second)

	v, _ := arrives(t, *sent)
	require.Equal(t, 7, v.balance)
	require.Same(t, io.EOF, v.err)
	require.Equal(t, "called", v.notify())

	err, _ := arrives(t, io.EOF)
	require.Same(t, io.EOF, err)
	err, _ = arrives[error](t, nil)
	require.NoError(t, err)
	f, _ := arrives(t, func() string { return "called" })
	require.Equal(t, "called", f())
	p, _ := arrives[*account](t, nil)
	require.Nil(t, p)
}

// A history keeps values, and gives them to who comes late.
func TestValueFromHistory(t *testing.T) {
	b := memory.New(memory.WithHistory(10))
	bus, first := subscribed(t, b, codec.Value[*account]())
	sent := []*account{{balance: 1}, {balance: 2}}
	for _, v := range sent {
		require.NoError(t, bus.Publish(within(t), "a", v))
	}
	ev := event(t, first)
	_, late := subscribed(t, b, codec.Value[*account](), pubsub.ResumeAfter(ev.Message.Position))
	require.Same(t, sent[1], event(t, late).Message.Value)
}

// Two buses of different T on one topic: a discontinuity that names both types,
// at its place, and never a zero value.
func TestValueOfAnotherType(t *testing.T) {
	b := memory.New()
	ints, intSub := subscribed(t, b, codec.Value[int]())
	errs, errSub := subscribed(t, b, codec.Value[error]())
	texts, textSub := subscribed(t, b, codec.String())

	require.NoError(t, ints.Publish(within(t), "a", 7))
	require.NoError(t, errs.Publish(within(t), "a", nil))
	require.NoError(t, texts.Publish(within(t), "a", "text"))

	require.Equal(t, 7, event(t, intSub).Message.Value)
	notDecoded(t, event(t, intSub), "codec.Value[int]: the value was published as error")
	notDecoded(t, event(t, intSub), "codec.Value[int]: the payload is text of 4 bytes")

	notDecoded(t, event(t, errSub), "codec.Value[error]: the value was published as int")
	ev := event(t, errSub)
	require.Equal(t, pubsub.KindMessage, ev.Kind)
	require.NoError(t, ev.Message.Value)
	notDecoded(t, event(t, errSub), "codec.Value[error]: the payload is text of 4 bytes")

	notDecoded(t, event(t, textSub), "codec.String: the payload is a Go value, published as int")
	notDecoded(t, event(t, textSub), "codec.String: the payload is a Go value, published as error")
	require.Equal(t, "text", event(t, textSub).Message.Value)
}

func notDecoded[T any](t *testing.T, ev pubsub.Event[T], says string) {
	t.Helper()
	require.Equal(t, pubsub.KindDiscontinuity, ev.Kind, "%+v", ev)
	require.Equal(t, pubsub.CauseDecode, ev.Discontinuity.Cause)
	require.EqualValues(t, 1, ev.Discontinuity.Lost)
	require.ErrorIs(t, ev.Discontinuity.Err, pubsub.ErrCodec)
	require.ErrorContains(t, ev.Discontinuity.Err, says)
}

// remote is a backend that leaves the process.
type remote struct{ pubsub.Backend }

func TestValueOverANetwork(t *testing.T) {
	bus, _ := subscribed(t, remote{memory.New()}, codec.Value[int]())
	err := bus.Publish(within(t), "a", 7)
	require.ErrorIs(t, err, pubsub.ErrInvalidPayload)
	require.ErrorContains(t, err, "use codec.JSON")
	require.Equal(t, pubsub.NotAccepted, pubsub.OutcomeOf(err))
}

package pubsub_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/memory"
)

func TestBadInput(t *testing.T) {
	ctx := t.Context()
	done, cancel := context.WithCancel(ctx)
	cancel()
	late, cancel := context.WithTimeout(ctx, -time.Second)
	defer cancel()
	var nilContext context.Context
	closed := pubsub.New(memory.New(), ints{})
	require.NoError(t, closed.Close())
	good := func(opts ...pubsub.Option) pubsub.Bus[int] { return pubsub.New[int](memory.New(), ints{}, opts...) }
	sub := func(b pubsub.Bus[int], topic string, opts ...pubsub.SubscribeOption) error {
		_, err := b.Subscribe(ctx, topic, opts...)
		return err
	}
	ended := subscribe(t, good(), "t")
	ended.Close()
	open := subscribe(t, good(), "t")
	values := make(chan int, 1)
	values <- 1

	for name, c := range map[string]struct {
		err  error
		want error
		says string
	}{
		"nil backend":              {pubsub.New[int](nil, ints{}).Publish(ctx, "t", 1), pubsub.ErrInvalidArgument, "Backend given to New is nil"},
		"nil backend, subscribe":   {sub(pubsub.New[int](nil, ints{}), "t"), pubsub.ErrInvalidArgument, "Backend given to New is nil"},
		"typed nil backend":        {pubsub.New[int]((*memory.Backend)(nil), ints{}).Publish(ctx, "t", 1), pubsub.ErrInvalidArgument, "Backend given to New is nil"},
		"nil codec":                {pubsub.New[int](memory.New(), nil).Publish(ctx, "t", 1), pubsub.ErrInvalidArgument, "Codec given to New is nil"},
		"nil option":               {good(nil).Publish(ctx, "t", 1), pubsub.ErrInvalidArgument, "nil Option"},
		"zero buffer":              {good(pubsub.WithBuffer(0)).Publish(ctx, "t", 1), pubsub.ErrInvalidArgument, "WithBuffer(0)"},
		"negative buffer":          {sub(good(pubsub.WithBuffer(-1)), "t"), pubsub.ErrInvalidArgument, "at least 1"},
		"absurd buffer":            {sub(good(pubsub.WithBuffer(1<<30)), "t"), pubsub.ErrInvalidArgument, "at most"},
		"negative linger":          {sub(good(pubsub.WithLinger(-1)), "t"), pubsub.ErrInvalidArgument, "WithLinger"},
		"nil context":              {good().Publish(nilContext, "t", 1), pubsub.ErrInvalidArgument, "nil Context"},
		"empty topic":              {good().Publish(ctx, "", 1), pubsub.ErrInvalidTopic, "blank"},
		"blank topic":              {good().Publish(ctx, " \t\n", 1), pubsub.ErrInvalidTopic, "blank"},
		"blank topic, Unicode":     {good().Publish(ctx, "\u2003\u00a0", 1), pubsub.ErrInvalidTopic, "blank"},
		"blank topic, subscribe":   {sub(good(), " "), pubsub.ErrInvalidTopic, "blank"},
		"blank topic, pipe":        {good().Pipe(ctx, " ", values), pubsub.ErrInvalidTopic, "blank"},
		"topic not UTF-8":          {good().Publish(ctx, "a\xff", 1), pubsub.ErrInvalidTopic, "UTF-8"},
		"text not UTF-8":           {good().Publish(ctx, "t", -3), pubsub.ErrInvalidPayload, "UTF-8"},
		"unknown format":           {good().Publish(ctx, "t", -4), pubsub.ErrInvalidPayload, "Format(9)"},
		"codec fails":              {good().Publish(ctx, "t", -1), pubsub.ErrCodec, "minus one"},
		"codec panics":             {good().Publish(ctx, "t", -2), pubsub.ErrCodec, "minus two"},
		"too large":                {pubsub.New[int](memory.New(memory.WithMaxPayload(2)), ints{}).Publish(ctx, "t", 100), pubsub.ErrPayloadTooLarge, "3 bytes"},
		"closed bus":               {closed.Publish(ctx, "t", 1), pubsub.ErrClosed, "bus closed"},
		"closed bus, subscribe":    {sub(closed, "t"), pubsub.ErrClosed, "bus closed"},
		"closed bus, pipe":         {closed.Pipe(ctx, "t", values), pubsub.ErrClosed, "bus closed"},
		"cancelled ctx":            {good().Publish(done, "t", 1), context.Canceled, "canceled"},
		"expired ctx":              {good().Publish(late, "t", 1), context.DeadlineExceeded, "deadline"},
		"cancelled ctx, pipe":      {good().Pipe(done, "t", values), context.Canceled, "canceled"},
		"nil channel":              {good().Pipe(ctx, "t", nil), pubsub.ErrInvalidArgument, "nil"},
		"nil subscribe option":     {sub(good(), "t", nil), pubsub.ErrInvalidArgument, "nil SubscribeOption"},
		"nil OnDiscontinuity":      {sub(good(), "t", pubsub.OnDiscontinuity(nil)), pubsub.ErrInvalidArgument, "OnDiscontinuity(nil)"},
		"nil OnState":              {sub(good(), "t", pubsub.OnState(nil)), pubsub.ErrInvalidArgument, "OnState(nil)"},
		"nil OnHeartbeat":          {sub(good(), "t", pubsub.OnHeartbeat(nil)), pubsub.ErrInvalidArgument, "OnHeartbeat(nil)"},
		"Private and Shared":       {sub(good(), "t", pubsub.Private(), pubsub.Shared()), pubsub.ErrInvalidArgument, "exclude each other"},
		"unknown policy":           {sub(good(), "t", pubsub.Overflow(7)), pubsub.ErrInvalidArgument, "OverflowPolicy(7)"},
		"no stream":                {sub(pubsub.New[int](refuser{}, ints{}), "t"), pubsub.ErrUnavailable, "no Stream"},
		"next of a closed one":     {nextError(ended, ctx), pubsub.ErrClosed, "closed"},
		"next with nil context":    {nextError(open, nilContext), pubsub.ErrInvalidArgument, "nil Context"},
		"next with done context":   {nextError(open, done), context.Canceled, "canceled"},
		"drain with nil context":   {open.Drain(nilContext), pubsub.ErrInvalidArgument, "nil Context"},
		"drain of a closed one":    {ended.Drain(ctx), nil, ""},
		"close of a closed one":    {ended.Close(), nil, ""},
		"subscribe, cancelled ctx": {second(good().Subscribe(done, "t")), context.Canceled, "canceled"},
	} {
		t.Run(name, func(t *testing.T) {
			require.ErrorIs(t, c.err, c.want)
			if c.want == nil {
				return
			}
			require.ErrorContains(t, c.err, c.says)
			var e *pubsub.Error
			require.ErrorAs(t, c.err, &e)
		})
	}
	require.Len(t, values, 1, "a refused Pipe takes nothing")
	require.NoError(t, open.Err(), "a refused call leaves the subscription as it is")
}

func nextError(s *pubsub.Subscription[int], ctx context.Context) error {
	_, err := s.Next(ctx)
	return err
}

func second[T any](_ T, err error) error { return err }

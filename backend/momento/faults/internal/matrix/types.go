package matrix

import (
	"context"
	"fmt"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/codec"
)

// order is a type of an application.
type order struct {
	ID    int
	Goods []string
}

// twoTypes plays two buses of different types on one backend: each gets its
// own, and on a topic of both, the one that cannot read a message is told so.
func twoTypes(r *Run) {
	backend := r.client.(*busClient).backend
	orders := pubsub.New(backend, codec.JSON[order](), pubsub.WithLogger(discard))
	words := pubsub.New(backend, codec.String(), pubsub.WithLogger(discard))
	defer orders.Close()
	defer words.Close()
	r.check(func() error {
		ctx, cancel := context.WithTimeout(r.ctx, promptly)
		defer cancel()
		a, err := orders.Subscribe(ctx, topicName(0))
		if err != nil {
			return err
		}
		b, err := words.Subscribe(ctx, topicName(0))
		if err != nil {
			return err
		}
		if err := words.Publish(ctx, topicName(0), "plain"); err != nil {
			return err
		}
		want := order{ID: 7, Goods: []string{"tea"}}
		if err := orders.Publish(ctx, topicName(0), want); err != nil {
			return err
		}
		var told []pubsub.Cause
		var got []order
		for len(got) == 0 {
			e, err := a.Next(ctx)
			switch {
			case err != nil:
				return err
			case e.Kind == pubsub.KindDiscontinuity:
				told = append(told, e.Discontinuity.Cause)
			case e.Kind == pubsub.KindMessage:
				got = append(got, e.Message.Value)
			}
		}
		if fmt.Sprint(told, got) != fmt.Sprint([]pubsub.Cause{pubsub.CauseDecode}, []order{want}) {
			return fmt.Errorf("the bus of orders got %v, %v", told, got)
		}
		for _, want := range []string{"plain", `{"ID":7,"Goods":["tea"]}`} {
			for {
				e, err := b.Next(ctx)
				if err != nil {
					return err
				}
				if e.Kind != pubsub.KindMessage {
					continue
				}
				if e.Message.Value != want {
					return fmt.Errorf("the bus of words got %q, want %q", e.Message.Value, want)
				}
				break
			}
		}
		return nil
	}())
}

package nats_test

import (
	"context"
	"encoding/json"
	"log"

	"github.com/nats-io/nats.go"
)

type Quote struct{ Symbol string }

// before is the program that docs/migrating.md begins with; it is only compiled.
var _ = run

func run(ctx context.Context, url string,
	handle func(Quote)) error {

	nc, err := nats.Connect(url, nats.ErrorHandler(
		func(_ *nats.Conn, s *nats.Subscription, err error) {
			log.Print(err) // slow consumer: where?
		}))
	if err != nil {
		return err
	}
	defer nc.Close()
	messages := make(chan *nats.Msg, 256)
	sub, err := nc.ChanSubscribe("quotes", messages)
	if err != nil {
		return err
	}
	defer sub.Unsubscribe()
	payload, err := json.Marshal(Quote{Symbol: "IBM"})
	if err != nil {
		return err
	}
	if err := nc.Publish("quotes", payload); err != nil {
		return err
	}
	for {
		select {
		case m := <-messages:
			var q Quote
			err := json.Unmarshal(m.Data, &q)
			if err != nil {
				log.Print(err)
				continue
			}
			handle(q)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

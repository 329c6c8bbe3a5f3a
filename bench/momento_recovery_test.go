package bench

import (
	"context"
	"fmt"
	"testing"
	"time"

	sdk "github.com/momentohq/client-sdk-go/momento"
	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/momento/momentotest"
	"github.com/topicbus/pubsub/codec"
)

// How long after the server is back a subscriber hears of it, by the first
// message; and what it missed of what was published meanwhile, which the
// server still has. The SDK reconnects by itself, in its default
// configuration.
func BenchmarkMomentoRecovery(b *testing.B) {
	for _, outage := range []time.Duration{100 * time.Millisecond, time.Second, 3 * time.Second} {
		b.Run(fmt.Sprintf("outage=%v/sdk", outage), func(b *testing.B) { recovery(b, outage, subscribeSDK) })
		b.Run(fmt.Sprintf("outage=%v/All", outage), func(b *testing.B) {
			if f := recovery(b, outage, subscribeBus); f.missed != f.told || f.repeats > 0 {
				b.Fatalf("missed %d messages, was told of %d, got %d twice", f.missed, f.told, f.repeats)
			}
		})
	}
}

// subscribeFunc calls message for every message and hole for every report of
// lost ones, until stop.
type subscribeFunc func(srv *momentotest.Server, topic string, message func(sequence uint64), hole func(lost uint64)) (stop func(), err error)

// faults is what a subscriber suffered from outages.
type faults struct {
	missed  uint64 // messages that did not come
	told    uint64 // of how many of them it was told
	repeats uint64
}

func recovery(b *testing.B, outage time.Duration, subscribe subscribeFunc) (f faults) {
	srv, err := newMomento()
	if err != nil {
		b.Fatal(err)
	}
	defer srv.Close()
	type receipt struct {
		sequence, lost uint64
		at             time.Time
	}
	receipts := make(chan receipt, 1<<16)
	stop, err := subscribe(srv, "orders",
		func(sequence uint64) { receipts <- receipt{sequence: sequence, at: time.Now()} },
		func(lost uint64) { receipts <- receipt{lost: lost, at: time.Now()} })
	if err != nil {
		b.Fatal(err)
	}
	defer stop()
	topic := srv.Topic(momentoCache, "orders")
	publish := func() uint64 {
		p, err := topic.Publish(pubsub.Payload{Data: []byte("tea")})
		if err != nil {
			b.Fatal(err)
		}
		return p.Sequence
	}

	var (
		last      uint64 // received
		recovered time.Duration
	)
	// receive reads until the message with that number, and returns when the
	// first one came.
	receive := func(until uint64) (first time.Time) {
		for last < until {
			select {
			case r := <-receipts:
				switch {
				case r.sequence == 0:
					f.told += r.lost
					continue
				case r.sequence <= last:
					f.repeats++
				default:
					f.missed += r.sequence - last - 1
					last = r.sequence
				}
				if first.IsZero() {
					first = r.at
				}
			case <-time.After(30 * time.Second):
				b.Fatalf("message %d does not come; the last one was %d", until, last)
			}
		}
		return first
	}
	receive(publish())
	b.ResetTimer()
	for range b.N {
		srv.Stop()
		const messages = 20
		for range messages {
			publish()
			time.Sleep(outage / messages)
		}
		if err := srv.Restart(); err != nil {
			b.Fatal(err)
		}
		back := time.Now()
		recovered += receive(publish()).Sub(back)
	}
	b.StopTimer()
	b.ReportMetric(float64(recovered)/float64(b.N), "recovery-ns")
	b.ReportMetric(float64(f.missed)/float64(b.N), "missed/op")
	b.ReportMetric(float64(f.told)/float64(b.N), "reported/op")
	b.ReportMetric(float64(f.repeats)/float64(b.N), "repeats/op")
	b.ReportMetric(0, "ns/op") // the outages are in it
	return f
}

func subscribeSDK(srv *momentotest.Server, topic string, message, hole func(uint64)) (func(), error) {
	client, err := openSDK(srv)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	sub, err := client.Subscribe(ctx, &sdk.TopicSubscribeRequest{CacheName: momentoCache, TopicName: topic})
	if err != nil {
		cancel()
		return nil, err
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			event, err := sub.Event(ctx)
			if err != nil {
				return
			}
			switch e := event.(type) {
			case sdk.TopicItem:
				message(e.GetTopicSequenceNumber())
			case sdk.TopicDiscontinuity:
				hole(0) // it has no count
			}
		}
	}()
	return func() {
		cancel()
		sub.Close()
		client.Close()
		<-done
	}, nil
}

func subscribeBus(srv *momentotest.Server, topic string, message, hole func(uint64)) (func(), error) {
	backend, err := openBackend(srv)
	if err != nil {
		return nil, err
	}
	bus := pubsub.New(backend, codec.Bytes())
	sub, err := bus.Subscribe(context.Background(), topic,
		pubsub.OnDiscontinuity(func(d *pubsub.Discontinuity) { hole(d.Lost) }))
	if err != nil {
		backend.Close()
		return nil, err
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for m, err := range sub.All() {
			if err == nil {
				message(m.Position.Sequence)
			}
		}
	}()
	return func() {
		bus.Close()
		backend.Close()
		<-done
	}, nil
}

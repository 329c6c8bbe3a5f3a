package quickstart

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/topicbus/pubsub"
)

// reader is one subscriber: what it does and what it saw.
type reader struct {
	name  string
	form  string // of reading
	topic string
	sub   *pubsub.Subscription[Quote]
	read  func(*reader) // until the subscription ends

	delivered uint64
	holes     []pubsub.Discontinuity
	found     string

	// Of the slow one.
	stall time.Duration
	hurry chan struct{} // closed when it is to stall no more
	say   func(string)
}

// subscribe makes the program's subscribers, the slow one last.
func subscribe(ctx context.Context, bus pubsub.Bus[Quote], topics []string) ([]*reader, error) {
	var readers []*reader
	for _, topic := range topics {
		readers = append(readers, &reader{name: "highest", form: "channel", topic: topic, read: (*reader).highest})
	}
	readers = append(readers,
		&reader{name: "average", form: "iterator", topic: topics[0], read: (*reader).average},
		&reader{name: "slow", form: "iterator", topic: topics[0], read: (*reader).slow})
	for _, r := range readers {
		var opts []pubsub.SubscribeOption
		if r.form == "channel" { // an iterator yields its holes
			opts = append(opts, pubsub.OnDiscontinuity(r.missed))
		}
		sub, err := bus.Subscribe(ctx, r.topic, opts...)
		if err != nil {
			return nil, err
		}
		r.sub = sub
	}
	return readers, nil
}

func (r *reader) missed(d *pubsub.Discontinuity) { r.holes = append(r.holes, *d) }

func (r *reader) lost() (n uint64) {
	for _, d := range r.holes {
		n += d.Lost
	}
	return n
}

// highest reads a channel.
func (r *reader) highest() {
	var top Quote
	for m := range r.sub.C() {
		r.delivered++
		if m.Value.Price > top.Price {
			top = m.Value
		}
	}
	if r.delivered > 0 {
		r.found = fmt.Sprintf("%.2f in %s", top.Price, top.Date.Format("Jan 2006"))
	}
}

// average reads an iterator.
func (r *reader) average() {
	var sum float64
	for m, err := range r.sub.All() {
		if r.hole(err) {
			continue
		}
		r.delivered++
		sum += m.Value.Price
	}
	if r.delivered > 0 {
		r.found = fmt.Sprintf("%.2f", sum/float64(r.delivered))
	}
}

// slow reads an iterator too, and stops for a while after every few quotes, as
// one does who writes them to a slow disk.
func (r *reader) slow() {
	var first, last pubsub.Position // of the messages since the last hole
	stretch := func() {
		if !first.IsZero() {
			r.say(fmt.Sprintf("slow: %v to %v received", first, last))
		}
		first = pubsub.Position{}
	}
	for m, err := range r.sub.All() {
		if r.hole(err) {
			stretch()
			r.say("slow: " + err.Error())
			continue
		}
		r.delivered++
		if first.IsZero() {
			first = m.Position
		}
		last = m.Position
		if r.delivered%8 == 0 {
			select {
			case <-time.After(r.stall):
			case <-r.hurry:
			}
		}
	}
	stretch()
}

// hole takes note of err, which an iterator yielded. It reports whether there
// was one in place of a message.
func (r *reader) hole(err error) bool {
	var d *pubsub.Discontinuity
	if errors.As(err, &d) {
		r.missed(d)
	}
	return err != nil
}

// waitForArrival returns when all that was published has reached this process.
// Over memory that is so at once; a service takes a moment.
func waitForArrival(readers []*reader, published *tally) {
	arrived := func(r *reader) bool {
		st := r.sub.Stats()
		return st.Delivered+st.Lost.Total()+st.Lag >= published.of(r.topic)
	}
	deadline := time.Now().Add(grace)
	for _, r := range readers {
		for !arrived(r) && r.sub.Err() == nil && time.Now().Before(deadline) {
			time.Sleep(10 * time.Millisecond)
		}
	}
}

// drain ends the subscriptions once their readers have what is queued.
func drain(readers []*reader) {
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	var all sync.WaitGroup
	for _, r := range readers {
		all.Go(func() { _ = r.sub.Drain(ctx) }) // if it fails the summary shows what is missing
	}
	all.Wait()
}

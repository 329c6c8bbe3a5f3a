package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/topicbus/pubsub"
)

// reader is one subscriber and what it saw.
type reader struct {
	name  string
	topic string
	pause time.Duration // after each quote, until it is to finish
	sub   *pubsub.Subscription[Quote]

	mu              sync.Mutex
	delivered, lost uint64
	highest         float64
	hurry           bool
}

// read reads until the subscription ends.
func (r *reader) read() {
	for m, err := range r.sub.All() {
		r.mu.Lock()
		var hole *pubsub.Discontinuity
		switch {
		case errors.As(err, &hole):
			r.lost += hole.Lost
		case err == nil:
			r.delivered++
			r.highest = max(r.highest, m.Value.Price)
		}
		pause := r.pause
		if r.hurry {
			pause = 0
		}
		r.mu.Unlock()
		time.Sleep(pause)
	}
}

// finish waits until the reader has seen n quotes, lost ones included, and ends
// it. After some seconds it gives up.
func (r *reader) finish(n uint64) {
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		r.mu.Lock()
		r.hurry = true
		done := r.delivered+r.lost >= n
		r.mu.Unlock()
		if done {
			break
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = r.sub.Drain(ctx)
}

func summary(w io.Writer, readers []*reader, published map[string]uint64) error {
	var unaccounted int64
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "reader\ttopic\tpublished\tdelivered\treported lost\thighest\t")
	for _, r := range readers {
		fmt.Fprintf(table, "%s\t%s\t%d\t%d\t%d\t%.2f\t\n", r.name, r.topic, published[r.topic], r.delivered, r.lost, r.highest)
		unaccounted += int64(published[r.topic]) - int64(r.delivered+r.lost)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "delivered + reported lost = published: %d unaccounted for\n", unaccounted)
	return err
}

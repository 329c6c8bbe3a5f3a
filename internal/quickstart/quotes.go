package quickstart

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/csv"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/topicbus/pubsub"
)

//go:embed data/stocks.csv
var stocks []byte

// Quote is the price of a stock on a day. It is what travels on the bus.
type Quote struct {
	Symbol string
	Date   time.Time
	Price  float64
}

func (q Quote) topic() string { return "quotes/" + q.Symbol }

// readQuotes returns the quotes of the data set in the order of their dates.
func readQuotes() ([]Quote, error) {
	rows, err := csv.NewReader(bytes.NewReader(stocks)).ReadAll()
	if err != nil {
		return nil, fmt.Errorf("stocks.csv: %w", err)
	}
	var quotes []Quote
	for i, row := range rows[1:] { // behind the header
		date, err := time.Parse("Jan 2 2006", row[1])
		if err != nil {
			return nil, fmt.Errorf("stocks.csv, line %d: %w", i+2, err)
		}
		price, err := strconv.ParseFloat(row[2], 64)
		if err != nil {
			return nil, fmt.Errorf("stocks.csv, line %d: %w", i+2, err)
		}
		quotes = append(quotes, Quote{Symbol: row[0], Date: date, Price: price})
	}
	slices.SortStableFunc(quotes, func(a, b Quote) int { return a.Date.Compare(b.Date) })
	return quotes, nil
}

// topicsOf returns the topics of the quotes, sorted.
func topicsOf(quotes []Quote) []string {
	var topics []string
	for _, q := range quotes {
		topics = append(topics, q.topic())
	}
	slices.Sort(topics)
	return slices.Compact(topics)
}

// publish feeds the quotes, one every so often, into one Pipe per topic. When
// ctx ends it stops early, after what the pipes have taken.
func publish(ctx context.Context, bus pubsub.Bus[Quote], quotes []Quote, every time.Duration) error {
	// The pipes end by their channels. Only if one fails, all end.
	working, fail := context.WithCancelCause(context.WithoutCancel(ctx))
	defer fail(nil)
	var pipes sync.WaitGroup
	feeds := make(map[string]chan Quote)
	for _, topic := range topicsOf(quotes) {
		feed := make(chan Quote)
		feeds[topic] = feed
		pipes.Go(func() {
			if err := bus.Pipe(working, topic, feed); err != nil {
				fail(err)
			}
		})
	}
	for _, q := range quotes {
		select {
		case <-time.After(every):
		case <-ctx.Done():
		}
		if ctx.Err() != nil || working.Err() != nil {
			break
		}
		select {
		case feeds[q.topic()] <- q:
		case <-working.Done():
		}
	}
	for _, feed := range feeds {
		close(feed)
	}
	pipes.Wait()
	return context.Cause(working)
}

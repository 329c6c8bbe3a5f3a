package main

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"math/rand/v2"
	"time"

	"github.com/topicbus/pubsub"
)

// Quote is the price of something. It travels on the bus, and to the browsers,
// as JSON.
type Quote struct {
	Symbol string  `json:"symbol"`
	Price  float64 `json:"price"`
}

// invent publishes made-up quotes until ctx ends. What could not be published
// is not tried again: the next quote is worth more.
func invent(ctx context.Context, bus pubsub.Bus[Quote], topic string, every time.Duration, log *slog.Logger) {
	quotes := []Quote{{"AAPL", 223.02}, {"AMZN", 128.82}, {"GOOG", 560.19}, {"IBM", 125.55}, {"MSFT", 28.8}}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		q := &quotes[rand.IntN(len(quotes))]
		q.Price = math.Round(q.Price*(1+0.004*rand.NormFloat64())*100) / 100
		if err := bus.Publish(ctx, topic, *q); err != nil && !errors.Is(err, context.Canceled) {
			log.Warn("a quote was not published", "error", err)
		}
	}
}

package main

import (
	"time"

	"github.com/topicbus/pubsub/internal/quickstart"
)

// Order is what travels on the bus. Problem is set on dead letters.
type Order struct {
	ID      int
	Symbol  string
	Date    time.Time
	Price   float64
	Shares  int
	Problem string `json:",omitempty"`
}

// readOrders makes an order of every quote of the quick start: a thousand
// dollars' worth. Google is too dear for a whole share in some months of it,
// with the 500 that the shop spends on it. No broker takes such an order.
func readOrders() ([]Order, error) {
	quotes, err := quickstart.Quotes()
	if err != nil {
		return nil, err
	}
	orders := make([]Order, 0, len(quotes))
	for i, q := range quotes {
		budget := 1000.0
		if q.Symbol == "GOOG" {
			budget = 500
		}
		orders = append(orders, Order{ID: i + 1, Symbol: q.Symbol, Date: q.Date, Price: q.Price, Shares: int(budget / q.Price)})
	}
	return orders, nil
}

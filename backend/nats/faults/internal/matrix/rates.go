package matrix

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/topicbus/pubsub/backend/nats/natstest"
)

// RateStreams is how many streams there are when requests are counted, and
// RateTime for how long they are.
const (
	RateStreams = 200
	RateTime    = 60 * time.Second
)

// Rate is a way in which a server can misbehave for good, and how often streams
// then ask for consumers: each attempt to open one again is such a request.
type Rate struct {
	Name string
	// Answer says what the server answers to a request; nil: as it should.
	Answer func(subject string) *natstest.Answer
	// Again is done every so often.
	Again func(*Run)
	Every time.Duration
	// Worst is how many requests there may be in any second, and Later in a
	// second of the last third, on average.
	Worst, Later int
}

// Rates returns the ways.
func Rates() []Rate {
	say := func(to, json string) func(string) *natstest.Answer {
		return func(subject string) *natstest.Answer {
			if !strings.Contains(subject, to) {
				return nil
			}
			return &natstest.Answer{Reply: []byte(json)}
		}
	}
	answer := func(to string, a natstest.Answer) func(string) *natstest.Answer {
		return func(subject string) *natstest.Answer {
			if !strings.Contains(subject, to) {
				return nil
			}
			return &a
		}
	}
	const create, next = ".CONSUMER.CREATE.", ".CONSUMER.MSG.NEXT."
	return []Rate{
		{Name: "says that it is unavailable for now", Worst: RateStreams + 50, Later: 3,
			Answer: say(create, `{"error":{"code":503,"err_code":10008,"description":"JetStream system temporarily unavailable"}}`)},
		{Name: "says that there are too many consumers", Worst: RateStreams + 50, Later: 3,
			Answer: say(create, `{"error":{"code":400,"err_code":10026,"description":"maximum consumers limit reached"}}`)},
		{Name: "has no JetStream", Worst: RateStreams + 50, Later: 3,
			Answer: answer(create, natstest.Answer{NoResponders: true})},
		{Name: "does not answer", Worst: RateStreams + 50, Later: 10,
			Answer: answer(create, natstest.Answer{})},
		{Name: "makes consumers that are gone at once", Worst: 2 * RateStreams, Later: 3,
			Answer: answer(next, natstest.Answer{NoResponders: true})},
		{Name: "deletes all consumers every 2 s", Worst: 2 * RateStreams, Later: RateStreams/2 + 10, Every: 2 * time.Second,
			Again: func(r *Run) { r.deleteConsumers() }},
		{Name: "cuts the connection 10 times a second", Worst: 8 * RateStreams, Later: RateStreams/10 + 10, Every: 100 * time.Millisecond,
			Again: func(r *Run) { r.relay.Cut() }},
		{Name: "cuts the connection when it is asked for a consumer", Worst: 8 * RateStreams, Later: RateStreams/10 + 10,
			Answer: answer(create, natstest.Answer{Close: true})},
	}
}

// deleteConsumers deletes the consumers of all streams.
func (r *Run) deleteConsumers() {
	for _, t := range r.topics {
		var names []string
		for name := range t.stream.ConsumerNames(r.ctx).Name() {
			names = append(names, name)
		}
		for _, name := range names {
			_ = t.stream.DeleteConsumer(r.ctx, name) // it may be gone
		}
	}
}

// RateOutcome is how many requests there were.
type RateOutcome struct {
	Worst  int     // in a second
	Later  float64 // in a second of the last third, on average
	Failed string  // why it could not be played
}

// Breaches compares an outcome with what may be.
func (r Rate) Breaches(o RateOutcome) (list []string) {
	switch {
	case o.Failed != "":
		list = append(list, "it could not be played: "+o.Failed)
	case o.Later == 0:
		list = append(list, "the streams gave up")
	}
	if o.Worst > r.Worst {
		list = append(list, fmt.Sprintf("%d requests in a second, of %d that may be", o.Worst, r.Worst))
	}
	if o.Later > float64(r.Later) {
		list = append(list, fmt.Sprintf("%.1f requests a second later, of %d that may be", o.Later, r.Later))
	}
	return list
}

// PlayRate has a server misbehave and counts.
func PlayRate(rate Rate) (out RateOutcome) {
	o := Play(Row{Topics: RateStreams, limit: RateTime + limit, Play: func(r *Run) {
		r.begin()
		var mu sync.Mutex
		seconds := make(map[int]int)
		began := time.Now()
		r.relay.Intercept(func(subject string) *natstest.Answer {
			if strings.Contains(subject, ".CONSUMER.CREATE.") {
				mu.Lock()
				seconds[int(time.Since(began)/time.Second)]++
				mu.Unlock()
			}
			if rate.Answer == nil {
				return nil
			}
			return rate.Answer(subject)
		})
		over, cancel := context.WithTimeout(r.ctx, RateTime)
		defer cancel()
		if rate.Again == nil {
			r.relay.Cut()
			<-over.Done()
		}
		for over.Err() == nil {
			rate.Again(r)
			select {
			case <-time.After(rate.Every):
			case <-over.Done():
			}
		}
		r.relay.Intercept(nil)
		mu.Lock()
		defer mu.Unlock()
		last := int(RateTime / time.Second)
		later := 0
		for second, n := range seconds {
			out.Worst = max(out.Worst, n)
			if second >= last*2/3 && second < last {
				later += n
			}
		}
		out.Later = float64(later) / float64(last-last*2/3)
	}}, Bus)
	if breaches := (Row{}).Breaches(o); len(breaches) > 0 {
		out.Failed = strings.Join(breaches, "; ")
	}
	return out
}

// Text returns the numbers, rounded up so far that they seldom differ between
// runs.
func (o RateOutcome) Text() (worst, later string) { return up(float64(o.Worst)), up(o.Later) }

func up(n float64) string {
	for step := 1; ; step *= 10 {
		for _, k := range []int{1, 2, 3, 5} {
			if n <= float64(k*step) {
				return fmt.Sprint(k * step)
			}
		}
	}
}

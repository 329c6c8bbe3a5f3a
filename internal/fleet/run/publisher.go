package run

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/codec"
)

// publisher publishes to all topics at a steady rate.
type publisher struct {
	phase    atomic.Int64
	accepted []atomic.Uint64 // by topic

	cancel context.CancelFunc
	wait   sync.WaitGroup
	mu     sync.Mutex
	err    error
}

// publish starts. The topics take turns, from a place that is drawn.
func publish(ctx context.Context, b pubsub.Backend, c config) *publisher {
	p := &publisher{accepted: make([]atomic.Uint64, c.topics)}
	ctx, p.cancel = context.WithCancel(ctx)
	bus := pubsub.New(b, codec.Bytes())
	between := time.Duration(float64(time.Second) / c.rate)
	r := rand.New(rand.NewPCG(c.seed, 0))
	begin := time.Now()
	for topic := range c.topics {
		first := begin.Add(time.Duration(r.Int64N(int64(between))))
		payload := make([]byte, c.size)
		for i := range payload {
			payload[i] = byte(r.Uint32())
		}
		p.wait.Go(func() {
			if err := p.run(ctx, bus, topic, first, between, payload); err != nil {
				p.mu.Lock()
				p.err = err
				p.mu.Unlock()
			}
		})
	}
	return p
}

func (p *publisher) run(ctx context.Context, bus pubsub.Bus[[]byte], topic int, next time.Time, between time.Duration, payload []byte) error {
	timer := time.NewTimer(time.Until(next))
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-ctx.Done():
			return nil
		}
		number := p.accepted[topic].Load() + 1
		message := append([]byte(nil), payload...)
		header{time.Now(), number, byte(p.phase.Load())}.put(message)
		// Without ctx: what becomes of a message whose publish is cut short, nobody knows.
		if err := bus.Publish(context.Background(), topicName(topic), message); err != nil {
			return fmt.Errorf("message %d: %w", number, err) // on the loopback interface nothing should fail
		}
		p.accepted[topic].Store(number)
		next = next.Add(between)
		timer.Reset(time.Until(next))
	}
}

// counts returns how many messages each topic has accepted.
func (p *publisher) counts() (counts []uint64) {
	for i := range p.accepted {
		counts = append(counts, p.accepted[i].Load())
	}
	return counts
}

// stop ends publishing and waits for it.
func (p *publisher) stop() error {
	p.cancel()
	p.wait.Wait()
	return p.err
}

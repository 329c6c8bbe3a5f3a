package matrix

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/momento/momentotest"
)

// What a row does to the server and on its client.

// Topic returns the server's side of the nth topic.
func (r *Run) Topic(n int) *momentotest.Topic { return r.book(topicName(n)).topic }

func topicName(n int) string { return fmt.Sprint("topic-", n) }

func (r *Run) book(name string) *book {
	b := r.books[name]
	if b == nil {
		b = openBook(r.Server.Topic(cacheName, name))
		r.books[name] = b
		r.names = append(r.names, name)
	}
	return b
}

// Open subscribes to the first n topics, several at a time.
func (r *Run) Open(n int) {
	const atOnce = 16
	var wg sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	for i := range n {
		b := r.book(topicName(i))
		slots <- struct{}{}
		wg.Go(func() {
			r.subscribe(topicName(i), b)
			<-slots
		})
	}
	wg.Wait()
}

func (r *Run) subscribe(name string, b *book) {
	j := &journal{changed: func() {
		select {
		case r.changed <- struct{}{}:
		default:
		}
	}}
	before := b.topic.Position()
	reader, err := r.client.subscribe(r.ctx, name, j)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		r.out.Refusals++
		r.out.Refused = join(r.out.Refused, errorName(err))
		return
	}
	r.subs = append(r.subs, &sub{reader: reader, journal: j, book: b, before: before, start: b.topic.Position()})
}

// OpenWith is Open of one topic, with options where they exist.
func (r *Run) OpenWith(options ...pubsub.SubscribeOption) {
	if c, ok := r.client.(*busClient); ok {
		c.options = options
		defer func() { c.options = nil }()
	}
	r.Open(1)
}

// OpenBehind is OpenWith of a subscription that is to begin behind the message
// with that number.
func (r *Run) OpenBehind(number uint64, options ...pubsub.SubscribeOption) {
	r.OpenWith(options...)
	for _, s := range r.open() {
		s.start.Sequence = number
		s.before = s.start
	}
}

// Publish has the server accept n more messages in each topic, as if others
// had published them.
func (r *Run) Publish(n int) {
	for range n {
		for _, name := range r.names {
			r.n++
			r.Accept(r.books[name], pubsub.Payload{Format: pubsub.Text, Data: fmt.Append(nil, "message ", r.n)})
		}
	}
}

// Accept has the server accept one message.
func (r *Run) Accept(b *book, p pubsub.Payload) {
	at, err := b.topic.Publish(p)
	r.check(err)
	b.payloads[at] = p
}

// AcceptFrame has the server accept one message of the first topic that it sends
// as a frame.
func (r *Run) AcceptFrame(frame func(pubsub.Position) momentotest.Frame) {
	_, err := r.Topic(0).PublishFrame(frame)
	r.check(err)
}

// Send publishes through the client, to the first topic.
func (r *Run) Send(ctx context.Context, p pubsub.Payload) {
	b := r.book(topicName(0))
	var err error
	r.within("Publish does not return", func() { err = r.client.publish(ctx, topicName(0), p) })
	if err != nil {
		r.out.Unheard = join(r.out.Unheard, errorName(err)) // one publisher at a time
		return
	}
	b.payloads[b.topic.Position()] = p
}

// Inject has the server send frames, whatever the topic's numbers are.
func (r *Run) Inject(frames ...momentotest.Frame) { r.check(r.Topic(0).Send(frames...)) }

// Reset moves the first topic to a new page.
func (r *Run) Reset(n momentotest.Notice) {
	r.book(topicName(0)).turn()
	r.Topic(0).Reset(n)
}

// DeleteCache deletes the cache.
func (r *Run) DeleteCache() {
	for _, b := range r.books {
		b.turn()
	}
	r.check(r.Server.DeleteCache(cacheName))
}

// NewToken makes the server accept another token, and none before it. No other
// row has it: while this row's server is away, another's may get its port.
func (r *Run) NewToken() {
	r.mu.Lock()
	old := r.token
	r.token = fmt.Sprint("token-", tokens.Add(1))
	r.Server.AddToken(r.token, "")
	r.mu.Unlock()
	if old != "" {
		r.Server.RevokeToken(old)
	}
}

var tokens atomic.Uint64

// Healed tells that the fault is over.
func (r *Run) Healed() { r.healed = time.Now() }

// Sleep lets a fault last.
func (r *Run) Sleep(d time.Duration) { time.Sleep(d) }

// openAside subscribes to the nth topic, which nobody publishes to.
func (r *Run) openAside(n int) {
	r.subscribe(topicName(n), openBook(r.Server.Topic(cacheName, topicName(n))))
}

// sendWithin is Send with a ctx that expires after d.
func (r *Run) sendWithin(d time.Duration) {
	ctx, cancel := context.WithTimeout(r.ctx, d)
	defer cancel()
	r.Send(ctx, pubsub.Payload{Format: pubsub.Text, Data: []byte("late")})
}

// halt stops the first subscription's reader. It has one message in hand then.
func (r *Run) halt() {
	j := r.subs[0].journal
	j.hold()
	r.Publish(1)
	r.wait(j.isWaiting)
}

// allReceived waits until the bus has received everything, though nobody has
// read it yet. The SDK cannot tell.
func (r *Run) allReceived() {
	c, ok := r.client.(*busClient)
	if !ok {
		return
	}
	s := r.subs[0]
	r.wait(func() bool {
		topics := c.bus.Stats().Topics
		return len(topics) == 1 && topics[0].Received == s.book.between(s.start, s.book.end())
	})
}

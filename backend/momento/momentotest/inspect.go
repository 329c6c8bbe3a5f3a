package momentotest

import (
	"context"
	"fmt"
	"slices"

	"github.com/topicbus/pubsub"
)

// Stats counts what a server has seen since it was made, restarts included.
type Stats struct {
	Connections int // open TCP connections
	Streams     int // open Subscribe streams
	Accepted    int // TCP connections accepted so far
	Subscribes  int // Subscribe requests so far, refused ones included
	Publishes   int // Publish requests so far, refused ones included
}

// Stats returns the server's present counts.
func (s *Server) Stats() Stats {
	return Stats{
		Connections: s.network.open(),
		Streams:     int(s.streams.Load()),
		Accepted:    int(s.network.accepted.Load()),
		Subscribes:  int(s.subscribes.Load()),
		Publishes:   int(s.publishes.Load()),
	}
}

// Wait blocks until condition is true, which it looks at now and again
// whenever something changes on the server: a connection, a stream, a request
// or a message sent. Its error wraps ctx's, and tells the Stats at that time.
func (s *Server) Wait(ctx context.Context, condition func() bool) error {
	return s.await(ctx, condition, func(Stats) string { return "the condition of Wait is not met" })
}

// await is Wait, with what the error is to say of the present Stats.
func (s *Server) await(ctx context.Context, condition func() bool, missing func(Stats) string) error {
	for {
		changed := s.watch.wait()
		if condition() {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			now := s.Stats()
			return fmt.Errorf("momentotest: %s: %+v: %w", missing(now), now, context.Cause(ctx))
		}
	}
}

// WaitStreams blocks until exactly n streams are open. Its error wraps ctx's,
// and tells how many there are.
func (s *Server) WaitStreams(ctx context.Context, n int) error {
	return s.await(ctx, func() bool { return s.Stats().Streams == n }, func(now Stats) string {
		return fmt.Sprintf("want exactly %d streams to be open, have %d", n, now.Streams)
	})
}

// Request is a Subscribe request as it arrived.
type Request struct {
	Cache, Topic string
	ResumeAt     uint64 // 0: from the present
	Page         uint64 // 0: not known to the subscriber
}

// Stream describes an open stream.
type Stream struct {
	Request Request
	Sent    uint64 // messages sent so far, heartbeats and discontinuities included
}

// Streams returns the topic's open streams, the oldest first.
func (t *Topic) Streams() []Stream {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make([]Stream, len(t.streams))
	for i, st := range t.streams {
		out[i] = Stream{Request: st.request, Sent: st.sent.Load()}
	}
	return out
}

// Requests returns the topic's Subscribe requests, refused ones included, the
// oldest first. Of more than 1024 it keeps the newest.
func (t *Topic) Requests() []Request {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.requests)
}

// Publishes returns how many Publish requests the topic has seen, refused ones
// included.
func (t *Topic) Publishes() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.publishes
}

// Position returns the position of the topic's last message; its Sequence is
// 0 before the page's first message, and its Page before the topic exists.
func (t *Topic) Position() pubsub.Position {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.end()
}

// Retained returns the messages of the present page that a subscriber could
// still resume at.
func (t *Topic) Retained() ([]pubsub.Message[pubsub.Payload], error) {
	t.mu.Lock()
	entries := slices.Clone(t.log[max(t.oldest(), t.pageBase)-t.base:])
	t.mu.Unlock()
	var out []pubsub.Message[pubsub.Payload]
	for _, e := range entries {
		if !e.item {
			continue
		}
		m, err := t.srv.wire.decodeItem(e.frame)
		if err != nil {
			return nil, err
		}
		m.Topic = t.name
		out = append(out, m)
	}
	return out, nil
}

func (t *Topic) record(r Request) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.requests) == keptRequests {
		t.requests = slices.Delete(t.requests, 0, 1)
	}
	t.requests = append(t.requests, r)
}

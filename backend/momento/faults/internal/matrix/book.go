package matrix

import (
	"slices"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/momento/momentotest"
)

// book is what the server accepted for a topic. The numbers are the server's
// own.
type book struct {
	topic    *momentotest.Topic
	closed   []pubsub.Position                  // the ends of earlier pages
	payloads map[pubsub.Position]pubsub.Payload // of those that the row published itself
}

func openBook(t *momentotest.Topic) *book {
	return &book{topic: t, payloads: make(map[pubsub.Position]pubsub.Payload)}
}

// turn is called before the topic gets another page, or none.
func (b *book) turn() { b.closed = append(b.closed, b.topic.Position()) }

// pages returns the last positions of all pages.
func (b *book) pages() []pubsub.Position {
	all := slices.Clone(b.closed)
	if now := b.topic.Position(); now.Page != 0 && (len(all) == 0 || now.Page != all[len(all)-1].Page) {
		all = append(all, now)
	}
	return all
}

func (b *book) end() pubsub.Position {
	all := b.pages()
	return all[len(all)-1]
}

// between counts the messages behind p, up to and including q.
func (b *book) between(p, q pubsub.Position) (n uint64) {
	for _, last := range b.pages() {
		if last.Page < p.Page || last.Page > q.Page {
			continue
		}
		from, to := uint64(0), last.Sequence
		if last.Page == p.Page {
			from = p.Sequence
		}
		if last.Page == q.Page {
			to = q.Sequence
		}
		n += to - from
	}
	return n
}

// payload reports whether the server accepted a message at p, and what is in
// it, nil if the row does not know.
func (b *book) payload(p pubsub.Position) (payload *pubsub.Payload, accepted bool) {
	if known, ok := b.payloads[p]; ok {
		payload = &known
	}
	for _, last := range b.pages() {
		if last.Page == p.Page {
			return payload, p.Sequence > 0 && p.Sequence <= last.Sequence
		}
	}
	return nil, false
}

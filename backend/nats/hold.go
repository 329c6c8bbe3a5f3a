package nats

import (
	"slices"
	"sync"
)

// hold knows what a stream holds back, and lets one party at a time call
// deliver or what Flush was given: Receive, or who calls Flush while Receive
// has nothing to do.
type hold struct {
	mu    sync.Mutex
	free  sync.Cond // of taken
	taken bool
	over  bool
	down  bool   // the stream broke: what comes, and when, nobody knows
	at    uint64 // delivered or reported lost up to this number
	known uint64 // accepted up to this number, as far as is known
	marks []mark
}

// mark is a Flush that waits for what was accepted before it.
type mark struct {
	behind uint64
	done   func()
}

func newHold(at, known uint64) *hold {
	h := &hold{}
	h.free.L = &h.mu
	h.reset(at, known)
	return h
}

// learn takes note that the message of that number was accepted. A number that
// cannot be is not believed, or nothing that waits would ever end.
func (h *hold) learn(number uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if number > h.known && number-h.at <= maxJump {
		h.known = number
	}
}

// reset takes note that the numbers are other ones now.
func (h *hold) reset(at, known uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.at, h.known = at, at
	if known > at && known-at <= maxJump {
		h.known = known
	}
	for i := range h.marks {
		h.marks[i].behind = min(h.marks[i].behind, h.known)
	}
}

// broken takes note that the stream broke, or that it is back. While it is
// broken nobody waits for what it holds, so that a Drain ends promptly.
func (h *hold) broken(down bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.down = down
	if down && !h.taken {
		h.taken = true
		h.settle()
	}
}

// take waits for the turn. give must follow.
func (h *hold) take() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for h.taken {
		h.free.Wait()
	}
	h.taken = true
}

// give ends a turn by which the stream came to at.
func (h *hold) give(at uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.at = at
	h.settle()
}

// settle calls what is due, and ends the turn. mu is held, but not meanwhile.
func (h *hold) settle() {
	for i := 0; i < len(h.marks); {
		m := h.marks[i]
		if !h.down && h.at < m.behind {
			i++
			continue
		}
		h.marks = slices.Delete(h.marks, i, i+1)
		h.mu.Unlock()
		m.done()
		h.mu.Lock()
		i = 0 // it may have called Flush
	}
	h.taken = false
	h.free.Signal()
}

// end has nothing called any more.
func (h *hold) end() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.over, h.marks = true, nil
}

func (h *hold) flush(done func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.over {
		return
	}
	h.marks = append(h.marks, mark{h.known, done})
	if !h.taken {
		h.taken = true
		h.settle()
	}
}

func (h *hold) held() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.known - min(h.at, h.known)
}

// Flush implements pubsub.Flusher. Known to be accepted is what this Backend
// published, what the server said when it last sent something, and what it had
// when the stream was opened. While the stream is broken nothing is waited for.
func (s *stream) Flush(done func()) { s.hold.flush(done) }

// Held implements pubsub.Holder.
func (s *stream) Held() uint64 { return s.hold.held() }

// readers knows the streams that are open, so that they hear what the Backend
// publishes.
type readers struct {
	mu     sync.RWMutex
	topics map[string]map[*stream]struct{} // by the server's stream
}

func (r *readers) add(s *stream) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.topics == nil {
		r.topics = make(map[string]map[*stream]struct{})
	}
	if r.topics[s.n.stream] == nil {
		r.topics[s.n.stream] = make(map[*stream]struct{})
	}
	r.topics[s.n.stream][s] = struct{}{}
}

func (r *readers) remove(s *stream) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.topics[s.n.stream], s)
	if len(r.topics[s.n.stream]) == 0 {
		delete(r.topics, s.n.stream)
	}
}

// accepted tells a topic's streams that the server has stored a message of
// that number. If its page is a new one they are about to learn of it, and
// forget the number then.
func (r *readers) accepted(server string, sequence uint64) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for s := range r.topics[server] {
		s.hold.learn(sequence)
	}
}

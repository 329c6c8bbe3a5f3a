package momento

import (
	"sync"
	"time"
)

const (
	// caughtUpAfter is how long a session that resumed must bring nothing for it
	// to have brought what there was: the service sends that without a pause.
	caughtUpAfter = 100 * time.Millisecond
	// catchUpMax is after how long a session is taken to have caught up although
	// there was no such pause, as on a busy topic.
	catchUpMax = 5 * time.Second
)

// catchUp tells whether a stream's session still brings what there was before it
// began, and calls those who wait for the end of that. It also lets one party at
// a time call deliver or them: Receive, or who calls Flush while Receive is not
// at a frame.
type catchUp struct {
	mu      sync.Mutex
	free    sync.Cond // of taken
	taken   bool
	busy    bool
	over    bool // the stream has ended
	waiting []func()
}

// begin is told that a session resumed.
func (c *catchUp) begin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.busy = true
}

// take waits for the turn. give must follow.
func (c *catchUp) take() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.taken {
		c.free.Wait()
	}
	c.taken = true
}

// give ends a turn.
func (c *catchUp) give() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.settle()
}

// settle calls who waits, if the session has caught up, and ends the turn. mu is
// held, but not meanwhile.
func (c *catchUp) settle() {
	for !c.busy && len(c.waiting) > 0 {
		done := c.waiting[0]
		c.waiting = c.waiting[1:]
		c.mu.Unlock()
		done()
		c.mu.Lock()
	}
	c.taken = false
	c.free.Signal()
}

// end is told that a session has caught up, or that it broke: what is missing
// then, nobody knows.
func (c *catchUp) end() {
	c.take()
	defer c.give()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.busy = false
}

// close is told that the stream has ended. Nobody is called any more.
func (c *catchUp) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over, c.waiting = true, nil
}

// flush calls done when the session has caught up.
func (c *catchUp) flush(done func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return
	}
	c.waiting = append(c.waiting, done)
	if !c.taken && !c.busy {
		c.taken = true
		c.settle()
	}
}

// Flush implements [pubsub.Flusher]. The service does not tell what a session
// that resumed is still to bring, but sends it at once: it has been delivered
// when nothing comes for a tenth of a second, or after five seconds. While the
// stream is down nothing is known of, and done is called at once.
func (s *stream) Flush(done func()) { s.catchUp.flush(done) }

// catchingUp returns until when the session is taken to bring what there was,
// unless an item comes before. It is zero if it has caught up.
func (s *stream) catchingUp() time.Time {
	if !s.resumed {
		return time.Time{}
	}
	until, limit := s.brought.Add(caughtUpAfter), s.session.began.Add(catchUpMax)
	if limit.Before(until) {
		return limit
	}
	return until
}

// caughtUp takes note that the session has brought what there was, or broke.
func (s *stream) caughtUp() {
	s.resumed = false
	s.catchUp.end()
}

// resume takes note that the session brings what there was before.
func (s *stream) resume() {
	s.resumed = true
	s.catchUp.begin()
}

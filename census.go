package pubsub

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/topicbus/pubsub/internal/ring"
)

// census finds out what a stream's backend holds back, at a moment when that and
// the log fit together. They do not between the call of deliver that puts a
// message into the log and the moment when the backend no longer counts it: then
// both have it. They do when deliver is called, so deliver counts for those who
// ask.
type census struct {
	due    *atomic.Bool // of the stream: deliver is to look here first
	mu     sync.Mutex   // guards what follows; nothing foreign is called under it
	asking []chan<- count
	frames uint64 // those that were no message and no hole
	moving bool   // another one has begun since the last of them
}

// count is how far a log was, and what the backend held back then.
type count struct {
	mark ring.Mark
	held uint64
}

// ask has the next call of deliver send a count.
func (c *census) ask(answer chan<- count) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asking = append(c.asking, answer)
	c.due.Store(true)
}

// rest is called at the end of a frame that was no message and no hole.
func (c *census) rest() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.frames++
	c.moving = false
	c.due.Store(true) // to hear of the next frame
}

// rested tells by a number since when the stream is at rest: only a frame that was
// no message and no hole leaves no doubt. It is 0 if there is a doubt.
func (c *census) rested() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.moving {
		return 0
	}
	return c.frames + 1
}

// stir is called when a frame begins. It returns who asks.
func (c *census) stir() []chan<- count {
	c.mu.Lock()
	defer c.mu.Unlock()
	asking := c.asking
	c.asking, c.moving = nil, true
	c.due.Store(false)
	return asking
}

// answer is called by who delivers, before anything of a frame is in the log.
func (st *stream[T]) answer() {
	asking := st.census.stir()
	if asking == nil {
		return
	}
	st.log.Show()
	n := count{st.log.Mark(), st.held()}
	for _, a := range asking {
		a <- n // has room
	}
}

// settled is how long count waits for the backend to say something new.
const settled = 100 * time.Millisecond

// count counts what the backend holds back. It waits for a moment when that and
// the log fit together, which is soon, or until nothing has happened for a while.
func (st *stream[T]) count() count {
	answer := make(chan count, 1)
	here := st.here() && !st.stray.Load() // a channel made in a synctest bubble must not be used outside
	if here {
		st.census.ask(answer)
		st.log.Rouse() // deliver may wait for room
	}
	began := time.Now()
	for try := 0; ; try++ {
		rested, ended := st.census.rested(), st.ended.Load()
		n := count{st.log.Mark(), st.held()}
		switch {
		case n.held == 0:
			return count{mark: st.log.Mark()} // what it held when that one was made has come since
		case ended, rested != 0 && rested == st.census.rested():
			return n
		case !here && try > 100, time.Since(began) >= settled:
			return n
		case !here, try < 10:
			runtime.Gosched()
			continue
		}
		select {
		case n := <-answer:
			return n
		case <-time.After(settled / 100):
		}
	}
}

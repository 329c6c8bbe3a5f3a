package consume

import (
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/topicbus/pubsub"
)

// pool is Each with several workers. The caller's goroutine reads and hands
// tasks over; each worker takes a task that is ready, tries it, and comes back.
//
// A task is ready when no earlier one of its key is unfinished: those that are
// not ready hang on the one before them. A task that waits for its next try is
// in the timetable, and its key's later tasks go on hanging on it. A worker that
// has nothing to do sleeps until there is something ready; one of the sleepers
// looks at the clock for all.
type pool[T any] struct {
	*consumer[T]
	workers errgroup.Group
	bell    chan struct{} // each token wakes one sleeping worker
	room    chan struct{} // a token wakes the reader

	mu       sync.Mutex
	tails    map[string]*task[T] // by key, the last task that is unfinished
	ready    queue[T]
	waiting  timetable[T]
	free     *task[T]
	tasks    []*task[T] // all there are, used or free
	inFlight int        // taken and unfinished
	started  int        // workers
	asleep   int        // workers for whom there is no token in bell
	coming   int        // workers that were woken or started, and have not come to look for work
	alarm    time.Time  // when the first of them wakes up by itself; zero: none does
	starved  bool       // the reader waits for room
	stopping bool       // nothing is started any more
	ended    bool       // nothing more comes
}

func newPool[T any](c *consumer[T]) *pool[T] {
	return &pool[T]{
		consumer: c,
		bell:     make(chan struct{}, c.Workers),
		room:     make(chan struct{}, 1),
		tails:    make(map[string]*task[T]),
	}
}

func (p *pool[T]) run() {
	returned := false
	defer func() {
		if !returned { // OnLoss or OrderBy called runtime.Goexit
			p.life.stop(errExited)
		}
		p.end()
		_ = p.workers.Wait() // life knows why
		for p.unfinished() {
			// All workers ended by a failure, or by their handlers. What is left is
			// given up and dropped here.
			_ = p.work()
		}
	}()
	p.read()
	returned = true
}

func (p *pool[T]) read() {
	for p.waitForRoom() {
		m, ok := p.next()
		if !ok {
			return
		}
		p.number++
		key, err := p.keyOf(m)
		if err != nil {
			p.life.stop(err)
			return
		}
		p.hand(m, key)
	}
}

// keyOf asks OrderBy. If there is an error, m was dropped.
func (p *pool[T]) keyOf(m pubsub.Message[T]) (key string, err error) {
	if p.OrderBy == nil {
		return "", nil
	}
	err = errExited // by runtime.Goexit
	defer func() {
		if err != nil {
			p.drop(&task[T]{message: m, number: p.number}, err)
		}
	}()
	err = guard(func() error { key = p.OrderBy(m.Value); return nil })
	return key, err
}

// waitForRoom returns when another message may be taken. It returns false if
// Each is to end.
func (p *pool[T]) waitForRoom() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.inFlight >= p.InFlight && !p.stopping {
		p.starved = true
		p.mu.Unlock()
		<-p.room
		p.mu.Lock()
	}
	return !p.stopping
}

// feed tells the reader that there is room. p.mu is held, as in all below that
// do not take it.
func (p *pool[T]) feed() {
	if p.starved {
		p.starved = false
		p.room <- struct{}{}
	}
}

// hand gives a message to the workers.
func (p *pool[T]) hand(m pubsub.Message[T], key string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.free
	if t == nil {
		t = new(task[T])
		p.tasks = append(p.tasks, t)
	} else {
		p.free = t.link
	}
	t.message, t.number, t.key, t.link = m, p.number, key, nil
	if p.Monitor != nil {
		t.since = time.Now()
	}
	p.inFlight++
	if p.OrderBy != nil {
		before := p.tails[key]
		p.tails[key] = t
		if before != nil {
			before.next = t
			return
		}
	}
	p.ready.push(t)
	p.wakeIfNeeded()
}

// work is a worker. Its error is that of a message which ended Each.
func (p *pool[T]) work() error {
	var t *task[T]
	var became outcome
	var wait time.Duration
	inside := false // foreign code
	defer func() {
		if inside { // which called runtime.Goexit
			p.drop(t, errExited)
			p.life.stop(errExited)
			p.leave(t)
		}
	}()
	for {
		if t = p.turn(t, became, wait); t == nil {
			return nil
		}
		inside = true
		became, wait = p.perform(t)
		inside = false
		if became == dropped {
			err := t.err
			p.leave(t)
			return err
		}
	}
}

// perform does what is next for t: a try, or GiveUp. No lock is held.
func (p *pool[T]) perform(t *task[T]) (became outcome, wait time.Duration) {
	if t.why != nil {
		return p.giveUp(t, t.why), 0
	}
	err := p.try(t)
	if err == nil {
		p.Monitor.finish(handled)
		return handled, 0
	}
	if wait, ok := p.failed(t, err); ok {
		return again, wait
	}
	return p.giveUp(t, nil), 0
}

// turn is told what became of a worker's task, if it had one. It returns its
// next one, for which it may wait, or nil if there will be none.
func (p *pool[T]) turn(t *task[T], became outcome, wait time.Duration) *task[T] {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case t == nil:
	case became == again:
		t.due = time.Now().Add(wait)
		if t.why = p.life.noTry(t.due); t.why != nil {
			return t
		}
		p.waiting.push(t)
		p.Monitor.wait(1)
	default:
		p.finish(t)
	}
	for {
		t := p.pick()
		switch stopped := p.life.read.Err() != nil; {
		case t != nil && stopped && t.tries == 0:
			p.drop(t, nil)
			p.finish(t)
		case t != nil:
			if stopped && t.why == nil {
				t.why = errStopped
			}
			p.wakeIfNeeded()
			return t
		case p.ended && p.inFlight == 0:
			return nil
		default:
			p.sleep()
		}
	}
}

// pick takes a task that can go on, or nil. What is due goes before what is
// ready: it was taken before.
func (p *pool[T]) pick() *task[T] {
	if due, ok := p.waiting.next(); ok && !due.After(time.Now()) {
		p.Monitor.wait(-1)
		return p.waiting.pop()
	}
	return p.ready.pop()
}

// finish lets go of a task, and of the next one of its key.
func (p *pool[T]) finish(t *task[T]) {
	if p.OrderBy != nil && p.tails[t.key] == t {
		delete(p.tails, t.key)
	}
	if t.next != nil {
		p.ready.push(t.next)
	}
	*t = task[T]{link: p.free}
	p.free = t
	p.inFlight--
	switch {
	case p.ended && p.inFlight == 0:
		p.wakeAll()
	case p.inFlight <= p.InFlight*3/4:
		p.feed() // not for each message: waking the reader costs more than a message does
	}
}

// leave is finish for a worker that does not come back.
func (p *pool[T]) leave(t *task[T]) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.finish(t)
	p.wakeAll()
}

// wakeIfNeeded sees to it that what is ready has a worker that comes for it, and
// that what waits has one that looks at the clock. Each call may see to one: the
// worker that comes calls it again.
func (p *pool[T]) wakeIfNeeded() {
	if p.ready.n > p.coming || p.coming == 0 && p.unwatched() {
		p.wake()
	}
}

// wake has a worker look for work: one that sleeps, or a new one.
func (p *pool[T]) wake() {
	switch {
	case p.asleep > 0:
		p.asleep--
		p.coming++
		p.bell <- struct{}{}
	case p.started < p.Workers && !p.stopping:
		p.started++
		p.coming++
		p.workers.Go(func() error {
			p.mu.Lock()
			p.coming--
			p.mu.Unlock()
			return p.work()
		})
	}
}

func (p *pool[T]) wakeAll() {
	for p.asleep > 0 {
		p.wake()
	}
}

// unwatched reports whether a task may be due before any sleeping worker looks
// at the clock.
func (p *pool[T]) unwatched() bool {
	due, ok := p.waiting.next()
	return ok && (p.alarm.IsZero() || due.Before(p.alarm))
}

// sleep waits until there may be work.
func (p *pool[T]) sleep() {
	if p.inFlight < p.InFlight {
		p.feed()
	}
	p.asleep++
	if !p.unwatched() {
		p.mu.Unlock()
		<-p.bell
		p.mu.Lock()
		p.coming--
		return
	}
	due, _ := p.waiting.next()
	p.alarm = due
	p.mu.Unlock()
	timer := time.NewTimer(time.Until(due))
	woken := false
	select {
	case <-p.bell:
		woken = true
	case <-timer.C:
	}
	timer.Stop()
	p.mu.Lock()
	if p.alarm.Equal(due) {
		p.alarm = time.Time{}
	}
	switch {
	case woken:
		p.coming--
	case p.asleep > 0:
		p.asleep--
	default:
		<-p.bell // all who sleep have a token there
		p.coming--
	}
}

// stop has nothing started any more, and what waits for a try given up.
func (p *pool[T]) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stopping = true
	p.giveUpWaiting()
	p.feed()
	p.wakeAll()
}

// end is told that nothing more comes.
func (p *pool[T]) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
	p.giveUpWaiting()
	p.wakeAll()
}

// giveUpWaiting has those tasks given up that there is no next try for.
func (p *pool[T]) giveUpWaiting() {
	slices.SortFunc(p.waiting, func(a, b *task[T]) int { return a.due.Compare(b.due) })
	p.waiting = slices.DeleteFunc(p.waiting, func(t *task[T]) bool {
		if t.why = p.life.noTry(t.due); t.why == nil {
			return false
		}
		p.ready.push(t)
		p.Monitor.wait(-1)
		return true
	})
}

func (p *pool[T]) unfinished() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.inFlight > 0
}

func (p *pool[T]) oldest() (oldest time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, t := range p.tasks {
		if !t.since.IsZero() && (oldest.IsZero() || t.since.Before(oldest)) {
			oldest = t.since
		}
	}
	return oldest
}

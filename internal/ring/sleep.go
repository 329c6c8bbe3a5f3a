package ring

import (
	"context"
	"sync/atomic"
)

// sleeper is the bell of a sleeping reader. A token in it may be stale: who takes
// it looks again.
type sleeper struct {
	bell   chan struct{} // capacity 1
	queued atomic.Bool   // in solo or sleepers, or never to be again
	index  int           // in sleepers; guarded by Log.mu
}

func (w *sleeper) ring() {
	select {
	case w.bell <- struct{}{}:
	default:
	}
}

// Sleep waits until there may be something to read for who looked with v, or
// ctx, which may be nil, ends. It reports false then.
func (c *Cursor[V, S]) Sleep(v *View[V, S], ctx context.Context) bool {
	c.log.Trim()
	c.log.sleep(&c.sleeper)
	c.waiting.Add(1)
	awake := true
	switch {
	case c.Stirred(v):
	case ctx == nil:
		<-c.sleeper.bell
	default:
		awake = c.await(ctx)
	}
	c.waiting.Add(-1)
	return awake
}

// await is apart from Sleep because a select takes stack that others have no
// need of.
func (c *Cursor[V, S]) await(ctx context.Context) bool {
	select {
	case <-c.sleeper.bell:
		return true
	case <-ctx.Done():
		return false
	}
}

// Stirred reports whether anything has happened since Look.
func (c *Cursor[V, S]) Stirred(v *View[V, S]) bool {
	l := c.log
	return l.head.Load() != v.head || l.noted.Load() != v.noted || l.over.Load() != v.over || c.stopped.Load()
}

// Wake has a sleeping goroutine of the cursor look again.
func (c *Cursor[V, S]) Wake() { c.sleeper.ring() }

// sleep queues w for the next wake. The caller then looks once more before it
// waits for the bell. The first who sleeps costs no lock, on either side.
func (l *Log[V, S]) sleep(w *sleeper) {
	if !w.queued.CompareAndSwap(false, true) || l.solo.CompareAndSwap(nil, w) {
		return
	}
	l.mu.Lock()
	w.index = len(l.sleepers)
	l.sleepers = append(l.sleepers, w)
	l.many.Store(true)
	l.mu.Unlock()
}

// wake rings all sleepers, outside the lock: those who wake want it at once.
func (l *Log[V, S]) wake() {
	if w := l.solo.Swap(nil); w != nil {
		w.queued.Store(false)
		w.ring()
	}
	if !l.many.Load() {
		return
	}
	l.mu.Lock()
	list := l.sleepers
	l.sleepers, l.spare = l.spare[:0], nil
	l.many.Store(false)
	for _, w := range list {
		w.queued.Store(false)
	}
	l.mu.Unlock()
	for _, w := range list {
		w.ring()
	}
	clear(list)
	l.mu.Lock()
	l.spare = list[:0]
	l.mu.Unlock()
}

// strike takes w out of the sleepers for good. l.mu is held.
func (l *Log[V, S]) strike(w *sleeper) {
	if w.queued.Swap(true) && !l.solo.CompareAndSwap(w, nil) {
		if i := w.index; i < len(l.sleepers) && l.sleepers[i] == w {
			last := len(l.sleepers) - 1
			l.sleepers[i] = l.sleepers[last]
			l.sleepers[i].index = i
			l.sleepers[last] = nil
			l.sleepers = l.sleepers[:last]
		}
	}
}

// Crowded reports whether the writer of a blocking log is to look for room
// before the next message.
func (l *Log[V, S]) Crowded() bool { return l.end >= l.room.Load() }

// Laggard returns a reader that leaves no room for n more messages. If there is
// none it returns nil, and the log may be written as far as all leave room.
// Writer only; all that was appended must be shown.
func (l *Log[V, S]) Laggard(n uint64) *Cursor[V, S] {
	slowest := l.end
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.readers {
		i := c.next.Load()
		if l.end-i+n > l.capacity {
			return c
		}
		slowest = min(slowest, i)
	}
	l.room.Store(slowest + l.capacity)
	return nil
}

// Want asks the laggard c to tell Freed when there is room for one more message.
// It reports false if there is already.
func (l *Log[V, S]) Want(c *Cursor[V, S]) bool {
	enough := l.end - l.capacity + 1
	c.wanted.Store(enough)
	return c.next.Load() < enough // or it got there before it could see wanted
}

// Freed is received from by the writer of a blocking log that waits for room.
// What it receives may be stale.
func (l *Log[V, S]) Freed() <-chan struct{} { return l.freed }

func (l *Log[V, S]) makeRoom() {
	select {
	case l.freed <- struct{}{}:
	default:
	}
}

package ring

import (
	"context"
	"sync/atomic"
)

// sleeper is the bell of a sleeping reader. A token in it may be stale: who takes
// it looks again.
type sleeper struct {
	bell   chan struct{} // capacity 1
	gone   atomic.Bool   // never to be queued again
	listed bool          // in sleepers; guarded by Log.mu, like ...
	index  int           // ... where
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
	asleep := &c.asleep
	if ctx != nil {
		asleep = &c.awaiting
	}
	c.log.sleep(&c.sleeper)
	asleep.Add(1)
	awake := true
	switch {
	case c.Stirred(v):
	case ctx == nil:
		<-c.sleeper.bell
	default:
		awake = c.await(ctx)
	}
	asleep.Add(-1)
	return awake
}

// Asleep is how many goroutines sleep without a ctx.
func (c *Cursor[V, S]) Asleep() int { return int(c.asleep.Load()) }

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
	if w.gone.Load() {
		return
	}
	if first := l.solo.Load(); first == w {
		return
	} else if first == nil && l.solo.CompareAndSwap(nil, w) {
		if w.gone.Load() { // meanwhile: strike may not have seen it
			l.solo.CompareAndSwap(w, nil)
		}
		return
	}
	l.mu.Lock()
	if !w.listed && !w.gone.Load() {
		w.listed, w.index = true, len(l.sleepers)
		l.sleepers = append(l.sleepers, w)
		l.many.Store(true)
	}
	l.mu.Unlock()
}

// wake rings all sleepers, outside the lock: those who wake want it at once.
func (l *Log[V, S]) wake() {
	if l.solo.Load() != nil {
		if w := l.solo.Swap(nil); w != nil {
			w.ring()
		}
	}
	if !l.many.Load() {
		return
	}
	l.mu.Lock()
	list := l.sleepers
	l.sleepers, l.spare = l.spare[:0], nil
	l.many.Store(false)
	for _, w := range list {
		w.listed = false
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
	w.gone.Store(true)
	l.solo.CompareAndSwap(w, nil)
	if w.listed {
		last := len(l.sleepers) - 1
		moved := l.sleepers[last]
		l.sleepers[w.index], moved.index = moved, w.index
		l.sleepers[last] = nil
		l.sleepers = l.sleepers[:last]
		w.listed = false
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

// Rouse has the writer look again, though there may be no more room.
func (l *Log[V, S]) Rouse() { l.makeRoom() }

func (l *Log[V, S]) makeRoom() {
	select {
	case l.freed <- struct{}{}:
	default:
	}
}

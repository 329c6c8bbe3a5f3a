package momentotest

import "sync/atomic"

// watch wakes those who wait for a change. A waiter takes the channel of
// next, looks at the state, and waits only then; whoever changes the state
// calls changed afterwards. Without waiters that is one atomic load.
type watch struct {
	next atomic.Pointer[chan struct{}]
}

func (w *watch) wait() <-chan struct{} {
	for {
		if c := w.next.Load(); c != nil {
			return *c
		}
		c := make(chan struct{})
		if w.next.CompareAndSwap(nil, &c) {
			return c
		}
	}
}

func (w *watch) changed() {
	if w.next.Load() == nil {
		return
	}
	if c := w.next.Swap(nil); c != nil {
		close(*c)
	}
}

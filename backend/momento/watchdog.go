package momento

import (
	"sync"
	"sync/atomic"
	"time"
)

// watchdog calls expire, once, when one wait lasted for timeout. Time between
// waits does not count. A zero timeout never expires.
//
// Being told of a wait costs two atomic stores and reading the clock, where
// setting a timer for each frame would cost several times that.
type watchdog struct {
	timeout time.Duration
	expire  func()
	epoch   time.Time
	since   atomic.Int64 // when the wait began, counted from epoch; 0: no wait

	mu    sync.Mutex
	timer *time.Timer // nil: stopped
}

// start starts the watchdog; stop must follow.
func (w *watchdog) start() {
	if w.timeout <= 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.epoch = time.Now()
	w.timer = time.AfterFunc(w.timeout, w.check)
}

func (w *watchdog) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.timer != nil {
		w.timer.Stop()
		w.timer = nil
	}
}

// wait begins a wait, done ends it.
func (w *watchdog) wait() {
	if w.timeout > 0 {
		w.since.Store(max(1, int64(time.Since(w.epoch))))
	}
}

func (w *watchdog) done() {
	if w.timeout > 0 {
		w.since.Store(0)
	}
}

func (w *watchdog) check() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.timer == nil {
		return
	}
	left := w.timeout
	if since := w.since.Load(); since != 0 {
		left -= time.Since(w.epoch) - time.Duration(since)
	}
	if left <= 0 {
		w.expire()
		return
	}
	w.timer.Reset(left)
}

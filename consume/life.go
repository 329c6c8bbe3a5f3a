package consume

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// life is the end of Each: what ends it, and what the handlers are told of it.
//
// It starts no goroutine that waits. What it leaves to timers and to ctx has
// run, or will not run any more, when close returns.
type life struct {
	grace   time.Duration
	onStop  func()
	ctx     context.Context // given to Each
	outer   context.Context // the same without its end
	read    context.Context // ends when nothing more is to be taken or started
	running context.Context // of handlers; ends when the grace behind read is over
	early   context.Context // of handlers that started before the subscription ended; ends also a grace behind that
	last    context.Context // of GiveUp; ends two graces behind read

	stopReading   context.CancelCauseFunc
	cancelRunning context.CancelFunc
	cancelEarly   context.CancelFunc
	cancelLast    context.CancelFunc
	unwatch       func() bool
	watched       chan struct{} // closed when the watch of ctx is over

	tryUntil atomic.Pointer[time.Time] // set once the subscription has ended: messages are tried again until then

	once     sync.Once // stop
	mu       sync.Mutex
	failure  error // why Each was stopped, if not by ctx
	outEnded error // ctx's error, if that stopped Each
	alarms   []*alarm
}

func newLife(ctx context.Context, grace time.Duration, onStop func()) *life {
	l := &life{grace: grace, onStop: onStop, ctx: ctx, outer: context.WithoutCancel(ctx), watched: make(chan struct{})}
	l.read, l.stopReading = context.WithCancelCause(ctx)
	l.running, l.cancelRunning = context.WithCancel(l.outer)
	l.early, l.cancelEarly = context.WithCancel(l.running)
	l.last, l.cancelLast = context.WithCancel(l.outer)
	l.unwatch = context.AfterFunc(ctx, func() {
		defer close(l.watched)
		l.stop(nil)
	})
	return l
}

// stop is called with why Each is to end before the subscription: a failure, or
// nil for the end of ctx. The first call counts, but the end of ctx goes before a
// failure: it may have been the reason. When stop returns, Each has been stopped.
func (l *life) stop(failure error) {
	l.once.Do(func() {
		l.mu.Lock()
		if l.ctx.Err() != nil {
			l.outEnded = contextError(l.ctx)
		} else {
			l.failure = failure
		}
		l.alarms = append(l.alarms, after(l.grace, l.cancelRunning), after(l.grace+min(l.grace, math.MaxInt64-l.grace), l.cancelLast))
		l.mu.Unlock()
		l.stopReading(failure)
		l.onStop()
	})
}

// end is told that the subscription has ended.
func (l *life) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.alarms = append(l.alarms, after(l.grace, l.cancelEarly))
	until := time.Now().Add(l.grace)
	l.tryUntil.Store(&until)
}

// noTry returns why a message that is due at that time is not tried again, or
// nil if it is.
func (l *life) noTry(due time.Time) error {
	if l.read.Err() != nil {
		return errStopped
	}
	if until := l.tryUntil.Load(); until != nil && due.After(*until) {
		return errEnded
	}
	return nil
}

// why returns what stopped Each, if anything did: a failure, or the end of ctx.
func (l *life) why() (failure, outEnded error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failure, l.outEnded
}

// handler returns the ctx of a handler that starts now. Behind the end of the
// subscription each has a grace of its own: those that were queued last may
// start late. cancel may be nil.
func (l *life) handler() (ctx context.Context, cancel context.CancelFunc) {
	if l.tryUntil.Load() == nil {
		return l.early, nil
	}
	return context.WithTimeout(l.running, l.grace)
}

// giveUp returns the ctx of a GiveUp that starts now. Behind the end of Each it
// has a grace, and all of them end when the second one is over, however many
// there are.
func (l *life) giveUp() (ctx context.Context, cancel context.CancelFunc) {
	if l.tryUntil.Load() == nil && l.read.Err() == nil {
		return l.early, func() {}
	}
	return context.WithTimeout(l.last, l.grace)
}

func (l *life) close() {
	if !l.unwatch() {
		<-l.watched
	}
	l.mu.Lock()
	alarms := l.alarms
	l.mu.Unlock()
	for _, a := range alarms {
		a.stop()
	}
	l.stopReading(nil)
	l.cancelRunning()
	l.cancelLast()
}

// alarm is a time.AfterFunc that can be waited for.
type alarm struct {
	timer *time.Timer
	rang  chan struct{}
}

func after(d time.Duration, f func()) *alarm {
	a := &alarm{rang: make(chan struct{})}
	a.timer = time.AfterFunc(d, func() {
		defer close(a.rang)
		f()
	})
	return a
}

// stop returns when f has run, or will not.
func (a *alarm) stop() {
	if !a.timer.Stop() {
		<-a.rang
	}
}

// contextError is why ctx ended: its error, with the cause that the application
// gave, if it gave one.
func contextError(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if errors.Is(cause, err) {
		return cause
	}
	return fmt.Errorf("%w: %w", err, cause)
}

package momento

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v4"
)

const (
	// limitStretch is by how much a wait is stretched after a limit was hit.
	limitStretch = 10
	// minWait keeps a policy that does not wait from spinning.
	minWait = time.Millisecond
	// provenAfter is how long a stream must be back for others to follow: a
	// service may accept streams only to end them.
	provenAfter = 200 * time.Millisecond
)

// recovery lets the streams of a Backend come back together: however many are
// down, they take turns in waiting, so that they try no more often than one
// would, and when one gets through, the others follow.
type recovery struct {
	streams        atomic.Int64 // there are
	usual, limited turns
	budget         budget

	mu   sync.Mutex
	back chan struct{} // closed when a stream is back
}

// turns lets streams wait one after the other: those first that failed least,
// so that one that breaks while hundreds stay down, because of what is wrong
// with their topics, does not wait behind these; among equals, in the order in
// which they came. When all break together, that is the order throughout.
type turns struct {
	taken atomic.Uint64 // turns so far

	mu      sync.Mutex
	busy    bool // somebody has the turn
	waiting []*turn
}

// turn is a stream's place among those that wait.
type turn struct {
	failures int
	come     chan struct{} // closed when it is the stream's turn
}

func newRecovery() *recovery { return &recovery{back: make(chan struct{})} }

func (t *turns) join(failures int) *turn {
	own := &turn{failures, make(chan struct{})}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.waiting = append(t.waiting, own)
	t.next()
	return own
}

// leave ends a turn, whether it has come or not.
func (t *turns) leave(own *turn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if i := slices.Index(t.waiting, own); i >= 0 {
		t.waiting = slices.Delete(t.waiting, i, i+1)
		return
	}
	t.busy = false
	t.taken.Add(1)
	t.next()
}

// count returns how many streams wait for their turn.
func (t *turns) count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.waiting)
}

// next gives the turn to the next stream if it is free. Requires mu.
func (t *turns) next() {
	if t.busy || len(t.waiting) == 0 {
		return
	}
	first := 0
	for i, other := range t.waiting {
		if other.failures < t.waiting[first].failures {
			first = i
		}
	}
	t.busy = true
	close(t.waiting[first].come)
	t.waiting = slices.Delete(t.waiting, first, first+1)
}

// budget keeps streams that come back only to break again from doing so at the
// service's pace. A break takes one from it, and so does each stream that is
// woken. There are four for each stream, and forty besides, and each second
// gives back one for ten streams.
type budget struct {
	mu   sync.Mutex
	used float64
	asOf time.Time
}

// settle gives back what the time that passed gives back. Requires mu.
func (b *budget) settle(streams int64) (perSecond, left float64) {
	now := time.Now()
	perSecond = max(1, float64(streams)/10)
	b.used = max(0, b.used-now.Sub(b.asOf).Seconds()*perSecond)
	b.asOf = now
	return perSecond, float64(4*streams+40) - b.used
}

// broke takes note that one of so many streams broke, and returns how long it
// waits before it tries to come back.
func (b *budget) broke(streams int64) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	perSecond, left := b.settle(streams)
	b.used++
	return max(0, time.Duration((1-left)/perSecond*float64(time.Second)))
}

// wake reports whether n of so many streams may be woken.
func (b *budget) wake(n int, streams int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, left := b.settle(streams); left < float64(n) {
		return false
	}
	b.used += float64(n)
	return true
}

// success tells that a stream is back, so that the others follow. If that was
// so too often of late, they go on taking turns.
func (r *recovery) success() {
	if !r.budget.wake(r.usual.count(), r.streams.Load()) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.back)
	r.back = make(chan struct{})
}

func (r *recovery) watch() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.back
}

// wait waits until a stream that failed so often, since it was up for a while,
// is to make its next attempt, at least as long as policy says. It reports false
// if there is none to be made: ctx ended, or policy says to stop. policy runs on
// while others have their turns, as it would if the stream were alone and made
// their attempts itself.
func (r *recovery) wait(ctx context.Context, policy backoff.BackOff, failures int, limited bool) bool {
	if failures == 0 && !limited {
		// That others are down does not mean that anything is wrong for this
		// one. If all of them break, that is one attempt of each at once, as
		// there is when one gets through.
		d := policy.NextBackOff()
		return d != backoff.Stop && sleep(ctx, max(d, minWait), nil)
	}
	t, back, stretch := &r.usual, r.watch(), time.Duration(1)
	if limited {
		// Attempts count against the limit, and that another stream got
		// through leaves less for this one.
		t, back, stretch = &r.limited, nil, limitStretch
	}
	began, before := time.Now(), t.taken.Load()
	mine, own := false, t.join(failures)
	select {
	case <-own.come:
		mine = true
		defer t.leave(own)
	case <-back:
		t.leave(own)
	case <-ctx.Done():
		t.leave(own)
		return false
	}
	var d time.Duration
	for range 1 + t.taken.Load() - before {
		if d = policy.NextBackOff(); d == backoff.Stop {
			return false
		}
	}
	d = max(d, minWait) * stretch
	if !mine {
		d -= time.Since(began)
	}
	return sleep(ctx, d, nil)
}

// sleep waits for d or until early is closed, and reports whether ctx still
// lives.
func sleep(ctx context.Context, d time.Duration, early <-chan struct{}) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-early:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}

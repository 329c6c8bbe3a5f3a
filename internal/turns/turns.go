// Package turns lets the streams of a backend come back together without asking
// the service more often than it can take.
//
// A stream that breaks makes its first attempt by itself. However many fail then,
// they take turns in waiting, so that together they try no more often than one
// would; when one gets through and lives, the others follow. A budget bounds how
// often that may happen.
package turns

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v4"
)

const (
	// ProvenAfter is how long a stream must be back for others to follow: a
	// service may accept streams only to end them.
	ProvenAfter = 200 * time.Millisecond
	// MinWait keeps a policy that does not wait from spinning.
	MinWait = time.Millisecond
	// limitStretch is by how much a wait is stretched after a limit was hit.
	limitStretch = 10
)

// Recovery is what the streams of a backend have in common. Its methods may be
// called from many goroutines at once.
type Recovery struct {
	streams        atomic.Int64 // there are
	usual, limited queue
	budget         budget

	mu   sync.Mutex
	back chan struct{} // closed when a stream is back
}

// Budget bounds attempts that are made out of turn: there are four for each
// stream and Spare besides. Each second gives back one for ten streams, and
// PerSecond at least.
type Budget struct {
	Spare, PerSecond int
}

// New returns a Recovery for a backend that has no streams yet.
func New(b Budget) *Recovery {
	return &Recovery{budget: budget{Budget: b}, back: make(chan struct{})}
}

// Enter tells that there is a stream more. Leave must follow.
func (r *Recovery) Enter() { r.streams.Add(1) }

// Leave tells that a stream has ended.
func (r *Recovery) Leave() { r.streams.Add(-1) }

// Spend waits until the budget allows a stream an attempt out of turn, and takes
// it from there. If early is closed it waits no longer, and takes nothing. It
// reports whether ctx still lives.
func (r *Recovery) Spend(ctx context.Context, early <-chan struct{}) bool {
	wait := r.budget.spend(r.streams.Load())
	began := time.Now()
	ok := Sleep(ctx, wait, early)
	if time.Since(began) < wait {
		r.budget.refund()
	}
	return ok
}

// Proven tells that a stream has been back for ProvenAfter, so that the others
// follow. If that was so too often of late, they go on taking turns.
func (r *Recovery) Proven() {
	if !r.budget.wake(r.usual.count(), r.streams.Load()) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.back)
	r.back = make(chan struct{})
}

func (r *Recovery) watch() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.back
}

// Wait waits until a stream that failed so often, since it was up for a while,
// is to make its next attempt, at least as long as policy says. If early is
// closed it waits no longer. It reports false if there is no attempt to be made:
// ctx ended, or policy says to stop. policy runs on while others have their
// turns, as it would if the stream were alone and made their attempts itself.
func (r *Recovery) Wait(ctx context.Context, early <-chan struct{}, policy backoff.BackOff, failures int, limited bool) bool {
	if failures == 0 && !limited {
		// That others are down does not mean that anything is wrong for this
		// one. If all of them break, that is one attempt of each at once, as
		// there is when one gets through.
		d := policy.NextBackOff()
		return d != backoff.Stop && Sleep(ctx, max(d, MinWait), early)
	}
	q, back, stretch := &r.usual, r.watch(), time.Duration(1)
	if limited {
		// Attempts count against the limit, and that another stream got
		// through leaves less for this one.
		q, back, stretch = &r.limited, nil, limitStretch
	}
	began, before := time.Now(), q.taken.Load()
	mine, own := false, q.join(failures)
	select {
	case <-own.come:
		mine = true
		defer q.leave(own)
	case <-back:
		q.leave(own)
	case <-early:
		q.leave(own)
		return ctx.Err() == nil
	case <-ctx.Done():
		q.leave(own)
		return false
	}
	var d time.Duration
	for range 1 + q.taken.Load() - before {
		if d = policy.NextBackOff(); d == backoff.Stop {
			return false
		}
	}
	d = max(d, MinWait) * stretch
	if !mine {
		d -= time.Since(began)
	}
	return Sleep(ctx, d, early)
}

// Sleep waits for d or until early is closed, and reports whether ctx still
// lives.
func Sleep(ctx context.Context, d time.Duration, early <-chan struct{}) bool {
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

// queue lets streams wait one after the other: those first that failed least,
// so that one that breaks while hundreds stay down, because of what is wrong
// with their topics, does not wait behind these; among equals, in the order in
// which they came. When all break together, that is the order throughout.
type queue struct {
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

func (q *queue) join(failures int) *turn {
	own := &turn{failures, make(chan struct{})}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting = append(q.waiting, own)
	q.next()
	return own
}

// leave ends a turn, whether it has come or not.
func (q *queue) leave(own *turn) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if i := slices.Index(q.waiting, own); i >= 0 {
		q.waiting = slices.Delete(q.waiting, i, i+1)
		return
	}
	q.busy = false
	q.taken.Add(1)
	q.next()
}

// count returns how many streams wait for their turn.
func (q *queue) count() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.waiting)
}

// next gives the turn to the next stream if it is free. Requires mu.
func (q *queue) next() {
	if q.busy || len(q.waiting) == 0 {
		return
	}
	first := 0
	for i, other := range q.waiting {
		if other.failures < q.waiting[first].failures {
			first = i
		}
	}
	q.busy = true
	close(q.waiting[first].come)
	q.waiting = slices.Delete(q.waiting, first, first+1)
}

// budget keeps streams that come back only to break again from doing so at the
// service's pace.
type budget struct {
	Budget

	mu   sync.Mutex
	used float64
	asOf time.Time
}

// settle gives back what the time that passed gives back. Requires mu.
func (b *budget) settle(streams int64) (perSecond, left float64) {
	now := time.Now()
	perSecond = max(float64(b.PerSecond), float64(streams)/10)
	b.used = max(0, b.used-now.Sub(b.asOf).Seconds()*perSecond)
	b.asOf = now
	return perSecond, float64(4*streams+int64(b.Spare)) - b.used
}

// spend takes one from the budget, and returns how long it takes to be there.
func (b *budget) spend(streams int64) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	perSecond, left := b.settle(streams)
	b.used++
	return max(0, time.Duration((1-left)/perSecond*float64(time.Second)))
}

// refund gives back what was spent on an attempt that was not made: or those who
// wait would be the later the more often they are disturbed.
func (b *budget) refund() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used--
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

package momento

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

const (
	// crowd is how many streams may be down before their waits are stretched.
	crowd = 10
	// limitStretch is by how much a wait is stretched after a limit was hit.
	limitStretch = 10
	// minWait keeps a policy that does not wait from spinning.
	minWait = time.Millisecond
)

// recovery lets the streams of a Backend come back together: however many are
// down, they try no more often than a crowd of ten would, and when one gets
// through, the others follow.
type recovery struct {
	mu   sync.Mutex
	down int           // streams that are reconnecting
	back chan struct{} // closed when one of them succeeds; nil if nobody waits
}

// begin counts a stream as down; its end is told by end.
func (r *recovery) begin() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.down++
}

// end tells that a stream is no longer down: because it is back, or because
// it gave up.
func (r *recovery) end(back bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.down--
	if back && r.back != nil {
		close(r.back)
		r.back = nil
	}
}

// wait waits for d, stretched as it must be, and reports whether ctx still
// lives. It never waits less than d.
func (r *recovery) wait(ctx context.Context, d time.Duration, limited bool) bool {
	d = max(d, minWait)
	back, down := r.watch()
	if limited {
		return sleep(ctx, d*limitStretch, nil)
	}
	if !sleep(ctx, d, nil) {
		return false
	}
	stretch := time.Duration((down - 1) / crowd)
	if stretch <= 0 {
		return true
	}
	if !sleep(ctx, d*stretch, back) {
		return false
	}
	select {
	case <-back:
		// Not all in the same instant.
		return sleep(ctx, rand.N(time.Duration(down)*time.Millisecond), nil)
	default:
		return true
	}
}

func (r *recovery) watch() (back <-chan struct{}, down int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.back == nil {
		r.back = make(chan struct{})
	}
	return r.back, r.down
}

// sleep waits for d or until early is closed, and reports whether ctx still
// lives.
func sleep(ctx context.Context, d time.Duration, early <-chan struct{}) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-early:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}

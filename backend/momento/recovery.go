package momento

import (
	"context"
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
)

// recovery lets the streams of a Backend come back together: however many are
// down, they take turns in waiting, so that they try no more often than one
// would, and when one gets through, the others follow.
type recovery struct {
	usual, limited turns

	mu   sync.Mutex
	back chan struct{} // closed when a stream is back
}

// turns lets streams wait one after the other, in the order in which they came.
type turns struct {
	token chan struct{} // holds one while a stream waits
	taken atomic.Uint64 // turns so far
}

func newRecovery() *recovery {
	r := &recovery{back: make(chan struct{})}
	r.usual.token = make(chan struct{}, 1)
	r.limited.token = make(chan struct{}, 1)
	return r
}

// success tells that a stream is back.
func (r *recovery) success() {
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

// wait waits until a stream is to make its next attempt, at least as long as
// policy says. It reports false if there is none to be made: ctx ended, or
// policy says to stop. policy runs on while others have their turns, as it
// would if the stream were alone and made their attempts itself.
func (r *recovery) wait(ctx context.Context, policy backoff.BackOff, limited bool) bool {
	t, back, stretch := &r.usual, r.watch(), time.Duration(1)
	if limited {
		// Attempts count against the limit, and that another stream got
		// through leaves less for this one.
		t, back, stretch = &r.limited, nil, limitStretch
	}
	began, before := time.Now(), t.taken.Load()
	mine := false
	select {
	case t.token <- struct{}{}:
		mine = true
		defer func() {
			t.taken.Add(1)
			<-t.token
		}()
	case <-back:
	case <-ctx.Done():
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

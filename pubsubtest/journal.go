package pubsubtest

import (
	"slices"
	"sync"
	"time"
)

// journal is a list of what happened that others can wait for. Its zero value
// is empty.
type journal[E any] struct {
	mu      sync.Mutex
	entries []E
	ended   bool
	err     error
	changed chan struct{} // closed at the next change; nil if nobody waits
}

func (j *journal[E]) add(e E) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.entries = append(j.entries, e)
	j.stir()
}

// end notes that nothing will follow, and why.
func (j *journal[E]) end(err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.ended, j.err = true, err
	j.stir()
}

// stir wakes those who wait. mu is held.
func (j *journal[E]) stir() {
	if j.changed != nil {
		close(j.changed)
		j.changed = nil
	}
}

// snapshot returns what happened so far.
func (j *journal[E]) snapshot() []E {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.entries)
}

// await waits until done holds for what happened so far, for at most timeout
// and not beyond the end. It reports whether done came to hold.
func (j *journal[E]) await(timeout time.Duration, done func([]E) bool) bool {
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	for {
		j.mu.Lock()
		entries, ended := j.entries[:len(j.entries):len(j.entries)], j.ended
		if j.changed == nil {
			j.changed = make(chan struct{})
		}
		changed := j.changed
		j.mu.Unlock()
		if done(entries) {
			return true
		}
		if ended {
			return false
		}
		select {
		case <-changed:
		case <-timer.C:
			return false
		}
	}
}

// awaitEnd waits for the end and returns its error.
func (j *journal[E]) awaitEnd(timeout time.Duration) (err error, ended bool) {
	j.await(timeout, func([]E) bool { return false })
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.err, j.ended
}

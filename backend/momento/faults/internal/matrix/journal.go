package matrix

import (
	"bytes"
	"sync"
	"time"

	"github.com/topicbus/pubsub"
)

// entry is one thing that a subscription handed out: a message or the report
// of a hole.
type entry struct {
	at      pubsub.Position
	payload pubsub.Payload
	when    time.Time
	hole    *pubsub.Discontinuity // nil: a message
}

// journal is what one subscription handed out, in order, as far as its reader
// has read.
type journal struct {
	changed func() // called after each change

	mu      sync.Mutex
	entries []entry
	last    pubsub.Position // of the last message
	told    uint64          // messages reported lost since
	ended   bool
	err     error         // why it ended, if that is so
	gate    chan struct{} // nil: open
	waiting bool          // the reader is at the gate
}

// add is called by the reader, which waits while the journal is held.
func (j *journal) add(e entry) {
	e.when = time.Now()
	j.mu.Lock()
	j.entries = append(j.entries, e)
	if e.hole != nil {
		j.told += e.hole.Lost
	} else {
		j.last, j.told = e.at, 0
	}
	gate := j.gate
	j.waiting = gate != nil
	j.mu.Unlock()
	j.changed()
	if gate != nil {
		<-gate
	}
}

func (j *journal) end(err error) {
	j.mu.Lock()
	j.ended, j.err = true, err
	j.mu.Unlock()
	j.changed()
}

// hold stops the reader behind the next entry, until release.
func (j *journal) hold() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.gate = make(chan struct{})
}

func (j *journal) release() {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.gate != nil {
		close(j.gate)
		j.gate, j.waiting = nil, false
	}
}

func (j *journal) isWaiting() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.waiting
}

func (j *journal) isEnded() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.ended
}

// reached reports whether everything up to end is accounted for, or nothing
// more will come.
func (j *journal) reached(end pubsub.Position) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.ended || j.last.Page == end.Page && j.last.Sequence+j.told >= end.Sequence
}

// firstSince returns when the first message after a moment came.
func (j *journal) firstSince(moment time.Time) (when time.Time, ok bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, e := range j.entries {
		if e.hole == nil && e.when.After(moment) {
			return e.when, true
		}
	}
	return time.Time{}, false
}

// audit compares the journal with what the server accepted behind start, and
// adds what it finds to o. Messages behind before, which were accepted while
// Subscribe was under way, may be there or not.
func (j *journal) audit(b *book, before, start pubsub.Position, o *Outcome) {
	j.mu.Lock()
	defer j.mu.Unlock()
	at := start
	seen := make(map[pubsub.Position]bool)
	var told uint64 // reported lost since at
	var holes int
	inexact := false
	// settle compares the reports since at with what is missing up to the
	// message at p, which is there itself unless p is the end.
	settle := func(missing uint64, silent *int) {
		switch {
		case told > missing:
			o.Overtold += int(told - missing)
		case told < missing && inexact:
			o.Uncounted += int(missing - told)
		default:
			*silent += int(missing - told)
		}
		told, holes, inexact = 0, 0, false
	}
	for _, e := range j.entries {
		if d := e.hole; d != nil {
			told, holes = told+d.Lost, holes+1
			inexact = inexact || !d.Exact
			o.report(d)
			continue
		}
		payload, accepted := b.payload(e.at)
		switch {
		case seen[e.at]:
			o.Duplicates++
			continue
		case !accepted:
			o.Foreign++
			continue
		case at == start && e.at.Compare(start) <= 0 && e.at.Compare(before) > 0:
			seen[e.at], before = true, e.at
			continue
		case e.at.Compare(at) <= 0:
			o.Disorder++
			continue
		}
		seen[e.at] = true
		o.Delivered++
		if payload != nil && (payload.Format != e.payload.Format || !bytes.Equal(payload.Data, e.payload.Data)) {
			o.Altered++
		}
		if e.at.Page != at.Page && holes == 0 {
			o.SilentResets++
		}
		settle(b.between(at, e.at)-1, &o.Silent)
		at = e.at
	}
	settle(b.between(at, b.end()), &o.Missing)
	o.Accepted += int(b.between(start, b.end()))
}

package momentotest

import (
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"github.com/topicbus/pubsub"
)

// stream is one open Subscribe call. It walks through its topic's log at its
// own pace, so that a slow reader holds up nobody else.
type stream struct {
	grpc.ServerStream
	topic   *Topic
	request Request
	token   string
	control control
	sent    atomic.Uint64

	// Guarded by topic.mu.
	opening opening         // what is left to be sent of it
	cursor  uint64          // offset of the next entry
	joined  uint64          // entries before this offset are replayed
	at      pubsub.Position // of the last message passed
	end     *Failure        // ends the stream when cursor reaches endAt
	endAt   uint64
}

// batchSize is how many entries a stream takes from the log at a time.
const batchSize = 64

// run sends what the log holds until the stream is to end.
func (st *stream) run(heartbeat time.Duration) error {
	var beat <-chan time.Time
	if heartbeat > 0 {
		ticker := time.NewTicker(heartbeat)
		defer ticker.Stop()
		beat = ticker.C
	}
	batch := make([]entry, 0, batchSize)
	for {
		var todo todo
		batch, todo = st.next(batch[:0])
		for _, e := range batch {
			if err := st.step(e); err != nil {
				return err
			}
		}
		switch {
		case todo.end != nil:
			st.SetTrailer(todo.end.trailer())
			return todo.end.err()
		case todo.mute && st.sent.Load() == 0:
			_ = st.SendHeader(nil) // accepted, and no more; fails only if it was sent before
		case todo.idle == nil: // there may be more, which must not crowd out heartbeats
			select {
			case <-beat:
				if err := st.step(entry{frame: st.topic.srv.wire.heartbeat}); err != nil {
					return err
				}
			default:
			}
			continue
		}
		select {
		case <-beat:
			if todo.mute {
				continue
			}
			if err := st.step(entry{frame: st.topic.srv.wire.heartbeat}); err != nil {
				return err
			}
		case <-todo.idle:
		case <-st.Context().Done():
			return canceled(st.Context()).err()
		}
	}
}

// todo is what a stream does after a batch: end, or wait for idle while
// there is nothing to send, or go on.
type todo struct {
	end  *Failure
	idle <-chan struct{}
	mute bool
}

// next takes the next entries for the stream from the log.
func (st *stream) next(batch []entry) ([]entry, todo) {
	t := st.topic
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.muted {
		return batch, todo{end: st.end, idle: t.changed.wait(), mute: true}
	}
	for _, frame := range st.opening {
		batch = append(batch, entry{frame: frame})
	}
	st.opening = nil

	limit := t.base + uint64(len(t.log))
	if st.end != nil {
		limit = st.endAt
	}
	if oldest := t.oldest(); st.cursor < oldest {
		if oldest >= limit && st.end != nil {
			return batch, todo{end: st.end} // nothing is left that it would have sent
		}
		st.cursor = oldest
		if frame := t.missed(st); frame != nil {
			batch = append(batch, entry{frame: frame})
		}
	}
	for ; st.cursor < limit && len(batch) < batchSize; st.cursor++ {
		e := t.log[st.cursor-t.base]
		if e.item {
			st.at = e.at
		} else if st.cursor < st.joined {
			continue // what was injected is for those who were there
		}
		batch = append(batch, e)
	}
	switch {
	case st.end != nil && st.cursor >= limit:
		return batch, todo{end: st.end}
	case len(batch) == 0:
		return batch, todo{idle: t.changed.wait()}
	default:
		return batch, todo{}
	}
}

// step sends one entry.
func (st *stream) step(e entry) error {
	if e.pause > 0 {
		if f := sleep(st.Context(), e.pause); f != nil {
			return f.err()
		}
		return nil
	}
	if end := st.control.streamEnd; end != nil && st.sent.Load() >= st.control.streamLimit {
		return end.err()
	}
	if err := st.SendMsg(e.frame); err != nil {
		return err
	}
	st.sent.Add(1)
	st.topic.srv.watch.changed()
	return nil
}

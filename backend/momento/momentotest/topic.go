package momentotest

import (
	"slices"
	"sort"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/topicbus/pubsub"
)

// Topic is a topic of the server, as [Server.Topic] returns it. Its methods
// may be called from many goroutines at once, before the topic has its first
// publisher or subscriber too.
type Topic struct {
	srv         *Server
	cache, name string
	changed     watch // what streams wait for

	mu       sync.Mutex
	page     uint64 // 0: the topic does not exist yet
	last     uint64 // the last sequence number given out on page
	log      []entry
	base     uint64 // offset of log[0]; offsets count the topic's entries from its beginning
	pageBase uint64 // offset of the first entry of page
	streams  []*stream
	requests []Request
	openings []opening
	muted    bool

	publishes int
}

// entry is a step of the script that all streams of a topic walk through.
type entry struct {
	frame encoded
	pause time.Duration // in place of a frame
	// at is the item's position. For other entries it is that of the item
	// before, so that the entries of a page are ordered.
	at   pubsub.Position
	item bool
}

// opening replaces what the server has to say when a stream opens.
type opening []encoded

// keptRequests is how many Subscribe requests of a topic are kept.
const keptRequests = 1024

// Notice tells whether the server lets subscribers know what it does to a
// topic.
type Notice bool

const (
	Announced   Notice = true  // a discontinuity says so
	Unannounced Notice = false // nothing does
)

// Publish publishes a message within the server: no request is made, no limit
// or fault applies, and it works while the server is stopped. It returns the
// message's position. The error is a gRPC status: NotFound if the cache does
// not exist, Internal for text that is not valid UTF-8.
func (t *Topic) Publish(p pubsub.Payload) (pubsub.Position, error) {
	if !t.srv.hasCache(t.cache) {
		return pubsub.Position{}, noCache(t.cache).err()
	}
	return t.publish(t.srv.wire.newValue(p), "")
}

// PublishFrame is Publish of a message that is sent as a frame of any kind, such
// as [ItemOfInvalidText]: it is numbered and retained, and sent again to those
// who resume. frame is given the message's position.
func (t *Topic) PublishFrame(frame func(pubsub.Position) Frame) (pubsub.Position, error) {
	if !t.srv.hasCache(t.cache) {
		return pubsub.Position{}, noCache(t.cache).err()
	}
	return t.accept(func(at pubsub.Position) ([]byte, error) { return frame(at).encode(t.srv.wire) })
}

func (t *Topic) publish(value message, publisher string) (pubsub.Position, error) {
	return t.accept(func(at pubsub.Position) ([]byte, error) { return t.srv.wire.encodeItem(at, value, publisher) })
}

// accept gives a message the next number, by which encode encodes it.
func (t *Topic) accept(encode func(pubsub.Position) ([]byte, error)) (pubsub.Position, error) {
	t.mu.Lock()
	t.begin()
	at := pubsub.Position{Page: t.page, Sequence: t.last + 1}
	frame, err := encode(at)
	if err != nil {
		t.mu.Unlock()
		return pubsub.Position{}, status.Errorf(codes.Internal, "cannot encode the message: %v", err)
	}
	t.last++
	t.append(entry{frame: frame, at: at, item: true})
	t.mu.Unlock()
	t.changed.changed()
	return at, nil
}

// Send sends frames to the streams that are open now, after what was
// published before and ahead of what is published afterwards.
func (t *Topic) Send(frames ...Frame) error {
	all, err := t.srv.encode(frames)
	if err != nil {
		return err
	}
	t.mu.Lock()
	for _, frame := range all {
		t.inject(frame)
	}
	t.mu.Unlock()
	t.changed.changed()
	return nil
}

// Pause makes the streams that are open now wait for d at this place, before
// they send what follows.
func (t *Topic) Pause(d time.Duration) {
	t.mu.Lock()
	t.append(entry{pause: d, at: t.end()})
	t.mu.Unlock()
	t.changed.changed()
}

// Lose gives out n sequence numbers whose messages nobody will ever see. The
// notice is a discontinuity on the same page.
func (t *Topic) Lose(n uint64, notice Notice) {
	t.mu.Lock()
	t.begin()
	before := t.last
	t.last += n
	if notice == Announced {
		t.inject(t.discontinuity(before, t.last+1, t.page))
	}
	t.mu.Unlock()
	t.changed.changed()
}

// Reset moves the topic to a new, greater page: what was retained is gone,
// and the next message has number 1. The notice is a discontinuity to that
// page.
func (t *Topic) Reset(notice Notice) {
	t.mu.Lock()
	before := t.last
	t.forget()
	t.begin()
	if notice == Announced {
		t.inject(t.discontinuity(before, 1, t.page))
	}
	t.mu.Unlock()
	t.changed.changed()
}

// EndStreams ends the streams that are open now, after they sent what was
// published before. It does not wait for that; see [Server.Wait]. It returns
// how many streams they are.
func (t *Topic) EndStreams(f Failure) int {
	return t.endStreams(f, func(*stream) bool { return true })
}

func (t *Topic) endStreams(f Failure, which func(*stream) bool) int {
	t.mu.Lock()
	n := 0
	for _, st := range t.streams {
		if st.end == nil && which(st) {
			st.end, st.endAt = &f, t.base+uint64(len(t.log))
			n++
		}
	}
	t.mu.Unlock()
	t.changed.changed()
	return n
}

// delete makes the topic one that does not exist yet and ends its streams.
func (t *Topic) delete() {
	t.endStreams(noCache(t.cache), func(*stream) bool { return true })
	t.mu.Lock()
	t.forget()
	t.mu.Unlock()
}

// Mute silences the topic while on is true: its open streams fall silent and
// new ones are accepted and stay mute, heartbeats included. Publish goes on
// to work. Afterwards the streams carry on where they were.
func (t *Topic) Mute(on bool) {
	t.mu.Lock()
	t.muted = on
	t.mu.Unlock()
	t.changed.changed()
}

// ScriptOpening makes the next stream of the topic start with these frames,
// in place of the heartbeat and the discontinuity that may follow it; with
// none, it starts with the first message. Each call scripts one more stream.
func (t *Topic) ScriptOpening(frames ...Frame) error {
	all, err := t.srv.encode(frames)
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.openings = append(t.openings, all)
	return nil
}

// The methods below are called with t.mu held.

// begin gives the topic a page if it has none.
func (t *Topic) begin() {
	if t.page == 0 {
		t.page = t.srv.newPage()
	}
}

// forget makes the topic one that does not exist yet.
func (t *Topic) forget() {
	t.page, t.last = 0, 0
	t.pageBase = t.base + uint64(len(t.log))
}

// end is the position of the last message, or the page's beginning.
func (t *Topic) end() pubsub.Position { return pubsub.Position{Page: t.page, Sequence: t.last} }

func (t *Topic) inject(frame encoded) { t.append(entry{frame: frame, at: t.end()}) }

// append adds to the log. It keeps a quarter more than the retention, so that
// making room costs little per entry.
func (t *Topic) append(e entry) {
	keep := t.srv.cfg.retention
	if spare := len(t.log) - keep; spare > 0 && spare >= keep/4 {
		kept := copy(t.log, t.log[spare:])
		clear(t.log[kept:])
		t.log, t.base = t.log[:kept], t.base+uint64(spare)
	}
	t.log = append(t.log, e)
}

// oldest is the offset of the first entry within the retention.
func (t *Topic) oldest() uint64 {
	return t.base + uint64(max(0, len(t.log)-t.srv.cfg.retention))
}

// find returns the offset of the page's first retained item with a number of
// at least from, and that number. Without one it returns the log's end and
// the number of the message to come.
func (t *Topic) find(from uint64) (offset, sequence uint64) {
	start := max(t.oldest(), t.pageBase)
	log := t.log[start-t.base:]
	i := sort.Search(len(log), func(i int) bool { return log[i].at.Sequence >= from })
	for ; i < len(log); i++ {
		if log[i].item {
			return start + uint64(i), log[i].at.Sequence
		}
	}
	return t.base + uint64(len(t.log)), t.last + 1
}

// discontinuity encodes one after which the message with number next follows.
func (t *Topic) discontinuity(last, next, page uint64) encoded {
	if !t.srv.cfg.inclusive {
		next--
	}
	frame, err := t.srv.wire.encodeDiscontinuity(last, next, page)
	if err != nil {
		panic("momentotest: three numbers cannot be encoded: " + err.Error())
	}
	return frame
}

// join opens a stream for the request and decides where it starts.
func (t *Topic) join(st *stream) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.begin()
	r := st.request
	next := t.last + 1
	st.cursor = t.base + uint64(len(t.log))
	st.joined = st.cursor
	st.opening = append(st.opening, t.srv.wire.heartbeat)
	// A page that the subscriber does not know yet is named to it, unless
	// the topic is new.
	name := r.Page == 0 && t.last > 0
	switch {
	case r.Page != 0 && r.Page != t.page:
		st.opening = append(st.opening, t.discontinuity(0, next, t.page))
	case r.ResumeAt != 0:
		st.cursor, next = t.find(r.ResumeAt)
		if next != r.ResumeAt || name {
			st.opening = append(st.opening, t.discontinuity(r.ResumeAt-1, next, t.page))
		}
	case name:
		st.opening = append(st.opening, t.discontinuity(0, next, t.page))
	}
	st.at = pubsub.Position{Page: t.page, Sequence: next - 1}
	if len(t.openings) > 0 {
		st.opening = t.openings[0]
		t.openings = slices.Delete(t.openings, 0, 1)
	}
	t.streams = append(t.streams, st)
}

// missed makes up for messages that a stream was too slow for, now that its
// cursor has been moved past them. It returns the discontinuity that tells so,
// or nil if there were none.
func (t *Topic) missed(st *stream) encoded {
	page, next := t.page, t.last+1
	for _, e := range t.log[st.cursor-t.base:] {
		if e.item {
			page, next = e.at.Page, e.at.Sequence
			break
		}
	}
	before := st.at
	st.at = pubsub.Position{Page: page, Sequence: next - 1}
	switch {
	case before == st.at:
		return nil
	case before.Page != page:
		return t.discontinuity(0, next, page)
	default:
		return t.discontinuity(before.Sequence, next, page)
	}
}

func (t *Topic) leave(st *stream) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.streams = slices.DeleteFunc(t.streams, func(s *stream) bool { return s == st })
}

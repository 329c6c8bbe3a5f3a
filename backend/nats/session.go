package nats

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/topicbus/pubsub"
)

const (
	// batchMessages is how many messages a session asks for at once. It asks
	// again when half of them have come.
	batchMessages = 256
	// batchBytes bounds what of them waits in memory, unless the server takes
	// larger messages.
	batchBytes = 4 << 20
	// spare is the room for answers that are no messages.
	spare = 64
	// inactive is how long the server keeps a consumer for which nobody asks,
	// such as that of a process that was killed.
	inactive = time.Minute
	// maxMade is how often in a row a stream may be made while a session opens.
	maxMade = 5
)

// session is one consumer of a stream, for as long as it lives.
type session struct {
	parent  context.Context // the stream's
	ctx     context.Context // ends with parent, and with a cause when the session broke; nil before start
	cancel  context.CancelCauseFunc
	release []func()
	line    *line
	sub     *natsgo.Subscription
	in      chan *natsgo.Msg
	api     string // the prefix of JetStream's subjects
	stream  string
	name    string // of the consumer
	pending int    // messages asked for that have not come
	// oversize: there is a message larger than the server takes nowadays, so
	// that nothing must bound the bytes of a request.
	oversize bool
	stall    time.Duration
	timer    *time.Timer
	began    time.Time
}

// topicStream finds the topic's stream. It makes it if it may, and tells so.
func (b *Backend) topicStream(ctx context.Context, l *line, n names) (s jetstream.Stream, made bool, err error) {
	s, err = findStream(ctx, l, n)
	if !errors.Is(err, jetstream.ErrStreamNotFound) || !b.options.create {
		return s, false, err
	}
	c, err := b.options.config(n)
	if err != nil {
		return nil, false, err
	}
	s, err = l.js.CreateStream(ctx, c)
	if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
		// Somebody else made it, with another configuration.
		s, err = findStream(ctx, l, n)
	}
	return s, true, err
}

func findStream(ctx context.Context, l *line, n names) (jetstream.Stream, error) {
	s, err := l.js.Stream(ctx, n.stream)
	if err != nil {
		return nil, err
	}
	if what := unfit(&s.CachedInfo().Config, n); what != "" {
		return nil, invalid("the stream %s cannot carry the topic: its configuration %s", n.stream, what)
	}
	return s, nil
}

func standingOf(info *jetstream.StreamInfo) standing {
	st := standing{
		page:  uint64(info.Created.UnixNano()),
		begin: max(1, info.Config.FirstSeq),
		last:  info.State.LastSeq,
	}
	st.last = min(max(st.last, st.begin-1), math.MaxUint64-1) // nothing could follow the largest number
	st.first = min(max(st.begin, info.State.FirstSeq), st.last+1)
	if info.State.Msgs == 0 {
		st.first = st.last + 1
	}
	return st
}

// chooser tells where a consumer is to begin: the number of the first message
// that it sends.
type chooser func(context.Context, jetstream.Stream) (next uint64, err error)

// open makes a consumer. If the stream is made again meanwhile, it makes another
// one. It calls name for each, and may ask choose each time. If behind is not zero
// then the stream is expected to be the one of that position.
func (b *Backend) open(ctx context.Context, n names, name func() string, behind pubsub.Position, choose chooser) (*session, error) {
	select {
	case b.opening <- struct{}{}:
		defer func() { <-b.opening }()
	case <-ctx.Done():
		return nil, translate(ctx, ctx, ctx.Err())
	}
	var s *session
	err := b.link.call(ctx, b.options.subscribeTimeout, watcher{token: n.stream}, func(call context.Context, l *line) error {
		for try := range maxMade {
			s = b.newSession(ctx, l, n, name())
			attempt := s.begin
			if try == 0 && !behind.IsZero() {
				attempt = s.resume
			}
			if ok, err := attempt(call, b, n, behind, choose); ok || err != nil {
				return err
			}
		}
		return errUnruly
	})
	if err != nil {
		return nil, err
	}
	s.began = time.Now()
	return s, nil
}

func (b *Backend) newSession(ctx context.Context, l *line, n names, name string) *session {
	s := &session{parent: ctx, line: l, stream: n.stream, name: name, stall: b.options.stallTimeout}
	s.api = jetstream.DefaultAPIPrefix
	if b.options.domain != "" {
		s.api = fmt.Sprintf("$JS.%s.API.", b.options.domain)
	}
	return s
}

// begin makes the consumer where choose says. It reports false if that is of
// another stream than the one that choose was told of.
func (s *session) begin(ctx context.Context, b *Backend, n names, _ pubsub.Position, choose chooser) (ok bool, err error) {
	before, _, err := b.topicStream(ctx, s.line, n)
	if err != nil {
		return false, err
	}
	next, err := choose(ctx, before)
	if err != nil {
		return false, err
	}
	if err := s.consume(ctx, next); err != nil {
		return false, unlessGone(err)
	}
	// Whose the consumer is, is told only by the stream having been the same
	// before and behind.
	after, err := findStream(ctx, s.line, n)
	if err == nil && same(after, uint64(before.CachedInfo().Created.UnixNano()), before.CachedInfo().State.LastSeq) {
		return true, s.start(b.link)
	}
	s.forget()
	return false, unlessGone(err)
}

// resume makes the consumer behind a position. It reports false if the stream
// is not the one that the position is of: then the consumer may not be its
// either. It asks the server less than begin does, and lets the first messages
// come meanwhile, which counts when hundreds of streams come back together.
func (s *session) resume(ctx context.Context, b *Backend, n names, behind pubsub.Position, choose chooser) (ok bool, err error) {
	if err := s.consume(ctx, plus(behind.Sequence, 1)); err != nil {
		return false, unlessGone(err)
	}
	if err := s.start(b.link); err != nil {
		return false, err
	}
	if err := s.ask(); err != nil {
		s.end()
		return false, err
	}
	after, err := findStream(ctx, s.line, n)
	if err == nil && same(after, behind.Page, behind.Sequence) {
		if _, err = choose(ctx, after); err == nil {
			return true, nil
		}
	}
	s.end()
	return false, unlessGone(err)
}

// same reports whether s was made then, and still has given so many numbers.
func same(s jetstream.Stream, page, last uint64) bool {
	st := standingOf(s.CachedInfo())
	return st.page == page && st.last >= last
}

// unlessGone returns err, or nil if it says that there is no stream.
func unlessGone(err error) error {
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil
	}
	return err
}

// consume makes the consumer.
func (s *session) consume(ctx context.Context, next uint64) error {
	_, err := s.line.js.CreateConsumer(ctx, s.stream, jetstream.ConsumerConfig{
		Name:              s.name,
		DeliverPolicy:     jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:       next,
		AckPolicy:         jetstream.AckNonePolicy,
		InactiveThreshold: inactive,
		MemoryStorage:     true,
		Replicas:          1,
	})
	return err
}

// forget has the server forget the consumer, and does not wait for it.
func (s *session) forget() { s.forgetOther(s.name) }

// forgetOthers has it forget other consumers of the same stream, which may not
// be there.
func (s *session) forgetOthers(names []string) {
	for _, name := range names {
		s.forgetOther(name)
	}
}

func (s *session) forgetOther(name string) {
	_ = s.line.nc.PublishRequest(s.api+"CONSUMER.DELETE."+s.stream+"."+name, s.line.nc.NewInbox(), nil)
}

// start has the session ready to ask for messages.
func (s *session) start(l *link) (err error) {
	s.in = make(chan *natsgo.Msg, 2*batchMessages+spare)
	if s.sub, err = s.line.nc.ChanSubscribe(s.line.nc.NewInbox(), s.in); err != nil {
		s.forget()
		return err
	}
	s.ctx, s.cancel = context.WithCancelCause(s.parent)
	s.timer = time.NewTimer(s.stall)
	s.release = append(s.release,
		l.watch(&watcher{token: s.name, refused: s.cancel}),
		l.watch(&watcher{subject: s.sub.Subject, refused: s.cancel}))
	stop := context.AfterFunc(s.line.ctx, func() { s.cancel(context.Cause(s.line.ctx)) })
	s.release = append(s.release, func() { stop() })
	return nil
}

// end ends the session.
func (s *session) end() {
	for _, f := range s.release {
		f()
	}
	s.cancel(nil)
	s.timer.Stop()
	_ = s.sub.Unsubscribe()
	if cause := context.Cause(s.line.ctx); cause == nil || cause == errClosed {
		s.forget() // the connection is there
	}
}

// pullRequest asks a consumer for messages.
type pullRequest struct {
	Batch     int           `json:"batch"`
	MaxBytes  int           `json:"max_bytes,omitempty"`
	Expires   time.Duration `json:"expires"`
	Heartbeat time.Duration `json:"idle_heartbeat"`
}

// ask asks for messages if few are on their way.
func (s *session) ask() error {
	if s.pending > batchMessages/2 {
		return nil
	}
	r := pullRequest{Batch: batchMessages - s.pending, Expires: max(time.Minute, s.stall), Heartbeat: s.stall / 3}
	if !s.oversize {
		r.MaxBytes = max(batchBytes, 2*int(s.line.nc.MaxPayload()))
	}
	request, err := json.Marshal(r)
	if err != nil {
		return err
	}
	s.pending = batchMessages
	return s.line.nc.PublishRequest(s.api+"CONSUMER.MSG.NEXT."+s.stream+"."+s.name, s.sub.Subject, request)
}

// settle takes note that so many of the messages that were asked for came, or
// are not to come.
func (s *session) settle(n uint64) { s.pending -= int(min(n, uint64(s.pending))) }

// take returns the next thing that the server sent, if there is one.
func (s *session) take() *natsgo.Msg {
	select {
	case m := <-s.in:
		return m
	default:
		return nil
	}
}

// next waits for the next thing that the server sends. If the session is broken
// it returns what is here already, and then why.
func (s *session) next(broken error) (*natsgo.Msg, error) {
	if m := s.take(); m != nil {
		return m, nil
	}
	if broken != nil {
		return nil, broken
	}
	s.timer.Reset(s.stall)
	select {
	case m := <-s.in:
		return m, nil
	case <-s.ctx.Done():
		return nil, context.Cause(s.ctx)
	case <-s.timer.C:
		return nil, errStalled
	}
}

// item is something that the server sent.
type item struct {
	kind     kind
	stream   uint64 // a message's number, or that of the last one passed
	consumer uint64
	behind   uint64 // message: how many the stream has behind it
	returned uint64 // expired: how many of those that were asked for did not come, ...
	oversize bool   // ... because of the next one's size
	msg      *natsgo.Msg
}

type kind uint8

const (
	message kind = iota
	heartbeat
	expired
)

// read tells what m is. An error means that the session is over.
func read(m *natsgo.Msg) (*item, error) {
	if m.Reply != "" || len(m.Data) > 0 {
		meta, err := m.Metadata()
		if err != nil {
			return nil, &breakError{what: "a message came without its numbers", cause: err}
		}
		return &item{kind: message, stream: meta.Sequence.Stream, consumer: meta.Sequence.Consumer, behind: meta.NumPending, msg: m}, nil
	}
	status, text := m.Header.Get("Status"), m.Header.Get("Description")
	switch status {
	case "100":
		return &item{kind: heartbeat, stream: number(m, "Nats-Last-Stream"), consumer: number(m, "Nats-Last-Consumer")}, nil
	case "503":
		return nil, &breakError{what: "the consumer is gone", cause: natsgo.ErrNoResponders}
	case "408", "409":
		if m.Header.Get("Nats-Pending-Messages") != "" {
			return &item{kind: expired, returned: number(m, "Nats-Pending-Messages"), oversize: text == "Message Size Exceeds MaxBytes"}, nil
		}
	}
	return nil, &breakError{what: fmt.Sprintf("the server ended the consumer: %s %s", status, text)}
}

func number(m *natsgo.Msg, header string) uint64 {
	n, _ := strconv.ParseUint(m.Header.Get(header), 10, 64)
	return n
}

package nats

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/topicbus/pubsub"
)

const (
	headerContentType = "Content-Type"
	contentText       = "text/plain; charset=utf-8"
)

// publisher publishes to one topic.
type publisher struct {
	b *Backend
	n names
	// headers of a Text and a Binary message; not modified
	text, binary natsgo.Header
}

var _ pubsub.BatchPublisher = (*publisher)(nil)

func (b *Backend) publisher(topic string) (*publisher, error) {
	n, err := b.options.names(topic)
	if err != nil {
		return nil, pubsub.WithOutcome(err, pubsub.NotAccepted)
	}
	return &publisher{
		b: b, n: n,
		text:   natsgo.Header{jetstream.ExpectedStreamHeader: {n.stream}, headerContentType: {contentText}},
		binary: natsgo.Header{jetstream.ExpectedStreamHeader: {n.stream}}, // bytes are what no content type stands for
	}, nil
}

// message returns p as a message of the topic.
func (t *publisher) message(p pubsub.Payload) (*natsgo.Msg, error) {
	m := &natsgo.Msg{Subject: t.n.subject, Data: p.Data}
	switch p.Format {
	case pubsub.Text:
		m.Header = t.text
	case pubsub.Binary:
		m.Header = t.binary
	default:
		return nil, pubsub.WithOutcome(fmt.Errorf("%w: unknown format %v", pubsub.ErrInvalidPayload, p.Format), pubsub.NotAccepted)
	}
	return m, nil
}

// payload returns what a message carries. One that other programs published is
// Text if its content type says so and it is.
func payload(m *natsgo.Msg) pubsub.Payload {
	p := pubsub.Payload{Format: pubsub.Binary, Data: m.Data}
	if content := m.Header[headerContentType]; len(content) == 1 && textual(content[0]) && utf8.Valid(m.Data) {
		p.Format = pubsub.Text
	}
	return p
}

func textual(content string) bool {
	if content == contentText {
		return true
	}
	media, _, _ := strings.Cut(content, ";")
	media = strings.ToLower(strings.TrimSpace(media))
	return strings.HasPrefix(media, "text/") || media == "application/json" || strings.HasSuffix(media, "+json")
}

// Publish implements [pubsub.TopicPublisher].
func (t *publisher) Publish(ctx context.Context, p pubsub.Payload) error {
	m, err := t.message(p)
	if err != nil {
		return err
	}
	err = t.send(ctx, m)
	if !errors.Is(err, natsgo.ErrNoResponders) {
		return err
	}
	// Nobody was there to take it, so sending it again cannot duplicate it.
	if err := t.ensure(ctx, err); err != nil {
		return err
	}
	return t.send(ctx, m)
}

// send makes one attempt.
func (t *publisher) send(ctx context.Context, m *natsgo.Msg) error {
	return t.b.link.call(ctx, t.b.options.publishTimeout, watcher{subject: t.n.subject}, func(ctx context.Context, l *line) error {
		answer, err := l.nc.RequestMsgWithContext(ctx, m)
		if err != nil {
			return err
		}
		number, err := acknowledged(answer, t.n.stream)
		if err == nil {
			t.b.readers.accepted(t.n.stream, number)
		}
		return err
	})
}

// ensure has the topic's stream exist, after nobody answered a publish. missing
// is what to return if that may be because the stream just has no leader.
func (t *publisher) ensure(ctx context.Context, missing error) error {
	made := false
	err := t.b.link.call(ctx, t.b.options.publishTimeout, watcher{token: t.n.stream}, func(ctx context.Context, l *line) (err error) {
		_, made, err = t.b.topicStream(ctx, l, t.n)
		return err
	})
	switch {
	case err != nil:
		return pubsub.WithOutcome(err, pubsub.NotAccepted)
	case !made:
		return missing
	}
	return nil
}

// acknowledgement is the server's answer to a publish.
type acknowledgement struct {
	Error    *jetstream.APIError `json:"error"`
	Stream   string              `json:"stream"`
	Sequence uint64              `json:"seq"`
}

// acknowledged returns the number of a message that the server has stored. An
// error has the server's whole text: see shown, which looks for secrets in it.
func acknowledged(answer *natsgo.Msg, stream string) (uint64, error) {
	if number, ok := plainly(answer.Data, stream); ok {
		return number, nil
	}
	if len(answer.Data) == 0 && answer.Header.Get("Status") == "503" {
		return 0, natsgo.ErrNoResponders
	}
	var a acknowledgement
	if err := json.Unmarshal(answer.Data, &a); err != nil {
		return 0, fmt.Errorf("%w: %s", jetstream.ErrInvalidJSAck, answer.Data)
	}
	if a.Error != nil {
		return 0, a.Error
	}
	if a.Stream != stream || a.Sequence == 0 {
		return 0, fmt.Errorf("%w: %s", jetstream.ErrInvalidJSAck, answer.Data)
	}
	return a.Sequence, nil
}

// plainly reads an acknowledgement as the server writes it when there is nothing
// to say but the number: {"stream":"name", "seq":42}. Decoding it as JSON takes a
// tenth of the time of a message in a batch.
func plainly(data []byte, stream string) (number uint64, ok bool) {
	rest, ok := bytes.CutPrefix(data, []byte(`{"stream":"`))
	if !ok || len(rest) < len(stream) || string(rest[:len(stream)]) != stream {
		return 0, false
	}
	rest, ok = bytes.CutPrefix(rest[len(stream):], []byte(`", "seq":`))
	if !ok || len(rest) < 2 || len(rest) > 20 || rest[len(rest)-1] != '}' {
		return 0, false
	}
	for _, c := range rest[:len(rest)-1] {
		if c < '0' || c > '9' {
			return 0, false
		}
		number = 10*number + uint64(c-'0')
	}
	return number, number > 0
}

// Limits of what PublishBatch has under way.
const (
	windowMessages = 4096
	windowBytes    = 8 << 20
)

// PublishBatch implements [pubsub.BatchPublisher]. It does not wait for one
// message's acknowledgement before it sends the next.
func (t *publisher) PublishBatch(ctx context.Context, ps []pubsub.Payload) (accepted int, err error) {
	accepted, untaken, err := t.sendAll(ctx, ps)
	if untaken {
		// Nobody was there to take them, so sending them again cannot
		// duplicate one.
		if err := t.ensure(ctx, err); err != nil {
			return 0, err
		}
		accepted, _, err = t.sendAll(ctx, ps)
	}
	return accepted, err
}

// sendAll makes one attempt. untaken tells that nobody took any message.
func (t *publisher) sendAll(ctx context.Context, ps []pubsub.Payload) (accepted int, untaken bool, err error) {
	if len(ps) == 0 {
		return 0, false, nil
	}
	b := batch{
		t: t, ps: ps, stop: len(ps), failed: len(ps), results: make([]result, len(ps)),
		denials: make(chan error, len(ps)),
	}
	err = t.b.link.call(ctx, 0, watcher{subject: t.n.subject, refused: b.deny}, b.run)
	t.b.readers.accepted(t.n.stream, b.last)
	if err == nil {
		return len(ps), false, nil
	}
	for accepted < len(ps) && b.results[accepted] == stored {
		accepted++
	}
	if b.stored > accepted { // some behind the one that failed
		return accepted, false, pubsub.WithOutcome(err, pubsub.OutcomeUnknown)
	}
	return accepted, accepted == 0 && errors.Is(err, natsgo.ErrNoResponders), err
}

// result is what is known of one message of a batch.
type result uint8

const (
	unanswered result = iota
	stored
	rejected
)

// batch is a PublishBatch under way.
type batch struct {
	t        *publisher
	ps       []pubsub.Payload
	results  []result
	stop     int // from this index on nothing is sent
	sent     int
	answered int
	stored   int
	last     uint64 // the greatest number that one was given
	bytes    int    // sent and not answered
	failed   int    // the first that failed so far, ...
	err      error  // ... and why

	// denials has an error for each message whose subject the server did not
	// permit. Which message, it does not tell.
	denials chan error
	denied  int
}

// deny is told of a denial, or that no answers can come.
func (b *batch) deny(err error) {
	select {
	case b.denials <- err:
	default: // others publish to the subject too
	}
}

func (b *batch) run(ctx context.Context, l *line) error {
	inbox := l.nc.NewInbox() + "."
	answers := make(chan *natsgo.Msg, min(len(b.ps), windowMessages))
	sub, err := l.nc.ChanSubscribe(inbox+"*", answers)
	if err != nil {
		return err
	}
	defer func() { _ = sub.Unsubscribe() }()
	timeout := time.NewTimer(b.t.b.options.publishTimeout)
	defer timeout.Stop()
	for {
		for b.sent < b.stop && b.sent-b.answered-b.denied < cap(answers) && (b.bytes < windowBytes || b.sent == b.answered) {
			b.send(l, inbox)
		}
		if b.answered+b.denied == b.sent {
			return b.err
		}
		select {
		case m := <-answers:
			b.answer(m, inbox)
			continue
		default:
		}
		timeout.Reset(b.t.b.options.publishTimeout)
		select {
		case m := <-answers:
			b.answer(m, inbox)
		case err := <-b.denials:
			if !deniedPublish(err) {
				return err
			}
			b.denied++
			b.stop = b.sent
			b.err = pubsub.WithOutcome(err, pubsub.NotAccepted)
		case <-timeout.C:
			return errTimeout
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// send sends the next message.
func (b *batch) send(l *line, inbox string) {
	m, err := b.t.message(b.ps[b.sent])
	if err == nil {
		m.Reply = inbox + strconv.Itoa(b.sent)
		err = l.nc.PublishMsg(m)
	}
	if err != nil {
		b.fail(b.sent, err)
		return
	}
	b.bytes += len(m.Data)
	b.sent++
}

// answer takes an answer of the server's.
func (b *batch) answer(m *natsgo.Msg, inbox string) {
	i, err := strconv.Atoi(strings.TrimPrefix(m.Subject, inbox))
	if err != nil || i < 0 || i >= b.sent || b.results[i] != unanswered {
		return // none of ours
	}
	b.answered++
	b.bytes -= len(b.ps[i].Data)
	number, err := acknowledged(m, b.t.n.stream)
	if err != nil {
		b.results[i] = rejected
		b.fail(i, err)
		return
	}
	b.results[i] = stored
	b.stored++
	b.last = max(b.last, number)
}

// fail notes that a message failed. No more are sent.
func (b *batch) fail(i int, err error) {
	b.stop = b.sent
	if i < b.failed && b.denied == 0 {
		b.failed, b.err = i, err
	}
}

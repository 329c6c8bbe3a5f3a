package nats

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/internal/foreign"
)

// link is the Backend's connection to the server. It is made by the first call
// and then comes back by itself, unless the server refuses who we are: then the
// next call makes another.
type link struct {
	dial   func(handlers []natsgo.Option) (*natsgo.Conn, error) // nil: the connection is the caller's
	domain string
	ctx    context.Context // ends with the Backend
	users  sync.WaitGroup  // calls, streams that are read, and the goroutine that connects
	tap    *tap            // nil: the connection is ours

	foreign    *foreign.Filter
	complaints complaints

	mu      sync.Mutex
	ended   bool
	conn    *conn         // the newest, nil before the first
	line    *line         // nil while there is no connection
	lost    error         // why not
	dialing *dialing      // nil: nobody is
	back    chan struct{} // closed when there is a line again
	waiting map[*watcher]struct{}
}

// conn is a connection. It outlives breaks until the client library gives it
// up. link.mu guards its fields, but for nc and over.
type conn struct {
	nc      *natsgo.Conn
	refused error         // the server does not accept, or no longer, who we are
	dead    bool          // it does not come back
	awaited bool          // no handler has told of it yet
	over    chan struct{} // closed by the last handler that is called
}

// line is a stretch of time in which a connection did not break.
type line struct {
	conn *conn
	nc   *natsgo.Conn
	js   jetstream.JetStream
	ctx  context.Context // ends when the connection breaks
	end  context.CancelCauseFunc
	mute error // why no answers come; guarded by link.mu
}

type dialing struct {
	done chan struct{}
	err  error
}

// watcher is somebody who wants to know that the server refused a subject.
type watcher struct {
	subject string // this one, or ...
	token   string // ... those that contain this
	refused func(error)
}

func newLink(ctx context.Context, o *options) *link {
	return &link{
		ctx: ctx, domain: o.domain, foreign: o.foreign, complaints: complaints{log: o.logger, foreign: o.foreign},
		back: make(chan struct{}), waiting: make(map[*watcher]struct{}),
	}
}

// tap is what the handlers in a connection of the caller's have to do with the
// link. They cannot be taken out, because functions cannot be compared, and
// others may have put theirs before them. When the link is closed they only pass
// on what they are told.
type tap struct{ link atomic.Pointer[link] }

func (t *tap) tell(f func(*link)) {
	if l := t.link.Load(); l != nil {
		f(l)
	}
}

// adopt takes a connection of the caller's.
func (l *link) adopt(nc *natsgo.Conn) {
	t := &tap{}
	t.link.Store(l)
	l.tap = t
	disconnected, reconnected := nc.DisconnectErrHandler(), nc.ReconnectHandler()
	closed, failed := nc.ClosedHandler(), nc.ErrorHandler()
	if plain := nc.Opts.DisconnectedCB; disconnected == nil && plain != nil { // the deprecated one, which nats.go calls if there is no other
		disconnected = func(nc *natsgo.Conn, _ error) { plain(nc) }
	}
	nc.SetDisconnectErrHandler(func(nc *natsgo.Conn, err error) {
		t.tell(func(l *link) { l.down(nc, err, false) })
		if disconnected != nil {
			disconnected(nc, err)
		}
	})
	nc.SetReconnectHandler(func(nc *natsgo.Conn) {
		t.tell(func(l *link) { l.up(nc) })
		if reconnected != nil {
			reconnected(nc)
		}
	})
	nc.SetClosedHandler(func(nc *natsgo.Conn) {
		t.tell(func(l *link) { l.down(nc, nc.LastError(), true) })
		if closed != nil {
			closed(nc)
		}
	})
	nc.SetErrorHandler(func(nc *natsgo.Conn, sub *natsgo.Subscription, err error) {
		t.tell(func(l *link) { l.report(nc, err, failed == nil) })
		if failed != nil {
			failed(nc, sub, err)
		}
	})
	if nc.IsConnected() || nc.IsClosed() {
		l.set(nc, false)
		return
	}
	changes := nc.StatusChanged(natsgo.CONNECTED, natsgo.CLOSED)
	l.set(nc, true)
	l.users.Add(1)
	go l.await(nc, changes)
}

// await takes note that a connection is there which was not when it was adopted.
// If it never was before (nats.RetryOnFailedConnect), then of the handlers
// nats.go calls only the one for the first connect, which cannot be set any more.
func (l *link) await(nc *natsgo.Conn, changes chan natsgo.Status) {
	defer l.users.Done()
	defer nc.RemoveStatusListener(changes)
	for {
		select {
		case <-changes:
		case <-l.ctx.Done():
			return
		}
		switch { // the change may be over
		case nc.IsClosed():
			return
		case nc.IsConnected():
			l.mu.Lock()
			defer l.mu.Unlock()
			if l.conn.awaited && l.line == nil {
				l.raise(l.conn)
			}
			return
		}
	}
}

// handlers are those of a connection that is ours.
func (l *link) handlers() []natsgo.Option {
	return []natsgo.Option{
		natsgo.DisconnectErrHandler(func(nc *natsgo.Conn, err error) { l.down(nc, err, false) }),
		natsgo.ReconnectHandler(l.up),
		natsgo.ClosedHandler(l.over),
		natsgo.ErrorHandler(func(nc *natsgo.Conn, _ *natsgo.Subscription, err error) { l.report(nc, err, true) }),
	}
}

// set takes a new connection, whose handlers may have been called before. awaited
// tells that somebody waits for it to be there.
func (l *link) set(nc *natsgo.Conn, awaited bool) {
	l.mu.Lock()
	l.conn = &conn{nc: nc, awaited: awaited, over: make(chan struct{})}
	l.mu.Unlock()
	if nc.IsConnected() {
		l.up(nc)
		return
	}
	err, dead := nc.LastError(), nc.IsClosed()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.line == nil {
		l.lower(l.conn, err, dead)
	}
}

// up takes note that the connection is there.
func (l *link) up(nc *natsgo.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn == nil || l.conn.nc != nc {
		return
	}
	if l.conn.awaited && l.line != nil {
		l.conn.awaited = false // await was sooner
		return
	}
	l.conn.awaited = false
	if l.line != nil {
		l.line.end(&breakError{what: "the connection broke"})
	}
	l.raise(l.conn)
}

// raise begins a line of a connection that is there. Requires mu.
func (l *link) raise(c *conn) {
	if l.ctx.Err() != nil {
		return
	}
	c.refused = nil
	n := &line{conn: c, nc: c.nc}
	var err error
	if l.domain != "" {
		n.js, err = jetstream.NewWithDomain(c.nc, l.domain)
	} else {
		n.js, err = jetstream.New(c.nc)
	}
	if err != nil { // the domain was checked
		l.line, l.lost = nil, err
		return
	}
	n.ctx, n.end = context.WithCancelCause(l.ctx)
	l.line = n
	close(l.back)
	l.back = make(chan struct{})
}

// down takes note that the connection broke, or that it is dead. It may not
// ask nc, which can be locked for as long as it takes to connect.
func (l *link) down(nc *natsgo.Conn, err error, dead bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn == nil || l.conn.nc != nc {
		return
	}
	l.conn.awaited = false
	l.lower(l.conn, err, dead)
}

// over takes note that the connection is dead, and that no other handler is going
// to be called.
func (l *link) over(nc *natsgo.Conn) {
	l.down(nc, nc.LastError(), true)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn != nil && l.conn.nc == nc {
		close(l.conn.over)
	}
}

// lower ends the line of a connection that is not there. Requires mu.
func (l *link) lower(c *conn, err error, dead bool) {
	c.dead = dead
	cause := shown(l.foreign, err)
	if refused(err) {
		c.refused = &serviceError{sentinel: pubsub.ErrUnauthenticated, cause: cause}
	}
	switch {
	case c.refused != nil && dead:
		l.lost = c.refused
	case c.refused != nil:
		l.lost = &breakError{what: "the server ended the connection", cause: c.refused}
	case dead && l.dial == nil:
		l.lost = &serviceError{sentinel: pubsub.ErrClosed, cause: natsgo.ErrConnectionClosed}
	default:
		l.lost = &breakError{what: "the connection broke", cause: cause}
	}
	if l.line != nil {
		l.line.end(l.lost)
		l.line = nil
	}
}

// refused reports whether the server does not accept who we are.
func refused(err error) bool {
	return err != nil && errors.Is(meaningOf(err).sentinel, pubsub.ErrUnauthenticated)
}

// fate returns why a connection will not come back, if that is the server's
// decision: others may try again, those who used it may not.
func (l *link) fate(c *conn) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.dead {
		return c.refused
	}
	return nil
}

// report takes an error that the server sent without being asked.
func (l *link) report(nc *natsgo.Conn, err error, mayLog bool) {
	if refused(err) {
		// It ends the connection, and does not say why again.
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.conn != nil && l.conn.nc == nc {
			l.conn.refused = &serviceError{sentinel: pubsub.ErrUnauthenticated, cause: shown(l.foreign, err)}
		}
		return
	}
	if !errors.Is(err, natsgo.ErrPermissionViolation) {
		if mayLog {
			l.complaints.say(err)
		}
		return
	}
	subject := quoted(err.Error())
	denied := sync.OnceValue(func() error { // few are for somebody, and a server can send very many
		return &serviceError{sentinel: pubsub.ErrPermissionDenied, cause: shown(l.foreign, err)}
	})
	var told []func(error)
	l.mu.Lock()
	if l.conn != nil && l.conn.nc == nc {
		inbox := strings.Contains(err.Error(), "for Subscription to") && isInbox(nc, subject) && !l.watched(subject)
		if inbox && l.line != nil && l.line.mute == nil {
			l.line.mute = denied() // answers to requests cannot come
		}
		for w := range l.waiting {
			if inbox || w.matches(subject) {
				told = append(told, w.refused)
			}
		}
	}
	l.mu.Unlock()
	for _, f := range told {
		f(denied())
	}
	if len(told) == 0 && mayLog {
		l.complaints.say(err)
	}
}

// watched reports whether somebody watches just this subject. Requires mu.
func (l *link) watched(subject string) bool {
	for w := range l.waiting {
		if w.matches(subject) {
			return true
		}
	}
	return false
}

func (w *watcher) matches(subject string) bool {
	return w.subject != "" && w.subject == subject || w.token != "" && strings.Contains(subject, w.token)
}

// isInbox reports whether answers to requests come to subjects like this one. A
// connection of the caller's has subscriptions of his too.
func isInbox(nc *natsgo.Conn, subject string) bool {
	prefix := nc.Opts.InboxPrefix
	if prefix == "" {
		prefix = strings.TrimSuffix(natsgo.InboxPrefix, ".")
	}
	return strings.HasPrefix(subject, prefix+".")
}

// quoted returns the first thing in text that is quoted, as the server quotes
// subjects: by the rules of Go.
func quoted(text string) string {
	literal, err := strconv.QuotedPrefix(text[max(0, strings.IndexByte(text, '"')):])
	if err != nil {
		return ""
	}
	subject, err := strconv.Unquote(literal)
	if err != nil {
		return ""
	}
	return subject
}

// watch has w told until stop is called.
func (l *link) watch(w *watcher) (stop func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting[w] = struct{}{}
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.waiting, w)
	}
}

// enter notes that somebody uses the link, unless it has ended. leave must
// follow.
func (l *link) enter() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return errClosed
	}
	l.users.Add(1)
	return nil
}

func (l *link) leave() { l.users.Done() }

// connected returns the present line, and connects if nobody did before. It
// does not wait for a connection that broke.
func (l *link) connected(ctx context.Context) (*line, error) {
	for {
		l.mu.Lock()
		switch {
		case l.ctx.Err() != nil:
			l.mu.Unlock()
			return nil, errClosed
		case l.line != nil:
			line, mute := l.line, l.line.mute
			l.mu.Unlock()
			if mute != nil {
				return nil, mute
			}
			return line, nil
		case l.dial == nil || l.conn != nil && !l.conn.dead:
			err := l.lost
			l.mu.Unlock()
			return nil, err
		}
		d := l.dialing
		if d == nil {
			d = &dialing{done: make(chan struct{})}
			l.dialing = d
			l.users.Add(1) // by somebody who has entered
			go l.connect(d)
		}
		l.mu.Unlock()
		select {
		case <-d.done:
			if d.err != nil {
				return nil, d.err
			}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// connect makes a connection.
func (l *link) connect(d *dialing) {
	defer l.users.Done()
	nc, err := l.dial(l.handlers())
	if err == nil {
		l.set(nc, false)
	} else {
		m := meaningOf(err)
		d.err = &serviceError{sentinel: m.sentinel, cause: shown(l.foreign, err)}
	}
	l.mu.Lock()
	l.dialing = nil
	ended := l.ended
	l.mu.Unlock()
	close(d.done)
	if ended && nc != nil {
		nc.Close() // the link's close may not have waited
	}
}

// returned returns a channel that is closed when a connection is made or comes
// back.
func (l *link) returned() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.back
}

// await waits for done, but no longer than closeWait.
func await(done <-chan struct{}) {
	timer := time.NewTimer(closeWait)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	}
}

// close closes the connection if it is ours, when those who use it are gone or
// closeWait has passed. Then it waits as long for the handlers.
func (l *link) close() {
	l.mu.Lock()
	l.ended = true
	l.mu.Unlock()
	gone := make(chan struct{})
	go func() {
		l.users.Wait()
		close(gone)
	}()
	await(gone)
	l.mu.Lock()
	c := l.conn
	l.mu.Unlock()
	if c != nil && l.dial != nil && !c.nc.IsClosed() {
		c.nc.Close()
		await(c.over) // there may be many errors of the server's to go through
	}
	if l.tap != nil {
		l.tap.link.Store(nil)
	}
}

// call runs f, a request or several, with a ctx that ends with the caller's,
// after the timeout (0: none), with the connection, and when the server refuses
// a subject that w names, unless w says what to do then. It gives f's error its
// meaning.
func (l *link) call(ctx context.Context, timeout time.Duration, w watcher, f func(context.Context, *line) error) error {
	if err := l.enter(); err != nil {
		return pubsub.WithOutcome(err, pubsub.NotAccepted)
	}
	defer l.leave()
	bounded := ctx
	if timeout > 0 {
		var cancel context.CancelFunc
		bounded, cancel = context.WithTimeoutCause(ctx, timeout, errTimeout)
		defer cancel()
	}
	line, err := l.connected(bounded)
	if err != nil {
		return pubsub.WithOutcome(translate(ctx, bounded, err), pubsub.NotAccepted) // nothing was sent
	}
	call, end := context.WithCancelCause(bounded)
	defer end(nil)
	defer context.AfterFunc(line.ctx, func() { end(context.Cause(line.ctx)) })()
	if w.refused == nil {
		w.refused = end
	}
	defer l.watch(&w)()
	return translate(ctx, call, shown(l.foreign, f(call, line)))
}

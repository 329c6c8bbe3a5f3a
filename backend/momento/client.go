package momento

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/momentohq/client-sdk-go/auth"
	sdk "github.com/momentohq/client-sdk-go/momento"
	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/internal/foreign"
)

const (
	// renewAfter is how long a client must have been without a success before
	// a failing connection has it replaced. gRPC waits a second or more before
	// it tries a connection again, and up to two minutes after a long outage;
	// a new client tries at once. Making one costs little: it connects lazily.
	renewAfter = 100 * time.Millisecond
	// renewLiveAfter applies instead while any stream is up: then it is not
	// the network, but one connection or one topic.
	renewLiveAfter = 15 * time.Second
	// renewSlowAfter applies at least unless gRPC says that it cannot connect:
	// to a timeout, which a connection that is being made may outlast, and to a
	// service that answers that it is unavailable. A new client would have to
	// connect first, and come no further.
	renewSlowAfter = 5 * time.Second
	// askAgainAfter is how old credentials must be, which the service never
	// accepted, for others to be asked for.
	askAgainAfter = time.Second
)

// clients owns the SDK clients of a Backend. At any time at most one is
// current. A client is made when it is first needed, and replaced when fresh
// credentials are needed, its connections have gone deaf, or its pool has lost
// places; the streams of the old one stay on it until they end. Each is closed
// once, when nobody uses it any more, on a goroutine that close waits for.
type clients struct {
	ctx         context.Context // ends when the Backend closes
	credentials credentialsFunc
	refreshes   bool          // credentials can be asked for fresh ones
	timeout     time.Duration // of credentials
	capacity    int           // streams that a client has room for
	dial        func(auth.CredentialProvider) (*sdkClient, error)
	check       func(auth.CredentialProvider) error // of what credentials returned
	freshAfter  time.Duration                       // 0: a client is used however long it was idle
	log         *slog.Logger
	foreign     *foreign.Filter

	mu      sync.Mutex
	asking  *asking // the call of credentials that is under way
	closed  bool
	forced  bool   // clients are closed though they are in use
	grant   *grant // what the next client is made with; nil: to be asked for
	current *client
	making  *making
	open    map[*client]struct{} // not yet closed
	live    int                  // streams that are up, on any client
	wg      sync.WaitGroup       // clients being made, and clients not yet closed
}

// grant is a set of credentials. Guarded by clients.mu.
type grant struct {
	auth.CredentialProvider
	given    time.Time
	accepted bool // the service has accepted them once
}

// client is an SDK client and those who use it. Guarded by clients.mu.
type client struct {
	*sdkClient
	grant     *grant
	made      time.Time
	succeeded time.Time // its last success
	users     int       // streams and calls
	streams   map[sdk.TopicSubscription]struct{}
	misjudged int  // refusals of the SDK's pool in a row though it had room
	retired   bool // not current any more
	closing   bool
}

// success notes that the service answered. Requires clients.mu.
func (cl *client) success() {
	cl.succeeded = time.Now()
	cl.grant.accepted = true
}

// making is a client being made, for all who wait for it.
type making struct {
	done chan struct{}
	err  error
}

// acquire returns the current client, making one if there is none. The caller
// owes a release.
func (c *clients) acquire(ctx context.Context) (*client, error) {
	for waited := false; ; waited = true {
		c.mu.Lock()
		if c.closed {
			c.mu.Unlock()
			return nil, errClosed
		}
		if cl := c.current; cl != nil && !waited && c.idle(cl) {
			c.retire(cl)
		}
		if cl := c.current; cl != nil {
			cl.users++
			c.mu.Unlock()
			return cl, nil
		}
		m := c.making
		if m == nil {
			m = &making{done: make(chan struct{})}
			c.making = m
			c.wg.Go(func() { c.make(m) })
		}
		c.mu.Unlock()
		select {
		case <-m.done:
			if m.err != nil {
				return nil, m.err
			}
		case <-ctx.Done():
			return nil, translate(ctx, ctx.Err())
		}
	}
}

// idle reports whether cl was without a success for so long that its connection
// is not to be trusted. Requires mu.
func (c *clients) idle(cl *client) bool {
	if c.freshAfter <= 0 {
		return false
	}
	last := cl.made
	if cl.succeeded.After(last) {
		last = cl.succeeded
	}
	// The monotonic clock may have stood still while the process was frozen.
	return time.Now().Round(0).Sub(last.Round(0)) > c.freshAfter
}

// make makes a client. It runs on a goroutine of its own because those who
// wait for the client may give up, and none of them may take it from the rest.
func (c *clients) make(m *making) {
	cl, err := c.dialNew()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.making = nil
	m.err = err
	if err == nil {
		c.grant, c.current = cl.grant, cl
		c.open[cl] = struct{}{}
		c.wg.Add(1) // until cl is closed
		if c.closed {
			c.retire(cl)
		}
	}
	close(m.done)
}

func (c *clients) dialNew() (*client, error) {
	c.mu.Lock()
	g := c.grant
	c.mu.Unlock()
	if g == nil {
		p, err := c.ask()
		if err != nil {
			return nil, err
		}
		g = &grant{CredentialProvider: p, given: time.Now()}
	}
	tc, err := c.dial(g.CredentialProvider)
	if err != nil {
		return nil, translate(context.Background(), err)
	}
	return &client{sdkClient: tc, grant: g, made: time.Now(), streams: make(map[sdk.TopicSubscription]struct{})}, nil
}

// asking is a call of the credentials function, which may not return.
type asking struct {
	done chan struct{}
	p    auth.CredentialProvider
	err  error
}

// ask asks for credentials. It waits no longer than it says, whatever the
// function does. One that has not returned then is left alone, and its result
// is what the next one who asks waits for.
func (c *clients) ask() (auth.CredentialProvider, error) {
	ctx, cancel := context.WithTimeout(c.ctx, c.timeout)
	defer cancel()
	c.mu.Lock()
	a := c.asking
	if a == nil {
		a = &asking{done: make(chan struct{})}
		c.asking = a
		// Not in wg: it is the function's own matter when it ends.
		go func() {
			defer func() {
				c.mu.Lock()
				c.asking = nil
				c.mu.Unlock()
				close(a.done)
			}()
			a.p, a.err = c.credentials(ctx)
		}()
	}
	c.mu.Unlock()
	select {
	case <-a.done:
	case <-ctx.Done():
		patience := time.NewTimer(closePause)
		defer patience.Stop()
		select {
		case <-a.done:
		case <-patience.C:
			c.log.Warn("momento: the credentials function has not returned though its ctx ended; it is no longer waited for")
			if c.ctx.Err() != nil {
				return nil, errClosed
			}
			return nil, fmt.Errorf("momento: credentials: %w: the function has not returned within %v and a tenth of a second", pubsub.ErrUnavailable, c.timeout)
		}
	}
	p, err := a.p, a.err
	switch {
	case c.ctx.Err() != nil:
		return nil, errClosed
	case err != nil && permanent(err):
		return nil, fmt.Errorf("momento: credentials: %w", c.foreign.Wrap(err))
	case err != nil:
		return nil, fmt.Errorf("momento: credentials: %w: %w", pubsub.ErrUnavailable, c.foreign.Wrap(err))
	}
	if err := c.check(p); err != nil {
		return nil, invalid("%v", err)
	}
	return p, nil
}

// release gives back a client after a call with that result.
func (c *clients) release(cl *client, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		cl.success()
	}
	c.leave(cl)
}

// subscribe subscribes on cl. On success the stream uses cl until its end is
// told by unsubscribe; otherwise cl is released.
func (c *clients) subscribe(ctx context.Context, cl *client, request *sdk.TopicSubscribeRequest) (sdk.TopicSubscription, error) {
	sub, err := cl.Subscribe(ctx, request)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.leave(cl)
		return nil, err
	}
	cl.success()
	cl.misjudged = 0
	cl.streams[sub] = struct{}{}
	c.live++
	return sub, nil
}

// unsubscribe tells that a stream on cl ended.
func (c *clients) unsubscribe(cl *client, sub sdk.TopicSubscription) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(cl.streams, sub)
	c.live--
	c.leave(cl)
}

// failed is told of a call or stream that failed on cl. It reports whether cl
// has been replaced because of that, so that trying again at once makes sense.
func (c *clients) failed(cl *client, err error) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return false
	case errors.Is(err, pubsub.ErrUnauthenticated):
		// Credentials that were accepted before have expired; others are wrong,
		// and those that come at once would be no better.
		if !c.refreshes || !cl.grant.accepted && time.Since(cl.grant.given) < askAgainAfter {
			return false
		}
		if c.grant == cl.grant {
			c.grant = nil
		}
	case exhausted(err):
		// The SDK's pool loses places: where the ctx of a Subscribe ends in the
		// moment in which that succeeds, nobody gives the place back. Once it may
		// be wrong for another reason: it refuses one too many after it was full.
		if cl.users >= c.capacity {
			cl.misjudged = 0
			return false
		}
		if cl.misjudged++; cl.misjudged == 1 {
			return false
		}
	case deaf(err):
		patience, since := renewAfter, cl.made
		if c.live > 0 {
			patience = renewLiveAfter
		} else if cl.succeeded.After(since) {
			since = cl.succeeded
		}
		if !unconnected(err) {
			patience = max(patience, renewSlowAfter)
		}
		if !cl.retired && time.Since(since) < patience {
			return false
		}
	default:
		return false
	}
	c.retire(cl)
	return true
}

// retire has a client replaced by the next acquire. Requires mu.
func (c *clients) retire(cl *client) {
	if c.current == cl {
		c.current = nil
	}
	cl.retired = true
	c.closeIfIdle(cl)
}

// leave takes a user from cl. Requires mu.
func (c *clients) leave(cl *client) {
	cl.users--
	c.closeIfIdle(cl)
}

// closeIfIdle closes a retired client that nobody uses. Requires mu.
func (c *clients) closeIfIdle(cl *client) {
	if cl.closing || !cl.retired || cl.users > 0 && !c.forced {
		return
	}
	cl.closing = true
	delete(c.open, cl)
	left := slices.Collect(maps.Keys(cl.streams)) // of deliveries that do not return
	go func() {
		defer c.wg.Done()
		for _, sub := range left {
			sub.Close() // a full pool would not come to rest
		}
		cl.Close()
	}()
}

// close closes all clients and waits for it. c.ctx has ended, so that calls of
// Subscribe and streams end soon; for others it does not wait long. It may be
// called again.
func (c *clients) close() {
	c.mu.Lock()
	c.closed = true
	for cl := range c.open {
		c.retire(cl)
	}
	c.mu.Unlock()
	patience := time.AfterFunc(closePause, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.forced = true
		for cl := range c.open {
			c.closeIfIdle(cl)
		}
	})
	defer patience.Stop()
	c.wg.Wait()
}

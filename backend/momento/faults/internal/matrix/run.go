package matrix

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/momentohq/client-sdk-go/auth"
	"github.com/momentohq/client-sdk-go/config"
	"github.com/momentohq/client-sdk-go/config/logger"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/momento"
	"github.com/topicbus/pubsub/backend/momento/momentotest"
)

const (
	cacheName = "cache"
	// heartbeat is the server's interval unless a row sets another.
	heartbeat = 100 * time.Millisecond
	// promptly is how long a call may take that ends something. It is no
	// measurement: the machine may be busy.
	promptly = 30 * time.Second
	// patience is how long a row waits for what is still to come.
	patience = time.Minute
	// promptlySDK and PatienceSDK are the same on the SDK, which often waits
	// in vain.
	promptlySDK = 5 * time.Second
	PatienceSDK = 20 * time.Second
)

// Run is a row being played. When something cannot be done at all, such as
// listening on a port, the row fails, and later calls do nothing.
type Run struct {
	Server *momentotest.Server

	kind    Kind
	client  client
	relay   *relay
	between *Between
	changed chan struct{} // gets a value when a journal changed
	n       int           // messages published by the row

	ctx    context.Context // of the subscriptions
	cancel context.CancelFunc
	books  map[string]*book
	names  []string // of the topics, in the order of their books
	healed time.Time

	mu    sync.Mutex // guards what follows
	token string     // that the server accepts now
	subs  []*sub
	out   Outcome
}

// sub is an open subscription.
type sub struct {
	reader  reader
	journal *journal
	book    *book
	before  pubsub.Position // of the last message before Subscribe
	start   pubsub.Position // of the last message before it returned
}

// Play plays a row on a client and returns what came of it.
func Play(row Row, kind Kind) Outcome {
	if kind == SDK {
		return PlayHere(row, kind) // its client is left open
	}
	var o Outcome
	left := Alone(func() { o = PlayHere(row, kind) })
	o.Goroutines = left
	return o
}

// PlayHere is Play without a look at the goroutines it leaves.
func PlayHere(row Row, kind Kind) Outcome {
	r := &Run{kind: kind, changed: make(chan struct{}, 1), books: make(map[string]*book)}
	r.play(row)
	return r.out
}

func (r *Run) play(row Row) {
	srv, err := momentotest.NewServer(append([]momentotest.Option{
		momentotest.WithCaches(cacheName),
		momentotest.WithAPIKey("not used"),
		momentotest.WithHeartbeatInterval(heartbeat),
	}, row.Server...)...)
	if r.check(err); err != nil {
		return
	}
	defer srv.Close()
	r.Server = srv
	r.NewToken()
	if row.Relay {
		r.relay, err = newRelay(srv.Addr())
		if r.check(err); err != nil {
			return
		}
		defer r.relay.close()
	}
	if row.Between {
		r.between, err = NewBetween(srv.Addr())
		if r.check(err); err != nil {
			return
		}
		defer r.between.Close()
	}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	defer r.cancel()
	r.client, err = r.newClient(row)
	if r.check(err); err != nil {
		return
	}
	row.Play(r)
	r.Settle()
	r.finish()
}

// credentials are those of the newest token.
func (r *Run) credentials(context.Context) (auth.CredentialProvider, error) {
	r.mu.Lock()
	p := r.Server.CredentialsFor(r.token)
	r.mu.Unlock()
	e := auth.Endpoint{InsecureConnection: true}
	switch {
	case r.relay != nil:
		e.Endpoint = r.relay.addr()
	case r.between != nil:
		e.Endpoint = r.between.Addr()
	default:
		return p, nil
	}
	return p.WithEndpoints(auth.AllEndpoints{ControlEndpoint: e, CacheEndpoint: e, TokenEndpoint: e, StorageEndpoint: e})
}

func (r *Run) newClient(row Row) (client, error) {
	p, err := r.credentials(r.ctx)
	if err != nil {
		return nil, err
	}
	if r.kind == SDK {
		return newSDKClient(p)
	}
	options := []momento.Option{
		momento.WithLogger(discard),
		momento.WithCredentials(p),
		// By default a Subscribe has 5 s and an answer to a ping 1 s. A busy
		// machine misses both, which is a fault that no row has asked for.
		momento.WithConfiguration(unhurried()),
		momento.WithSubscribeTimeout(promptly),
		momento.WithPublishTimeout(promptly),
	}
	if row.Refresh {
		options = append(options, momento.WithCredentialsFunc(r.credentials))
	}
	return newBusClient(row, options)
}

// unhurried is the SDK's default configuration with more time for the answer to
// a ping.
func unhurried() config.TopicsConfiguration {
	c := config.TopicsDefaultWithLogger(logger.NewNoopMomentoLoggerFactory())
	transport := c.GetTransportStrategy()
	return c.WithTransportStrategy(transport.WithGrpcConfig(transport.GetGrpcConfig().WithKeepAliveTimeout(promptly)))
}

// finish closes everything and completes the outcome.
func (r *Run) finish() {
	o := &r.out
	for _, s := range r.open() {
		s.journal.release()
		s.journal.audit(s.book, s.before, s.start, o)
		if s.journal.isEnded() {
			o.Ended = join(o.Ended, errorName(s.journal.err))
		}
		if r.healed.IsZero() {
			continue
		}
		if when, ok := s.journal.firstSince(r.healed); ok {
			o.Recovered = max(o.Recovered, when.Sub(r.healed))
		} else {
			o.Stuck++
		}
	}
	o.Opened, o.Healed = len(r.open()), !r.healed.IsZero()
	o.Reopened = max(0, r.Server.Stats().Subscribes-o.Opened-o.Refusals)

	if r.kind == SDK {
		// Closing the SDK's client is a row of its own: it may panic.
		for _, s := range r.open() {
			r.within("Close of a subscription does not return", s.reader.close)
		}
		r.left(3 * time.Second)
		o.Connections = 0
		return
	}
	r.within("closing does not return", r.client.close)
	for _, s := range r.open() {
		r.await("a subscription does not end", s.journal.isEnded)
	}
	r.left(promptly)
}

// left waits until the server has neither streams nor connections, or notes
// those that stay.
func (r *Run) left(limit time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	// As seen by the last look: one that was given up while it was being made
	// may still be accepted behind it, and is gone as soon as it is read.
	var st momentotest.Stats
	_ = r.Server.Wait(ctx, func() bool {
		if r.between != nil {
			r.between.rest()
		}
		st = r.Server.Stats()
		return st.Streams == 0 && (st.Connections == 0 || r.kind == SDK)
	})
	r.out.Streams, r.out.Connections = st.Streams, st.Connections
}

// check fails the row if err is not nil.
func (r *Run) check(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil && r.out.Failed == "" {
		r.out.Failed = err.Error()
	}
}

func (r *Run) late(what string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.out.Late = append(r.out.Late, what)
}

// open returns the subscriptions there are.
func (r *Run) open() []*sub {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.subs)
}

// Settle waits until all that was accepted is accounted for.
func (r *Run) Settle() {
	waiting := r.open()
	r.wait(func() bool {
		var still []*sub
		for _, s := range waiting {
			if !s.journal.reached(s.book.end()) {
				still = append(still, s)
			}
		}
		waiting = still
		return len(waiting) == 0
	})
}

// limits returns how long a call may take and how long messages may.
func (r *Run) limits() (call, message time.Duration) {
	if r.kind == SDK {
		return promptlySDK, PatienceSDK
	}
	return promptly, patience
}

// wait waits until a condition holds, which it looks at when a journal or
// something at the server changed. It reports false if it never does.
func (r *Run) wait(condition func() bool) bool {
	_, limit := r.limits()
	timeout := time.After(limit)
	poll := time.NewTicker(5 * time.Millisecond) // for what does not tell
	defer poll.Stop()
	for !condition() {
		select {
		case <-r.changed:
		case <-poll.C:
		case <-timeout:
			return false
		}
	}
	return true
}

// AwaitEnd waits for the subscriptions to end by themselves.
func (r *Run) AwaitEnd() {
	for _, s := range r.open() {
		r.await("the subscription does not end", s.journal.isEnded)
	}
}

// await is wait for what must come; if it does not, that is noted as late.
func (r *Run) await(late string, condition func() bool) {
	limit, _ := r.limits()
	deadline := time.Now().Add(limit)
	for !condition() {
		if time.Now().After(deadline) {
			r.late(late)
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// within calls f and notes if it does not return promptly.
func (r *Run) within(late string, f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	limit, _ := r.limits()
	select {
	case <-done:
	case <-time.After(limit):
		r.late(late)
	}
}

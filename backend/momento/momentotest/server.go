package momentotest

import (
	"errors"
	"fmt"
	"math"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/momentohq/client-sdk-go/auth"
	"github.com/topicbus/pubsub/internal/loopback"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
)

// Server is a Momento Topics service on one TCP address. All its methods may
// be called from many goroutines at once. Several servers do not know of each
// other.
type Server struct {
	cfg      settings
	addr     string
	wire     *wire
	network  network
	watch    watch // what Wait waits for
	faults   faults
	controls controls
	tokens   tokens
	rate     *rate

	streams, subscribes, publishes atomic.Int64
	pages                          atomic.Uint64 // the last one, 0: none yet

	mu     sync.RWMutex
	caches map[string]bool
	topics map[topicKey]*Topic

	life     sync.Mutex // makes the methods that follow take turns
	started  bool       // for the first time, that is
	closed   bool
	acceptor *acceptor      // nil while stopped
	serving  *grpc.Server   // gets the new connections
	draining []*grpc.Server // were told to go away
	wg       sync.WaitGroup
}

type topicKey struct{ cache, name string }

// NewServer starts a server, which runs until Close. The error says which
// option is wrong, or why the address cannot be listened on.
func NewServer(opts ...Option) (*Server, error) {
	cfg := settings{addr: "127.0.0.1:0", retention: defaultRetention, heartbeat: defaultHeartbeat, apiKey: defaultToken}
	for _, o := range opts {
		o(&cfg)
	}
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	w, err := newWire()
	if err != nil {
		return nil, err
	}
	s := &Server{
		cfg:    cfg,
		addr:   cfg.addr,
		wire:   w,
		tokens: tokens{required: cfg.requireKey, known: map[string]tokenState{cfg.apiKey: {}}},
		rate:   newRate(cfg.publishRate),
		caches: make(map[string]bool),
		topics: make(map[topicKey]*Topic),
	}
	s.network = network{watch: &s.watch, conns: make(map[*conn]struct{})}
	for _, name := range cfg.caches {
		s.caches[name] = true
	}
	if err := s.start(); err != nil {
		return nil, err
	}
	s.addr = s.acceptor.Addr().String()
	return s, nil
}

// Addr returns the server's address, "host:port". It stays the same over
// restarts.
func (s *Server) Addr() string { return s.addr }

// Format prints the address, whatever the verb, and no key.
func (s *Server) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "momentotest.Server(%s)", s.addr) }

// Credentials returns credentials for this server: its address, without TLS,
// and the key of WithAPIKey. However they are printed, the key is not shown.
func (s *Server) Credentials() auth.CredentialProvider { return s.CredentialsFor(s.cfg.apiKey) }

// CredentialsFor returns credentials for this server with another token.
func (s *Server) CredentialsFor(token string) auth.CredentialProvider {
	return newCredentials(s.addr, token)
}

// AddToken makes a token valid. Messages published with it carry publisher as
// the authenticated id of their publisher, as with the service's disposable
// tokens.
func (s *Server) AddToken(token, publisher string) {
	s.tokens.set(token, tokenState{publisher: publisher})
}

// RevokeToken makes a token invalid, as if it had expired: its open streams
// end as Unauthenticated, and so do the calls that follow.
func (s *Server) RevokeToken(token string) {
	s.tokens.set(token, tokenState{revoked: true})
	_, f := s.tokens.caller(token)
	s.endStreams(*f, func(st *stream) bool { return st.token == token })
}

// CreateCache makes a cache exist. The error is a gRPC status: AlreadyExists,
// or InvalidArgument for a blank name.
func (s *Server) CreateCache(name string) error {
	if strings.TrimSpace(name) == "" {
		return status.Error(codes.InvalidArgument, "a cache needs a name")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.caches[name] {
		return status.Errorf(codes.AlreadyExists, "Cache already exists: %q", name)
	}
	s.caches[name] = true
	return nil
}

// DeleteCache deletes a cache with its topics: their streams end as NotFound,
// and if the cache is created again they start anew on other pages. The error
// is a gRPC status: NotFound.
func (s *Server) DeleteCache(name string) error {
	s.mu.Lock()
	had := s.caches[name]
	delete(s.caches, name)
	s.mu.Unlock()
	if !had {
		return noCache(name).err()
	}
	for _, t := range s.allTopics() {
		if t.cache == name {
			t.delete()
		}
	}
	return nil
}

func (s *Server) hasCache(name string) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.caches[name]
}

// Topic returns the topic of a cache, for looking at it and for scripting its
// faults. Neither needs to exist yet.
func (s *Server) Topic(cache, name string) *Topic {
	key := topicKey{cache, name}
	s.mu.RLock()
	t := s.topics[key]
	s.mu.RUnlock()
	if t != nil {
		return t
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.topics[key]; t != nil {
		return t
	}
	t = &Topic{srv: s, cache: cache, name: name}
	s.topics[key] = t
	return t
}

func (s *Server) allTopics() []*Topic {
	s.mu.RLock()
	defer s.mu.RUnlock()
	all := make([]*Topic, 0, len(s.topics))
	for _, t := range s.topics {
		all = append(all, t)
	}
	return all
}

// EndStreams ends the streams of all topics that are open now, after they
// sent what was published before. It does not wait for that; see Wait. It
// returns how many streams they are.
func (s *Server) EndStreams(f Failure) int {
	return s.endStreams(f, func(*stream) bool { return true })
}

func (s *Server) endStreams(f Failure, which func(*stream) bool) int {
	n := 0
	for _, t := range s.allTopics() {
		n += t.endStreams(f, which)
	}
	return n
}

// newPage returns pages that grow, but not by one, as the service's.
func (s *Server) newPage() uint64 {
	const step = 10
	for {
		last := s.pages.Load()
		next := last + step
		switch {
		case !s.cfg.fixedPage:
			next = max(next, uint64(time.Now().UnixMicro()))
		case last == 0:
			next = s.cfg.page
		}
		if s.pages.CompareAndSwap(last, next) {
			return next
		}
	}
}

// errClosed is what the methods of a closed server return.
var errClosed = errors.New("momentotest: the server is closed")

// start listens on the address and serves it. It is called with s.life held,
// or before s is shared.
func (s *Server) start() error {
	ln, err := s.listen()
	for wait := addressWait; errors.Is(err, syscall.EADDRINUSE) && wait > 0 && s.started; wait -= addressPoll {
		time.Sleep(addressPoll)
		ln, err = s.listen()
	}
	if err != nil {
		return fmt.Errorf("momentotest: cannot listen: %w", err)
	}
	s.started = true
	s.acceptor = accept(ln, &s.network)
	s.serve()
	return nil
}

// listen listens on the address. A port of its own choice is one that is still
// free after Stop.
func (s *Server) listen() (net.Listener, error) {
	if host, port, err := net.SplitHostPort(s.addr); err == nil && port == "0" {
		return loopback.Listen(host)
	}
	return net.Listen("tcp", s.addr)
}

// While a server is stopped, a connection of this machine may be given a port
// that the caller chose as the local one. A restart waits for it to end.
const (
	addressWait = 2 * time.Second
	addressPoll = 10 * time.Millisecond
)

// serve hands the new connections to a new gRPC server.
func (s *Server) serve() {
	g := grpc.NewServer(
		grpc.ForceServerCodec(codec{}),
		grpc.MaxRecvMsgSize(math.MaxInt32),
		grpc.MaxSendMsgSize(math.MaxInt32),
		// The SDKs ping every 10 s, without a stream too, which is an offence
		// by default. Zero would mean that default.
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: time.Nanosecond, PermitWithoutStream: true}),
		// A connection in a black hole must not be given up.
		grpc.ConnectionTimeout(time.Hour),
		grpc.WaitForHandlers(true),
	)
	s.register(g)
	s.serving = g
	in := &intake{acceptor: s.acceptor, closed: make(chan struct{})}
	s.wg.Go(func() { _ = g.Serve(in) }) // always ends because the server is stopped
}

// Stop makes the server vanish: its connections are closed and new ones
// refused. Topics, messages, caches and scripted faults are kept; what is
// published by [Topic.Publish] meanwhile counts. It returns when everything
// has ended.
func (s *Server) Stop() {
	s.life.Lock()
	defer s.life.Unlock()
	s.stop()
}

func (s *Server) stop() {
	if s.acceptor == nil {
		return
	}
	s.acceptor.close()
	// A gRPC server waits for connections that have not said anything yet,
	// which closing them ends.
	s.network.each(func(c *conn) { c.Close() })
	for _, g := range append(s.draining, s.serving) {
		g.Stop()
	}
	s.wg.Wait()
	s.acceptor, s.serving, s.draining = nil, nil, nil
}

// Restart brings the server back on the same address, after a Stop or by
// stopping it. If the address was taken meanwhile, it waits up to 2 s for it.
// The error says why the address cannot be listened on.
func (s *Server) Restart() error {
	s.life.Lock()
	defer s.life.Unlock()
	if s.closed {
		return errClosed
	}
	s.stop()
	return s.start()
}

// Close stops the server for good. It ends all streams and connections and
// returns when nothing of the server runs any more. It can be called again,
// and then does nothing. The error is always nil.
func (s *Server) Close() error {
	s.life.Lock()
	defer s.life.Unlock()
	s.closed = true
	s.stop()
	return nil
}

// ResetConnections cuts the open connections with a TCP reset. New ones are
// accepted.
func (s *Server) ResetConnections() { s.network.each((*conn).reset) }

// GoAway tells the clients of the open connections to make their further
// calls on new ones. Calls and streams under way go on until they end.
func (s *Server) GoAway() {
	s.life.Lock()
	defer s.life.Unlock()
	if s.acceptor == nil {
		return
	}
	old := s.serving
	s.draining = append(s.draining, old)
	s.serve()
	s.wg.Go(old.GracefulStop)
}

// BlackHole swallows all traffic while on is true: nothing arrives on either
// side, nothing is refused or reset, and new connections are made but stay
// mute. Afterwards what was under way arrives, as after a network outage. A
// connection that its client gives up meanwhile stays in the Stats till then.
func (s *Server) BlackHole(on bool) { s.network.hole.set(on) }

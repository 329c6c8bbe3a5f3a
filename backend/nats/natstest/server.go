// Package natstest runs the real NATS server inside a test's process, on the
// loopback interface, with JetStream on: [NewServer] for one, [NewCluster] for
// three that keep streams together. [NewRelay] stands between a client and a
// server and breaks what goes through it.
//
// Nothing here is a fake. What a relay answers in place of the server is what
// the server would say.
package natstest

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	natsgo "github.com/nats-io/nats.go"
	"github.com/topicbus/pubsub/internal/loopback"
)

// startTimeout is how long a server may take to be ready.
const startTimeout = time.Minute

// Option configures a [Server].
type Option func(*config)

type config struct {
	options server.Options
	dir     string
}

// WithStoreDir sets where the server keeps its streams. The default is a
// directory of its own, which Close removes.
func WithStoreDir(dir string) Option { return func(c *config) { c.dir = dir } }

// WithMaxPayload sets how large a message may be, headers included. The default
// is the server's, 1 MiB.
func WithMaxPayload(bytes int32) Option {
	return func(c *config) { c.options.MaxPayload = bytes }
}

// WithOptions has f edit the server's own options.
func WithOptions(f func(*server.Options)) Option { return func(c *config) { f(&c.options) } }

// Server is a NATS server. Its methods may be called from many goroutines at
// once.
type Server struct {
	remove string // the directory that Close removes, "" if none

	mu      sync.Mutex
	options server.Options
	running *server.Server // nil: stopped
}

// NewServer starts a server on a free port of 127.0.0.1, which it keeps over
// Stop and Start. The caller owes a Close.
func NewServer(opts ...Option) (*Server, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	c := config{options: server.Options{
		Host: "127.0.0.1", Port: port,
		JetStream: true, NoLog: true, NoSigs: true,
		LameDuckDuration: time.Second, LameDuckGracePeriod: 100 * time.Millisecond,
	}}
	for _, opt := range opts {
		opt(&c)
	}
	s := &Server{options: c.options}
	s.options.StoreDir = c.dir
	if c.dir == "" {
		dir, err := os.MkdirTemp("", "natstest-")
		if err != nil {
			return nil, fmt.Errorf("natstest: %w", err)
		}
		s.options.StoreDir, s.remove = dir, dir
	}
	if err := s.start(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// start starts the server. Requires mu, or that nobody else has s.
func (s *Server) start() error {
	running, err := server.NewServer(s.options.Clone())
	if err != nil {
		return fmt.Errorf("natstest: %w", err)
	}
	running.Start()
	if !running.ReadyForConnections(startTimeout) {
		running.Shutdown()
		return fmt.Errorf("natstest: the server is not ready after %v", startTimeout)
	}
	s.running = running
	if s.options.Port == server.RANDOM_PORT {
		s.options.Port = running.Addr().(*net.TCPAddr).Port
	}
	return nil
}

// freePort returns a port that nobody uses now, nor while the server is stopped.
func freePort() (int, error) {
	l, err := loopback.Listen("127.0.0.1")
	if err != nil {
		return 0, fmt.Errorf("natstest: %w", err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// URL returns what clients connect to. It stays the same.
func (s *Server) URL() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return fmt.Sprintf("nats://%s:%d", s.options.Host, s.options.Port)
}

// Stop stops the server, as the end of its process would: connections break,
// and streams in memory are gone. It returns when it has stopped.
func (s *Server) Stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running != nil {
		s.running.Shutdown()
		s.running.WaitForShutdown()
		s.running = nil
	}
}

// Start starts a stopped server again, on the same port and store, and returns
// when it takes connections. It panics if it cannot, because somebody else has
// taken the port.
func (s *Server) Start() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running != nil {
		return
	}
	if err := s.start(); err != nil {
		panic(err)
	}
}

// LameDuck stops the server as its operators do: it asks its clients to leave,
// closes what is left of them one by one, and stops. It takes about a second.
func (s *Server) LameDuck() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running != nil {
		s.running.LameDuckShutdown()
		s.running.WaitForShutdown()
		s.running = nil
	}
}

// Reload has f edit the options of the running server: users, permissions,
// limits. The server closes connections whose user changed. If it is stopped,
// they hold from the next Start on. Users of a server with busy clients are
// best changed so: the server itself has a data race there, which the race
// detector finds.
func (s *Server) Reload(f func(*server.Options)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.options)
	if s.running == nil {
		return nil
	}
	if err := s.running.ReloadOptions(s.options.Clone()); err != nil {
		return fmt.Errorf("natstest: %w", err)
	}
	return nil
}

// Connect returns a connection past all relays. The caller owes a Close.
func (s *Server) Connect(opts ...natsgo.Option) (*natsgo.Conn, error) {
	return natsgo.Connect(s.URL(), append([]natsgo.Option{natsgo.MaxReconnects(-1), natsgo.ReconnectWait(10 * time.Millisecond)}, opts...)...)
}

// Clients counts the connections of clients.
func (s *Server) Clients() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running == nil {
		return 0
	}
	return s.running.NumClients()
}

// Server returns the running server, nil if it is stopped. Start makes another.
func (s *Server) Server() *server.Server {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.running
}

// Close stops the server and removes its store, unless WithStoreDir named it.
func (s *Server) Close() error {
	s.Stop()
	if s.remove == "" {
		return nil
	}
	return os.RemoveAll(s.remove)
}

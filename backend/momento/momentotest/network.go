package momentotest

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// network holds a server's open connections and what can be done to them.
type network struct {
	hole     gate
	watch    *watch
	accepted atomic.Int64

	mu    sync.Mutex
	conns map[*conn]struct{}
}

// add wraps c and takes it into the books.
func (n *network) add(c net.Conn) *conn {
	wrapped := &conn{Conn: c, network: n, closed: make(chan struct{})}
	n.mu.Lock()
	n.conns[wrapped] = struct{}{}
	n.mu.Unlock()
	n.accepted.Add(1)
	n.watch.changed()
	return wrapped
}

func (n *network) open() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.conns)
}

// each calls f for every connection that is open now.
func (n *network) each(f func(*conn)) {
	n.mu.Lock()
	conns := make([]*conn, 0, len(n.conns))
	for c := range n.conns {
		conns = append(conns, c)
	}
	n.mu.Unlock()
	for _, c := range conns {
		f(c)
	}
}

// gate holds up those who pass while it is shut.
type gate struct {
	shut atomic.Pointer[chan struct{}] // nil while open
}

func (g *gate) set(shut bool) {
	if shut {
		c := make(chan struct{})
		g.shut.CompareAndSwap(nil, &c)
	} else if c := g.shut.Swap(nil); c != nil {
		close(*c)
	}
}

// pass returns when the gate is open; it reports false if done comes first.
func (g *gate) pass(done <-chan struct{}) bool {
	for {
		c := g.shut.Load()
		if c == nil {
			return true
		}
		select {
		case <-*c:
		case <-done:
			return false
		}
	}
}

// conn is an accepted connection. While the network is a black hole, what
// arrives stays unseen, an end of the connection too, and what is written
// waits: both happen when the hole closes, as TCP would bring it about.
type conn struct {
	net.Conn
	network *network
	once    sync.Once
	closed  chan struct{}
}

func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if !c.network.hole.pass(c.closed) {
		return 0, net.ErrClosed
	}
	return n, err
}

func (c *conn) Write(p []byte) (int, error) {
	if !c.network.hole.pass(c.closed) {
		return 0, net.ErrClosed
	}
	return c.Conn.Write(p)
}

func (c *conn) Close() error {
	err := net.ErrClosed
	c.once.Do(func() {
		close(c.closed)
		err = c.Conn.Close()
		c.network.mu.Lock()
		delete(c.network.conns, c)
		c.network.mu.Unlock()
		c.network.watch.changed()
	})
	return err
}

// reset closes the connection with a TCP reset.
func (c *conn) reset() {
	if tcp, ok := c.Conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // fails only on a connection that is gone already
	}
	c.Close()
}

// acceptor hands the connections of one listening socket to whichever
// [intake] asks for the next one, so that a gRPC server can be replaced
// without the address being given up.
type acceptor struct {
	net.Listener
	conns chan net.Conn
	stop  chan struct{}
	wg    sync.WaitGroup
}

func accept(ln net.Listener, n *network) *acceptor {
	a := &acceptor{Listener: ln, conns: make(chan net.Conn), stop: make(chan struct{})}
	a.wg.Go(func() { a.run(n) })
	return a
}

func (a *acceptor) run(n *network) {
	for {
		c, err := a.Listener.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil: // such as too many open files: it may pass
			select {
			case <-time.After(5 * time.Millisecond):
			case <-a.stop:
				return
			}
			continue
		}
		wrapped := n.add(c)
		select {
		case a.conns <- wrapped:
		case <-a.stop:
			wrapped.Close()
		}
	}
}

// close gives the address up and returns when no connection can follow.
func (a *acceptor) close() {
	close(a.stop)
	a.Listener.Close()
	a.wg.Wait()
}

// intake is the listener of one gRPC server.
type intake struct {
	*acceptor
	once   sync.Once
	closed chan struct{}
}

func (i *intake) Accept() (net.Conn, error) {
	select {
	case c := <-i.conns:
		return c, nil
	case <-i.closed:
		return nil, net.ErrClosed
	}
}

func (i *intake) Close() error {
	i.once.Do(func() { close(i.closed) })
	return nil
}

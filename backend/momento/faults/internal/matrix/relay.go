package matrix

import (
	"net"
	"sync"
	"sync/atomic"
)

// relay stands between client and server as a firewall does. It can forget
// the connections that are open: what is sent on them disappears, for good.
type relay struct {
	listener net.Listener
	target   string
	wg       sync.WaitGroup

	mu    sync.Mutex
	pairs map[*pair]struct{}
}

// pair is a connection through the relay.
type pair struct {
	client, server net.Conn
	forgotten      atomic.Bool
}

func newRelay(target string) (*relay, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &relay{listener: l, target: target, pairs: make(map[*pair]struct{})}
	r.wg.Go(r.accept)
	return r, nil
}

func (r *relay) addr() string { return r.listener.Addr().String() }

func (r *relay) accept() {
	for {
		c, err := r.listener.Accept()
		if err != nil {
			return
		}
		s, err := net.Dial("tcp", r.target)
		if err != nil {
			c.Close()
			continue
		}
		p := &pair{client: c, server: s}
		r.mu.Lock()
		r.pairs[p] = struct{}{}
		r.mu.Unlock()
		r.wg.Go(func() { p.copy(s, c) })
		r.wg.Go(func() { p.copy(c, s) })
	}
}

// copy passes on what arrives until either side closes.
func (p *pair) copy(to, from net.Conn) {
	defer p.close()
	buffer := make([]byte, 1<<15)
	for {
		n, err := from.Read(buffer)
		if n > 0 && !p.forgotten.Load() {
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func (p *pair) close() {
	p.client.Close()
	p.server.Close()
}

// forget forgets the connections that are open.
func (r *relay) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for p := range r.pairs {
		p.forgotten.Store(true)
	}
}

// close returns when nothing of the relay runs any more.
func (r *relay) close() {
	r.listener.Close()
	r.mu.Lock()
	for p := range r.pairs {
		p.close()
	}
	r.mu.Unlock()
	r.wg.Wait()
}

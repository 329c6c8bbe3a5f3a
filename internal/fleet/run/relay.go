package run

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
)

// relay stands between viewers and service, and counts what they send.
type relay struct {
	listener net.Listener
	target   string
	up, down atomic.Int64 // bytes from viewers, and to them
	conns    sync.WaitGroup
}

func newRelay(target string) (*relay, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &relay{listener: l, target: target}
	r.conns.Go(func() { // until Close
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			r.conns.Go(func() { r.serve(c) })
		}
	})
	return r, nil
}

func (r *relay) address() string { return r.listener.Addr().String() }

// close waits until all connections have ended by themselves.
func (r *relay) close() {
	r.listener.Close()
	r.conns.Wait()
}

func (r *relay) serve(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", r.target)
	if err != nil {
		return
	}
	defer server.Close()
	var both sync.WaitGroup
	both.Go(func() { pass(server, client, &r.up) })
	both.Go(func() { pass(client, server, &r.down) })
	both.Wait()
}

// pass copies until from ends. What it has sent by then arrives: to is not torn
// down.
func pass(to, from net.Conn, n *atomic.Int64) {
	_, _ = io.Copy(to, counter{from, n})
	_ = to.(*net.TCPConn).CloseWrite()
	_, _ = io.Copy(io.Discard, from) // if it was to that ended
}

type counter struct {
	io.Reader
	n *atomic.Int64
}

func (c counter) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n.Add(int64(n))
	return n, err
}

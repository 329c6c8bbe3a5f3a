// Package pipes tests HTTP servers without a network: in a bubble of
// testing/synctest, where a minute of waiting takes no time, and without
// buffers, so that a client that does not read is felt at once.
package pipes

import (
	"net"
	"sync"
)

// Listener is a listener that [Listener.Dial] connects to.
type Listener struct {
	dialed chan net.Conn
	once   sync.Once
	closed chan struct{}
}

// Listen returns an open Listener.
func Listen() *Listener {
	return &Listener{dialed: make(chan net.Conn), closed: make(chan struct{})}
}

// Dial connects to the listener. The connection is closed already if the
// listener is.
func (l *Listener) Dial() net.Conn {
	client, server := net.Pipe()
	select {
	case l.dialed <- server:
	case <-l.closed:
		server.Close()
	}
	return client
}

// Accept implements net.Listener.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.dialed:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (l *Listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// Addr implements net.Listener.
func (l *Listener) Addr() net.Addr { return &net.UnixAddr{Name: "pipes"} }

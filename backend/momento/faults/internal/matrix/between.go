package matrix

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
)

// Between is what may stand between a client and the service: an HTTP/2 proxy
// that passes calls on, or answers them itself.
type Between struct {
	listener  net.Listener
	server    *http.Server
	transport *http.Transport
	done      chan struct{}
	answer    atomic.Pointer[http.HandlerFunc]
	answered  atomic.Int64
}

// NewBetween returns one before the server at the address target.
func NewBetween(target string) (*Between, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	var h2c http.Protocols
	h2c.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: &h2c}
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: target})
	proxy.Transport, proxy.FlushInterval = transport, -1
	proxy.ErrorLog = quiet
	b := &Between{listener: l, transport: transport, done: make(chan struct{})}
	b.server = &http.Server{
		Protocols: &h2c,
		ErrorLog:  quiet,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if answer := b.answer.Load(); answer != nil {
				b.answered.Add(1)
				(*answer)(w, r)
				return
			}
			proxy.ServeHTTP(w, r)
		}),
	}
	go func() {
		defer close(b.done)
		_ = b.server.Serve(l) // always ends because of Close
	}()
	return b, nil
}

// Addr returns the address to connect to.
func (b *Between) Addr() string { return b.listener.Addr().String() }

// Answer has it answer the calls to come, and not pass them on; nil ends that.
func (b *Between) Answer(h http.HandlerFunc) {
	if h == nil {
		b.answer.Store(nil)
		return
	}
	b.answer.Store(&h)
}

// Answered returns how many calls it has answered itself.
func (b *Between) Answered() int { return int(b.answered.Load()) }

// Close returns when it accepts nothing any more.
func (b *Between) Close() {
	b.server.Close()
	<-b.done
	b.rest()
}

// rest closes the connections to the server that have nothing to do.
func (b *Between) rest() { b.transport.CloseIdleConnections() }

// Page answers with an error page.
func Page(status int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.WriteHeader(status)
		fmt.Fprintf(w, "<html><body><h1>%d %s</h1></body></html>", status, http.StatusText(status))
	}
}

// Status answers with a gRPC status.
func Status(code int, message string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/grpc")
		w.Header().Set("Grpc-Status", fmt.Sprint(code))
		if message != "" {
			w.Header().Set("Grpc-Message", message)
		}
	}
}

// Message answers with one message, compressed in a way or not (""), and
// without an error.
func Message(encoding string, message []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		h.Set("Content-Type", "application/grpc")
		h.Set("Trailer", "Grpc-Status")
		frame := []byte{0, 0, 0, 0, byte(len(message))}
		if encoding != "" {
			h.Set("Grpc-Encoding", encoding)
			frame[0] = 1
		}
		w.Write(append(frame, message...))
		h.Set("Grpc-Status", "0")
	}
}

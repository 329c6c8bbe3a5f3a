package matrix

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync/atomic"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/topicbus/pubsub/backend/momento/momentotest"
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
	one       atomic.Pointer[oneMessage]
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
			answer := b.answer.Load()
			if one := b.one.Load(); answer == nil && one != nil && r.URL.Path == string(momentotest.Subscribe) && one.asked(r) {
				answer = &one.answer
			}
			if answer != nil {
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

// AnswerFor has it answer each Subscribe that asks for the message with that
// number. Answer goes first.
func (b *Between) AnswerFor(number uint64, h http.HandlerFunc) { b.one.Store(&oneMessage{number, h}) }

type oneMessage struct {
	number uint64
	answer http.HandlerFunc
}

// asked reports whether r, a Subscribe, asks for the message. It leaves r as it
// was.
func (m *oneMessage) asked(r *http.Request) bool {
	body, err := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	const head, field = 5, 3 // of gRPC; the number's in the request
	if err != nil || len(body) < head {
		return false
	}
	for b := body[head:]; len(b) > 0; {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return false
		}
		b = b[n:]
		if num == field && typ == protowire.VarintType {
			v, _ := protowire.ConsumeVarint(b)
			return v == m.number
		}
		if n = protowire.ConsumeFieldValue(num, typ, b); n < 0 {
			return false
		}
		b = b[n:]
	}
	return false
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

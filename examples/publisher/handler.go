package main

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/internal/hosts"
)

// publishTimeout is how long a backend may take to accept a message.
const publishTimeout = 5 * time.Second

// handler publishes what is posted to "/".
type handler struct {
	bus     pubsub.Bus[string]
	maxBody int64
	token   string
	hosts   hosts.Names
	log     *slog.Logger
}

func newHandler(bus pubsub.Bus[string], cfg config, log *slog.Logger) *handler {
	return &handler{bus: bus, maxBody: cfg.maxBody, token: cfg.token, hosts: cfg.hosts, log: log}
}

// ServeHTTP answers and logs a request. What is published may be private, so
// the log has its size, and never the value.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	req, p := h.publish(w, r)
	status, level := http.StatusAccepted, slog.LevelInfo
	attrs := []slog.Attr{
		slog.String("method", r.Method),
		slog.String("topic", req.topic),
		slog.Int("bytes", len(req.value)),
	}
	if p != nil {
		status = p.status
		attrs = append(attrs, slog.String("code", p.Code))
		if p.cause != nil { // ours to mend, not the client's
			level = slog.LevelError
			attrs = append(attrs, slog.Any("error", p.cause))
		}
	}
	attrs = append(attrs, slog.Int("status", status), slog.Duration("took", time.Since(start)))
	h.log.LogAttrs(r.Context(), level, "request", attrs...)

	if p == nil {
		w.WriteHeader(status) // Accepted, as Publish means it: by the backend, not yet by a subscriber
		return
	}
	p.write(w)
}

// publish does what the request asks for, or returns why not. The cheap checks
// come first, and nothing of the body is read for those who may not post.
func (h *handler) publish(w http.ResponseWriter, r *http.Request) (request, *problem) {
	var req request
	switch {
	case !h.hosts.Allow(r.Host): // some web page had its name resolve to us
		return req, unknownHost
	case r.URL.Path != "/":
		return req, notFound
	case r.Method != http.MethodPost:
		return req, methodNotAllowed
	case !h.authorized(r):
		return req, unauthorized
	}
	req, p := readRequest(w, r, h.maxBody)
	if p != nil {
		return req, p
	}
	// The request's context: who has hung up does not wait for the answer.
	ctx, cancel := context.WithTimeout(r.Context(), publishTimeout)
	defer cancel()
	if err := h.bus.Publish(ctx, req.topic, req.value); err != nil {
		return req, publishProblem(err) // nil if it was accepted all the same
	}
	return req, nil
}

func (h *handler) authorized(r *http.Request) bool {
	if h.token == "" {
		return true
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	// Hashed, so that how long the comparison takes does not tell even the
	// token's length.
	got, want := sha256.Sum256([]byte(strings.TrimSpace(token))), sha256.Sum256([]byte(h.token))
	return strings.EqualFold(scheme, "Bearer") && subtle.ConstantTimeCompare(got[:], want[:]) == 1
}

// write sends p as the answer, in JSON.
func (p *problem) write(w http.ResponseWriter) {
	header := w.Header()
	header.Set("Content-Type", "application/json")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Cache-Control", "no-store")
	for name, value := range p.header {
		header.Set(name, value)
	}
	w.WriteHeader(p.status)
	_ = json.NewEncoder(w).Encode(map[string]*problem{"error": p}) // fails if the client is gone
}

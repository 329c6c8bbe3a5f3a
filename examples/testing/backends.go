package main

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/memory"
	"github.com/topicbus/pubsub/backend/momento"
	"github.com/topicbus/pubsub/backend/momento/momentotest"
)

func checkBackend(cfg config) error {
	switch {
	case cfg.backend != "memory" && cfg.backend != "momento":
		return fmt.Errorf("-backend %q: use memory or momento", cfg.backend)
	case cfg.backend == "memory" && (cfg.cache != "" || cfg.local):
		return errors.New("-cache and -local need -backend momento")
	case cfg.backend == "momento" && cfg.cache == "" && !cfg.local:
		return errors.New("-backend momento needs -cache NAME, or -local for a server inside this program")
	case cfg.cache != "" && cfg.local:
		return errors.New("-cache and -local exclude each other")
	}
	return nil
}

// service is a backend whose service can be made to fail.
type service struct {
	pubsub.Backend
	fail   func() // nil for the real one
	mend   func() error
	closer func()
}

// openBackend returns the backend that cfg asks for.
func openBackend(cfg config, log *slog.Logger) (*service, error) {
	switch {
	case cfg.backend == "memory":
		b := memory.New() // without a history: what passes during an outage is gone
		return &service{
			Backend: b,
			fail:    func() { b.Disconnect(nil) },
			mend:    func() error { b.Reconnect(); return nil },
			closer:  func() { b.Close() },
		}, nil
	case cfg.local:
		server, err := momentotest.NewServer(momentotest.WithCaches("local"))
		if err != nil {
			return nil, err
		}
		b, err := momento.New("local", momento.WithCredentials(server.Credentials()), momento.WithLogger(log))
		if err != nil {
			server.Close()
			return nil, err
		}
		return &service{
			Backend: b,
			fail:    server.Stop,
			mend:    server.Restart,
			closer:  func() { b.Close(); server.Close() },
		}, nil
	default: // credentials from MOMENTO_API_KEY
		b, err := momento.New(cfg.cache, momento.WithLogger(log))
		if err != nil {
			return nil, err
		}
		return &service{Backend: b, closer: func() { b.Close() }}, nil
	}
}

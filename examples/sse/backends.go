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

// openBackend returns the backend that cfg asks for, and what closes it.
func openBackend(cfg config, log *slog.Logger) (pubsub.Backend, func(), error) {
	switch {
	case cfg.backend == "memory":
		b := memory.New()
		return b, func() { b.Close() }, nil
	case cfg.local:
		server, err := momentotest.NewServer(momentotest.WithCaches("local"))
		if err != nil {
			return nil, nil, err
		}
		b, err := momento.New("local", momento.WithCredentials(server.Credentials()), momento.WithLogger(log))
		if err != nil {
			server.Close()
			return nil, nil, err
		}
		return b, func() { b.Close(); server.Close() }, nil
	default: // credentials from MOMENTO_API_KEY
		b, err := momento.New(cfg.cache, momento.WithLogger(log))
		if err != nil {
			return nil, nil, err
		}
		return b, func() { b.Close() }, nil
	}
}

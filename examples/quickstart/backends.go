package main

import (
	"errors"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/memory"
	"github.com/topicbus/pubsub/backend/momento"
	"github.com/topicbus/pubsub/backend/momento/momentotest"
)

// openBackend returns the backend that cfg asks for, and what closes it.
func openBackend(cfg config) (pubsub.Backend, func() error, error) {
	switch {
	case cfg.backend == "memory":
		b := memory.New()
		return b, b.Close, nil
	case cfg.local:
		return openLocal()
	default: // with MOMENTO_API_KEY and, for keys that need it, MOMENTO_ENDPOINT
		b, err := momento.New(cfg.cache)
		if err != nil {
			return nil, nil, err
		}
		return b, b.Close, nil
	}
}

// openLocal starts a server that speaks Momento's protocol, and connects to it.
func openLocal() (pubsub.Backend, func() error, error) {
	const cache = "quickstart"
	server, err := momentotest.NewServer(momentotest.WithCaches(cache))
	if err != nil {
		return nil, nil, err
	}
	b, err := momento.New(cache, momento.WithCredentials(server.Credentials()))
	if err != nil {
		return nil, nil, errors.Join(err, server.Close())
	}
	return b, func() error { return errors.Join(b.Close(), server.Close()) }, nil
}

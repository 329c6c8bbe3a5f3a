package main

import (
	"errors"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/memory"
)

// openBackend returns the backend that cfg asks for, and what closes it.
func openBackend(cfg config) (pubsub.Backend, func(), error) {
	if cfg.backend == "memory" {
		b := memory.New()
		return b, func() { b.Close() }, nil
	}
	return nil, nil, errors.New("-backend momento: this version has no Momento backend yet; use -backend memory")
}

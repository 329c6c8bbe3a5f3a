package main

import (
	"net"
	"strconv"
	"time"

	"github.com/momentohq/client-sdk-go/auth"

	"github.com/topicbus/pubsub/backend/momento"
	"github.com/topicbus/pubsub/backend/momento/momentotest"
	"github.com/topicbus/pubsub/internal/fleet/run"
)

const cacheName = "fleet"

// momentoEngine is backend/momento with its defaults, over momentotest.
func momentoEngine() run.Engine {
	return run.Engine{Name: "momento", Serve: serve, Open: open}
}

func open(address string) (run.Backend, error) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return nil, err
	}
	credentials, err := auth.NewMomentoLocalProvider(&auth.MomentoLocalConfig{Hostname: host, Port: uint(port)})
	if err != nil {
		return nil, err
	}
	return momento.New(cacheName, momento.WithCredentials(credentials))
}

func serve() (run.Service, error) {
	// As often as NATS has them. Each wakes all viewers, as a message does.
	server, err := momentotest.NewServer(momentotest.WithCaches(cacheName), momentotest.WithHeartbeatInterval(5*time.Second))
	if err != nil {
		return nil, err
	}
	return service{server}, nil
}

type service struct{ *momentotest.Server }

// Address implements run.Service.
func (s service) Address() string { return s.Addr() }

// Streams implements run.Service.
func (s service) Streams() (open, opened int) {
	st := s.Stats()
	return st.Streams, st.Subscribes
}

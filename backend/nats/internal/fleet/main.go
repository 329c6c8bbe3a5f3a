// Command fleet is internal/fleet over NATS:
//
//	cd backend/nats && go run ./internal/fleet
package main

import (
	"errors"
	"os"
	"strings"
	"sync/atomic"

	natsgo "github.com/nats-io/nats.go"

	"github.com/topicbus/pubsub/backend/nats"
	"github.com/topicbus/pubsub/backend/nats/natstest"
	"github.com/topicbus/pubsub/internal/fleet/run"
)

func main() { os.Exit(run.Main(natsEngine())) }

// natsEngine is backend/nats with its defaults, over the real server.
func natsEngine() run.Engine {
	return run.Engine{
		Name:  "nats",
		Serve: serve,
		Open:  func(address string) (run.Backend, error) { return nats.New("nats://" + address) },
	}
}

type service struct {
	server *natstest.Server
	conn   *natsgo.Conn
	opened atomic.Int64
}

func serve() (run.Service, error) {
	s := &service{}
	var err error
	if s.server, err = natstest.NewServer(); err != nil {
		return nil, err
	}
	if s.conn, err = s.server.Connect(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	if _, err = s.conn.Subscribe("$JS.EVENT.ADVISORY.CONSUMER.CREATED.>", func(*natsgo.Msg) { s.opened.Add(1) }); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Close implements run.Service.
func (s *service) Close() error {
	if s.conn != nil {
		s.conn.Close()
	}
	return s.server.Close()
}

// Address implements run.Service.
func (s *service) Address() string { return strings.TrimPrefix(s.server.URL(), "nats://") }

// Streams implements run.Service: they are consumers there.
func (s *service) Streams() (open, opened int) {
	if info, err := s.server.Server().Jsz(nil); err == nil {
		open = info.Consumers
	}
	return open, int(s.opened.Load())
}

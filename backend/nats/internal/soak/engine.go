package main

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v4"
	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/topicbus/pubsub/backend/nats"
	"github.com/topicbus/pubsub/backend/nats/natstest"
	"github.com/topicbus/pubsub/internal/soak/engine"
)

// natsEngine is backend/nats, over the real server. Clients come through a relay
// that breaks what goes through it.
func natsEngine() engine.Engine {
	return engine.Engine{Name: "nats", Serve: serve, Open: open}
}

func open(address string, patience time.Duration, log *slog.Logger) (engine.Backend, error) {
	return nats.New(address, nats.WithLogger(log), nats.WithStallTimeout(patience), nats.WithSubscribeTimeout(patience),
		nats.WithMaxMessages(256), nats.WithBackoff(func() backoff.BackOff {
			return backoff.NewExponentialBackOff(backoff.WithInitialInterval(20*time.Millisecond), backoff.WithMaxInterval(300*time.Millisecond), backoff.WithMaxElapsedTime(0))
		}))
}

// service is the server, the relay in front of it, and a connection past it.
type service struct {
	server *natstest.Server
	relay  *natstest.Relay
	conn   *natsgo.Conn
	js     jetstream.JetStream
}

func serve() (engine.Service, error) {
	s := &service{}
	var err error
	if s.server, err = natstest.NewServer(); err != nil {
		return nil, err
	}
	if s.relay, err = natstest.NewRelay(s.server.URL()); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	if s.conn, err = s.server.Connect(natsgo.MaxReconnects(-1), natsgo.ReconnectWait(20*time.Millisecond)); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	if s.js, err = jetstream.New(s.conn); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Close implements engine.Service.
func (s *service) Close() (err error) {
	if s.conn != nil {
		s.conn.Close()
	}
	if s.relay != nil {
		err = s.relay.Close()
	}
	return errors.Join(err, s.server.Close())
}

// Address implements engine.Service.
func (s *service) Address() string { return s.relay.URL() }

// Streams implements engine.Service. It counts the consumers that somebody
// listens to: the server keeps one whose connection broke for a while longer.
func (s *service) Streams() (n int) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	for _, info := range s.streams() {
		stream, err := s.js.Stream(ctx, info.Config.Name)
		if err != nil {
			continue
		}
		for c := range stream.ListConsumers(ctx).Info() {
			if c.PushBound || c.NumWaiting > 0 {
				n++
			}
		}
	}
	return n
}

// streams describes the streams there are, none while the server is away.
func (s *service) streams() (list []*jetstream.StreamInfo) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	for info := range s.js.ListStreams(ctx).Info() {
		list = append(list, info)
	}
	return list
}

// stream draws one of them.
func (s *service) stream(r *rand.Rand, f func(context.Context, jetstream.Stream) error) {
	list := s.streams()
	if len(list) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if stream, err := s.js.Stream(ctx, list[r.IntN(len(list))].Config.Name); err == nil {
		_ = f(ctx, stream) // it may have failed because of another fault
	}
}

// Faults implements engine.Service.
func (s *service) Faults() []engine.Fault {
	return []engine.Fault{
		{Name: "connections cut", Every: 3, Do: func(*rand.Rand, string) func() { s.relay.Cut(); return nil }},
		{Name: "relay down", Every: 2, Do: func(*rand.Rand, string) func() { s.relay.Down(); return s.relay.Up }},
		{Name: "server away", Every: 2, Do: func(*rand.Rand, string) func() { s.server.Stop(); return s.server.Start }},
		{Name: "black hole", Do: func(*rand.Rand, string) func() { s.relay.BlackHole(true); return func() { s.relay.BlackHole(false) } }},
		{Name: "delay", Do: func(r *rand.Rand, _ string) func() {
			s.relay.Delay(time.Duration(r.IntN(100)) * time.Millisecond)
			return func() { s.relay.Delay(0) }
		}},
		{Name: "messages lost on the way", Every: 2, Do: func(r *rand.Rand, _ string) func() {
			n, each := atomic.Int64{}, int64(2+r.IntN(50))
			s.relay.Drop(func(string) bool { return n.Add(1)%each == 0 })
			return func() { s.relay.Drop(nil) }
		}},
		{Name: "nobody answers publishes", Do: func(*rand.Rand, string) func() {
			s.relay.Intercept(func(string) *natstest.Answer { return &natstest.Answer{NoResponders: true} })
			return func() { s.relay.Intercept(nil) }
		}},
		{Name: "stream purged", Every: 2, Do: func(r *rand.Rand, _ string) func() {
			s.stream(r, func(ctx context.Context, stream jetstream.Stream) error { return stream.Purge(ctx) })
			return nil
		}},
		{Name: "stream deleted", Every: 0.5, Do: func(r *rand.Rand, _ string) func() {
			s.stream(r, func(ctx context.Context, stream jetstream.Stream) error {
				return s.js.DeleteStream(ctx, stream.CachedInfo().Config.Name)
			})
			return nil
		}},
	}
}

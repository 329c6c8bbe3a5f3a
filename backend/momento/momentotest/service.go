package momentotest

import (
	"context"
	"fmt"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// register describes the services by hand, since the SDK's generated
// descriptions cannot be imported.
func (s *Server) register(g *grpc.Server) {
	g.RegisterService(&grpc.ServiceDesc{
		ServiceName: "cache_client.pubsub.Pubsub",
		HandlerType: (*any)(nil),
		Methods:     []grpc.MethodDesc{{MethodName: "Publish", Handler: s.servePublish}},
		Streams:     []grpc.StreamDesc{{StreamName: "Subscribe", Handler: s.serveSubscribe, ServerStreams: true}},
	}, s)
	g.RegisterService(&grpc.ServiceDesc{
		ServiceName: "control_client.ScsControl",
		HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{
			{MethodName: "CreateCache", Handler: s.serveCreateCache},
			{MethodName: "DeleteCache", Handler: s.serveDeleteCache},
		},
	}, s)
}

func (s *Server) servePublish(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
	r := s.wire.publish.New()
	if err := decode(r.Interface()); err != nil {
		return nil, err
	}
	t := s.Topic(r.Get(s.wire.publish.cache).String(), r.Get(s.wire.publish.topic).String())
	t.mu.Lock()
	t.publishes++
	t.mu.Unlock()
	s.publishes.Add(1)
	s.watch.changed()

	caller, f := s.admit(ctx, Publish, t)
	if f != nil {
		return reply(ctx, f)
	}
	if f := s.admitTopic(ctx, t, s.controls.read(ctx, "topic-publish")); f != nil {
		return reply(ctx, f)
	}
	if !r.Has(s.wire.publish.value) {
		return nil, status.Error(codes.InvalidArgument, "a message needs a value")
	}
	value := r.Get(s.wire.publish.value).Message()
	if limit := s.cfg.maxPayload; limit > 0 && s.wire.size(value) > limit {
		return reply(ctx, &Failure{
			Code:    codes.ResourceExhausted,
			Message: fmt.Sprintf("Message of %d bytes exceeds the request limit of %d", s.wire.size(value), limit),
			Reason:  ReasonRequestSize,
		})
	}
	if !s.rate.take(time.Now()) {
		return reply(ctx, &Failure{
			Code:    codes.ResourceExhausted,
			Message: fmt.Sprintf("Too many operations (limit: %d per second)", s.cfg.publishRate),
			Reason:  ReasonOperationsRate,
		})
	}
	_, err := t.publish(value, caller.publisher)
	return encoded(nil), err
}

func (s *Server) serveSubscribe(_ any, ss grpc.ServerStream) error {
	m := s.wire.subscribe.New()
	if err := ss.RecvMsg(m.Interface()); err != nil {
		return err
	}
	r := Request{
		Cache:    m.Get(s.wire.subscribe.cache).String(),
		Topic:    m.Get(s.wire.subscribe.topic).String(),
		ResumeAt: m.Get(s.wire.subscribe.resumeAt).Uint(),
		Page:     m.Get(s.wire.subscribe.page).Uint(),
	}
	t := s.Topic(r.Cache, r.Topic)
	t.record(r)
	s.subscribes.Add(1)
	s.watch.changed()

	ctx := ss.Context()
	caller, f := s.admit(ctx, Subscribe, t)
	st := &stream{ServerStream: ss, topic: t, request: r, token: caller.token}
	if f == nil {
		st.control = s.controls.read(ctx, "topic-subscribe")
		f = s.admitTopic(ctx, t, st.control)
	}
	if f == nil {
		f = s.openStream()
	}
	if f != nil {
		ss.SetTrailer(f.trailer())
		return f.err()
	}
	t.join(st)
	s.watch.changed()
	defer func() {
		t.leave(st)
		s.streams.Add(-1)
		s.watch.changed()
	}()
	// Until it joined, nobody who ended streams knew of it.
	if _, f = s.tokens.caller(caller.token); f == nil {
		f = s.findCache(t)
	}
	if f != nil {
		ss.SetTrailer(f.trailer())
		return f.err()
	}
	return st.run(s.cfg.heartbeat)
}

func (s *Server) serveCreateCache(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
	m := s.wire.createCache.New()
	if err := decode(m.Interface()); err != nil {
		return nil, err
	}
	if _, f := s.admit(ctx, CreateCache, nil); f != nil {
		return reply(ctx, f)
	}
	return encoded(nil), s.CreateCache(m.Get(s.wire.createCache.cache).String())
}

func (s *Server) serveDeleteCache(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
	m := s.wire.deleteCache.New()
	if err := decode(m.Interface()); err != nil {
		return nil, err
	}
	if _, f := s.admit(ctx, DeleteCache, nil); f != nil {
		return reply(ctx, f)
	}
	return encoded(nil), s.DeleteCache(m.Get(s.wire.deleteCache.cache).String())
}

// reply ends a unary call. All replies of the protocol are empty.
func reply(ctx context.Context, f *Failure) (any, error) {
	if md := f.trailer(); md != nil {
		_ = grpc.SetTrailer(ctx, md) // fails only outside of a call
	}
	return encoded(nil), f.err()
}

// admit lets a call through, or not: by the faults scripted for it and by
// its token.
func (s *Server) admit(ctx context.Context, m Method, t *Topic) (caller, *Failure) {
	delay, f := s.faults.take(m, t)
	if err := sleep(ctx, delay); err != nil {
		return caller{}, err
	}
	if f != nil {
		return caller{}, f
	}
	return s.tokens.caller(header(ctx, "authorization"))
}

// admitTopic lets a call for a topic through, or not: by what its control
// headers ask for and by its cache.
func (s *Server) admitTopic(ctx context.Context, t *Topic, c control) *Failure {
	if f := sleep(ctx, c.delay); f != nil {
		return f
	}
	switch {
	case c.failure != nil:
		return c.failure
	case strings.TrimSpace(t.cache) == "" || strings.TrimSpace(t.name) == "":
		return &Failure{Code: codes.InvalidArgument, Message: "cache and topic need a name"}
	}
	return s.findCache(t)
}

// findCache fails if the topic's cache does not exist.
func (s *Server) findCache(t *Topic) *Failure {
	if s.hasCache(t.cache) {
		return nil
	}
	f := noCache(t.cache)
	return &f
}

// openStream counts one more stream, unless there are too many.
func (s *Server) openStream() *Failure {
	n, limit := s.streams.Add(1), int64(s.cfg.maxSubscriptions)
	if limit == 0 || n <= limit {
		return nil
	}
	s.streams.Add(-1)
	return &Failure{
		Code:    codes.ResourceExhausted,
		Message: fmt.Sprintf("Too many subscribers (limit: %d)", limit),
		Reason:  ReasonSubscriptions,
	}
}

func noCache(name string) Failure {
	return Failure{Code: codes.NotFound, Message: fmt.Sprintf("Cache not found: %q", name)}
}

func header(ctx context.Context, key string) string {
	if v := metadata.ValueFromIncomingContext(ctx, key); len(v) > 0 {
		return v[0]
	}
	return ""
}

// sleep waits for d; it fails when ctx ends first.
func sleep(ctx context.Context, d time.Duration) *Failure {
	if d <= 0 {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return canceled(ctx)
	}
}

func canceled(ctx context.Context) *Failure {
	st := status.FromContextError(ctx.Err())
	return &Failure{Code: st.Code(), Message: st.Message()}
}

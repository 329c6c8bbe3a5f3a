package momentotest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/topicbus/pubsub"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// cache and topic are the names that tests use.
const (
	cache = "cache"
	topic = "topic"
)

func newServer(t *testing.T, opts ...Option) *Server {
	t.Helper()
	// Heartbeats other than the first one come only where a test asks.
	opts = append([]Option{WithCaches(cache), WithHeartbeatInterval(0), WithPage(10)}, opts...)
	srv, err := NewServer(opts...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, srv.Close()) })
	return srv
}

// patience bounds what would hang. It is no measurement: the machine may be
// busy.
const patience = time.Minute

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// rawClient speaks the protocol with a plain gRPC connection, and none of the
// SDK's own ideas.
type rawClient struct {
	t  *testing.T
	cc *grpc.ClientConn
	w  *wire
}

func newRawClient(t *testing.T, srv *Server) *rawClient {
	t.Helper()
	cc, err := grpc.NewClient(srv.Addr(), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20)))
	require.NoError(t, err)
	t.Cleanup(func() { cc.Close() })
	w, err := newWire()
	require.NoError(t, err)
	return &rawClient{t, cc, w}
}

// headers adds outgoing metadata.
func headers(ctx context.Context, kv ...string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, kv...)
}

func (c *rawClient) publish(ctx context.Context, p pubsub.Payload, opts ...grpc.CallOption) error {
	m := c.w.publish.New()
	m.Set(c.w.publish.cache, protoreflect.ValueOfString(cache))
	m.Set(c.w.publish.topic, protoreflect.ValueOfString(topic))
	m.Set(c.w.publish.value, protoreflect.ValueOfMessage(c.w.newValue(p)))
	return c.cc.Invoke(ctx, string(Publish), m.Interface(), c.w.publish.New().Interface(), opts...)
}

func (c *rawClient) control(ctx context.Context, m Method, name string) error {
	r := c.w.createCache.New() // both requests look the same
	r.Set(c.w.createCache.cache, protoreflect.ValueOfString(name))
	return c.cc.Invoke(ctx, string(m), r.Interface(), c.w.publish.New().Interface())
}

func (c *rawClient) subscribe(ctx context.Context, resumeAt, page uint64) *rawStream {
	c.t.Helper()
	return c.subscribeTo(ctx, topic, resumeAt, page)
}

func (c *rawClient) subscribeTo(ctx context.Context, topic string, resumeAt, page uint64) *rawStream {
	c.t.Helper()
	ctx, cancel := context.WithCancel(ctx)
	c.t.Cleanup(cancel)
	m := c.w.subscribe.New()
	m.Set(c.w.subscribe.cache, protoreflect.ValueOfString(cache))
	m.Set(c.w.subscribe.topic, protoreflect.ValueOfString(topic))
	m.Set(c.w.subscribe.resumeAt, protoreflect.ValueOfUint64(resumeAt))
	m.Set(c.w.subscribe.page, protoreflect.ValueOfUint64(page))
	s, err := c.cc.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, string(Subscribe))
	require.NoError(c.t, err)
	// An error here is io.EOF, and Recv tells the cause.
	_ = s.SendMsg(m.Interface())
	_ = s.CloseSend()
	return &rawStream{s, c.t, c.w, cancel}
}

type rawStream struct {
	grpc.ClientStream
	t      *testing.T
	w      *wire
	cancel context.CancelFunc
}

// recv describes the next frame in words.
func (s *rawStream) recv() (string, error) {
	m := s.w.frame.New()
	if err := s.RecvMsg(m.Interface()); err != nil {
		return "", err
	}
	w := s.w
	switch {
	case m.Has(w.frame.heartbeat):
		return "heartbeat", nil
	case m.Has(w.frame.discontinuity):
		d := m.Get(w.frame.discontinuity).Message()
		return fmt.Sprintf("discontinuity %d->%d page %d",
			d.Get(w.discontinuity.last).Uint(), d.Get(w.discontinuity.next).Uint(), d.Get(w.discontinuity.page).Uint()), nil
	case !m.Has(w.frame.item):
		return "unknown frame", nil
	}
	i := m.Get(w.frame.item).Message()
	out := fmt.Sprintf("item %d/%d", i.Get(w.item.page).Uint(), i.Get(w.item.sequence).Uint())
	value := i.Get(w.item.value).Message()
	switch {
	case !i.Has(w.item.value):
		out += " without value"
	case value.Has(w.value.text):
		out += " text " + value.Get(w.value.text).String()
	case value.Has(w.value.binary):
		out += fmt.Sprintf(" binary %x", value.Get(w.value.binary).Bytes())
	default:
		out += " of unknown kind"
	}
	if id := i.Get(w.item.publisher).String(); id != "" {
		out += " by " + id
	}
	return out, nil
}

// want checks that the next frames are these.
func (s *rawStream) want(frames ...string) {
	s.t.Helper()
	for i, want := range frames {
		got, err := s.recv()
		require.NoError(s.t, err, "frame %d, want %s", i, want)
		require.Equal(s.t, want, got, "frame %d", i)
	}
}

// wantEnd checks that the stream ends here, and how.
func (s *rawStream) wantEnd(code codes.Code) error {
	s.t.Helper()
	got, err := s.recv()
	require.Error(s.t, err, "got %s", got)
	require.Equal(s.t, code, status.Code(err), "%v", err)
	return err
}

func text(s string) pubsub.Payload { return pubsub.Payload{Format: pubsub.Text, Data: []byte(s)} }

// fill publishes texts within the server.
func fill(t *testing.T, to *Topic, texts ...string) {
	t.Helper()
	for _, s := range texts {
		_, err := to.Publish(text(s))
		require.NoError(t, err)
	}
}

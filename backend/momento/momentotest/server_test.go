package momentotest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/momentohq/client-sdk-go/auth"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/topicbus/pubsub"
)

func TestWrongOptions(t *testing.T) {
	t.Parallel()
	for want, o := range map[string]Option{
		"retention":         WithRetention(0),
		"heartbeat":         WithHeartbeatInterval(-1),
		"key":               WithAPIKey(""),
		`WithCaches`:        WithCaches(cache, ""),
		`the name " \t": a`: WithCaches(" \t"),
		"listen":            WithAddr("127.0.0.1:none"),
	} {
		srv, err := NewServer(o)
		require.ErrorContains(t, err, want)
		require.Nil(t, srv)
	}
}

func TestCaches(t *testing.T) {
	t.Parallel()
	ctx, srv := testContext(t), newServer(t)
	c := newRawClient(t, srv)
	code := func(err error) codes.Code { return status.Code(err) }

	require.Equal(t, codes.AlreadyExists, code(c.control(ctx, CreateCache, cache)))
	require.Equal(t, codes.InvalidArgument, code(c.control(ctx, CreateCache, " ")))
	require.Equal(t, codes.NotFound, code(c.control(ctx, DeleteCache, "none")))
	require.Equal(t, codes.NotFound, code(srv.DeleteCache("none")))
	require.Equal(t, codes.AlreadyExists, code(srv.CreateCache(cache)))

	s := c.subscribe(ctx, 0, 0)
	s.want("heartbeat")
	require.NoError(t, c.publish(ctx, text("a")))
	s.want("item 10/1 text a")
	require.NoError(t, c.control(ctx, DeleteCache, cache))
	s.wantEnd(codes.NotFound)
	c.subscribe(ctx, 0, 0).wantEnd(codes.NotFound)
	require.Equal(t, codes.NotFound, code(c.publish(ctx, text("b"))))
	_, err := srv.Topic(cache, topic).Publish(text("b"))
	require.Equal(t, codes.NotFound, code(err))

	require.NoError(t, c.control(ctx, CreateCache, cache))
	s = c.subscribe(ctx, 2, 10)
	s.want("heartbeat", "discontinuity 0->0 page 20")
	require.NoError(t, c.publish(ctx, text("c")))
	s.want("item 20/1 text c")
}

func TestNamesAndValuesAreChecked(t *testing.T) {
	t.Parallel()
	ctx, srv := testContext(t), newServer(t)
	c := newRawClient(t, srv)
	c.subscribeTo(ctx, " ", 0, 0).wantEnd(codes.InvalidArgument)
	m := c.w.publish.New()
	err := c.cc.Invoke(ctx, string(Publish), m.Interface(), m.New().Interface())
	require.Equal(t, codes.InvalidArgument, status.Code(err))
	_, err = srv.Topic(cache, topic).Publish(text("\xff"))
	require.Equal(t, codes.Internal, status.Code(err))
	require.Zero(t, srv.Topic(cache, topic).Position().Sequence)
}

func TestTokens(t *testing.T) {
	t.Parallel()
	ctx, srv := testContext(t), newServer(t, WithAPIKey("secret"))
	srv.AddToken("disposable", "someone")
	c := newRawClient(t, srv)
	key, token := headers(ctx, "authorization", "secret"), headers(ctx, "authorization", "disposable")

	for _, ctx := range []context.Context{ctx, headers(ctx, "authorization", "wrong")} {
		c.subscribe(ctx, 0, 0).wantEnd(codes.Unauthenticated)
		require.Equal(t, codes.Unauthenticated, status.Code(c.publish(ctx, text("a"))))
		require.Equal(t, codes.Unauthenticated, status.Code(c.control(ctx, CreateCache, "new")))
		require.Equal(t, codes.Unauthenticated, status.Code(c.control(ctx, DeleteCache, cache)))
	}
	s := c.subscribe(key, 0, 0)
	s.want("heartbeat")
	expiring := c.subscribe(token, 0, 0)
	expiring.want("heartbeat")
	require.NoError(t, c.publish(key, text("a")))
	require.NoError(t, c.publish(token, text("b")))
	for _, s := range []*rawStream{s, expiring} {
		s.want("item 10/1 text a", "item 10/2 text b by someone")
	}

	srv.RevokeToken("disposable")
	expiring.wantEnd(codes.Unauthenticated)
	require.Equal(t, codes.Unauthenticated, status.Code(c.publish(token, text("c"))))
	require.NoError(t, c.publish(key, text("d")))
	s.want("item 10/3 text d")
}

func TestCredentials(t *testing.T) {
	t.Parallel()
	srv := newServer(t, WithAPIKey("a-secret-key"))
	c := srv.Credentials()
	require.Equal(t, "a-secret-key", c.GetAuthToken())
	require.Equal(t, srv.Addr(), c.GetCacheEndpoint())
	require.Equal(t, srv.Addr(), c.GetControlEndpoint())
	require.False(t, c.IsCacheEndpointSecure() || c.IsControlEndpointSecure() || c.IsTokenEndpointSecure() || c.IsStorageEndpointSecure())
	other, err := c.WithEndpoints(auth.AllEndpoints{CacheEndpoint: auth.Endpoint{Endpoint: "elsewhere:1"}})
	require.NoError(t, err)
	require.Equal(t, "elsewhere:1", other.GetCacheEndpoint())
	require.Equal(t, "a-secret-key", other.GetAuthToken())

	type holder struct{ c auth.CredentialProvider }
	asJSON, err := json.Marshal(c)
	require.NoError(t, err)
	printed := string(asJSON)
	for _, v := range []any{c, &c, holder{c}, &holder{c}, []any{c}, srv} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
			printed += fmt.Sprintf(verb+"\n", v)
		}
	}
	require.Contains(t, printed, srv.Addr())
	for _, secret := range []string{"a-secret-key", fmt.Sprintf("%x", "a-secret-key"), fmt.Sprintf("%X", "a-secret-key")} {
		require.NotContains(t, printed, secret)
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	ctx, srv := testContext(t), newServer(t, WithMaxPayload(4), WithMaxSubscriptions(2), WithPublishRate(3))
	c := newRawClient(t, srv)
	first := c.subscribe(ctx, 0, 0)
	first.want("heartbeat")
	c.subscribeTo(ctx, "other", 0, 0).want("heartbeat")
	refused := c.subscribe(ctx, 0, 0)
	require.ErrorContains(t, refused.wantEnd(codes.ResourceExhausted), "Too many subscribers (limit: 2)")
	require.Equal(t, []string{ReasonSubscriptions}, refused.Trailer().Get("err"))
	first.cancel()
	require.NoError(t, srv.WaitStreams(ctx, 1))
	c.subscribe(ctx, 0, 0).want("heartbeat")

	var trailer metadata.MD
	err := c.publish(ctx, text("12345"), grpc.Trailer(&trailer))
	require.Equal(t, codes.ResourceExhausted, status.Code(err))
	require.Equal(t, []string{ReasonRequestSize}, trailer.Get("err"))
	for range 3 {
		require.NoError(t, c.publish(ctx, text("1234")))
	}
	err = c.publish(ctx, text("a"), grpc.Trailer(&trailer))
	require.Equal(t, codes.ResourceExhausted, status.Code(err))
	require.Equal(t, []string{ReasonOperationsRate}, trailer.Get("err"))
	require.EqualValues(t, 3, srv.Topic(cache, topic).Position().Sequence)
	require.Equal(t, 5, srv.Topic(cache, topic).Publishes())
}

// As with memory.WithMaxPayload.
func TestNoLimits(t *testing.T) {
	t.Parallel()
	for _, none := range []int{0, -1} {
		ctx, srv := testContext(t), newServer(t,
			WithMaxPayload(4), WithMaxSubscriptions(2), WithPublishRate(3),
			WithMaxPayload(none), WithMaxSubscriptions(none), WithPublishRate(none))
		c := newRawClient(t, srv)
		for range 5 {
			c.subscribe(ctx, 0, 0).want("heartbeat")
			require.NoError(t, c.publish(ctx, text("12345")))
		}
	}
}

func TestRate(t *testing.T) {
	t.Parallel()
	r, now := newRate(2), time.Unix(1000, 0)
	require.True(t, r.take(now))
	require.True(t, r.take(now))
	require.False(t, r.take(now))
	now = now.Add(500 * time.Millisecond)
	require.True(t, r.take(now))
	require.False(t, r.take(now))
	now = now.Add(time.Hour)
	require.True(t, r.take(now))
	require.True(t, r.take(now))
	require.False(t, r.take(now))
}

func TestFailNext(t *testing.T) {
	t.Parallel()
	ctx, srv := testContext(t), newServer(t)
	c, to := newRawClient(t, srv), srv.Topic(cache, topic)
	publish := func() error { return c.publish(ctx, text("x")) }

	var trailer metadata.MD
	to.FailNext(Publish, 2, Failure{codes.ResourceExhausted, "slow down", ReasonThroughputRate})
	srv.FailNext(Publish, 1, Fail(codes.Internal, "later"))
	srv.Topic(cache, "other").FailNext(Publish, 1, Fail(codes.DataLoss, "not mine"))
	err := c.publish(ctx, text("x"), grpc.Trailer(&trailer))
	require.Equal(t, "rpc error: code = ResourceExhausted desc = slow down", err.Error())
	require.Equal(t, []string{ReasonThroughputRate}, trailer.Get("err"))
	require.Equal(t, codes.ResourceExhausted, status.Code(publish()))
	require.Equal(t, codes.Internal, status.Code(publish()))
	require.NoError(t, publish())

	// A success that drops the message.
	to.FailNext(Publish, 1, Failure{})
	require.NoError(t, publish())
	require.EqualValues(t, 1, to.Position().Sequence)

	srv.FailNext(Publish, Always, Fail(codes.Aborted, ""))
	for range 5 {
		require.Equal(t, codes.Aborted, status.Code(publish()))
	}
	srv.ClearFaults()
	require.NoError(t, publish())

	to.FailNext(Subscribe, 1, Failure{codes.PermissionDenied, "no", "reason"})
	s := c.subscribe(ctx, 0, 0)
	s.wantEnd(codes.PermissionDenied)
	require.Equal(t, []string{"reason"}, s.Trailer().Get("err"))
	to.FailNext(Subscribe, 1, Failure{})
	_, err = c.subscribe(ctx, 0, 0).recv()
	require.ErrorIs(t, err, io.EOF)
	c.subscribe(ctx, 0, 10).want("heartbeat")

	srv.FailNext(CreateCache, 1, Fail(codes.Unavailable, ""))
	require.Equal(t, codes.Unavailable, status.Code(c.control(ctx, CreateCache, "new")))
	srv.FailNext(DeleteCache, 1, Fail(codes.Unavailable, ""))
	require.Equal(t, codes.Unavailable, status.Code(c.control(ctx, DeleteCache, cache)))
	require.NoError(t, c.control(ctx, DeleteCache, cache))
}

func TestDelayNext(t *testing.T) {
	t.Parallel()
	ctx, srv := testContext(t), newServer(t)
	c, to := newRawClient(t, srv), srv.Topic(cache, topic)
	const d = 40 * time.Millisecond
	to.DelayNext(Publish, 1, d)
	srv.FailNext(Publish, 1, Fail(codes.Internal, "after the delay"))
	start := time.Now()
	require.ErrorContains(t, c.publish(ctx, text("x")), "after the delay")
	require.GreaterOrEqual(t, time.Since(start), d)

	srv.DelayNext(Publish, 1, time.Hour)
	short, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	require.Equal(t, codes.DeadlineExceeded, status.Code(c.publish(short, text("x"))))

	// Close does not wait for it either.
	srv.DelayNext(Subscribe, 1, time.Hour)
	s := c.subscribe(ctx, 0, 0)
	require.NoError(t, srv.Wait(ctx, func() bool { return srv.Stats().Subscribes == 1 }))
	require.NoError(t, srv.Close())
	s.wantEnd(codes.Unavailable)
}

func TestStopAndRestart(t *testing.T) {
	t.Parallel()
	ctx, srv := testContext(t), newServer(t)
	addr := srv.Addr()
	for round := range uint64(3) {
		c := newRawClient(t, srv)
		s := c.subscribe(ctx, 2*round+1, 10*min(round, 1))
		s.want("heartbeat")
		fill(t, srv.Topic(cache, topic), "online")
		s.want(fmt.Sprintf("item 10/%d text online", 2*round+1))
		srv.Stop()
		srv.Stop() // does nothing
		s.wantEnd(codes.Unavailable)
		require.Equal(t, Stats{Accepted: srv.Stats().Accepted, Subscribes: 2*int(round) + 1}, srv.Stats())
		_, err := net.DialTimeout("tcp", addr, patience)
		require.ErrorContains(t, err, "refused")
		srv.GoAway() // nobody to tell

		fill(t, srv.Topic(cache, topic), "offline")
		require.NoError(t, srv.Restart())
		require.Equal(t, addr, srv.Addr())
		s = newRawClient(t, srv).subscribe(ctx, 2*round+2, 10)
		s.want("heartbeat", fmt.Sprintf("item 10/%d text offline", 2*round+2))
		require.NoError(t, srv.Restart())
		s.wantEnd(codes.Unavailable)
	}
	require.NoError(t, srv.Close())
	require.ErrorIs(t, srv.Restart(), errClosed)
}

func TestRestartWaitsForItsAddress(t *testing.T) {
	t.Parallel()
	srv := newServer(t)
	srv.Stop()
	other, err := net.Listen("tcp", srv.Addr())
	require.NoError(t, err)
	restarted := make(chan error, 1)
	go func() { restarted <- srv.Restart() }()
	time.Sleep(50 * time.Millisecond) // let it find the address taken
	require.NoError(t, other.Close())
	require.NoError(t, <-restarted)

	// A new server does not wait.
	start := time.Now()
	_, err = NewServer(WithAddr(srv.Addr()))
	require.ErrorContains(t, err, "in use")
	require.Less(t, time.Since(start), addressWait)
}

func TestClose(t *testing.T) {
	t.Parallel()
	ctx, srv := testContext(t), newServer(t)
	c := newRawClient(t, srv)
	var s *rawStream
	for range 200 { // so many that their handlers need a while to return
		s = c.subscribe(ctx, 0, 0)
		s.want("heartbeat")
	}
	mute, err := net.Dial("tcp", srv.Addr()) // says nothing, not even what client it is
	require.NoError(t, err)
	defer mute.Close()
	require.NoError(t, srv.Wait(ctx, func() bool { return srv.Stats().Connections == 2 }))
	srv.BlackHole(true)
	start := time.Now()
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() { require.NoError(t, srv.Close()) })
	}
	wg.Wait()
	require.Zero(t, srv.Stats().Connections)
	require.Zero(t, srv.Stats().Streams)
	require.Less(t, time.Since(start), patience/2)
	s.wantEnd(codes.Unavailable)
}

func TestResetConnections(t *testing.T) {
	t.Parallel()
	ctx, srv := testContext(t), newServer(t)
	c := newRawClient(t, srv)
	s := c.subscribe(ctx, 0, 0)
	s.want("heartbeat")
	srv.ResetConnections()
	s.wantEnd(codes.Unavailable)
	require.NoError(t, srv.WaitStreams(ctx, 0))
	c.subscribe(ctx, 0, 0).want("heartbeat")
	require.Equal(t, 2, srv.Stats().Accepted)

	raw, err := net.Dial("tcp", srv.Addr())
	require.NoError(t, err)
	defer raw.Close()
	require.NoError(t, srv.Wait(ctx, func() bool { return srv.Stats().Accepted == 3 }))
	srv.ResetConnections()
	require.NoError(t, raw.SetReadDeadline(time.Now().Add(patience)))
	_, err = io.Copy(io.Discard, raw)
	require.ErrorIs(t, err, syscall.ECONNRESET)
}

func TestGoAway(t *testing.T) {
	t.Parallel()
	ctx, srv := testContext(t), newServer(t)
	c := newRawClient(t, srv)
	s := c.subscribe(ctx, 0, 0)
	s.want("heartbeat")
	srv.GoAway()
	// The call goes to a new connection, the stream stays on the old one.
	for srv.Stats().Accepted < 2 {
		require.NoError(t, c.publish(ctx, text("a")))
		s.want(fmt.Sprintf("item 10/%d text a", srv.Topic(cache, topic).Position().Sequence))
	}
	require.Equal(t, 2, srv.Stats().Connections)
	srv.EndStreams(Fail(codes.Unavailable, "end"))
	s.wantEnd(codes.Unavailable)
	require.NoError(t, srv.Wait(ctx, func() bool { return srv.Stats().Connections == 1 }))
	require.NoError(t, c.publish(ctx, text("b")))

	// Nor does Close wait for a stream that was told to go away.
	newRawClient(t, srv).subscribe(ctx, 0, 10).want("heartbeat")
	srv.GoAway()
	require.NoError(t, srv.Close())
}

func TestBlackHole(t *testing.T) {
	t.Parallel()
	ctx, srv := testContext(t), newServer(t)
	c, to := newRawClient(t, srv), srv.Topic(cache, topic)
	s := c.subscribe(ctx, 0, 0)
	s.want("heartbeat")
	srv.BlackHole(true)
	srv.BlackHole(true)

	// Neither what is sent arrives, nor what is to be received.
	fill(t, to, "a")
	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	require.Equal(t, codes.DeadlineExceeded, status.Code(c.publish(short, text("lost"))))
	require.Zero(t, to.Publishes())
	received := make(chan string, 1)
	go func() {
		got, _ := s.recv()
		received <- got
	}()

	// A new connection is made, and stays mute.
	late, err := net.Dial("tcp", srv.Addr())
	require.NoError(t, err)
	defer late.Close()
	_, err = late.Write([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"))
	require.NoError(t, err)
	require.NoError(t, late.SetReadDeadline(time.Now().Add(50*time.Millisecond)))
	_, err = late.Read(make([]byte, 1))
	require.ErrorContains(t, err, "timeout")
	require.Empty(t, received)

	srv.BlackHole(false)
	require.Equal(t, "item 10/1 text a", <-received)
	require.NoError(t, late.SetReadDeadline(time.Now().Add(patience)))
	_, err = late.Read(make([]byte, 1))
	require.NoError(t, err)
	require.NoError(t, c.publish(ctx, text("b")))
	got, err := s.recv()
	require.NoError(t, err)
	if got == "item 10/2 text lost" { // it was under way, and arrived before its cancellation
		got, err = s.recv()
		require.NoError(t, err)
	}
	require.Contains(t, got, "text b")
}

// The SDKs ping often, and gRPC servers punish that unless told otherwise.
func TestPingsAreWelcome(t *testing.T) {
	t.Parallel()
	srv := newServer(t)
	cc, err := net.Dial("tcp", srv.Addr())
	require.NoError(t, err)
	defer cc.Close()
	require.NoError(t, cc.SetDeadline(time.Now().Add(patience)))
	_, err = io.WriteString(cc, http2.ClientPreface)
	require.NoError(t, err)
	framer := http2.NewFramer(cc, cc)
	require.NoError(t, framer.WriteSettings())
	for acks := 0; acks < 10; {
		require.NoError(t, framer.WritePing(false, [8]byte{}))
		for ack := false; !ack; {
			f, err := framer.ReadFrame()
			require.NoError(t, err)
			require.NotEqual(t, http2.FrameGoAway, f.Header().Type)
			ping, ok := f.(*http2.PingFrame)
			ack = ok && ping.IsAck()
		}
		acks++
	}
}

func TestWait(t *testing.T) {
	t.Parallel()
	ctx, srv := testContext(t), newServer(t)
	to := srv.Topic(cache, topic)
	c := newRawClient(t, srv)
	waited := make(chan error, 1)
	go func() {
		waited <- srv.Wait(ctx, func() bool {
			st := to.Streams()
			return len(st) == 1 && st[0].Sent == 3
		})
	}()
	s := c.subscribe(ctx, 0, 0)
	s.want("heartbeat")
	fill(t, to, "a", "b")
	require.NoError(t, <-waited)
	s.want("item 10/1 text a", "item 10/2 text b")
	require.Equal(t, []Stream{{Request: Request{Cache: cache, Topic: topic}, Sent: 3}}, to.Streams())
	require.Equal(t, Stats{Connections: 1, Streams: 1, Accepted: 1, Subscribes: 1}, srv.Stats())

	short, cancel := context.WithCancelCause(ctx)
	cancel(io.ErrUnexpectedEOF)
	err := srv.WaitStreams(short, 7)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.ErrorContains(t, err, "want exactly 7 streams to be open, have 1: {Connections:1 Streams:1 ")
	err = srv.Wait(short, func() bool { return false })
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.ErrorContains(t, err, "the condition of Wait is not met: {Connections:1 Streams:1 ")
}

func TestRequestsAreBounded(t *testing.T) {
	t.Parallel()
	srv := newServer(t)
	to := srv.Topic(cache, topic)
	for i := range uint64(keptRequests + 5) {
		to.record(Request{ResumeAt: i})
	}
	got := to.Requests()
	require.Len(t, got, keptRequests)
	require.EqualValues(t, 5, got[0].ResumeAt)
	require.EqualValues(t, keptRequests+4, got[keptRequests-1].ResumeAt)
}

// Many publishers and subscribers at once: all see the same numbers in order.
func TestConcurrency(t *testing.T) {
	t.Parallel()
	ctx, srv := testContext(t), newServer(t)
	c := newRawClient(t, srv)
	const subscribers, publishers, each = 20, 4, 50
	streams := make([]*rawStream, subscribers)
	for i := range streams {
		streams[i] = c.subscribe(ctx, 0, 0)
		streams[i].want("heartbeat")
	}
	var wg sync.WaitGroup
	for p := range publishers {
		wg.Go(func() {
			for i := range each {
				if err := c.publish(ctx, text(fmt.Sprint(p, " ", i))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	seen := make([][]string, subscribers)
	for i, s := range streams {
		wg.Go(func() {
			for range publishers * each {
				got, err := s.recv()
				if err != nil {
					t.Error(err)
					return
				}
				seen[i] = append(seen[i], got)
			}
		})
	}
	wg.Wait()
	for i, got := range seen[0] {
		require.True(t, strings.HasPrefix(got, fmt.Sprintf("item 10/%d ", i+1)), got)
	}
	for _, other := range seen {
		require.True(t, slices.Equal(seen[0], other))
	}
	require.Equal(t, pubsub.Position{Page: 10, Sequence: publishers * each}, srv.Topic(cache, topic).Position())
}

// A stream that is being admitted while its token is revoked, or its cache is
// deleted, is not known yet to whoever ends streams.
func TestStreamDoesNotOutliveItsToken(t *testing.T) {
	ctx, srv := testContext(t), newServer(t, WithAPIKey("key"))
	srv.AddToken("token", "")
	slowly := headers(ctx, "authorization", "token", "request-id", "1", "delay-rpcs", "topic-subscribe", "delay-ms", "200")
	s := newRawClient(t, srv).subscribe(slowly, 0, 0)
	require.NoError(t, srv.Wait(ctx, func() bool { return srv.Stats().Subscribes == 1 }))
	srv.RevokeToken("token")
	_, err := s.recv()
	require.Equal(t, codes.Unauthenticated, status.Code(err))
}

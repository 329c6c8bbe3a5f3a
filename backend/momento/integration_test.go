package momento_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/momentohq/client-sdk-go/auth"
	"github.com/momentohq/client-sdk-go/config"
	"github.com/momentohq/client-sdk-go/config/logger"
	sdk "github.com/momentohq/client-sdk-go/momento"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/momento"
	"github.com/topicbus/pubsub/backend/momento/momentotest"
	"go.uber.org/goleak"
	"google.golang.org/grpc/codes"
)

// These tests run over TCP against the loopback server.

// patience bounds what would hang. It is no measurement: the machine may be
// busy.
const patience = time.Minute

// newServer starts a server and checks, after the test, that it was left with
// no connection and this process with no goroutine.
func newServer(t testing.TB, opts ...momentotest.Option) *momentotest.Server {
	t.Helper()
	ignore := goleak.IgnoreCurrent()
	srv, err := momentotest.NewServer(append([]momentotest.Option{momentotest.WithCaches("cache")}, opts...)...)
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		require.NoError(t, srv.Wait(ctx, func() bool { return srv.Stats().Connections == 0 }), "a connection is left")
		require.NoError(t, srv.Close())
		goleak.VerifyNone(t, ignore)
	})
	return srv
}

// open makes a Backend that is closed with the test. Only a busy machine comes
// near its timeouts.
func open(t testing.TB, srv *momentotest.Server, opts ...momento.Option) *momento.Backend {
	t.Helper()
	// The answer to a ping has a second by default, which a busy machine misses.
	configuration := config.TopicsDefaultWithLogger(logger.NewNoopMomentoLoggerFactory())
	transport := configuration.GetTransportStrategy()
	transport = transport.WithGrpcConfig(transport.GetGrpcConfig().WithKeepAliveTimeout(patience / 2))
	b, err := momento.New("cache", append([]momento.Option{
		momento.WithCredentials(srv.Credentials()),
		momento.WithLogger(slog.New(slog.NewTextHandler(io.Discard, nil))),
		momento.WithConfiguration(configuration.WithTransportStrategy(transport)),
		momento.WithSubscribeTimeout(patience / 2),
		momento.WithPublishTimeout(patience / 2),
	}, opts...)...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	return b
}

func text(v string) pubsub.Payload {
	return pubsub.Payload{Format: pubsub.Text, Data: []byte(v)}
}

// listener receives one topic and keeps everything but heartbeats.
type listener struct {
	frames chan pubsub.Frame
	done   chan struct{}
	err    error
}

func listen(t testing.TB, b *momento.Backend, topic string) *listener {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	s, err := b.Subscribe(ctx, topic, pubsub.Start{})
	if err != nil {
		cancel()
		require.NoError(t, err)
	}
	return receiveAll(t, s, cancel)
}

// receiveAll receives a stream, which is ended with the test.
func receiveAll(t testing.TB, s pubsub.Stream, cancel func()) *listener {
	t.Helper()
	l := &listener{frames: make(chan pubsub.Frame, 1<<16), done: make(chan struct{})}
	go func() {
		defer close(l.done)
		l.err = s.Receive(func(_ context.Context, f pubsub.Frame) error {
			if f.Kind != pubsub.KindHeartbeat {
				l.frames <- f
			}
			return nil
		})
	}()
	t.Cleanup(func() {
		cancel()
		<-l.done
	})
	return l
}

// any returns the next frame.
func (l *listener) any(t testing.TB) pubsub.Frame {
	t.Helper()
	select {
	case f := <-l.frames:
		return f
	case <-time.After(patience):
		require.FailNow(t, "timeout")
		return pubsub.Frame{}
	}
}

func (l *listener) next(t testing.TB, kind pubsub.Kind) pubsub.Frame {
	t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case f := <-l.frames:
			if f.Kind == kind {
				return f
			}
		case <-timeout:
			require.FailNow(t, "timeout", "waiting for a %v", kind)
		}
	}
}

func TestRoundTrip(t *testing.T) {
	srv := newServer(t, momentotest.WithAPIKey("the-key"))
	srv.AddToken("alices", "alice")
	b := open(t, srv)
	alice := open(t, srv, momento.WithCredentials(srv.CredentialsFor("alices")))
	l := listen(t, b, "topic")

	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	big := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	for i, p := range []pubsub.Payload{
		text("héllo"), text(""), {Format: pubsub.Binary}, {Format: pubsub.Binary, Data: every},
		{Format: pubsub.Binary, Data: big}, text(string(big)),
	} {
		publisher, from := b, ""
		if i%2 == 1 {
			publisher, from = alice, "alice"
		}
		require.NoError(t, publisher.Publish(t.Context(), "topic", p))
		f := l.next(t, pubsub.KindMessage)
		require.Equal(t, p.Format, f.Payload.Format)
		require.True(t, bytes.Equal(p.Data, f.Payload.Data), "payload %d", i)
		require.Equal(t, from, f.Publisher)
		require.EqualValues(t, i+1, f.Position.Sequence)
		require.Equal(t, srv.Topic("cache", "topic").Position(), f.Position)
	}
}

func TestReconnectAfterEndStreams(t *testing.T) {
	for _, inclusive := range []bool{false, true} {
		for code := codes.OK; code <= codes.DataLoss; code++ {
			switch code {
			case codes.InvalidArgument, codes.NotFound, codes.PermissionDenied, codes.Unauthenticated:
				continue // permanent
			}
			t.Run(fmt.Sprintf("%v inclusive %v", code, inclusive), func(t *testing.T) {
				t.Parallel()
				var opts []momentotest.Option
				if inclusive {
					opts = append(opts, momentotest.WithInclusiveAnnouncements())
				}
				srv := newUnwatchedServer(t, append(opts, momentotest.WithRetention(5))...)
				topic := srv.Topic("cache", "topic")
				_, err := topic.Publish(text("before"))
				require.NoError(t, err)
				b := open(t, srv)
				l := listen(t, b, "topic")
				for n := 2; n <= 4; n++ {
					require.NoError(t, b.Publish(t.Context(), "topic", text("x")))
					require.EqualValues(t, n, l.next(t, pubsub.KindMessage).Position.Sequence)
				}
				srv.DelayNext(momentotest.Subscribe, 1, 500*time.Millisecond) // or it would be back before all were published
				srv.EndStreams(momentotest.Fail(code, "scripted"))
				require.NotNil(t, l.next(t, pubsub.KindState).State.Err)
				for range 20 {
					_, err := topic.Publish(text("meanwhile"))
					require.NoError(t, err)
				}
				d := l.next(t, pubsub.KindDiscontinuity).Discontinuity
				require.Equal(t, pubsub.CauseReconnect, d.Cause)
				require.True(t, d.Exact)
				require.EqualValues(t, 15, d.Lost)
				for n := 20; n <= 24; n++ {
					require.EqualValues(t, n, l.next(t, pubsub.KindMessage).Position.Sequence)
				}
				require.Empty(t, l.frames)
			})
		}
	}
}

// newUnwatchedServer is newServer for parallel tests, which see each other's
// goroutines.
func newUnwatchedServer(t testing.TB, opts ...momentotest.Option) *momentotest.Server {
	t.Helper()
	srv, err := momentotest.NewServer(append([]momentotest.Option{momentotest.WithCaches("cache")}, opts...)...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, srv.Close()) })
	return srv
}

func TestServerGoneAndBack(t *testing.T) {
	for _, away := range []time.Duration{100 * time.Millisecond, 3 * time.Second} {
		t.Run(away.String(), func(t *testing.T) {
			srv := newServer(t)
			b := open(t, srv)
			l := listen(t, b, "topic")
			n := 0
			next := func() {
				t.Helper()
				n++
				require.EqualValues(t, n, l.next(t, pubsub.KindMessage).Position.Sequence)
			}
			require.NoError(t, b.Publish(t.Context(), "topic", text("first")))
			next()
			const limit = 3 * time.Second
			best := patience
			// A machine that stands still for a moment spoils a measurement,
			// but hardly three.
			for i := 0; i < 3 && best >= limit; i++ {
				srv.Stop()
				_, err := srv.Topic("cache", "topic").Publish(text("while down"))
				require.NoError(t, err)
				time.Sleep(away)
				require.ErrorIs(t, b.Publish(t.Context(), "topic", text("x")), pubsub.ErrUnavailable)
				require.NoError(t, srv.Restart())
				back := time.Now()
				next()
				best = min(best, time.Since(back))
				t.Logf("%v after the server was back", time.Since(back))
				require.Eventually(t, func() bool {
					return b.Publish(t.Context(), "topic", text("again")) == nil
				}, patience, 10*time.Millisecond)
				next()
			}
			require.Less(t, best, limit)
		})
	}
}

func TestManySubscriptions(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long")
	}
	const n = 450
	srv := newServer(t)
	b := open(t, srv, momento.WithMaxSubscriptions(n))
	listeners := make([]*listener, n)
	turns := make(chan struct{}, 64)
	var wg sync.WaitGroup
	for i := range listeners {
		wg.Go(func() {
			// All at once, a busy machine would need longer for the last than a
			// Subscribe may take.
			turns <- struct{}{}
			defer func() { <-turns }()
			listeners[i] = listen(t, b, fmt.Sprint("topic-", i))
		})
	}
	wg.Wait()
	require.Equal(t, n, srv.Stats().Streams)
	publish := func(sequence uint64) {
		for i, l := range listeners {
			require.NoError(t, b.Publish(t.Context(), fmt.Sprint("topic-", i), text("x")))
			require.Equal(t, sequence, l.next(t, pubsub.KindMessage).Position.Sequence)
		}
	}
	publish(1)
	srv.Stop()
	time.Sleep(time.Second)
	require.NoError(t, srv.Restart())
	back := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	require.NoError(t, srv.WaitStreams(ctx, n))
	t.Logf("all %d were back after %v", n, time.Since(back))
	publish(2)

	// An SDK client has 5 connections of 100 streams. When an outage had it
	// replaced, those that came back before are on the old one, and the new one
	// has room for up to 500 more.
	var err error
	for i := 0; err == nil && i <= 500; i++ {
		_, err = b.Subscribe(t.Context(), "one too many", pubsub.Start{})
	}
	require.ErrorIs(t, err, pubsub.ErrLimitExceeded)
}

func TestRefusals(t *testing.T) {
	srv := newServer(t, momentotest.WithAPIKey("secret-key"))
	for _, test := range []struct {
		name     string
		opts     []momento.Option
		cache    string
		sentinel error
		code     string
	}{
		{"wrong key", []momento.Option{momento.WithCredentials(srv.CredentialsFor("wrong-key"))}, "cache", pubsub.ErrUnauthenticated, sdk.AuthenticationError},
		{"missing cache", nil, "elsewhere", pubsub.ErrNotFound, sdk.CacheNotFoundError},
	} {
		t.Run(test.name, func(t *testing.T) {
			b, err := momento.New(test.cache, append([]momento.Option{momento.WithCredentials(srv.Credentials())}, test.opts...)...)
			require.NoError(t, err)
			defer b.Close()
			_, err = b.Subscribe(t.Context(), "topic", pubsub.Start{})
			for _, err := range []error{err, b.Publish(t.Context(), "topic", text("x"))} {
				require.ErrorIs(t, err, test.sentinel)
				var me sdk.MomentoError
				require.ErrorAs(t, err, &me)
				require.Equal(t, test.code, me.Code())
				require.NotContains(t, fmt.Sprintf("%+v", err), "-key")
				require.NotContains(t, err.Error(), "\n")
			}
		})
	}
}

func TestCacheDeletedInMidStream(t *testing.T) {
	srv := newServer(t)
	l := listen(t, open(t, srv, momento.WithRefusalPatience(time.Second)), "topic")
	require.NoError(t, srv.DeleteCache("cache"))
	<-l.done
	require.ErrorIs(t, l.err, pubsub.ErrNotFound)
}

func TestTokenExpiresInMidStream(t *testing.T) {
	srv := newServer(t, momentotest.WithAPIKey("unused"))
	var generation atomic.Int64
	token := func() string { return fmt.Sprint("token-", generation.Load()) }
	srv.AddToken(token(), "")
	b := open(t, srv, momento.WithRefusalPatience(time.Second), momento.WithCredentialsFunc(func(context.Context) (auth.CredentialProvider, error) {
		return srv.CredentialsFor(token()), nil
	}))
	l := listen(t, b, "topic")
	for n := uint64(1); n < 5; n++ {
		require.NoError(t, b.Publish(t.Context(), "topic", text("x")))
		require.Equal(t, n, l.next(t, pubsub.KindMessage).Position.Sequence)
		old := token()
		generation.Add(1)
		srv.AddToken(token(), "")
		srv.RevokeToken(old)
	}
	srv.RevokeToken(token()) // and the function has no better one
	<-l.done
	require.ErrorIs(t, l.err, pubsub.ErrUnauthenticated)
	require.ErrorIs(t, b.Publish(t.Context(), "topic", text("x")), pubsub.ErrUnauthenticated)
}

func TestOddFrames(t *testing.T) {
	srv := newServer(t)
	b := open(t, srv)
	l := listen(t, b, "topic")
	topic := srv.Topic("cache", "topic")
	publish := func(v string) pubsub.Position {
		p, err := topic.Publish(text(v))
		require.NoError(t, err)
		return p
	}
	one := publish("one")
	require.Equal(t, one, l.next(t, pubsub.KindMessage).Position)
	next := func(n uint64) pubsub.Position {
		return pubsub.Position{Page: one.Page, Sequence: one.Sequence + n}
	}
	require.NoError(t, topic.Send(momentotest.UnknownKind(), momentotest.ItemWithoutValue(next(1)), momentotest.Item(next(2), text("three"))))
	d := l.next(t, pubsub.KindDiscontinuity).Discontinuity
	require.EqualValues(t, 1, d.Lost)
	require.Equal(t, next(2), l.next(t, pubsub.KindMessage).Position)
	require.NoError(t, topic.Send(momentotest.ItemOfUnknownKind(next(3)), momentotest.Item(next(4), text("five"))))
	require.EqualValues(t, 1, l.next(t, pubsub.KindDiscontinuity).Discontinuity.Lost)
	require.Equal(t, next(4), l.next(t, pubsub.KindMessage).Position)
	require.Equal(t, 1, srv.Stats().Subscribes, "none of them breaks the stream")
}

func TestMessageLargerThanTheStreamTakes(t *testing.T) {
	srv := newServer(t)
	b := open(t, srv)
	l := listen(t, b, "topic")
	topic := srv.Topic("cache", "topic")
	for _, size := range []int{10, 5 << 20, 5 << 20, 20, 30} {
		_, err := topic.Publish(pubsub.Payload{Format: pubsub.Binary, Data: make([]byte, size)})
		require.NoError(t, err)
	}
	var lost, got uint64
	for got < 3 {
		select {
		case f := <-l.frames:
			switch f.Kind {
			case pubsub.KindMessage:
				got++
				require.Equal(t, f.Position.Sequence, got+lost)
			case pubsub.KindDiscontinuity:
				require.True(t, f.Discontinuity.Exact)
				require.ErrorIs(t, f.Discontinuity, pubsub.ErrLimitExceeded)
				lost += f.Discontinuity.Lost
			}
		case <-time.After(patience):
			require.FailNow(t, "stuck")
		}
	}
	require.EqualValues(t, 2, lost)
	require.ErrorIs(t, b.Publish(t.Context(), "topic", pubsub.Payload{Data: make([]byte, 6<<20)}), pubsub.ErrPayloadTooLarge)
}

func TestMuteServer(t *testing.T) {
	// Heartbeats come so often, and the timeouts are so long, that a machine must
	// be very busy for the stream to break before the server is mute.
	srv := newServer(t, momentotest.WithHeartbeatInterval(50*time.Millisecond))
	b := open(t, srv, momento.WithStallTimeout(time.Second), momento.WithSubscribeTimeout(time.Second))
	topic := srv.Topic("cache", "topic")
	_, err := topic.Publish(text("before"))
	require.NoError(t, err)
	l := listen(t, b, "topic")
	require.NoError(t, b.Publish(t.Context(), "topic", text("x")))
	last := l.next(t, pubsub.KindMessage).Position
	topic.Mute(true)
	require.ErrorIs(t, l.next(t, pubsub.KindState).State.Err, pubsub.ErrUnavailable)
	require.Equal(t, 2, l.next(t, pubsub.KindState).State.Attempt)
	_, err = b.Subscribe(t.Context(), "topic", pubsub.Start{})
	require.ErrorIs(t, err, pubsub.ErrUnavailable)
	want, err := topic.Publish(text("y"))
	require.NoError(t, err)
	topic.Mute(false)
	f := l.next(t, pubsub.KindMessage)
	require.Equal(t, want, f.Position)
	require.Equal(t, last.Sequence+1, want.Sequence)
}

func TestLaw(t *testing.T) {
	// Random faults on one topic: what was delivered and what was reported
	// lost is what was accepted, in order and without duplicates.
	srv := newServer(t, momentotest.WithRetention(30), momentotest.WithHeartbeatInterval(20*time.Millisecond))
	topic := srv.Topic("cache", "topic")
	b := open(t, srv)
	l := listen(t, b, "topic")
	first, err := topic.Publish(text("first"))
	require.NoError(t, err)
	require.Equal(t, first, l.next(t, pubsub.KindMessage).Position)
	accounted := first.Sequence
	r := rand.New(rand.NewPCG(1, 2))
	for range 60 {
		for range r.IntN(50) {
			_, err := topic.Publish(text("x"))
			require.NoError(t, err)
		}
		switch r.IntN(5) {
		case 0:
			srv.EndStreams(momentotest.Fail(codes.Unavailable, ""))
		case 1:
			srv.ResetConnections()
		case 2:
			topic.Lose(uint64(1+r.IntN(9)), momentotest.Announced)
		case 3:
			topic.Lose(uint64(1+r.IntN(9)), momentotest.Unannounced)
		case 4:
			srv.GoAway()
		}
		time.Sleep(time.Duration(r.IntN(60)) * time.Millisecond)
	}
	last, err := topic.Publish(text("last"))
	require.NoError(t, err)
	for accounted < last.Sequence {
		select {
		case f := <-l.frames:
			switch f.Kind {
			case pubsub.KindMessage:
				require.Equal(t, accounted+1, f.Position.Sequence)
				accounted++
			case pubsub.KindDiscontinuity:
				require.True(t, f.Discontinuity.Exact)
				accounted += f.Discontinuity.Lost
			}
		case <-time.After(patience):
			require.FailNow(t, "stuck")
		}
	}
	require.Equal(t, last.Sequence, accounted)
}

// TestCloseAtRandomMoments would kill the process if the SDK's client were
// ever closed during a Subscribe.
func TestCloseAtRandomMoments(t *testing.T) {
	srv := newServer(t)
	for range 30 {
		b, err := momento.New("cache", momento.WithCredentials(srv.Credentials()), momento.WithMaxSubscriptions(200))
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for i := range 40 {
			wg.Go(func() {
				s, err := b.Subscribe(ctx, fmt.Sprint("topic-", i%7), pubsub.Start{})
				if err != nil {
					known := errors.Is(err, pubsub.ErrClosed) || errors.Is(err, context.Canceled) || errors.Is(err, pubsub.ErrUnavailable)
					assert.True(t, known, "%v", err)
					return
				}
				_ = s.Receive(func(context.Context, pubsub.Frame) error { return nil })
			})
			wg.Go(func() { _ = b.Publish(ctx, fmt.Sprint("topic-", i%7), text("x")) })
		}
		time.Sleep(time.Duration(rand.IntN(15)) * time.Millisecond)
		switch rand.IntN(3) {
		case 0:
			cancel()
		case 1:
			srv.ResetConnections()
		}
		require.NoError(t, b.Close())
		wg.Wait()
		cancel()
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	require.NoError(t, srv.WaitStreams(ctx, 0))
}

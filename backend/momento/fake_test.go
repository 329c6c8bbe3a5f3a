package momento

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/momentohq/client-sdk-go/auth"
	"github.com/momentohq/client-sdk-go/config"
	sdk "github.com/momentohq/client-sdk-go/momento"
	"github.com/momentohq/client-sdk-go/responses"
	"github.com/stretchr/testify/require"
	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/internal/turns"
)

// service is a scripted Momento service, as seen through the SDK's interfaces.
// Its clients enforce the SDK's traps: they fail the test where the real ones
// would panic.
type service struct {
	t testing.TB

	mu         sync.Mutex
	clients    []*fakeClient
	subscribes []sdk.TopicSubscribeRequest
	dials      int // attempts that reached the service or found it away
	token      string
	streams    int               // open now
	failed     []context.Context // of the attempts that failed
	downUntil  time.Time
	onTry      func(n int, r *sdk.TopicSubscribeRequest) ([]any, error) // a script for the nth stream, or an error
	onPublish  func(ctx context.Context, c *fakeClient, r *sdk.TopicPublishRequest) error
	latency    time.Duration
}

// fakeClient is deaf for a while after it could not connect, as gRPC is.
type fakeClient struct {
	s           *service
	token       string
	subscribing int
	busy        time.Time // when it was made, or a Subscribe last returned early
	closed      bool
	deafUntil   time.Time
	backOff     time.Duration
	published   int
}

// fakeSubscription plays a script: events, errors, pauses (time.Duration) and
// panics (string). At its end it stays silent.
type fakeSubscription struct {
	s      *service
	ctx    context.Context
	cancel context.CancelFunc
	frames chan any
	once   sync.Once
}

func newService(t testing.TB) *service { return &service{t: t} }

// newBackend returns a Backend on s, closed with the test.
func (s *service) newBackend(opts ...Option) *Backend {
	b := s.openBackend(opts...)
	s.t.Cleanup(func() { require.NoError(s.t, b.Close()) })
	return b
}

func (s *service) openBackend(opts ...Option) *Backend {
	base := []Option{
		WithLogger(slog.New(slog.NewTextHandler(io.Discard, nil))),
		func(o *options) { o.newClient = s.newClient },
		WithCredentials(fakeCredentials("token")),
	}
	b, err := New("cache", append(base, opts...)...)
	require.NoError(s.t, err)
	return b
}

func fakeCredentials(token string) auth.CredentialProvider {
	p, err := auth.NewMomentoLocalProvider(nil)
	if err != nil {
		panic(err)
	}
	return tokenProvider{p, token}
}

type tokenProvider struct {
	auth.CredentialProvider
	token string
}

func (p tokenProvider) GetAuthToken() string { return p.token }

func (s *service) newClient(c config.TopicsConfiguration, p auth.CredentialProvider) (sdk.TopicClient, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fc := &fakeClient{s: s, token: p.GetAuthToken(), backOff: time.Second, busy: time.Now()}
	s.clients = append(s.clients, fc)
	return fc, nil
}

var (
	errAway    = sdk.NewMomentoError(sdk.ServerUnavailableError, `connection error: desc = "transport: Error while dialing: dial tcp: connect: connection refused"`, nil)
	errReset   = sdk.NewMomentoError(sdk.ServerUnavailableError, "connection reset", nil)
	errToken   = sdk.NewMomentoError(sdk.AuthenticationError, "refused", nil)
	errLimit   = sdk.NewMomentoError(sdk.LimitExceededError, "Too many subscribers (limit: 100)", nil)
	errPool    = sdk.NewMomentoError(sdk.ClientResourceExhaustedError, "Already at maximum number of concurrent grpc streams (400)", nil)
	errTooLong = sdk.NewMomentoError(sdk.LimitExceededError, "grpc: received message larger than max (5000000 vs. 4194304)", nil)
	errEnded   = sdk.NewMomentoError(sdk.ClientSdkError, "SDK Failed to process the request.", io.EOF)
)

// connect behaves as a gRPC channel: it fails fast while it waits to connect
// again, longer after each failure.
func (c *fakeClient) connect() error {
	now := time.Now()
	if now.Before(c.deafUntil) {
		return errAway
	}
	if now.Before(c.s.downUntil) {
		c.deafUntil = now.Add(c.backOff)
		c.backOff = min(c.backOff*8/5, 2*time.Minute)
		return errAway
	}
	c.deafUntil, c.backOff = time.Time{}, time.Second
	return nil
}

func (c *fakeClient) Subscribe(ctx context.Context, r *sdk.TopicSubscribeRequest) (_ sdk.TopicSubscription, err error) {
	s := c.s
	s.mu.Lock()
	if c.closed {
		s.t.Error("Subscribe on a closed client")
	}
	c.subscribing++
	s.mu.Unlock()
	early := !turns.Sleep(ctx, s.latency, nil)

	s.mu.Lock()
	defer s.mu.Unlock()
	defer func() {
		if err != nil {
			s.failed = append(s.failed, ctx)
		}
	}()
	c.subscribing--
	if early {
		c.busy = time.Now()
		return nil, sdk.NewMomentoError(sdk.CanceledError, "subscribe request context was canceled", nil)
	}
	s.dials++
	if err := c.connect(); err != nil {
		return nil, err
	}
	if s.token != "" && c.token != s.token {
		return nil, errToken
	}
	s.subscribes = append(s.subscribes, *r)
	var script []any
	if s.onTry != nil {
		var err error
		if script, err = s.onTry(len(s.subscribes), r); err != nil {
			return nil, err
		}
	}
	sub := &fakeSubscription{s: s, frames: make(chan any, len(script))}
	sub.ctx, sub.cancel = context.WithCancel(ctx)
	for _, f := range script {
		sub.frames <- f
	}
	s.streams++
	return sub, nil
}

func (c *fakeClient) Publish(ctx context.Context, r *sdk.TopicPublishRequest) (responses.TopicPublishResponse, error) {
	s := c.s
	if s.latency > 0 && !turns.Sleep(ctx, s.latency, nil) {
		return nil, sdk.NewMomentoError(sdk.CanceledError, "cancelled", nil)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.closed {
		return nil, sdk.NewMomentoError(sdk.CanceledError, "the client connection is closing", nil)
	}
	if err := c.connect(); err != nil {
		return nil, err
	}
	if s.token != "" && c.token != s.token {
		return nil, errToken
	}
	if s.onPublish != nil {
		if err := s.onPublish(ctx, c, r); err != nil {
			return nil, err
		}
	}
	c.published++
	return &responses.TopicPublishSuccess{}, nil
}

func (c *fakeClient) Close() {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	switch {
	case c.closed:
		c.s.t.Error("a client was closed twice")
	case c.subscribing > 0:
		c.s.t.Error("a client was closed during a Subscribe")
	case time.Since(c.busy) < closePause/2:
		c.s.t.Error("a client was closed while the SDK was at work")
	}
	c.closed = true
}

func (f *fakeSubscription) Event(ctx context.Context) (sdk.TopicEvent, error) {
	for {
		if err := f.ctx.Err(); err != nil {
			return nil, err
		}
		select {
		case <-f.ctx.Done():
			return nil, f.ctx.Err()
		case frame := <-f.frames:
			switch v := frame.(type) {
			case sdk.TopicEvent:
				return v, nil
			case error:
				f.release()
				return nil, v
			case time.Duration:
				turns.Sleep(f.ctx, v, nil)
			case string: // what the SDK does with an item without a value
				(*config.TopicsStaticTransportStrategy)(nil).GetNumStreamGrpcChannels()
			case func(): // a middleware
				v()
			}
		}
	}
}

func (f *fakeSubscription) Item(context.Context) (sdk.TopicValue, error) {
	return nil, errors.New("not used")
}

func (f *fakeSubscription) Close() { f.release() }

func (f *fakeSubscription) release() {
	f.cancel()
	f.once.Do(func() {
		f.s.mu.Lock()
		defer f.s.mu.Unlock()
		f.s.streams--
	})
}

func (s *service) counts() (clients, open, streams int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.clients {
		if !c.closed {
			open++
		}
	}
	return len(s.clients), open, s.streams
}

func text(page, sequence uint64, v string) sdk.TopicItem {
	return sdk.NewTopicItem(sdk.String(v), "", sequence, page)
}

func discontinuity(sequence, page uint64) sdk.TopicDiscontinuity {
	return sdk.NewTopicDiscontinuity(0, sequence, page)
}

// receiver runs Receive and keeps what it delivers.
type receiver struct {
	frames chan pubsub.Frame
	done   chan struct{}
	err    error
}

// receive subscribes and runs Receive until its end.
func receive(t testing.TB, b *Backend, ctx context.Context, after pubsub.Position) *receiver {
	s, err := b.Subscribe(ctx, "topic", pubsub.Start{After: after})
	require.NoError(t, err)
	return run(s)
}

func run(s pubsub.Stream) *receiver {
	r := &receiver{frames: make(chan pubsub.Frame, 10_000), done: make(chan struct{})}
	go func() {
		defer close(r.done)
		r.err = s.Receive(func(_ context.Context, f pubsub.Frame) error {
			r.frames <- f
			return nil
		})
	}()
	return r
}

// nextOf returns the next frame of that kind.
func (r *receiver) nextOf(t testing.TB, kind pubsub.Kind) pubsub.Frame {
	t.Helper()
	for {
		select {
		case f := <-r.frames:
			if f.Kind == kind {
				return f
			}
		case <-r.done:
			for {
				select {
				case f := <-r.frames:
					if f.Kind == kind {
						return f
					}
				default:
					require.FailNow(t, "the stream ended", "%v", r.err)
				}
			}
		case <-time.After(1000 * time.Hour):
			require.FailNow(t, "no such frame")
		}
	}
}

func (r *receiver) state(t testing.TB, state pubsub.State) pubsub.StateChange {
	t.Helper()
	for {
		if f := r.nextOf(t, pubsub.KindState); f.State.State == state {
			return *f.State
		}
	}
}

func constantly(d time.Duration) func() backoff.BackOff {
	return func() backoff.BackOff { return backoff.NewConstantBackOff(d) }
}

package momentotest

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/momentohq/client-sdk-go/auth"
	"github.com/momentohq/client-sdk-go/config"
	"github.com/momentohq/client-sdk-go/config/logger"
	"github.com/momentohq/client-sdk-go/config/retry"
	"github.com/momentohq/client-sdk-go/momento"
	"github.com/momentohq/client-sdk-go/responses"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"

	"github.com/topicbus/pubsub"
)

// sdk is a TopicClient of the official SDK that can be closed. On its own,
// TopicClient.Close panics if a Subscribe is under way, and always races with
// the goroutine that allots streams to connections, which waits to send on
// the channel that Close closes. So that goroutine is ended first, from
// within the logger that it calls before each allotment.
type sdk struct {
	momento.TopicClient
	end []context.CancelFunc
}

func newSDK(t *testing.T, credentials auth.CredentialProvider, timeout time.Duration) *sdk {
	t.Helper()
	end := &endingLogger{MomentoLogger: logger.NewNoopMomentoLoggerFactory().GetLogger(""), ended: make(chan struct{})}
	c := config.TopicsDefaultWithLogger(end).WithRetryStrategy(retry.NewNeverRetryStrategy())
	c = c.WithTransportStrategy(c.GetTransportStrategy().WithClientTimeout(timeout))
	client, err := momento.NewTopicClient(c, credentials)
	require.NoError(t, err)
	s := &sdk{TopicClient: client}
	t.Cleanup(func() {
		for _, end := range s.end {
			end()
		}
		end.ending.Store(true)
		ctx, cancel := context.WithCancel(context.Background())
		returned := make(chan struct{})
		go func() { // takes the stream that was allotted, so that the next one is due
			defer close(returned)
			_, _ = s.subscribe(ctx, 0, 0)
		}()
		<-end.ended
		cancel()
		<-returned
		client.Close()
	})
	return s
}

// endingLogger ends the SDK's allotting goroutine.
type endingLogger struct {
	logger.MomentoLogger
	ending atomic.Bool
	ended  chan struct{}
}

func (l *endingLogger) GetLogger(string) logger.MomentoLogger { return l }

func (l *endingLogger) Debug(message string, _ ...any) {
	if strings.HasPrefix(message, "Starting new subscription on grpc channel") && l.ending.CompareAndSwap(true, false) {
		close(l.ended)
		runtime.Goexit()
	}
}

// subscribe opens a subscription whose stream lives until the client is closed.
func (s *sdk) subscribe(ctx context.Context, resumeAt, page uint64) (momento.TopicSubscription, error) {
	ctx, cancel := context.WithCancel(ctx)
	s.end = append(s.end, cancel)
	return s.Subscribe(ctx, &momento.TopicSubscribeRequest{
		CacheName: cache, TopicName: topic, ResumeAtTopicSequenceNumber: resumeAt, SequencePage: page,
	})
}

func (s *sdk) publish(ctx context.Context, v momento.TopicValue) error {
	_, err := s.Publish(ctx, &momento.TopicPublishRequest{CacheName: cache, TopicName: topic, Value: v})
	return err
}

func sdkError(t *testing.T, err error) momento.MomentoError {
	t.Helper()
	var e momento.MomentoError
	require.True(t, errors.As(err, &e), "%v", err)
	return e
}

func sdkCode(t *testing.T, err error) string {
	t.Helper()
	return sdkError(t, err).Code()
}

func wantEvents(t *testing.T, ctx context.Context, sub momento.TopicSubscription, events ...momento.TopicEvent) {
	t.Helper()
	for _, want := range events {
		got, err := sub.Event(ctx)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
}

func TestSDK(t *testing.T) {
	t.Parallel()
	ctx, srv := testContext(t), newServer(t, WithAPIKey("secret"))
	srv.AddToken("disposable", "someone")
	client := newSDK(t, srv.Credentials(), patience)
	sub, err := client.subscribe(ctx, 0, 0)
	require.NoError(t, err)
	require.NoError(t, client.publish(ctx, momento.String("a")))
	require.NoError(t, client.publish(ctx, momento.Bytes{0, 255}))
	require.NoError(t, newSDK(t, srv.CredentialsFor("disposable"), patience).publish(ctx, momento.String("")))
	require.NoError(t, srv.Topic(cache, topic).Send(Heartbeat(), Discontinuity(3, 4, 5)))
	wantEvents(t, ctx, sub,
		momento.NewTopicItem(momento.String("a"), momento.String(""), 1, 10),
		momento.NewTopicItem(momento.Bytes{0, 255}, momento.String(""), 2, 10),
		momento.NewTopicItem(momento.String(""), momento.String("someone"), 3, 10),
		momento.TopicHeartbeat{},
		momento.NewTopicDiscontinuity(3, 4, 5))

	// A subscription of one's own making resumes where the last one ended.
	srv.Topic(cache, topic).EndStreams(Fail(codes.Unavailable, "gone"))
	_, err = sub.Event(ctx)
	require.Equal(t, momento.ServerUnavailableError, sdkCode(t, err))
	require.NoError(t, client.publish(ctx, momento.String("meanwhile")))
	sub, err = client.subscribe(ctx, 4, 10)
	require.NoError(t, err)
	wantEvents(t, ctx, sub, momento.NewTopicItem(momento.String("meanwhile"), momento.String(""), 4, 10))

	_, err = newSDK(t, srv.CredentialsFor("wrong"), patience).subscribe(ctx, 0, 0)
	require.Equal(t, momento.AuthenticationError, sdkCode(t, err))
}

func TestSDKControlClient(t *testing.T) {
	t.Parallel()
	ctx, srv := testContext(t), newServer(t)
	client, err := momento.NewCacheClient(config.LaptopLatestWithLogger(logger.NewNoopMomentoLoggerFactory()), srv.Credentials(), patience)
	require.NoError(t, err)
	defer client.Close()
	created, err := client.CreateCache(ctx, &momento.CreateCacheRequest{CacheName: "new"})
	require.NoError(t, err)
	require.IsType(t, &responses.CreateCacheSuccess{}, created)
	created, err = client.CreateCache(ctx, &momento.CreateCacheRequest{CacheName: "new"})
	require.NoError(t, err)
	require.IsType(t, &responses.CreateCacheAlreadyExists{}, created)
	_, err = client.DeleteCache(ctx, &momento.DeleteCacheRequest{CacheName: "new"})
	require.NoError(t, err)
	require.Error(t, srv.DeleteCache("new"))
}

// How the SDK reads each status, from all three calls.
func TestSDKCodes(t *testing.T) {
	t.Parallel()
	ctx, srv := testContext(t), newServer(t)
	client, to := newSDK(t, srv.Credentials(), patience), srv.Topic(cache, topic)
	for code, want := range map[codes.Code]string{
		codes.Canceled:           momento.CanceledError,
		codes.Unknown:            momento.UnknownServiceError,
		codes.InvalidArgument:    momento.InvalidArgumentError,
		codes.DeadlineExceeded:   momento.TimeoutError,
		codes.NotFound:           momento.CacheNotFoundError,
		codes.AlreadyExists:      momento.AlreadyExistsError,
		codes.PermissionDenied:   momento.PermissionError,
		codes.ResourceExhausted:  momento.LimitExceededError,
		codes.FailedPrecondition: momento.FailedPreconditionError,
		codes.Aborted:            momento.InternalServerError,
		codes.OutOfRange:         momento.BadRequestError,
		codes.Unimplemented:      momento.BadRequestError,
		codes.Internal:           momento.InternalServerError,
		codes.Unavailable:        momento.ServerUnavailableError,
		codes.DataLoss:           momento.InternalServerError,
		codes.Unauthenticated:    momento.AuthenticationError,
	} {
		to.FailNext(Publish, 1, Fail(code, "scripted"))
		require.Equal(t, want, sdkCode(t, client.publish(ctx, momento.String("x"))), "publish %v", code)
		to.FailNext(Subscribe, 1, Fail(code, "scripted"))
		_, err := client.subscribe(ctx, 0, 0)
		require.Equal(t, want, sdkCode(t, err), "subscribe %v", code)
		sub, err := client.subscribe(ctx, 0, 0)
		require.NoError(t, err)
		to.EndStreams(Fail(code, "scripted"))
		_, err = sub.Event(ctx)
		require.Equal(t, want, sdkCode(t, err), "event %v", code)
	}
}

func TestSDKLimits(t *testing.T) {
	t.Parallel()
	ctx, srv := testContext(t), newServer(t, WithMaxPayload(4096), WithMaxSubscriptions(1))
	client := newSDK(t, srv.Credentials(), patience)
	err := client.publish(ctx, momento.String(strings.Repeat("x", 4097)))
	require.Equal(t, momento.LimitExceededError, sdkCode(t, err))
	require.Contains(t, sdkError(t, err).Message(), "Request size limit exceeded")
	_, err = client.subscribe(ctx, 0, 0)
	require.NoError(t, err)
	_, err = client.subscribe(ctx, 0, 0)
	require.Equal(t, momento.LimitExceededError, sdkCode(t, err))
	require.Contains(t, sdkError(t, err).Message(), "Topic subscriptions limit exceeded")
}

// What the server can do to the SDK that it does not take well. Whoever
// builds on it has these to cope with.
func TestSDKTraps(t *testing.T) {
	t.Parallel()

	t.Run("an item without a value panics", func(t *testing.T) {
		t.Parallel()
		ctx, srv := testContext(t), newServer(t)
		sub, err := newSDK(t, srv.Credentials(), patience).subscribe(ctx, 0, 0)
		require.NoError(t, err)
		require.NoError(t, srv.Topic(cache, topic).Send(ItemWithoutValue(pubsub.Position{Page: 10, Sequence: 1})))
		require.Panics(t, func() { _, _ = sub.Event(ctx) })
	})

	t.Run("what it does not know is skipped", func(t *testing.T) {
		t.Parallel()
		ctx, srv := testContext(t), newServer(t)
		to := srv.Topic(cache, topic)
		sub, err := newSDK(t, srv.Credentials(), patience).subscribe(ctx, 0, 0)
		require.NoError(t, err)
		require.NoError(t, to.Send(UnknownKind(), ItemOfUnknownKind(pubsub.Position{Page: 10, Sequence: 1})))
		fill(t, to, "a")
		wantEvents(t, ctx, sub, momento.NewTopicItem(momento.String("a"), momento.String(""), 1, 10))
	})

	t.Run("the first message must be a heartbeat", func(t *testing.T) {
		t.Parallel()
		ctx, srv := testContext(t), newServer(t)
		require.NoError(t, srv.Topic(cache, topic).ScriptOpening(Discontinuity(0, 1, 10)))
		_, err := newSDK(t, srv.Credentials(), patience).subscribe(ctx, 0, 0)
		require.Equal(t, momento.InternalServerError, sdkCode(t, err))
	})

	t.Run("a stream that ends with OK is an error of the client", func(t *testing.T) {
		t.Parallel()
		ctx, srv := testContext(t), newServer(t)
		sub, err := newSDK(t, srv.Credentials(), patience).subscribe(ctx, 0, 0)
		require.NoError(t, err)
		srv.EndStreams(Failure{})
		_, err = sub.Event(ctx)
		require.Equal(t, momento.ClientSdkError, sdkCode(t, err))
	})

	t.Run("a mute server leaves the stream of a failed Subscribe open", func(t *testing.T) {
		t.Parallel()
		ctx, srv := testContext(t), newServer(t)
		srv.Topic(cache, topic).Mute(true)
		life, end := context.WithCancel(ctx)
		defer end()
		client := newSDK(t, srv.Credentials(), time.Second) // within which the stream must open
		_, err := client.subscribe(life, 0, 0)
		require.Equal(t, momento.TimeoutError, sdkCode(t, err))
		require.NoError(t, srv.WaitStreams(ctx, 1))
		end()
		require.NoError(t, srv.WaitStreams(ctx, 0))
	})

	t.Run("more than 4 MiB end the stream, and again when it is resumed", func(t *testing.T) {
		t.Parallel()
		ctx, srv := testContext(t), newServer(t)
		client, page := newSDK(t, srv.Credentials(), patience), uint64(0)
		for range 2 {
			sub, err := client.subscribe(ctx, page/10, page)
			require.NoError(t, err)
			if page == 0 {
				require.NoError(t, client.publish(ctx, momento.String(strings.Repeat("x", 4_200_000))))
				page = 10
			}
			_, err = sub.Event(ctx)
			require.Equal(t, momento.LimitExceededError, sdkCode(t, err))
		}
	})

	t.Run("a blocked Event heeds only the context of Subscribe", func(t *testing.T) {
		t.Parallel()
		ctx, srv := testContext(t), newServer(t)
		life, end := context.WithCancel(ctx)
		sub, err := newSDK(t, srv.Credentials(), patience).subscribe(life, 0, 0)
		require.NoError(t, err)
		call, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
		defer cancel()
		returned := make(chan error, 1)
		go func() {
			_, err := sub.Event(call)
			returned <- err
		}()
		<-call.Done()
		select {
		case err := <-returned:
			t.Error("it returned:", err)
		case <-time.After(100 * time.Millisecond):
		}
		end()
		require.Error(t, <-returned)
	})
}

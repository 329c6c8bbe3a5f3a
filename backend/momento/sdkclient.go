package momento

import (
	"context"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"github.com/momentohq/client-sdk-go/auth"
	"github.com/momentohq/client-sdk-go/config/logger"
	sdk "github.com/momentohq/client-sdk-go/momento"
	"github.com/momentohq/client-sdk-go/responses"
	"github.com/topicbus/pubsub/internal/foreign"
)

const (
	// closePause is how long closing a client waits for the SDK to come to
	// rest, if it does not tell.
	closePause = 100 * time.Millisecond
	// closeLimit is how long it waits if the SDK does tell, but a slow machine
	// or a slow log handler holds it up.
	closeLimit = 10 * time.Second
)

// sdkClient is an SDK client that can be closed. The SDK's own Close closes a
// channel on which a goroutine of the SDK waits to send: the one that allots
// streams to connections. Depending on where that goroutine is, it panics,
// which ends the process; the race detector always complains. So that goroutine
// is ended first, from within the logger that it calls at each allotment.
//
// What the SDK says, and what comes through it, is foreign: see package foreign.
type sdkClient struct {
	sdk.TopicClient
	logger  *endingLogger
	foreign *foreign.Filter
}

func newSDKClient(o *options, f *foreign.Filter, p auth.CredentialProvider) (*sdkClient, error) {
	f.Know(p.GetAuthToken())
	l := &endingLogger{MomentoLogger: newSDKLogger(o.logger, f), ended: make(chan struct{})}
	if o.proxyResolves {
		p = unresolved{p}
	}
	c, err := o.newClient(o.sdkConfiguration(l), p)
	if err != nil {
		return nil, shown(f, err)
	}
	return &sdkClient{TopicClient: c, logger: l, foreign: f}, nil
}

// Publish implements [sdk.TopicClient].
func (c *sdkClient) Publish(ctx context.Context, r *sdk.TopicPublishRequest) (responses.TopicPublishResponse, error) {
	response, err := c.TopicClient.Publish(ctx, r)
	return response, shown(c.foreign, err)
}

// Subscribe implements [sdk.TopicClient].
func (c *sdkClient) Subscribe(ctx context.Context, r *sdk.TopicSubscribeRequest) (sdk.TopicSubscription, error) {
	sub, err := c.TopicClient.Subscribe(ctx, r)
	if err != nil {
		return nil, shown(c.foreign, err)
	}
	return &sdkSubscription{sub, c.foreign}, nil
}

// sdkSubscription is a subscription of an sdkClient.
type sdkSubscription struct {
	sdk.TopicSubscription
	foreign *foreign.Filter
}

// Event implements [sdk.TopicSubscription].
func (s *sdkSubscription) Event(ctx context.Context) (sdk.TopicEvent, error) {
	ev, err := s.TopicSubscription.Event(ctx)
	return ev, shown(s.foreign, err)
}

// Close closes the client. No Subscribe may be under way, and it must be
// called once.
func (c *sdkClient) Close() {
	defer c.TopicClient.Close()
	c.logger.ending.Store(true)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for range closeLimit / closePause {
		// A Subscribe that goes nowhere takes what was allotted, so that the
		// next allotment is due. One may not do: what it takes can be a refusal
		// from when all streams were in use.
		_, _ = c.TopicClient.Subscribe(ctx, &sdk.TopicSubscribeRequest{CacheName: "-", TopicName: "-"})
		timer := time.NewTimer(closePause)
		select {
		case <-c.logger.ended:
			timer.Stop()
			return
		case <-timer.C:
		}
		if !c.logger.heard.Load() {
			return // a version of the SDK that logs something else: by now it is at rest
		}
	}
}

// endingLogger is the logger of one SDK client.
type endingLogger struct {
	logger.MomentoLogger
	heard  atomic.Bool // an allotment was logged
	ending atomic.Bool
	ended  chan struct{}
}

// GetLogger implements [logger.MomentoLoggerFactory].
func (l *endingLogger) GetLogger(string) logger.MomentoLogger { return l }

// Debug logs, or ends the allotting goroutine if it is that which calls.
func (l *endingLogger) Debug(message string, args ...any) {
	if strings.HasPrefix(message, "Starting new subscription on grpc channel") {
		l.heard.Store(true)
		if l.ending.CompareAndSwap(true, false) {
			close(l.ended)
			runtime.Goexit()
		}
	}
	l.MomentoLogger.Debug(message, args...)
}

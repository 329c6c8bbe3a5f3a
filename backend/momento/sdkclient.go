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
)

// closePause is how long closing a client waits for the SDK to come to rest,
// if it does not tell.
const closePause = 100 * time.Millisecond

// sdkClient is an SDK client that can be closed. The SDK's own Close closes a
// channel on which a goroutine of the SDK waits to send: the one that allots
// streams to connections. Depending on where that goroutine is, it panics,
// which ends the process; the race detector always complains. So that goroutine
// is ended first, from within the logger that it calls at each allotment.
type sdkClient struct {
	sdk.TopicClient
	logger *endingLogger
}

func newSDKClient(o *options, p auth.CredentialProvider) (*sdkClient, error) {
	l := &endingLogger{MomentoLogger: sdkLogger{o.logger.With("component", "momento-sdk")}, ended: make(chan struct{})}
	c, err := o.newClient(o.sdkConfiguration(l), p)
	if err != nil {
		return nil, err
	}
	return &sdkClient{TopicClient: c, logger: l}, nil
}

// Close closes the client. No Subscribe may be under way, and it must be
// called once.
func (c *sdkClient) Close() {
	c.logger.ending.Store(true)
	// A Subscribe that goes nowhere takes what was allotted, so that the next
	// allotment is due.
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, _ = c.Subscribe(ctx, &sdk.TopicSubscribeRequest{CacheName: "-", TopicName: "-"})
	timer := time.NewTimer(closePause)
	defer timer.Stop()
	select {
	case <-c.logger.ended:
	case <-timer.C:
		// A version of the SDK that logs something else: by now it is at rest.
	}
	c.TopicClient.Close()
}

// endingLogger is the logger of one SDK client.
type endingLogger struct {
	logger.MomentoLogger
	ending atomic.Bool
	ended  chan struct{}
}

// GetLogger implements [logger.MomentoLoggerFactory].
func (l *endingLogger) GetLogger(string) logger.MomentoLogger { return l }

// Debug logs, or ends the allotting goroutine if it is that which calls.
func (l *endingLogger) Debug(message string, args ...any) {
	if l.ending.Load() && strings.HasPrefix(message, "Starting new subscription on grpc channel") && l.ending.CompareAndSwap(true, false) {
		close(l.ended)
		runtime.Goexit()
	}
	l.MomentoLogger.Debug(message, args...)
}

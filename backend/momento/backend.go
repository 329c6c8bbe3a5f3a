// Package momento is the Momento Topics backend of package pubsub, on the
// official SDK.
//
// It adds what the SDK leaves open. A stream that breaks comes back by itself,
// however long the outage was, and goes on with the message behind the last
// one delivered. Duplicates are dropped. What is missing is reported once, in
// its place, as a [pubsub.Discontinuity]:
//
//	CauseBackend    the service announced a gap, its numbers show one, or a
//	                message could not be received (without a value, or larger
//	                than the 4 MiB that gRPC takes; Err tells which)
//	CauseReconnect  the same, of messages that passed while the stream was
//	                down; without a count if no message had arrived by which
//	                the stream could have been resumed
//	CauseReset      the topic began a new page of numbers
//
// The service names the number a topic stands at, but its sources disagree
// whether that message has passed already. A stream that breaks before its
// first message resumes at that number: it loses nothing, and may deliver one
// message that was accepted just before Subscribe.
//
// A stream ends by itself only with an error that will not pass: refused
// credentials, no permission, no such cache, an invalid argument, or the
// Backend's end.
//
// Goroutines: a Backend has one while it makes an SDK client and one while it
// closes one; Close waits for both. A stream runs on the goroutine that calls
// Receive, and on a second one while it holds a discontinuity; Receive waits
// for it.
package momento

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/cenkalti/backoff/v4"
	"github.com/momentohq/client-sdk-go/auth"
	sdk "github.com/momentohq/client-sdk-go/momento"
	"github.com/topicbus/pubsub"
)

// Backend is a [pubsub.Backend] whose topics are those of one Momento cache.
// Its methods may be called from many goroutines at once.
type Backend struct {
	cacheName string
	options   options
	ctx       context.Context // ends with Close
	cancel    context.CancelFunc
	clients   clients
	recovery  *recovery
	outages   outages
	foreign   foreign
}

var _ pubsub.Backend = (*Backend)(nil)

// New returns a Backend for the topics of a cache, which must exist. It does
// no I/O and starts nothing: whether the cache exists and the credentials are
// accepted is told by the first Publish or Subscribe. An error of New matches
// pubsub.ErrInvalidArgument, says what to change, and contains no key.
//
// The caller owes a Close.
func New(cacheName string, opts ...Option) (*Backend, error) {
	if strings.TrimSpace(cacheName) == "" {
		return nil, invalid("the cache name is blank")
	}
	for _, c := range []byte(cacheName) {
		if c < ' ' || c > '~' {
			return nil, invalid("the cache name %q is not printable ASCII, which Momento's protocol needs it to be", cacheName)
		}
	}
	b := &Backend{cacheName: cacheName, options: defaults(), recovery: newRecovery()}
	for _, opt := range opts {
		if opt == nil {
			return nil, invalid("an option is nil")
		}
		opt(&b.options)
	}
	if err := b.options.resolve(); err != nil {
		return nil, err
	}
	b.outages.log = b.options.logger
	b.ctx, b.cancel = context.WithCancel(context.Background())
	b.clients = clients{
		ctx:         b.ctx,
		credentials: b.options.credentials,
		refreshes:   b.options.refreshes,
		timeout:     b.options.subscribeTimeout,
		capacity:    b.options.capacity(),
		check:       b.options.checkCredentials,
		freshAfter:  b.options.freshAfter,
		log:         b.options.logger,
		foreign:     &b.foreign,
		open:        make(map[*client]struct{}),
		dial:        func(p auth.CredentialProvider) (*sdkClient, error) { return newSDKClient(&b.options, &b.foreign, p) },
	}
	return b, nil
}

// Subscribe implements [pubsub.Backend]. It tries once, and again only
// if that failed for a reason that has since been mended.
func (b *Backend) Subscribe(ctx context.Context, topic string, from pubsub.Start) (pubsub.Stream, error) {
	s, err := b.subscribe(ctx, topic, from)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Publish implements [pubsub.Backend]. A Text payload is published as a
// Momento string, a Binary one as bytes. See [WithPublishRetry] about errors.
//
// pubsub.OutcomeOf tells of its errors that the message was not accepted where
// that is certain: the request was not sent, or the service itself refused it.
func (b *Backend) Publish(ctx context.Context, topic string, p pubsub.Payload) error {
	request := &sdk.TopicPublishRequest{CacheName: b.cacheName, TopicName: topic}
	switch p.Format {
	case pubsub.Text:
		request.Value = sdk.String(stringOf(p.Data))
	case pubsub.Binary:
		request.Value = sdk.Bytes(p.Data)
	default:
		return pubsub.WithOutcome(fmt.Errorf("%w: unknown format %v", pubsub.ErrInvalidPayload, p.Format), pubsub.NotAccepted)
	}
	var all attempts
	err := b.publish(ctx, request, &all)
	if err == nil || b.options.publishRetry == nil {
		return all.tell(err)
	}
	policy := b.options.publishRetry()
	if policy == nil {
		return all.tell(pubsub.WithOutcome(invalid("the function given to WithPublishRetry returned nil"), pubsub.OutcomeOf(err)))
	}
	policy.Reset()
	for errors.Is(err, pubsub.ErrUnavailable) || errors.Is(err, pubsub.ErrLimitExceeded) {
		wait := policy.NextBackOff()
		if wait == backoff.Stop {
			break
		}
		if !sleep(ctx, max(wait, minWait), b.ctx.Done()) {
			err = &serviceError{sentinel: ctx.Err(), cause: err} // with its outcome
			break
		}
		err = b.publish(ctx, request, &all)
	}
	return all.tell(err)
}

// publish makes one attempt, or a second one with fresh credentials.
func (b *Backend) publish(ctx context.Context, request *sdk.TopicPublishRequest, all *attempts) error {
	replaced, err := b.call(ctx, request)
	if replaced && errors.Is(err, pubsub.ErrUnauthenticated) {
		_, err = b.call(ctx, request)
	}
	if err != nil {
		all.failed(err)
	}
	return err
}

// call makes one attempt. replaced tells that the next one would be made with
// another SDK client. The error tells the attempt's outcome.
func (b *Backend) call(ctx context.Context, request *sdk.TopicPublishRequest) (replaced bool, err error) {
	if ctx.Err() != nil {
		return false, pubsub.WithOutcome(ctx.Err(), pubsub.NotAccepted)
	}
	cl, err := b.clients.acquire(ctx)
	if err != nil {
		return false, pubsub.WithOutcome(err, pubsub.NotAccepted)
	}
	callCtx := ctx
	if b.options.publishTimeout < b.options.subscribeTimeout {
		// The SDK's own timeout is the longer of the two.
		var cancel context.CancelFunc
		callCtx, cancel = context.WithTimeout(ctx, b.options.publishTimeout)
		defer cancel()
	}
	_, err = cl.Publish(callCtx, request)
	b.clients.release(cl, err)
	if err == nil {
		return false, nil
	}
	outcome := outcomeOf(err)
	if b.ctx.Err() != nil {
		return false, pubsub.WithOutcome(&serviceError{sentinel: errClosed, cause: err}, outcome)
	}
	err = translatePublish(ctx, err)
	if ctx.Err() == nil { // the caller's own end tells nothing of the connection
		replaced = b.clients.failed(cl, err)
	}
	return replaced, pubsub.WithOutcome(err, outcome)
}

// Close ends the Backend: its streams end with pubsub.ErrClosed, and calls
// under way return. Close returns when all connections are closed and all
// goroutines of the Backend are gone; for calls and streams that do not end at
// once it waits a tenth of a second. Later calls wait likewise. The error is
// always nil.
func (b *Backend) Close() error {
	b.cancel()
	b.clients.close()
	return nil
}

// Format implements [fmt.Formatter], so that no verb shows the credentials.
func (b *Backend) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "momento.Backend(cache %q)", b.cacheName)
}

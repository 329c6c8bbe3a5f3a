// Package momento is the Momento Topics backend of package pubsub, on the
// official SDK.
//
// It adds what the SDK leaves open. A stream that breaks comes back by itself,
// however long the outage was, and goes on with the message behind the last
// one delivered. Duplicates are dropped. What is missing is reported once, in
// its place, as a [pubsub.Discontinuity]:
//
//	CauseBackend    the service announced a gap, its numbers show one, or a
//	                message could not be received (without a value, not to be
//	                decoded, or larger than the 4 MiB that gRPC takes; Err tells
//	                which)
//	CauseReconnect  the same, of messages that passed while the stream was
//	                down; without a count if no message had arrived by which
//	                the stream could have been resumed
//	CauseReset      the topic began a new page of numbers, or is on another page
//	                than the position that the stream was to begin behind, or
//	                its numbers jumped by more than 2^32; without a count
//
// A message that cannot be received bears no number that could be read. The next
// one tells how many are missing; if none comes within two seconds, the hole is
// told without a count. A stream that breaks on such a message again and again
// goes on behind it.
//
// So does one that fails again and again, in any way, where it asks for one
// message. An outage looks like that, too, and is no reason to skip a message. So
// after five failures and half a minute the stream looks, with a Subscribe that
// asks for no place, whether the service brings other messages. If it does, and
// fails on that one again, twice in a row, then the stream goes on behind it; or
// with what comes next, if the service tells of nothing behind it, or says
// that there is no such place. An error about the place itself, such as an invalid
// argument, has the stream look at once.
//
// # Where a stream begins
//
// The service tells a new stream the number that the topic stands at, at once,
// if the topic has messages. Its sources disagree whether the message with that
// number has passed already. So a stream's Start, and where it resumes if it
// breaks before its first message, is the earlier of the two: it loses nothing,
// and may deliver one message that was accepted just before Subscribe. Of a topic
// without messages the service tells nothing, and Start is zero. Subscribe waits
// for the number for four times as long as the service took to accept the stream,
// but for 50 ms at least and 250 ms at most.
//
// Of earlier messages the service promises "some of the newest", and not how
// many: that is what Start.Oldest begins with. Start.Last asks twice, first where
// the topic stands and then for so many messages before that, and begins with
// those of them that the service has.
//
// # How a stream ends
//
// A stream ends by itself only with an error that does not pass: refused
// credentials, no permission, no such cache, an invalid argument, if it lasts as
// long as [WithRefusalPatience] says, by default [DefaultRefusalPatience]; or the
// Backend's end. What gRPC says, or what is known to stand between, such as a proxy
// with an error page, counts as pubsub.ErrUnavailable, and the stream goes on
// trying for ever.
//
// # What others write
//
// Texts from outside are kept and shown up to 512 bytes, without control
// characters, and without the credentials that the Backend uses: whole, in pieces
// of 16 bytes or more, URL-encoded, or with other characters between. That holds for
// the errors of the service and of what stands between, also where errors.As
// finds an SDK error in them, and for what the SDK logs, which is logged at Debug.
//
// # Goroutines
//
// A Backend has one while it makes an SDK client and one while it closes one;
// Close waits for both. It has one for a call of the credentials function, which
// Close waits for as [WithCredentialsFunc] says. A stream runs on the goroutine
// that calls Receive, and on a second one while Subscribe waits for where it
// begins, while it brings what there was before, and while it holds a
// discontinuity; Receive waits for it.
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
	"github.com/topicbus/pubsub/internal/foreign"

	"github.com/topicbus/pubsub/internal/turns"
)

// Backend is a [pubsub.Backend] whose topics are those of one Momento cache.
// Its methods may be called from many goroutines at once.
type Backend struct {
	cacheName string
	options   options
	ctx       context.Context // ends with Close
	cancel    context.CancelFunc
	clients   clients
	recovery  *turns.Recovery
	outages   outages
	foreign   foreign.Filter
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
	b := &Backend{cacheName: cacheName, options: defaults(), recovery: turns.New(turns.Budget{Spare: 40, PerSecond: 1})}
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
// if that failed for a reason that has since been mended. The package comment
// says what Momento promises of where a stream begins.
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
		if !turns.Sleep(ctx, max(wait, turns.MinWait), b.ctx.Done()) {
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

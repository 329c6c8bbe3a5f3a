package momento

import (
	"context"
	"log/slog"
	"math"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/momentohq/client-sdk-go/auth"
	"github.com/momentohq/client-sdk-go/config"
	"github.com/momentohq/client-sdk-go/config/logger"
	"github.com/momentohq/client-sdk-go/config/retry"
	sdk "github.com/momentohq/client-sdk-go/momento"
)

// DefaultStallTimeout is the stall timeout of a Backend made without
// [WithStallTimeout].
const DefaultStallTimeout = time.Minute

// DefaultRefusalPatience is the refusal patience of a Backend made without
// [WithRefusalPatience].
const DefaultRefusalPatience = 10 * time.Second

// Option configures a [Backend]. New rejects values that cannot work.
type Option func(*options)

type options struct {
	credentials      credentialsFunc
	provider         auth.CredentialProvider // what credentials returns, nil if that is not known
	refreshes        bool                    // credentials can be asked for fresh ones
	configuration    config.TopicsConfiguration
	backOff          func() backoff.BackOff
	publishRetry     func() backoff.BackOff // nil: none
	stallTimeout     time.Duration
	subscribeTimeout time.Duration // 0: the configuration's
	publishTimeout   time.Duration // 0: the configuration's
	maxSubscriptions uint32        // 0: the configuration's
	refusalPatience  time.Duration // 0: none
	insecureHosts    []string      // that may be talked to without TLS
	proxyResolves    bool          // names are not resolved here
	freshAfter       time.Duration // 0: never
	logger           *slog.Logger
	newClient        func(config.TopicsConfiguration, auth.CredentialProvider) (sdk.TopicClient, error)
	err              error // the first option that cannot work
}

func defaults() options {
	return options{
		backOff:         defaultBackOff,
		stallTimeout:    DefaultStallTimeout,
		refusalPatience: DefaultRefusalPatience,
		logger:          slog.Default(),
		newClient:       sdk.NewTopicClient,
	}
}

// defaultBackOff begins with 50 ms and makes each wait 2 % longer, up to a
// second, give or take half. So the wait grows with the outage, at about a
// fiftieth of it, and recovery is late by about a hundredth of it, at most by
// a second and a half. An attempt costs little, since the streams of a Backend
// take turns.
func defaultBackOff() backoff.BackOff {
	return backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(50*time.Millisecond),
		backoff.WithMultiplier(1.02),
		backoff.WithRandomizationFactor(0.5),
		backoff.WithMaxInterval(time.Second),
		backoff.WithMaxElapsedTime(0),
	)
}

func (o *options) fail(format string, args ...any) {
	if o.err == nil {
		o.err = invalid(format, args...)
	}
}

// WithCredentials sets the credentials. By default they are taken from the
// environment variable MOMENTO_API_KEY (and MOMENTO_ENDPOINT, for a v2 key).
func WithCredentials(p auth.CredentialProvider) Option {
	return func(o *options) {
		if err := checkCredentials(p); err != nil {
			o.fail("WithCredentials: %v", err)
			return
		}
		o.credentials, o.refreshes, o.provider = constant(p), false, p
	}
}

// WithCredentialsFunc has f called for credentials: for the first Publish or
// Subscribe, and for fresh ones when the service refuses some that it has
// accepted before, as it does when a disposable token expires. Subscriptions
// then go on where they were. Fresh credentials that are refused at once are a
// permanent error, as [WithRefusalPatience] says, and for a second f is not asked
// for others.
//
// Momento's disposable tokens live for 25 hours at most: a process that runs for
// longer with such a token needs this option, and not WithCredentials.
//
// f is called from one goroutine at a time. Its ctx ends with the Backend and
// after the subscribe timeout; f must return soon after. If it has not after
// another tenth of a second then it is no longer waited for: calls that need
// credentials fail with pubsub.ErrUnavailable, a line is logged at Warn, and the
// goroutine in f is left behind. f is not called again until it has returned.
//
// An error of f counts as pubsub.ErrUnavailable, and is tried again by
// subscriptions, unless errors.Is finds one of pubsub's permanent errors in it.
func WithCredentialsFunc(f func(context.Context) (auth.CredentialProvider, error)) Option {
	return func(o *options) {
		if f == nil {
			o.fail("WithCredentialsFunc: the function is nil")
		}
		o.credentials, o.refreshes, o.provider = f, true, nil
	}
}

// WithInsecureHost permits credentials that say that the connection to a host is
// not to be secured by TLS. Without it New (or the call that needs them) refuses
// such credentials, unless they name a loopback address or localhost: the key and
// all messages would travel in plain text. host is a name or address without a
// port, as the credentials' endpoint has it. The option may be given several
// times.
func WithInsecureHost(host string) Option {
	return func(o *options) {
		if strings.TrimSpace(host) == "" || strings.ContainsAny(host, "/@ \t\r\n") {
			o.fail("WithInsecureHost: %q is not a host name", host)
		}
		o.insecureHosts = append(o.insecureHosts, host)
	}
}

// WithProxyNames is for processes behind a forward proxy that alone can resolve
// the service's name. gRPC takes the proxy from the environment: HTTPS_PROXY,
// and NO_PROXY for hosts that need none. It must be set before the process makes
// its first connection. With this option the proxy is told the name to connect
// to, and nothing is resolved here. It works for whatever credentials there are,
// including those of MOMENTO_API_KEY and MOMENTO_ENDPOINT. If the environment
// names no proxy then the name is resolved when a connection is made.
func WithProxyNames() Option { return func(o *options) { o.proxyResolves = true } }

// WithFreshConnectionAfter is for processes that freeze between calls, as
// functions in a cloud do. A connection does not survive that for long, and the
// first Publish on it would fail after a second or more. With this option a
// call makes a new connection if the last success was longer than idle ago, by
// the clock on the wall. That costs the time to connect. Streams stay on the
// connection that they have. The default, 0, trusts connections.
func WithFreshConnectionAfter(idle time.Duration) Option {
	return func(o *options) {
		if idle < 0 {
			o.fail("WithFreshConnectionAfter: %v is negative", idle)
		}
		o.freshAfter = idle
	}
}

// WithConfiguration sets the SDK's configuration: transport, timeouts,
// middleware. Its retry strategy is not used, because the Backend reconnects
// by itself, nor is its logger factory: see [WithLogger].
func WithConfiguration(c config.TopicsConfiguration) Option {
	return func(o *options) {
		if c == nil || c.GetTransportStrategy() == nil || c.GetTransportStrategy().GetGrpcConfig() == nil {
			o.fail("WithConfiguration: the configuration, its transport strategy or its gRPC configuration is nil")
		}
		o.configuration = c
	}
}

// WithBackoff sets how long a stream that broke waits before each attempt to
// reconnect. f is called once for each stream; what it returns is reset when
// a stream breaks that was up for a second or more. backoff.Stop ends the
// stream with the last error.
//
// A stream makes its first attempt by itself. While several streams of the
// Backend stay down they take turns, so that together they try about as often
// as one would, and the first to succeed wakes the others. Those go first that
// failed least, so that topics for which something is wrong do not hold up the
// rest. A stream's policy runs on while others have their turn. After the
// service refused a stream because of a limit, the policy is reset once and
// waits are tenfold, since attempts count against limits.
//
// The default begins with 50 ms, grows by 2 % each time up to 1 s, varies by
// half either way, and never gives up.
func WithBackoff(f func() backoff.BackOff) Option {
	return func(o *options) {
		if f == nil {
			o.fail("WithBackoff: the function is nil")
		}
		o.backOff = f
	}
}

// WithRefusalPatience has a stream that the service accepted once, and refuses
// now, go on trying for d before the refusal ends it: wrong credentials, no
// permission, no such cache, an invalid argument. Such a refusal can pass, as
// where permissions are being rolled out or credentials are being swapped. It can
// also be that of a proxy, whose texts are its own: only those of common ones are
// known. Meanwhile the stream's states are Reconnecting, with the refusal as their
// Err. The time counts from the first refusal since the stream was up for a second.
//
// The first Subscribe of a stream fails at once nevertheless. The default is
// [DefaultRefusalPatience]; with 0 the first refusal ends a stream.
func WithRefusalPatience(d time.Duration) Option {
	return func(o *options) {
		if d < 0 {
			o.fail("WithRefusalPatience: %v is negative", d)
		}
		o.refusalPatience = d
	}
}

// WithStallTimeout sets how long a stream may be silent before it is taken for
// dead and replaced. Whatever the service sends is a sign of life, heartbeats
// included. It promises no interval for these; about one second is usual. The
// default is [DefaultStallTimeout]; 0 trusts the connection's own keepalive.
func WithStallTimeout(d time.Duration) Option {
	return func(o *options) {
		if d < 0 {
			o.fail("WithStallTimeout: %v is negative", d)
		}
		o.stallTimeout = d
	}
}

// WithSubscribeTimeout sets how long one attempt to subscribe may take, up to
// the stream's first message, and one call of the credentials function. The
// default is the client timeout of the SDK's configuration, 5 s.
func WithSubscribeTimeout(d time.Duration) Option {
	return func(o *options) {
		if d <= 0 {
			o.fail("WithSubscribeTimeout: %v is not positive", d)
		}
		o.subscribeTimeout = d
	}
}

// WithPublishTimeout sets how long one attempt to publish may take. The
// default is the client timeout of the SDK's configuration, 5 s.
func WithPublishTimeout(d time.Duration) Option {
	return func(o *options) {
		if d <= 0 {
			o.fail("WithPublishTimeout: %v is not positive", d)
		}
		o.publishTimeout = d
	}
}

// WithMaxSubscriptions sets how many streams may be open at once. The Backend
// opens a connection for each hundred as they come; the service may have a
// limit of its own. The default is 400 over four connections, or what the
// SDK's configuration says.
func WithMaxSubscriptions(n int) Option {
	return func(o *options) {
		if n <= 0 || n > math.MaxInt32 {
			o.fail("WithMaxSubscriptions: %d is out of range", n)
		}
		o.maxSubscriptions = uint32(n)
	}
}

// WithPublishRetry has Publish try again after pubsub.ErrUnavailable and
// pubsub.ErrLimitExceeded, as f's policy says and as long as its ctx lasts.
// f is called for each Publish that fails. The default is not to try again:
// the service may have accepted a message though the call failed, and a second
// attempt then duplicates it.
func WithPublishRetry(f func() backoff.BackOff) Option {
	return func(o *options) {
		if f == nil {
			o.fail("WithPublishRetry: the function is nil")
		}
		o.publishRetry = f
	}
}

// WithLogger sets where the Backend and the SDK log; the SDK's own logger
// never runs. The default is slog.Default().
func WithLogger(l *slog.Logger) Option {
	return func(o *options) {
		if l == nil {
			o.fail("WithLogger: the logger is nil")
		}
		o.logger = l
	}
}

// resolve fills in what was not set.
func (o *options) resolve() error {
	if o.err != nil {
		return o.err
	}
	if o.credentials == nil {
		p, err := fromEnvironment()
		if err != nil {
			return err
		}
		o.credentials, o.provider = constant(p), p
	}
	if o.provider != nil {
		if err := o.checkSecure(o.provider); err != nil {
			return invalid("%v", err)
		}
	}
	if o.configuration == nil {
		o.configuration = config.TopicsDefaultWithLogger(logger.NewNoopMomentoLoggerFactory())
	}
	timeout := o.configuration.GetClientSideTimeout()
	if timeout <= 0 {
		timeout = 5 * time.Second // what the SDK takes
	}
	if o.subscribeTimeout == 0 {
		o.subscribeTimeout = timeout
	}
	if o.publishTimeout == 0 {
		o.publishTimeout = timeout
	}
	if o.maxSubscriptions == 0 {
		o.maxSubscriptions = o.configuration.GetMaxSubscriptions()
	}
	return nil
}

// capacity returns how many streams an SDK client has room for.
func (o *options) capacity() int {
	const perConnection = config.MAX_CONCURRENT_STREAMS_PER_CHANNEL
	connections := int(o.configuration.GetTransportStrategy().GetNumStreamGrpcChannels())
	switch {
	case o.maxSubscriptions > 0:
		connections = (int(o.maxSubscriptions)-1)/perConnection + 1
	case connections == 0:
		connections = 4 // what the SDK takes
	}
	return connections * perConnection
}

// sdkConfiguration makes the configuration of one SDK client. It is built anew
// rather than through the With methods of the one given: these write to its
// logger, and most of them drop the number of subscriptions.
func (o *options) sdkConfiguration(l logger.MomentoLoggerFactory) config.TopicsConfiguration {
	return config.NewTopicConfiguration(&config.TopicsConfigurationProps{
		LoggerFactory:    l,
		MaxSubscriptions: o.maxSubscriptions,
		// The SDK has one timeout for both calls; the shorter one is ours.
		TransportStrategy: o.configuration.GetTransportStrategy().WithClientTimeout(max(o.subscribeTimeout, o.publishTimeout)),
		RetryStrategy:     retry.NewNeverRetryStrategy(),
		Middleware:        o.configuration.GetMiddleware(),
	})
}

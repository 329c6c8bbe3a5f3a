package nats

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v4"
	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"
	"github.com/topicbus/pubsub/internal/foreign"
)

// What a Backend takes where no option says otherwise.
const (
	DefaultPrefix       = "pubsub"
	DefaultStallTimeout = 15 * time.Second
	DefaultTimeout      = 5 * time.Second
	DefaultMaxMessages  = 100_000
	DefaultMaxAge       = 24 * time.Hour
)

// minStallTimeout leaves room for a few heartbeats.
const minStallTimeout = 300 * time.Millisecond

// Option configures a [Backend]. New rejects values that cannot work.
type Option func(*options)

type options struct {
	prefix           string
	domain           string
	backOff          func() backoff.BackOff
	stallTimeout     time.Duration
	publishTimeout   time.Duration
	subscribeTimeout time.Duration
	logger           *slog.Logger
	foreign          *foreign.Filter
	create           bool
	stream           jetstream.StreamConfig // of streams that are made
	edits            []func(*jetstream.StreamConfig)

	connect       []natsgo.Option
	auth          string   // the option that says who we are
	forConnection []string // the options that are about the connection
	err           error    // the first option that cannot work
}

func newOptions(opts []Option) (*options, error) {
	o := &options{
		prefix:           DefaultPrefix,
		backOff:          defaultBackOff,
		stallTimeout:     DefaultStallTimeout,
		publishTimeout:   DefaultTimeout,
		subscribeTimeout: DefaultTimeout,
		logger:           slog.Default(),
		foreign:          &foreign.Filter{},
		create:           true,
		stream: jetstream.StreamConfig{
			Storage:  jetstream.FileStorage,
			Replicas: 1,
			MaxMsgs:  DefaultMaxMessages,
			MaxAge:   DefaultMaxAge,
			MaxBytes: -1,
		},
	}
	for _, opt := range opts {
		if opt == nil {
			return nil, invalid("an option is nil")
		}
		opt(o)
	}
	if o.err != nil {
		return nil, o.err
	}
	// What f does to one topic's stream it does to all.
	if _, err := o.config(names{"topic", o.prefix + ".topic", "topic"}); err != nil {
		return nil, err
	}
	return o, nil
}

// defaultBackOff is that of streams. It costs requests, connecting hardly
// anything: so a connection comes back sooner.
func defaultBackOff() backoff.BackOff { return growing(time.Second) }

const maxReconnectWait = 300 * time.Millisecond

// growing begins with 50 ms and makes each wait 10 % longer, up to a limit, give
// or take half.
func growing(limit time.Duration) backoff.BackOff {
	return backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(50*time.Millisecond),
		backoff.WithMultiplier(1.1),
		backoff.WithRandomizationFactor(0.5),
		backoff.WithMaxInterval(limit),
		backoff.WithMaxElapsedTime(0),
	)
}

func (o *options) fail(format string, args ...any) {
	if o.err == nil {
		o.err = invalid(format, args...)
	}
}

// authenticate notes that an option says who we are. There can be one.
func (o *options) authenticate(option string, how natsgo.Option) {
	if o.auth != "" {
		o.fail("%s and %s both say who the client is; give one of them", o.auth, option)
	}
	o.auth = option
	o.forConnection = append(o.forConnection, option)
	if how != nil {
		o.connect = append(o.connect, how)
	}
}

// WithCredentialsFile authenticates with a file that holds a JWT and its seed,
// as nsc and Synadia Cloud make them. The file is read again for each
// connection, so a renewed one is taken when the server ends the old one's.
func WithCredentialsFile(path string) Option {
	return func(o *options) {
		o.authenticate("WithCredentialsFile", o.userCredentials(path))
		contents, err := os.ReadFile(path)
		if err != nil {
			o.fail("WithCredentialsFile: %v", err)
			return
		}
		token, err := nkeys.ParseDecoratedJWT(contents)
		pair, noSeed := nkeys.ParseDecoratedNKey(contents)
		if err != nil || noSeed != nil || strings.Count(token, ".") != 2 {
			o.fail("WithCredentialsFile: %s does not hold a JWT and a seed", path)
			return
		}
		pair.Wipe()
	}
}

// WithUserPassword authenticates with a name and a password. Without TLS they
// cross the network in the clear: use [WithTLS] or a URL of tls://.
func WithUserPassword(user, password string) Option {
	return func(o *options) {
		o.authenticate("WithUserPassword", natsgo.UserInfo(user, password))
		o.foreign.Know(password)
		if user == "" {
			o.fail("WithUserPassword: the user is blank")
		}
	}
}

// WithToken authenticates with a token. Without TLS it crosses the network in the
// clear: use [WithTLS] or a URL of tls://.
func WithToken(token string) Option {
	return func(o *options) {
		o.authenticate("WithToken", natsgo.Token(token))
		o.foreign.Know(token)
		if token == "" {
			o.fail("WithToken: the token is blank")
		}
	}
}

// WithNKeySeedFile authenticates with the NKey whose seed is in a file.
func WithNKeySeedFile(path string) Option {
	return func(o *options) {
		o.authenticate("WithNKeySeedFile", nil)
		if _, err := os.Stat(path); err != nil {
			o.fail("WithNKeySeedFile: %v", err)
			return
		}
		opt, err := natsgo.NkeyOptionFromSeed(path)
		if err != nil {
			o.fail("WithNKeySeedFile: %s holds no NKey seed", path)
			return
		}
		o.connect = append(o.connect, opt)
	}
}

// WithTLS has the connection use TLS with c, of which a copy is kept.
func WithTLS(c *tls.Config) Option {
	return func(o *options) {
		o.forConnection = append(o.forConnection, "WithTLS")
		if c == nil {
			o.fail("WithTLS: the configuration is nil")
			return
		}
		o.connect = append(o.connect, natsgo.Secure(c.Clone()))
	}
}

// WithName sets the connection's name, which the server shows in its lists.
func WithName(name string) Option {
	return func(o *options) {
		o.forConnection = append(o.forConnection, "WithName")
		o.connect = append(o.connect, natsgo.Name(name))
	}
}

// WithPrefix sets what the subjects and streams of all topics begin with: one
// or more tokens of letters, digits, - and _, joined by dots. Processes that
// share topics need the same. The default is [DefaultPrefix].
func WithPrefix(prefix string) Option {
	return func(o *options) {
		for token := range strings.SplitSeq(prefix, ".") {
			if token == "" || strings.Trim(token, "-_0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz") != "" {
				o.fail("WithPrefix: %q is not made of letters, digits, - and _, with single dots between", prefix)
			}
		}
		if len(prefix) > 128 {
			o.fail("WithPrefix: the prefix has %d bytes, the limit is 128", len(prefix))
		}
		o.prefix = prefix
	}
}

// WithDomain sets the JetStream domain that has the streams, for clients at a
// leaf node.
func WithDomain(domain string) Option {
	return func(o *options) {
		if domain == "" || strings.ContainsAny(domain, ".*> \t\r\n") {
			o.fail("WithDomain: %q is not the name of a domain", domain)
		}
		o.domain = domain
	}
}

// WithStorage sets where streams that the Backend makes keep their messages.
// The default is jetstream.FileStorage. A stream in memory is lost when its
// server stops; subscriptions are told by a CauseReset.
func WithStorage(s jetstream.StorageType) Option {
	return func(o *options) {
		if s != jetstream.FileStorage && s != jetstream.MemoryStorage {
			o.fail("WithStorage: %d is neither jetstream.FileStorage nor jetstream.MemoryStorage", int(s))
		}
		o.stream.Storage = s
	}
}

// WithReplicas sets on how many servers of a cluster streams that the Backend
// makes are kept, from 1 to 5. With 3 a stream survives the loss of one, with 5
// that of two. With 2 or 4 it survives no more than with one less. The default
// is 1.
func WithReplicas(n int) Option {
	return func(o *options) {
		if n < 1 || n > 5 {
			o.fail("WithReplicas: %d is not between 1 and 5", n)
		}
		o.stream.Replicas = n
	}
}

// WithMaxMessages sets how many messages a stream that the Backend makes keeps,
// -1 for any number. The oldest make room for the newest. The default is
// [DefaultMaxMessages].
func WithMaxMessages(n int64) Option {
	return func(o *options) {
		if n < 1 && n != -1 {
			o.fail("WithMaxMessages: %d is neither positive nor -1", n)
		}
		o.stream.MaxMsgs = n
	}
}

// WithMaxBytes sets how many bytes a stream that the Backend makes keeps, -1 for
// any number. The server may set so much aside for each stream. The default is
// -1.
func WithMaxBytes(n int64) Option {
	return func(o *options) {
		if n < 1 && n != -1 {
			o.fail("WithMaxBytes: %d is neither positive nor -1", n)
		}
		o.stream.MaxBytes = n
	}
}

// WithMaxAge sets how long a stream that the Backend makes keeps a message, -1
// for any time. The default is [DefaultMaxAge].
func WithMaxAge(d time.Duration) Option {
	return func(o *options) {
		switch {
		case d == -1:
			d = 0 // what the server takes
		case d < 100*time.Millisecond:
			o.fail("WithMaxAge: %v is neither 100 ms or more nor -1", d)
		}
		o.stream.MaxAge = d
	}
}

// WithStreamConfig has f edit the configuration of each stream that the Backend
// makes, after the other options. It may be called from several goroutines at
// once. It may not change the name, the subjects, the retention policy, or
// anything by which the stream would not number exactly what is published to
// its topic: New, or the call that makes the stream, says so.
func WithStreamConfig(f func(*jetstream.StreamConfig)) Option {
	return func(o *options) {
		if f == nil {
			o.fail("WithStreamConfig: the function is nil")
			return
		}
		o.edits = append(o.edits, f)
	}
}

// WithoutCreation has the Backend use streams that exist and make none. Publish
// and Subscribe to a topic that has none fail with pubsub.ErrNotFound.
func WithoutCreation() Option { return func(o *options) { o.create = false } }

// WithBackoff sets how long a stream that broke waits before each attempt to
// open again. f is called once for each stream; what it returns is reset when
// a stream breaks that was up for a second or more. backoff.Stop ends the
// stream with the last error. When the connection comes back, all streams try
// at once. The connection itself waits less than half a second.
//
// The default begins with 50 ms, grows by a tenth each time up to 1 s, varies
// by half either way, and never gives up.
func WithBackoff(f func() backoff.BackOff) Option {
	return func(o *options) {
		if f == nil {
			o.fail("WithBackoff: the function is nil")
		}
		o.backOff = f
	}
}

// WithStallTimeout sets how long a stream may be silent before it is taken for
// dead and opened again. The server is asked for a heartbeat three times in
// that time. A connection that New made is taken for dead likewise. The default
// is [DefaultStallTimeout], the least 300 ms.
func WithStallTimeout(d time.Duration) Option {
	return func(o *options) {
		if d < minStallTimeout {
			o.fail("WithStallTimeout: %v is less than %v", d, minStallTimeout)
		}
		o.stallTimeout = d
	}
}

// WithPublishTimeout sets how long Publish waits for the server, and PublishAll
// for any of its messages. The default is [DefaultTimeout].
func WithPublishTimeout(d time.Duration) Option {
	return func(o *options) {
		if d <= 0 {
			o.fail("WithPublishTimeout: %v is not positive", d)
		}
		o.publishTimeout = d
	}
}

// WithSubscribeTimeout sets how long one attempt to open a stream may take. The
// default is [DefaultTimeout].
func WithSubscribeTimeout(d time.Duration) Option {
	return func(o *options) {
		if d <= 0 {
			o.fail("WithSubscribeTimeout: %v is not positive", d)
		}
		o.subscribeTimeout = d
	}
}

// WithLogger sets where the Backend logs what the connection reports and no
// call can return. The default is slog.Default().
func WithLogger(l *slog.Logger) Option {
	return func(o *options) {
		if l == nil {
			o.fail("WithLogger: the logger is nil")
		}
		o.logger = l
	}
}

// checkURL looks for what the client library would refuse, whose errors show
// passwords.
func (o *options) checkURL(list string) error {
	if strings.TrimSpace(list) == "" {
		return invalid("the URL is blank; nats://127.0.0.1:4222 is one")
	}
	for u, err := range urls(list) {
		switch {
		case err != nil:
			return invalid("a URL cannot be parsed; it must look like nats://127.0.0.1:4222")
		case u.Host == "":
			return invalid("a URL has no host; it must look like nats://127.0.0.1:4222")
		}
		switch u.Scheme {
		case "nats", "tls", "ws", "wss":
		default: // which may be a secret at the wrong place
			return invalid("a URL does not begin with nats://, tls://, ws:// or wss://")
		}
		if u.User != nil && o.auth != "" {
			return invalid("%s and a URL both say who the client is; give one of them", o.auth)
		}
		o.knowUser(u.User)
	}
	return nil
}

// connection returns the options of a connection that the Backend makes.
func (o *options) connection() []natsgo.Option {
	policy := growing(maxReconnectWait)
	return append([]natsgo.Option{
		natsgo.MaxReconnects(-1),
		natsgo.ReconnectBufSize(-1), // what could not be sent must not be sent later
		natsgo.CustomReconnectDelay(func(attempts int) time.Duration {
			if attempts <= 1 {
				policy.Reset()
			}
			return policy.NextBackOff()
		}),
		natsgo.PingInterval(o.stallTimeout / 3),
		natsgo.MaxPingsOutstanding(2),
		natsgo.Timeout(o.subscribeTimeout),
	}, o.connect...)
}

// config returns the configuration of a topic's stream.
func (o *options) config(n names) (jetstream.StreamConfig, error) {
	c := o.stream
	c.Name, c.Subjects = n.stream, []string{n.subject}
	c.Metadata = map[string]string{metadataTopic: n.topic}
	c.AllowDirect = true
	for _, edit := range o.edits {
		edit(&c)
	}
	if what := unfit(&c, n); what != "" {
		return c, invalid("WithStreamConfig: the function %s", what)
	}
	return c, nil
}

// metadataTopic is the key of a stream's metadata that holds its topic.
const metadataTopic = "topic"

// unfit says what keeps a stream from carrying a topic, or "".
func unfit(c *jetstream.StreamConfig, n names) string {
	switch {
	case c.Name != n.stream:
		return "changes the name"
	case len(c.Subjects) != 1 || c.Subjects[0] != n.subject:
		return "changes the subjects"
	case c.Retention != jetstream.LimitsPolicy:
		return "sets another retention policy than jetstream.LimitsPolicy, by which messages would be gone once read"
	case c.NoAck:
		return "sets NoAck, without which nobody knows whether a message was stored"
	case c.Mirror != nil || len(c.Sources) > 0:
		return "sets a mirror or sources"
	case c.SubjectTransform != nil:
		return "sets a subject transform"
	case c.SubjectDeleteMarkerTTL != 0:
		return "sets SubjectDeleteMarkerTTL, by which the server would add messages of its own"
	case c.AllowMsgCounter:
		return "sets AllowMsgCounter, by which the server would take nothing but counters"
	case c.PersistMode != jetstream.DefaultPersistMode:
		return "sets PersistMode, by which the server would say that a message is stored before it is"
	case c.ConsumerLimits.InactiveThreshold > 0 && c.ConsumerLimits.InactiveThreshold < inactive:
		return fmt.Sprintf("sets ConsumerLimits.InactiveThreshold to less than %v, which consumers need", inactive)
	}
	return ""
}

package momento

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"log"
	"log/slog"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/momentohq/client-sdk-go/auth"
	"github.com/momentohq/client-sdk-go/config"
	"github.com/momentohq/client-sdk-go/config/logger"
	"github.com/momentohq/client-sdk-go/config/middleware"
	"github.com/momentohq/client-sdk-go/config/retry"
	"github.com/stretchr/testify/require"
	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/internal/foreign"
)

func unsignedJWT(claims string) string {
	enc := base64.RawURLEncoding.EncodeToString
	return enc([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + enc([]byte(claims)) + "." + enc([]byte("signature"))
}

var (
	keyV1 = base64.StdEncoding.EncodeToString([]byte(`{"endpoint":"cell.example.com","api_key":"eyJTOPSECRETv1"}`))
	keyV2 = unsignedJWT(`{"t":"g","id":"TOPSECRETv2"}`)
	token = unsignedJWT(`{"c":"cache.cell.example.com","cp":"control.cell.example.com"}`)
)

func TestCredentialsFromTheEnvironment(t *testing.T) {
	for _, test := range []struct{ name, key, endpoint, want string }{
		{"v1", keyV1, "", "cache.cell.example.com:443"},
		{"v1 with a line feed", keyV1 + "\n", "", "cache.cell.example.com:443"},
		{"v1 and an endpoint, which it has itself", keyV1, "other.example.com", "cache.cell.example.com:443"},
		{"disposable token", token, "", "cache.cell.example.com:443"},
		{"v2", keyV2, "cell.example.com", "cache.cell.example.com:443"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv(envKey, test.key)
			t.Setenv(envEndpoint, test.endpoint)
			p, err := fromEnvironment()
			require.NoError(t, err)
			require.Equal(t, test.want, p.GetCacheEndpoint())
			b, err := New("cache")
			require.NoError(t, err)
			require.NoError(t, b.Close())
		})
	}
}

func TestUnusableCredentialsInTheEnvironment(t *testing.T) {
	for _, test := range []struct{ name, key, endpoint, want string }{
		{"none", "", "", envKey},
		{"blank", " \n", "", envKey},
		{"nonsense", "TOPSECRETnonsense", "", "malformed"},
		{"cut off v1", keyV1[:len(keyV1)-9], "", "malformed"},
		{"v1 without endpoint", base64.StdEncoding.EncodeToString([]byte(`{"api_key":"TOPSECRET"}`)), "", "malformed"},
		{"no JSON", base64.StdEncoding.EncodeToString([]byte(`TOPSECRET`)), "", "malformed"},
		{"cut off v2", keyV2[:20], "cell.example.com", "malformed"},
		{"token without endpoint", unsignedJWT(`{"id":"TOPSECRET"}`), "", "endpoint"},
		{"v2 without endpoint", keyV2, "", envEndpoint},
		{"v2 with a URL", keyV2, "https://cell.example.com", "host name"},
		{"v2 with a port", keyV2, "cell.example.com:443", "host name"},
		{"bearer", "Bearer " + keyV2, "cell.example.com", "malformed"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv(envKey, test.key)
			t.Setenv(envEndpoint, test.endpoint)
			_, err := New("cache")
			require.ErrorIs(t, err, pubsub.ErrInvalidArgument)
			require.ErrorContains(t, err, test.want)
			requireNoPartOf(t, test.key, fmt.Sprintf("%+v %#v", err, err))
		})
	}
}

// requireNoPartOf fails if text contains eight characters of key in a row.
func requireNoPartOf(t *testing.T, key, text string) {
	t.Helper()
	for i := 0; i+8 <= len(key); i++ {
		require.NotContains(t, text, key[i:i+8])
	}
	require.NotContains(t, text, "TOPSECRET")
}

type endpointProvider struct {
	auth.CredentialProvider
	endpoint string
}

func (p endpointProvider) GetCacheEndpoint() string { return p.endpoint }

func TestOptionsThatCannotWork(t *testing.T) {
	good := fakeCredentials("token")
	tooMany := math.MaxInt32
	tooMany++ // negative where int has 32 bits, which is no better
	for name, opts := range map[string][]Option{
		"nil option":                 {nil},
		"nil credentials":            {WithCredentials(nil)},
		"nil pointer to credentials": {WithCredentials((*tokenProvider)(nil))},
		"key with a line feed":       {WithCredentials(fakeCredentials("TOPSECRET\n"))},
		"no endpoint":                {WithCredentials(endpointProvider{good, ""})},
		"endpoint without port":      {WithCredentials(endpointProvider{good, "cell.example.com"})},
		"endpoint with a bad port":   {WithCredentials(endpointProvider{good, "cell.example.com:https"})},
		"SDK's invalid endpoint":     {WithCredentials(endpointProvider{good, "<invalid Value>:443"})},
		"nil credentials function":   {WithCredentialsFunc(nil)},
		"nil configuration":          {WithConfiguration(nil)},
		"empty configuration":        {WithConfiguration(config.NewTopicConfiguration(&config.TopicsConfigurationProps{}))},
		"no gRPC configuration": {WithConfiguration(config.NewTopicConfiguration(&config.TopicsConfigurationProps{
			TransportStrategy: config.NewTopicsStaticTransportStrategy(&config.TopicsTransportStrategyProps{}),
		}))},
		"nil back-off":           {WithBackoff(nil)},
		"nil publish retry":      {WithPublishRetry(nil)},
		"nil logger":             {WithLogger(nil)},
		"negative stall timeout": {WithStallTimeout(-1)},
		"no subscribe timeout":   {WithSubscribeTimeout(0)},
		"no publish timeout":     {WithPublishTimeout(0)},
		"no subscriptions":       {WithMaxSubscriptions(0)},
		"too many subscriptions": {WithMaxSubscriptions(tooMany)},
		"the first of two":       {WithStallTimeout(-1), WithStallTimeout(1)},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := New("cache", append([]Option{WithCredentials(good)}, opts...)...)
			require.ErrorIs(t, err, pubsub.ErrInvalidArgument)
			require.NotContains(t, err.Error(), "TOPSECRET")
		})
	}
	for _, cache := range []string{"", " \t", "caf\xff", "café", "a\nb"} {
		_, err := New(cache, WithCredentials(good))
		require.ErrorIs(t, err, pubsub.ErrInvalidArgument, "%q", cache)
	}
}

type anyMiddleware struct{ middleware.TopicMiddleware }

func TestConfigurationReachesTheSDK(t *testing.T) {
	flags := log.Flags()
	defer log.SetFlags(flags)
	given := config.TopicsDefault() // brings the SDK's own logger
	given = given.WithMaxSubscriptions(700).WithTransportStrategy(given.GetTransportStrategy().WithClientTimeout(9 * time.Second)).
		AddMiddleware(anyMiddleware{})
	log.SetFlags(log.LstdFlags)

	build := func(opts ...Option) (options, config.TopicsConfiguration) {
		o := defaults()
		for _, opt := range append([]Option{WithCredentials(fakeCredentials("t"))}, opts...) {
			opt(&o)
		}
		require.NoError(t, o.resolve())
		l := &endingLogger{}
		c := o.sdkConfiguration(l)
		require.Same(t, l, c.GetLoggerFactory())
		require.Equal(t, retry.NewNeverRetryStrategy(), c.GetRetryStrategy())
		return o, c
	}
	o, c := build()
	require.Equal(t, 5*time.Second, c.GetClientSideTimeout())
	require.Equal(t, 5*time.Second, o.subscribeTimeout)
	require.Zero(t, c.GetMaxSubscriptions())

	o, c = build(WithConfiguration(given))
	require.Equal(t, 9*time.Second, c.GetClientSideTimeout())
	require.Equal(t, 9*time.Second, o.publishTimeout)
	require.Len(t, c.GetMiddleware(), 1)
	require.Zero(t, c.GetMaxSubscriptions(), "the SDK lost it before we saw it")

	o, c = build(WithConfiguration(given), WithMaxSubscriptions(450), WithPublishTimeout(time.Second))
	require.EqualValues(t, 450, c.GetMaxSubscriptions())
	require.Equal(t, 9*time.Second, c.GetClientSideTimeout())
	require.Equal(t, time.Second, o.publishTimeout)

	require.Equal(t, log.LstdFlags, log.Flags(), "the SDK's default logger ran")
}

func TestNoVerbShowsTheKey(t *testing.T) {
	b, err := New("my-cache", WithCredentials(fakeCredentials("TOPSECRET")))
	require.NoError(t, err)
	defer b.Close()
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d"} {
		text := fmt.Sprintf(verb, b)
		require.NotContains(t, text, "SECRET")
		require.Contains(t, text, "my-cache")
		require.NotContains(t, fmt.Sprintf(verb, struct{ B pubsub.Backend }{b}), "SECRET")
	}
}

// The SDK's lines are for who looks for a fault: the Backend says what matters.
func TestSDKLogger(t *testing.T) {
	var out bytes.Buffer
	h := slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug})
	var l logger.MomentoLogger = newSDKLogger(slog.New(h), &foreign.Filter{})
	l.Trace("trace %d", 1)
	l.Debug("debug %d", 2)
	l.Info("info %d", 3)
	l.Warn("warn %d\n", 4)
	l.Error("error %d", 5)
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	require.Len(t, lines, 4, "all but trace")
	for i, line := range lines {
		require.Contains(t, line, "level=DEBUG")
		require.Contains(t, line, fmt.Sprint(i+2))
		require.NotContains(t, line, `\n`)
	}
}

// A peer makes the SDK log a line per frame.
func TestSDKLinesAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		l := newSDKLogger(slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug})), &foreign.Filter{})
		for range 100_000 {
			l.Warn("Unrecognized response detected.")
		}
		require.Equal(t, sdkLinesPerSecond, strings.Count(out.String(), "\n"))
		time.Sleep(time.Second)
		l.Debug("last")
		require.Contains(t, out.String(), fmt.Sprintf("msg=last component=momento-sdk lines_omitted=%d", 100_000-sdkLinesPerSecond))
	})
}

func TestCapacity(t *testing.T) {
	c := config.TopicsDefaultWithLogger(logger.NewNoopMomentoLoggerFactory())
	for want, opts := range map[int][]Option{
		400: nil,
		300: {WithConfiguration(c.WithNumStreamGrpcChannels(3))},
		200: {WithConfiguration(c.WithNumStreamGrpcChannels(3)), WithMaxSubscriptions(101)},
		100: {WithConfiguration(c.WithMaxSubscriptions(7))},
	} {
		o := defaults()
		for _, opt := range append([]Option{WithCredentials(fakeCredentials("t"))}, opts...) {
			opt(&o)
		}
		require.NoError(t, o.resolve())
		require.Equal(t, want, o.capacity())
	}
}

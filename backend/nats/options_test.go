package nats

import (
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub"
)

const secret = "S3CR3T"

// TestBadOptions: New says what is wrong and what to do, and shows no secret.
func TestBadOptions(t *testing.T) {
	dir := t.TempDir()
	file := func(name, contents string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(contents), 0o600))
		return path
	}
	edit := func(f func(*jetstream.StreamConfig)) []Option { return []Option{WithStreamConfig(f)} }
	for _, c := range []struct {
		url  string
		opts []Option
		want string
	}{
		{"", nil, "the URL is blank"},
		{"  ", nil, "the URL is blank"},
		{"nats://app:" + secret + "@[::1", nil, "a URL cannot be parsed"},
		{"nats://app:" + secret + "@host:port", nil, "a URL cannot be parsed"},
		{"http://host", nil, "a URL does not begin with nats://, tls://, ws:// or wss://"},
		{strings.ToLower(secret) + "://host", nil, "a URL does not begin with nats://, tls://, ws:// or wss://"},
		{"nats://", nil, "a URL has no host"},
		{"nats://host,", nil, "a URL has no host"},
		{"", []Option{nil}, "an option is nil"},
		{"nats://app:" + secret + "@host", []Option{WithToken(secret)}, "WithToken and a URL both say who the client is"},
		{"", []Option{WithUserPassword("app", secret), WithToken(secret)}, "WithUserPassword and WithToken both say who the client is"},
		{"", []Option{WithUserPassword("", secret)}, "the user is blank"},
		{"", []Option{WithToken("")}, "the token is blank"},
		{"", []Option{WithCredentialsFile(filepath.Join(dir, "none"))}, "no such file"},
		{"", []Option{WithCredentialsFile(file("empty", ""))}, "does not hold a JWT and a seed"},
		{"", []Option{WithCredentialsFile(file("odd", secret))}, "does not hold a JWT and a seed"},
		{"", []Option{WithNKeySeedFile(filepath.Join(dir, "none"))}, "no such file"},
		{"", []Option{WithNKeySeedFile(file("seed", secret))}, "holds no NKey seed"},
		{"", []Option{WithTLS(nil)}, "WithTLS: the configuration is nil"},
		{"", []Option{WithPrefix("")}, "WithPrefix"},
		{"", []Option{WithPrefix("a..b")}, "WithPrefix"},
		{"", []Option{WithPrefix("a.*")}, "WithPrefix"},
		{"", []Option{WithPrefix("ä")}, "WithPrefix"},
		{"", []Option{WithPrefix(fmt.Sprintf("%0129d", 0))}, "the limit is 128"},
		{"", []Option{WithDomain("a.b")}, "WithDomain"},
		{"", []Option{WithStorage(7)}, "WithStorage"},
		{"", []Option{WithReplicas(0)}, "WithReplicas"},
		{"", []Option{WithReplicas(6)}, "WithReplicas"},
		{"", []Option{WithMaxMessages(0)}, "WithMaxMessages"},
		{"", []Option{WithMaxBytes(-2)}, "WithMaxBytes"},
		{"", []Option{WithMaxAge(0)}, "WithMaxAge"},
		{"", []Option{WithMaxAge(time.Millisecond)}, "WithMaxAge"},
		{"", []Option{WithBackoff(nil)}, "WithBackoff"},
		{"", []Option{WithStallTimeout(time.Millisecond)}, "WithStallTimeout"},
		{"", []Option{WithPublishTimeout(0)}, "WithPublishTimeout"},
		{"", []Option{WithSubscribeTimeout(-1)}, "WithSubscribeTimeout"},
		{"", []Option{WithLogger(nil)}, "WithLogger"},
		{"", []Option{WithStreamConfig(nil)}, "WithStreamConfig: the function is nil"},
		{"", edit(func(c *jetstream.StreamConfig) { c.Name = "x" }), "changes the name"},
		{"", edit(func(c *jetstream.StreamConfig) { c.Subjects = append(c.Subjects, "x") }), "changes the subjects"},
		{"", edit(func(c *jetstream.StreamConfig) { c.Retention = jetstream.WorkQueuePolicy }), "retention policy"},
		{"", edit(func(c *jetstream.StreamConfig) { c.NoAck = true }), "NoAck"},
		{"", edit(func(c *jetstream.StreamConfig) { c.Mirror = &jetstream.StreamSource{} }), "mirror"},
		{"", edit(func(c *jetstream.StreamConfig) { c.SubjectTransform = &jetstream.SubjectTransformConfig{} }), "transform"},
		{"", edit(func(c *jetstream.StreamConfig) { c.AllowMsgTTL, c.SubjectDeleteMarkerTTL = true, time.Second }), "SubjectDeleteMarkerTTL"},
		{"", edit(func(c *jetstream.StreamConfig) { c.AllowMsgCounter = true }), "AllowMsgCounter"},
		{"", edit(func(c *jetstream.StreamConfig) { c.PersistMode = jetstream.AsyncPersistMode }), "PersistMode"},
		{"", edit(func(c *jetstream.StreamConfig) { c.ConsumerLimits.InactiveThreshold = time.Minute - 1 }), "InactiveThreshold to less than 1m0s"},
	} {
		_, err := New(c.url, c.opts...)
		require.ErrorIs(t, err, pubsub.ErrInvalidArgument, c.want)
		assert.ErrorContains(t, err, c.want)
		assert.NotContains(t, strings.ToUpper(err.Error()), secret)
	}
	_, err := NewFromConn(nil)
	require.ErrorIs(t, err, pubsub.ErrInvalidArgument)
}

// TestGoodOptions: New does no I/O, so a server need not be there.
func TestGoodOptions(t *testing.T) {
	pair, err := nkeys.CreateUser()
	require.NoError(t, err)
	seed, err := pair.Seed()
	require.NoError(t, err)
	seeds := filepath.Join(t.TempDir(), "seed")
	require.NoError(t, os.WriteFile(seeds, seed, 0o600))
	for _, opts := range [][]Option{
		nil,
		{WithNKeySeedFile(seeds), WithTLS(&tls.Config{}), WithName("test")},
		{WithPrefix("company.pubsub-1"), WithDomain("leaf"), WithMaxMessages(-1), WithMaxBytes(1 << 30), WithMaxAge(-1), WithReplicas(3), WithStorage(jetstream.MemoryStorage)},
		{WithoutCreation(), WithToken(secret)},
	} {
		b, err := New("127.0.0.1:1, tls://127.0.0.1:2", opts...)
		require.NoError(t, err)
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%d"} {
			assert.NotContains(t, fmt.Sprintf(verb, b), secret)
		}
		require.NoError(t, b.Close())
	}
}

func TestStreamConfig(t *testing.T) {
	o, err := newOptions([]Option{
		WithMaxMessages(7), WithMaxBytes(8), WithMaxAge(time.Hour), WithReplicas(3), WithStorage(jetstream.MemoryStorage),
		WithStreamConfig(func(c *jetstream.StreamConfig) { c.Description = "by " + c.Metadata["topic"] }),
	})
	require.NoError(t, err)
	n, err := o.names("a *")
	require.NoError(t, err)
	c, err := o.config(n)
	require.NoError(t, err)
	assert.Equal(t, jetstream.StreamConfig{
		Name: n.stream, Subjects: []string{"pubsub.a%20%2A"}, Description: "by a *", Metadata: map[string]string{"topic": "a *"},
		MaxMsgs: 7, MaxBytes: 8, MaxAge: time.Hour, Replicas: 3, Storage: jetstream.MemoryStorage, AllowDirect: true,
	}, c)
	c.Metadata["topic"] = "another"
	c, err = o.config(n)
	require.NoError(t, err)
	assert.Equal(t, "a *", c.Metadata["topic"])
}

// TestConnectionOptions: a connection comes back for ever, keeps nothing back
// for later, and is found dead within the stall timeout.
func TestConnectionOptions(t *testing.T) {
	o, err := newOptions([]Option{WithStallTimeout(3 * time.Second), WithSubscribeTimeout(7 * time.Second), WithName("me")})
	require.NoError(t, err)
	n := natsgo.GetDefaultOptions()
	for _, opt := range o.connection() {
		require.NoError(t, opt(&n))
	}
	assert.Equal(t, -1, n.MaxReconnect)
	assert.Equal(t, -1, n.ReconnectBufSize)
	assert.Equal(t, 3*time.Second, n.PingInterval*time.Duration(n.MaxPingsOut+1))
	assert.Equal(t, 7*time.Second, n.Timeout)
	assert.Equal(t, "me", n.Name)
	for attempt := 1; attempt < 100; attempt++ {
		assert.Less(t, n.CustomReconnectDelayCB(attempt), maxReconnectWait*3/2+1)
	}
	assert.Less(t, n.CustomReconnectDelayCB(1), 80*time.Millisecond, "it begins anew")
}

package nats_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/nats"
	"github.com/topicbus/pubsub/backend/nats/natstest"
)

// is the relay's view of a publish to the topic.
func isPublish(subject string) bool { return subject == "pubsub."+topic }

// TestPublishOutcomes has a row for each way in which Publish fails. What an
// error says about the message is compared with what the server has.
func TestPublishOutcomes(t *testing.T) {
	some := pubsub.Payload{Data: []byte("x")}
	for _, c := range []struct {
		name     string
		options  []nats.Option
		arrange  func(w *world, b *nats.Backend) context.Context
		payload  pubsub.Payload
		sentinel error
		outcome  pubsub.Outcome
		stored   bool
	}{{
		name:     "unknown format",
		payload:  pubsub.Payload{Format: 7},
		sentinel: pubsub.ErrInvalidPayload, outcome: pubsub.NotAccepted,
	}, {
		name:     "too large",
		payload:  pubsub.Payload{Data: make([]byte, 1<<20)},
		sentinel: pubsub.ErrPayloadTooLarge, outcome: pubsub.NotAccepted,
	}, {
		name:     "too large for the stream",
		options:  []nats.Option{nats.WithStreamConfig(func(c *jetstream.StreamConfig) { c.MaxMsgSize = 1000 })},
		payload:  pubsub.Payload{Data: make([]byte, 1000)},
		sentinel: pubsub.ErrPayloadTooLarge, outcome: pubsub.NotAccepted,
	}, {
		name: "the stream is full",
		options: []nats.Option{nats.WithMaxMessages(1), nats.WithStreamConfig(func(c *jetstream.StreamConfig) {
			c.Discard = jetstream.DiscardNew
		})},
		sentinel: pubsub.ErrLimitExceeded, outcome: pubsub.NotAccepted,
	}, {
		name: "the account's store is full",
		arrange: func(w *world, b *nats.Backend) context.Context {
			w.relay.Intercept(func(s string) *natstest.Answer {
				if !isPublish(s) {
					return nil
				}
				return &natstest.Answer{Reply: []byte(`{"error":{"code":503,"err_code":10023,"description":"insufficient resources"}}`)}
			})
			return nil
		},
		sentinel: pubsub.ErrLimitExceeded, outcome: pubsub.NotAccepted,
	}, {
		name: "the connection is down",
		arrange: func(w *world, b *nats.Backend) context.Context {
			w.relay.Down()
			require.Eventually(w.t, func() bool {
				_, err := b.Subscribe(background(w.t), topic, pubsub.Start{})
				return err != nil
			}, patience, time.Millisecond)
			return nil
		},
		sentinel: pubsub.ErrUnavailable, outcome: pubsub.NotAccepted,
	}, {
		name: "the connection breaks before the answer",
		arrange: func(w *world, b *nats.Backend) context.Context {
			w.relay.Drop(func(s string) bool {
				if strings.HasPrefix(s, "_INBOX") {
					go w.relay.Cut()
					return true
				}
				return false
			})
			return nil
		},
		sentinel: pubsub.ErrUnavailable, outcome: pubsub.OutcomeUnknown, stored: true,
	}, {
		name:    "no answer in time",
		options: []nats.Option{nats.WithPublishTimeout(3 * time.Second)}, // the first message takes some time: it makes the stream
		arrange: func(w *world, b *nats.Backend) context.Context {
			w.relay.Drop(func(s string) bool { return strings.HasPrefix(s, "_INBOX") })
			return nil
		},
		sentinel: pubsub.ErrUnavailable, outcome: pubsub.OutcomeUnknown, stored: true,
	}, {
		name: "ctx ends before the answer",
		arrange: func(w *world, b *nats.Backend) context.Context {
			ctx, cancel := context.WithCancel(context.Background())
			w.relay.Drop(func(s string) bool { cancel(); return strings.HasPrefix(s, "_INBOX") })
			return ctx
		},
		sentinel: context.Canceled, outcome: pubsub.OutcomeUnknown, stored: true,
	}, {
		name: "the stream has no leader",
		arrange: func(w *world, b *nats.Backend) context.Context {
			w.relay.Intercept(func(s string) *natstest.Answer {
				if !isPublish(s) {
					return nil
				}
				return &natstest.Answer{NoResponders: true}
			})
			return nil
		},
		sentinel: pubsub.ErrUnavailable, outcome: pubsub.NotAccepted,
	}, {
		name: "an answer that is none",
		arrange: func(w *world, b *nats.Backend) context.Context {
			w.relay.Intercept(func(s string) *natstest.Answer {
				if !isPublish(s) {
					return nil
				}
				return &natstest.Answer{Reply: []byte("hello")}
			})
			return nil
		},
		sentinel: pubsub.ErrUnavailable, outcome: pubsub.OutcomeUnknown,
	}, {
		name:     "the Backend is closed",
		arrange:  func(w *world, b *nats.Backend) context.Context { require.NoError(w.t, b.Close()); return nil },
		sentinel: pubsub.ErrClosed, outcome: pubsub.NotAccepted,
	}, {
		name: "the Backend is closed before the answer",
		arrange: func(w *world, b *nats.Backend) context.Context {
			w.relay.Drop(func(s string) bool {
				if !strings.HasPrefix(s, "_INBOX") {
					return false
				}
				go b.Close()
				return true
			})
			return nil
		},
		sentinel: pubsub.ErrClosed, outcome: pubsub.OutcomeUnknown, stored: true,
	}} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			b := w.backend(c.options...)
			publish(t, b, topic, "first")
			ctx := context.Background()
			if c.arrange != nil {
				if special := c.arrange(w, b); special != nil {
					ctx = special
				}
			}
			if c.payload.Data == nil && c.payload.Format == 0 {
				c.payload = some
			}
			err := b.Publish(ctx, topic, c.payload)
			require.ErrorIs(t, err, c.sentinel)
			assert.Equal(t, c.outcome, pubsub.OutcomeOf(err), "%v", err)
			stored := func() bool { return w.stream(topic).CachedInfo().State.LastSeq > 1 }
			if c.stored {
				assert.Eventually(t, stored, patience, time.Millisecond, "the outcome is rightly unknown")
			} else {
				assert.False(t, stored())
			}
		})
	}
}

// A server that was never there.
func TestNobodyThere(t *testing.T) {
	b, err := nats.New("nats://127.0.0.1:1", quick()...)
	require.NoError(t, err)
	defer b.Close()
	err = b.Publish(background(t), topic, pubsub.Payload{})
	require.ErrorIs(t, err, pubsub.ErrUnavailable)
	assert.Equal(t, pubsub.NotAccepted, pubsub.OutcomeOf(err))
	_, err = b.Subscribe(background(t), topic, pubsub.Start{})
	require.ErrorIs(t, err, pubsub.ErrUnavailable)
}

// A server that begins after New.
func TestServerBeginsLater(t *testing.T) {
	w := newWorld(t)
	w.relay.Down()
	b := w.backend()
	require.ErrorIs(t, b.Publish(background(t), topic, pubsub.Payload{}), pubsub.ErrUnavailable)
	w.relay.Up()
	publish(t, b, topic, "a")
}

// A server without JetStream has no namespace.
func TestWithoutJetStream(t *testing.T) {
	s, err := natstest.NewServer(natstest.WithOptions(func(o *server.Options) { o.JetStream = false }))
	require.NoError(t, err)
	defer s.Close()
	b, err := nats.New(s.URL(), quick()...)
	require.NoError(t, err)
	defer b.Close()
	err = b.Publish(background(t), topic, pubsub.Payload{})
	require.ErrorIs(t, err, pubsub.ErrUnavailable)
	assert.Equal(t, pubsub.NotAccepted, pubsub.OutcomeOf(err))
	assert.ErrorContains(t, err, "no responders")
}

func TestWrongCredentials(t *testing.T) {
	s, err := natstest.NewServer(natstest.WithOptions(func(o *server.Options) { o.Username, o.Password = "app", "right" }))
	require.NoError(t, err)
	defer s.Close()
	for _, c := range []struct {
		url  string
		opts []nats.Option
		ok   bool
	}{
		{s.URL(), nil, false},
		{s.URL(), []nats.Option{nats.WithUserPassword("app", "wrong")}, false},
		{strings.Replace(s.URL(), "nats://", "nats://app:wrong@", 1), nil, false},
		{s.URL(), []nats.Option{nats.WithUserPassword("app", "right")}, true},
		{strings.Replace(s.URL(), "nats://", "nats://app:right@", 1), nil, true},
	} {
		b, err := nats.New(c.url, append(quick(), c.opts...)...)
		require.NoError(t, err)
		err = b.Publish(background(t), topic, pubsub.Payload{})
		if c.ok {
			assert.NoError(t, err)
		} else {
			require.ErrorIs(t, err, pubsub.ErrUnauthenticated)
			require.ErrorIs(t, err, natsgo.ErrAuthorization)
			assert.Equal(t, pubsub.NotAccepted, pubsub.OutcomeOf(err))
			assert.NotContains(t, err.Error(), "wrong")
			_, err = b.Subscribe(background(t), topic, pubsub.Start{})
			require.ErrorIs(t, err, pubsub.ErrUnauthenticated)
		}
		require.NoError(t, b.Close())
	}
}

// Streams of others that are in the way.
func TestForeignStreams(t *testing.T) {
	w := newWorld(t)
	b := w.backend()
	_, err := w.admin.CreateStream(background(t), jetstream.StreamConfig{Name: "all", Subjects: []string{"pubsub.taken.>"}})
	require.NoError(t, err)
	err = b.Publish(background(t), "taken.topic", pubsub.Payload{})
	require.ErrorIs(t, err, pubsub.ErrInvalidArgument)
	assert.Equal(t, pubsub.NotAccepted, pubsub.OutcomeOf(err))
	_, err = b.Subscribe(background(t), "taken.topic", pubsub.Start{})
	require.ErrorIs(t, err, pubsub.ErrInvalidArgument)

	publish(t, b, topic, "a")
	config := w.stream(topic).CachedInfo().Config
	config.Subjects = append(config.Subjects, "another")
	_, err = w.admin.UpdateStream(background(t), config)
	require.NoError(t, err)
	_, err = b.Subscribe(background(t), topic, pubsub.Start{})
	require.ErrorIs(t, err, pubsub.ErrInvalidArgument)
	assert.ErrorContains(t, err, "changes the subjects")

	// Another configuration of the same topic is used as it is.
	other := w.direct(nats.WithMaxMessages(7))
	publish(t, b, "shared", "a")
	publish(t, other, "shared", "b")
	assert.Equal(t, int64(nats.DefaultMaxMessages), w.stream("shared").CachedInfo().Config.MaxMsgs)
}

func TestLongTopics(t *testing.T) {
	w := newWorld(t)
	b := w.backend()
	long := strings.Repeat("日", (3072-len("pubsub."))/9)
	tp := record(t, b, long, pubsub.Start{})
	publish(t, b, long, "a")
	tp.message("a")
	err := b.Publish(background(t), long+"本", pubsub.Payload{})
	require.ErrorIs(t, err, pubsub.ErrInvalidTopic)
	assert.Equal(t, pubsub.NotAccepted, pubsub.OutcomeOf(err))
	_, err = b.Subscribe(background(t), long+"本", pubsub.Start{})
	require.ErrorIs(t, err, pubsub.ErrInvalidTopic)
}

type embedding struct{ *nats.Backend }

func TestTopic(t *testing.T) {
	w := newWorld(t)
	b := w.backend()
	assert.Nil(t, b.Topic(embedding{b}, topic), "it may have a Publish of its own")
	assert.Nil(t, b.Topic(b, strings.Repeat("x", 9999)), "Publish tells why")
	handle := b.Topic(b, topic)
	require.NoError(t, handle.Publish(background(t), pubsub.Payload{Data: []byte("a")}))
	assert.Equal(t, uint64(1), w.stream(topic).CachedInfo().State.Msgs)
}

func numbers(n int) []pubsub.Payload {
	ps := make([]pubsub.Payload, n)
	for i := range ps {
		ps[i] = pubsub.Payload{Format: pubsub.Text, Data: fmt.Append(nil, i)}
	}
	return ps
}

func TestPublishBatch(t *testing.T) {
	w := newWorld(t)
	b := w.backend()
	handle := func(topic string) pubsub.BatchPublisher { return b.Topic(b, topic).(pubsub.BatchPublisher) }

	n, err := handle("none").PublishBatch(background(t), nil)
	require.NoError(t, err)
	assert.Zero(t, n)

	tp := record(t, b, topic, pubsub.Start{})
	publishAll(t, b, topic, numbers(9000)) // more than one window
	tp.message("8999")
	for i, f := range tp.all() {
		require.Equal(t, fmt.Sprint(i), string(f.Payload.Data))
	}

	// One that is too large: those before it are accepted, those behind not.
	ps := numbers(20)
	ps[12].Data = bytes.Repeat([]byte("x"), 2<<20)
	n, err = handle("large").PublishBatch(background(t), ps)
	require.ErrorIs(t, err, pubsub.ErrPayloadTooLarge)
	assert.Equal(t, 12, n)
	assert.Equal(t, pubsub.NotAccepted, pubsub.OutcomeOf(err))
	assert.Equal(t, uint64(12), w.stream("large").CachedInfo().State.LastSeq)

	// A stream that is full refuses the rest.
	full := w.direct(nats.WithMaxMessages(15), nats.WithStreamConfig(func(c *jetstream.StreamConfig) { c.Discard = jetstream.DiscardNew }))
	n, err = full.Topic(full, "full").(pubsub.BatchPublisher).PublishBatch(background(t), numbers(20))
	require.ErrorIs(t, err, pubsub.ErrLimitExceeded)
	assert.Equal(t, 15, n)
	assert.Equal(t, pubsub.NotAccepted, pubsub.OutcomeOf(err))

	// One is refused, those behind it are not.
	var seen atomic.Int32
	w.relay.Intercept(func(s string) *natstest.Answer {
		if !isPublish(s) || seen.Add(1) != 6 {
			return nil
		}
		return &natstest.Answer{Reply: []byte(`{"error":{"code":503,"err_code":10077,"description":"scripted"}}`)}
	})
	n, err = handle(topic).PublishBatch(background(t), numbers(20))
	require.ErrorIs(t, err, pubsub.ErrLimitExceeded)
	assert.Equal(t, 5, n)
	assert.Equal(t, pubsub.OutcomeUnknown, pubsub.OutcomeOf(err))
	w.relay.Intercept(nil)

	// ctx ends while answers are missing.
	ctx, cancel := context.WithCancel(context.Background())
	seen.Store(0)
	w.relay.Drop(func(s string) bool {
		if !strings.HasPrefix(s, "_INBOX") || seen.Add(1) < 4 {
			return false
		}
		cancel()
		return true
	})
	n, err = handle("another").PublishBatch(ctx, numbers(20))
	require.ErrorIs(t, err, context.Canceled)
	assert.LessOrEqual(t, n, 3)
	assert.Equal(t, pubsub.OutcomeUnknown, pubsub.OutcomeOf(err))
	w.relay.Drop(nil)

	// The connection is down.
	w.relay.Down()
	require.Eventually(t, func() bool {
		n, err = handle(topic).PublishBatch(background(t), numbers(3))
		return err != nil && pubsub.OutcomeOf(err) == pubsub.NotAccepted
	}, patience, time.Millisecond)
	require.ErrorIs(t, err, pubsub.ErrUnavailable)
	assert.Zero(t, n)
}

// The ways to say who the client is, and TLS, against a server that asks.
func TestCredentials(t *testing.T) {
	pair, err := nkeys.CreateUser()
	require.NoError(t, err)
	public, err := pair.PublicKey()
	require.NoError(t, err)
	seed, err := pair.Seed()
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "seed")
	require.NoError(t, os.WriteFile(file, seed, 0o600))
	certificate, pool := selfSigned(t)
	for _, c := range []struct {
		name   string
		server func(*server.Options)
		opts   []nats.Option
	}{
		{"NKey", func(o *server.Options) { o.Nkeys = []*server.NkeyUser{{Nkey: public}} }, []nats.Option{nats.WithNKeySeedFile(file)}},
		{"token", func(o *server.Options) { o.Authorization = "secret" }, []nats.Option{nats.WithToken("secret")}},
		{"TLS", func(o *server.Options) {
			o.TLS, o.TLSConfig, o.TLSTimeout = true, &tls.Config{Certificates: []tls.Certificate{certificate}}, 30
		}, []nats.Option{nats.WithTLS(&tls.Config{RootCAs: pool})}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := natstest.NewServer(natstest.WithOptions(c.server))
			require.NoError(t, err)
			defer s.Close()
			b, err := nats.New(s.URL(), append(quick(), c.opts...)...)
			require.NoError(t, err)
			defer b.Close()
			publish(t, b, topic, "a")
			stranger, err := nats.New(s.URL(), quick()...)
			require.NoError(t, err)
			defer stranger.Close()
			assert.Error(t, stranger.Publish(background(t), topic, pubsub.Payload{}))
		})
	}
}

// selfSigned returns a certificate for 127.0.0.1.
func selfSigned(t *testing.T) (tls.Certificate, *x509.CertPool) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	parsed, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

// PublishBatch does not have more bytes under way than it says.
func TestBytesUnderWay(t *testing.T) {
	w := newWorld(t)
	b := w.backend()
	handle := b.Topic(b, topic).(pubsub.BatchPublisher)
	publish(t, b, topic, "a")
	ctx, cancel := context.WithCancel(background(t))
	var sent atomic.Int32
	w.relay.Intercept(func(s string) *natstest.Answer {
		if isPublish(s) && sent.Add(1) == 16 { // 8 MiB
			cancel()
		}
		return nil
	})
	w.relay.Drop(func(s string) bool { return strings.HasPrefix(s, "_INBOX") })
	ps := numbers(40)
	for i := range ps {
		ps[i].Data = make([]byte, 1<<19)
	}
	_, err := handle.PublishBatch(ctx, ps)
	require.ErrorIs(t, err, context.Canceled)
	require.NoError(t, b.Close())
	require.Eventually(t, func() bool { return w.relay.Conns() == 0 }, patience, time.Millisecond) // all that was sent has come
	assert.EqualValues(t, 16, sent.Load())
}

// A message goes to the topic's stream or nowhere, though another stream takes
// what is published to the same subject.
func TestAnotherStreamOfTheSameSubject(t *testing.T) {
	w := newWorld(t)
	b := w.backend()
	publish(t, b, topic, "a")
	require.NoError(t, w.admin.DeleteStream(background(t), w.name(topic)))
	other, err := w.admin.CreateStream(background(t), jetstream.StreamConfig{Name: "other", Subjects: []string{"pubsub." + topic}})
	require.NoError(t, err)
	for _, attempt := range []func() error{
		func() error { return b.Publish(background(t), topic, pubsub.Payload{Data: []byte("b")}) },
		func() error { _, err := b.Subscribe(background(t), topic, pubsub.Start{}); return err },
	} {
		err := attempt()
		require.ErrorIs(t, err, pubsub.ErrInvalidArgument)
		require.Equal(t, pubsub.NotAccepted, pubsub.OutcomeOf(err))
	}
	info, err := other.Info(background(t))
	require.NoError(t, err)
	require.Zero(t, info.State.Msgs)
}

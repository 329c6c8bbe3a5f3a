package nats_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"

	natsgo "github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/nats"
	"github.com/topicbus/pubsub/codec"
)

const token = "T0KEN-of-the-application"

// dirty is what a hostile peer says: what it was told, something that steers a
// terminal, and very much of it.
func dirty() string { return "no: " + token + "\x1b[31m" + strings.Repeat(token+" ", 40_000) }

func asJSON(text string) string {
	b, _ := json.Marshal(text)
	return string(b)
}

// fit checks that an error may be kept and shown.
func fit(t *testing.T, err error) {
	t.Helper()
	require.Error(t, err)
	for _, verb := range []string{"%v", "%+v", "%#v", "%q"} {
		require.NotContains(t, fmt.Sprintf(verb, err), token)
	}
	require.LessOrEqual(t, len(err.Error()), 1024)
	require.False(t, strings.ContainsFunc(err.Error(), unicode.IsControl), "%q", err.Error())
}

// TestHostilePeer: whatever a server says in whatever way, errors stay short, are
// one line of plain text, and do not have what the client told it.
func TestHostilePeer(t *testing.T) {
	reply := func(data string) func(*peer) {
		return func(p *peer) {
			p.answer = func(subject, reply string, c *peering) { c.send(reply, "", data) }
		}
	}
	say := func(line string) func(*peer) {
		return func(p *peer) { p.answer = func(_, _ string, c *peering) { c.say(line) } }
	}
	is := func(sentinel error) func(*testing.T, error) {
		return func(t *testing.T, err error) { require.ErrorIs(t, err, sentinel) }
	}
	for _, c := range []struct {
		name    string
		arrange func(*peer)
		publish func(*testing.T, error)
	}{
		{"instead of a welcome", func(p *peer) { p.connect = "-ERR '" + dirty() + "'" }, is(pubsub.ErrUnavailable)},
		{"refused", func(p *peer) { p.connect = "-ERR 'Authorization Violation " + dirty() + "'" }, is(pubsub.ErrUnauthenticated)},
		{"an answer with an error", reply(`{"error":{"code":503,"err_code":10077,"description":` + asJSON(dirty()+"\r\n") + `}}`), func(t *testing.T, err error) {
			require.ErrorIs(t, err, pubsub.ErrLimitExceeded)
			require.Equal(t, pubsub.NotAccepted, pubsub.OutcomeOf(err))
			require.ErrorContains(t, err, "no: [redacted]")
		}},
		{"an answer that is none", reply(dirty()), is(pubsub.ErrUnavailable)},
		{"an answer of another stream", reply(`{"stream":` + asJSON(dirty()) + `,"seq":1}`), is(pubsub.ErrUnavailable)},
		{"an answer that ends in the middle of what it was told", reply(strings.Repeat("x", 100-10) + token), is(pubsub.ErrUnavailable)},
		{"not permitted", say(`-ERR 'Permissions Violation for Publish to "pubsub.` + topic + `" ` + dirty() + "'"), func(t *testing.T, err error) {
			require.ErrorIs(t, err, pubsub.ErrPermissionDenied)
			require.ErrorIs(t, err, natsgo.ErrPermissionViolation)
			require.Equal(t, pubsub.NotAccepted, pubsub.OutcomeOf(err))
		}},
		{"the end of the connection", say("-ERR '" + dirty() + "'"), is(pubsub.ErrUnavailable)},
		{"what is no protocol", say(dirty()), is(pubsub.ErrUnavailable)},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPeer(t)
			c.arrange(p)
			b, err := nats.New(p.url(""), append(quick(), nats.WithToken(token), nats.WithPublishTimeout(10*time.Second), nats.WithSubscribeTimeout(2*time.Second))...)
			require.NoError(t, err)
			defer b.Close()
			err = b.Publish(background(t), topic, pubsub.Payload{})
			fit(t, err)
			c.publish(t, err)
			_, err = b.Topic(b, topic).(pubsub.BatchPublisher).PublishBatch(background(t), make([]pubsub.Payload, 3))
			fit(t, err)
			_, err = b.Subscribe(background(t), topic, pubsub.Start{})
			fit(t, err)
		})
	}
}

// TestHostilePeerKnowsWhoItIs: however the client says who it is, it is known.
func TestHostilePeerKnowsWhoItIs(t *testing.T) {
	fromConn := func(user string, opts ...natsgo.Option) func(*peer) (*nats.Backend, error) {
		return func(p *peer) (*nats.Backend, error) {
			nc, err := natsgo.Connect(p.url(user), opts...)
			require.NoError(p.t, err)
			p.t.Cleanup(nc.Close)
			return nats.NewFromConn(nc, quick()...)
		}
	}
	for name, make := range map[string]func(*peer) (*nats.Backend, error){
		"WithToken": func(p *peer) (*nats.Backend, error) {
			return nats.New(p.url(""), append(quick(), nats.WithToken(token))...)
		},
		"WithUserPassword": func(p *peer) (*nats.Backend, error) {
			return nats.New(p.url(""), append(quick(), nats.WithUserPassword("app", token))...)
		},
		"a password in the URL": func(p *peer) (*nats.Backend, error) {
			return nats.New("nats://127.0.0.1:1,"+p.url("app:"+token+"@"), quick()...)
		},
		"a token in the URL":                      func(p *peer) (*nats.Backend, error) { return nats.New(p.url(token+"@"), quick()...) },
		"a connection with a token":               fromConn("", natsgo.Token(token)),
		"a connection with a password":            fromConn("", natsgo.UserInfo("app", token)),
		"a connection with a token in its URL":    fromConn(token + "@"),
		"a connection with a password in its URL": fromConn("app:" + token + "@"),
	} {
		t.Run(name, func(t *testing.T) {
			p := newPeer(t)
			p.answer = func(_, reply string, c *peering) { c.send(reply, "", "you said "+token) }
			b, err := make(p)
			require.NoError(t, err)
			defer b.Close()
			err = b.Publish(background(t), topic, pubsub.Payload{})
			fit(t, err)
			require.ErrorContains(t, err, "you said [redacted]")
		})
	}
}

// TestHostilePeerEndsStreams: what a peer says when it ends a consumer is kept in
// states, in Stats, and in the discontinuities that follow.
func TestHostilePeerEndsStreams(t *testing.T) {
	p := newPeer(t)
	p.answer = func(subject, reply string, c *peering) {
		words := strings.Split(subject, ".")
		switch {
		case strings.HasPrefix(subject, "$JS.API.STREAM.INFO."):
			c.send(reply, "", `{"type":"io.nats.jetstream.api.v1.stream_info_response","created":"2026-01-01T00:00:00Z","state":{},"config":{"name":"`+words[4]+
				`","subjects":["pubsub.`+topic+`"],"retention":"limits","discard":"old","storage":"file","num_replicas":1,"max_msgs":-1,"max_bytes":-1,"max_consumers":-1}}`)
		case strings.HasPrefix(subject, "$JS.API.CONSUMER.CREATE."):
			c.send(reply, "", `{"type":"io.nats.jetstream.api.v1.consumer_create_response","stream_name":"`+words[4]+`","name":"`+words[5]+`","config":{"name":"`+words[5]+`"}}`)
		case strings.HasPrefix(subject, "$JS.API.CONSUMER.MSG.NEXT."):
			c.send(reply, "NATS/1.0 409 "+dirty()+"\r\n\r\n", "")
		}
	}
	b, err := nats.New(p.url(""), append(quick(), nats.WithToken(token))...)
	require.NoError(t, err)
	defer b.Close()
	bus := pubsub.New(b, codec.Bytes())
	defer bus.Close()
	sub, err := bus.Subscribe(background(t), topic)
	require.NoError(t, err)
	for states := 0; states < 4; {
		ev, err := sub.Next(background(t))
		require.NoError(t, err)
		if ev.Kind == pubsub.KindState && ev.State.State == pubsub.Reconnecting {
			fit(t, ev.State.Err)
			require.ErrorContains(t, ev.State.Err, "no: [redacted]")
			states++
		}
	}
	all := fmt.Sprintf("%+v", bus.Stats())
	require.NotContains(t, all, token)
	require.Less(t, len(all), 4096)
}

// TestHostilePeerFloods: a server that complains without end gets a line of the
// log now and then.
func TestHostilePeerFloods(t *testing.T) {
	const complaints = 30_000
	p := newPeer(t)
	p.answer = func(_, reply string, c *peering) {
		for range complaints / 2 {
			c.say(`-ERR 'Permissions Violation for Publish to "elsewhere" ` + token + "\x1b" + strings.Repeat("x", 1000) + "'")
			c.say(`-ERR 'Permissions Violation for Subscription to "_INBOXES.elsewhere" ` + token + "'")
		}
		c.send(reply, "", `{"error":{"code":503,"err_code":10077,"description":"over"}}`)
	}
	var out logs
	begin := time.Now()
	b, err := nats.New(p.url(""), append(quick(), nats.WithToken(token), nats.WithStallTimeout(time.Minute), // the answer to a ping stands behind all of it
		nats.WithLogger(slog.New(slog.NewTextHandler(&out, nil))))...)
	require.NoError(t, err)
	require.ErrorIs(t, b.Publish(background(t), topic, pubsub.Payload{}), pubsub.ErrLimitExceeded)
	require.NoError(t, b.Close()) // the handlers have been called
	lines := out.String()
	assert.NotEmpty(t, lines)
	assert.LessOrEqual(t, strings.Count(lines, "\n"), 1+int(time.Since(begin)/(10*time.Second)))
	assert.LessOrEqual(t, len(lines), 1024*strings.Count(lines, "\n"))
	assert.NotContains(t, lines, token)
	assert.NotContains(t, lines, "x1b")
}

// logs is a writer that may be read meanwhile.
type logs struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

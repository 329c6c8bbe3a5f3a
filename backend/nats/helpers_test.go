package nats_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/topicbus/pubsub/backend/nats"
	"github.com/topicbus/pubsub/backend/nats/natstest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// A server of a cluster that is stopped leaves these behind.
		goleak.IgnoreTopFunction("github.com/nats-io/nats-server/v2/server.(*fileStore).flushStreamStateLoop"),
		goleak.IgnoreTopFunction("github.com/nats-io/nats-server/v2/server/ats.Register.func1"),
	)
}

// patience is how long an event may take to come. Only a failure takes so long.
const patience = time.Minute

// world is a server, a relay before it, and a way past the relay.
type world struct {
	t      testing.TB
	server *natstest.Server
	relay  *natstest.Relay
	admin  jetstream.JetStream
}

func newWorld(t testing.TB, opts ...natstest.Option) *world {
	t.Helper()
	w := &world{t: t}
	var err error
	w.server, err = natstest.NewServer(opts...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, w.server.Close()) })
	w.relay, err = natstest.NewRelay(w.server.URL())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, w.relay.Close()) })
	nc, err := w.server.Connect()
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	w.admin, err = jetstream.New(nc)
	require.NoError(t, err)
	return w
}

// quick are options for tests: short waits, and timeouts that only a busy
// machine comes near.
func quick() []nats.Option {
	return []nats.Option{
		nats.WithStallTimeout(3 * time.Second),
		nats.WithPublishTimeout(30 * time.Second),
		nats.WithSubscribeTimeout(30 * time.Second),
		nats.WithLogger(slog.New(slog.DiscardHandler)),
	}
}

// backend returns a Backend that goes through the relay.
func (w *world) backend(opts ...nats.Option) *nats.Backend {
	w.t.Helper()
	b, err := nats.New(w.relay.URL(), append(quick(), opts...)...)
	require.NoError(w.t, err)
	w.t.Cleanup(func() { require.NoError(w.t, b.Close()) })
	return b
}

func background(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// stream returns the stream of the default prefix that has the topic.
func (w *world) stream(topic string) jetstream.Stream {
	w.t.Helper()
	s, err := w.admin.Stream(background(w.t), w.name(topic))
	require.NoError(w.t, err)
	return s
}

// name finds the name of a topic's stream, as an operator would.
func (w *world) name(topic string) string {
	w.t.Helper()
	for info := range w.admin.ListStreams(background(w.t)).Info() {
		if info.Config.Metadata["topic"] == topic {
			return info.Config.Name
		}
	}
	require.Fail(w.t, "no stream has the topic", topic)
	return ""
}

// consumers counts the consumers of all streams.
func (w *world) consumers() (n int) {
	for info := range w.admin.ListStreams(background(w.t)).Info() {
		n += info.State.Consumers
	}
	return n
}

// farAway is a time that no test lives to see.
func farAway() time.Time { return time.Now().Add(time.Hour) }

// direct returns a Backend that does not go through the relay, as another
// process.
func (w *world) direct(opts ...nats.Option) *nats.Backend {
	w.t.Helper()
	b, err := nats.New(w.server.URL(), append(quick(), opts...)...)
	require.NoError(w.t, err)
	w.t.Cleanup(func() { require.NoError(w.t, b.Close()) })
	return b
}

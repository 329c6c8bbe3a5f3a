package nats_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/nats-io/nats-server/v2/server"
	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/nats"
	"github.com/topicbus/pubsub/backend/nats/natstest"
)

const topic = "orders"

// A stream that was deleted and made again has the same name and numbers from
// 1 again: only the time at which it was made tells.
func TestStreamMadeAgain(t *testing.T) {
	for _, during := range []string{"while connected", "while disconnected"} {
		t.Run(during, func(t *testing.T) {
			w := newWorld(t)
			b, past := w.backend(), w.direct()
			tp := record(t, b, topic, pubsub.Start{})
			publish(t, b, topic, "a", "b", "c")
			before := tp.message("c").Position
			if during == "while disconnected" {
				w.relay.Down()
				tp.state(pubsub.Reconnecting, 1)
			}
			require.NoError(t, w.admin.DeleteStream(background(t), w.name(topic)))
			publish(t, past, topic, "d", "e", "f", "g")
			w.relay.Up()
			after := tp.message("g").Position
			assert.Equal(t, "a b c [0+ reset] d e f g", script(tp.all()))
			assert.Greater(t, after.Page, before.Page)
			assert.Equal(t, uint64(4), after.Sequence)
			assert.Equal(t, uint64(w.stream(topic).CachedInfo().Created.UnixNano()), after.Page)
		})
	}
}

// On a quiet topic a reset is told as soon as it is known.
func TestStreamDeletedAndQuiet(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.backend()
	tp := record(t, b, topic, pubsub.Start{})
	publish(t, b, topic, "a")
	tp.message("a")
	tp.heartbeat()
	require.NoError(t, w.admin.DeleteStream(background(t), w.name(topic)))
	tp.state(pubsub.Resumed, 1)
	tp.until("the reset", func(list []pubsub.Frame) bool { return script(list) == "a [0+ reset]" })
}

// A Backend that may not make streams ends with ErrNotFound when its stream is
// deleted. It does not wait for ever.
func TestStreamDeletedForGood(t *testing.T) {
	w := newWorld(t)
	publish(t, w.direct(), topic, "a")
	b := w.backend(nats.WithoutCreation())
	tp := record(t, b, topic, pubsub.Start{Oldest: true})
	tp.message("a")
	require.NoError(t, w.admin.DeleteStream(background(t), w.name(topic)))
	err := tp.ended()
	require.ErrorIs(t, err, pubsub.ErrNotFound)
	require.ErrorIs(t, err, jetstream.ErrStreamNotFound)

	_, err = b.Subscribe(background(t), topic, pubsub.Start{})
	require.ErrorIs(t, err, pubsub.ErrNotFound)
	err = b.Publish(background(t), topic, pubsub.Payload{})
	require.ErrorIs(t, err, pubsub.ErrNotFound)
	assert.Equal(t, pubsub.NotAccepted, pubsub.OutcomeOf(err))
}

// Streams are deleted and made again while Subscribe is under way: nothing that
// is accepted after it returned may be missed.
func TestStreamMadeAgainWhileSubscribing(t *testing.T) {
	w := newWorld(t)
	b, past := w.backend(), w.direct()
	publish(t, past, topic, "old 1", "old 2", "old 3", "old 4", "old 5")
	name := w.name(topic)
	for _, at := range []string{".STREAM.INFO.", ".CONSUMER.CREATE."} {
		for nth := 1; nth <= 2; nth++ {
			var seen atomic.Int32
			w.relay.Intercept(func(subject string) *natstest.Answer {
				if strings.Contains(subject, at) && seen.Add(1) == int32(nth) {
					assert.NoError(t, w.admin.DeleteStream(context.Background(), name))
					assert.NoError(t, settled(func() error {
						return past.Publish(context.Background(), topic, pubsub.Payload{Data: []byte("new")})
					}))
				}
				return nil
			})
			tp := open(t, b, topic, pubsub.Start{})
			w.relay.Intercept(nil)
			first := fmt.Sprintf("%s %d", at, nth)
			publish(t, past, topic, first, first+" again")
			tp.read()
			tp.message(first + " again")
			got := tp.all()
			if strings.HasPrefix(script(got), "new ") {
				got = got[1:] // accepted while Subscribe was under way
			}
			assert.Equal(t, first+" "+first+" again", script(got))
			tp.stop()
		}
	}
}

// The same while a stream that broke is opened again.
func TestStreamMadeAgainWhileReopening(t *testing.T) {
	w := newWorld(t)
	b, past := w.backend(), w.direct()
	for i, at := range []string{".STREAM.INFO.", ".CONSUMER.CREATE."} {
		for nth := 1; nth <= 2; nth++ {
			topic := fmt.Sprint(topic, i, nth)
			tp := record(t, b, topic, pubsub.Start{})
			publish(t, b, topic, "a", "b")
			tp.message("b")
			name := w.name(topic)
			var seen atomic.Int32
			w.relay.Intercept(func(subject string) *natstest.Answer {
				if strings.Contains(subject, at) && strings.Contains(subject, name) && seen.Add(1) == int32(nth) {
					assert.NoError(t, w.admin.DeleteStream(context.Background(), name))
					assert.NoError(t, settled(func() error {
						return past.Publish(context.Background(), topic, pubsub.Payload{Data: []byte("new")})
					}))
				}
				return nil
			})
			w.relay.Cut()
			tp.state(pubsub.Resumed, 1)
			if seen.Load() < int32(nth) { // opened by fewer requests than that
				require.NoError(t, w.admin.DeleteStream(background(t), name))
				publish(t, past, topic, "new")
			}
			w.relay.Intercept(nil)
			tp.message("new")
			publish(t, past, topic, "last")
			tp.message("last")
			assert.Equal(t, "a b [0+ reset] new last", script(tp.all()), "%s %d", at, nth)
			tp.stop()
		}
	}
}

// Retention overtakes a slow reader: the hole is exact and in its place.
func TestRetentionOvertakes(t *testing.T) {
	w := newWorld(t)
	const keep, n = 1000, 5000
	b := w.backend(nats.WithMaxMessages(keep))
	tp := record(t, b, topic, pubsub.Start{})
	release := tp.hold()
	var texts []pubsub.Payload
	for i := range n {
		texts = append(texts, pubsub.Payload{Data: fmt.Appendf(nil, "%d", i+1)})
	}
	publishAll(t, b, topic, texts)
	release()
	tp.message(fmt.Sprint(n))
	at, holes := uint64(0), 0
	for _, f := range tp.all() {
		switch f.Kind {
		case pubsub.KindMessage:
			require.Equal(t, at+1, f.Position.Sequence)
			require.Equal(t, fmt.Sprint(f.Position.Sequence), string(f.Payload.Data))
			at++
		case pubsub.KindDiscontinuity:
			d := f.Discontinuity
			require.True(t, d.Exact)
			assert.Equal(t, pubsub.CauseBackend, d.Cause)
			assert.Equal(t, at, d.After.Sequence)
			assert.Equal(t, at+d.Lost+1, d.Resume.Sequence)
			at += d.Lost
			holes++
		}
	}
	assert.Equal(t, uint64(n), at)
	assert.NotZero(t, holes)
}

// Purged and deleted messages are exact holes, wherever a stream begins, and a
// stream that begins behind Start gets the same.
func TestPurgedAndDeleted(t *testing.T) {
	w := newWorld(t)
	b := w.backend()
	for i, c := range []struct {
		from func(page uint64) pubsub.Start
		want string
	}{
		{func(uint64) pubsub.Start { return pubsub.Start{Oldest: true} }, "c [1 backend] e f [2 backend] i"},
		{func(uint64) pubsub.Start { return pubsub.Start{Last: 1} }, "i"},
		{func(uint64) pubsub.Start { return pubsub.Start{Last: 3} }, "e f [2 backend] i"},
		{func(uint64) pubsub.Start { return pubsub.Start{Last: 4} }, "c [1 backend] e f [2 backend] i"},
		{func(uint64) pubsub.Start { return pubsub.Start{Last: 1 << 63} }, "c [1 backend] e f [2 backend] i"},
		{func(uint64) pubsub.Start { return pubsub.Start{} }, ""},
		{after(0, 3), "[1 reconnect] e f [2 backend] i"},
		{after(0, 6), "[2 reconnect] i"},
		{after(0, 9), ""},
		{after(0, 0), "[2 reconnect] c [1 backend] e f [2 backend] i"},
		{after(0, 10), "[2+ reset] c [1 backend] e f [2 backend] i"},
		{after(-1, 4), "[2+ reset] c [1 backend] e f [2 backend] i"},
		{after(+1, 4), "[2+ reset] c [1 backend] e f [2 backend] i"},
	} {
		topic := fmt.Sprint("topic ", i)
		publish(t, b, topic, "a", "b", "c", "d", "e", "f", "g", "h", "i")
		s := w.stream(topic)
		require.NoError(t, s.Purge(background(t), jetstream.WithPurgeSequence(3)))
		for _, n := range []uint64{4, 7, 8} {
			require.NoError(t, s.DeleteMsg(background(t), n))
		}
		from := c.from(uint64(s.CachedInfo().Created.UnixNano()))
		tp := record(t, b, topic, from)
		publish(t, b, topic, "end")
		tp.message("end")
		assert.Equal(t, strings.TrimSpace(c.want+" end"), script(tp.all()), "%+v", from)
		if from.After.IsZero() {
			again := record(t, b, topic, pubsub.Start{After: tp.stream.Start()})
			again.message("end")
			assert.Equal(t, script(tp.all()), strings.Replace(script(again.all()), "reconnect", "backend", 1), "behind Start of %+v", from)
		} else {
			assert.Equal(t, from.After, tp.stream.Start())
		}
	}
}

func after(page int, sequence uint64) func(uint64) pubsub.Start {
	return func(now uint64) pubsub.Start {
		return pubsub.Start{After: pubsub.Position{Page: now + uint64(page), Sequence: sequence}}
	}
}

// On an empty topic a stream starts behind number 0 of the topic's page, and a
// purged one behind the last number.
func TestStartOfAnEmptyTopic(t *testing.T) {
	w := newWorld(t)
	b := w.backend()
	for _, from := range []pubsub.Start{{}, {Oldest: true}, {Last: 5}} {
		topic := fmt.Sprintf("%+v", from)
		tp := record(t, b, topic, from)
		page := uint64(w.stream(topic).CachedInfo().Created.UnixNano())
		assert.Equal(t, pubsub.Position{Page: page}, tp.stream.Start())
		publish(t, b, topic, "a", "b")
		tp.message("b")
		again := record(t, b, topic, pubsub.Start{After: tp.stream.Start()})
		again.message("b")
		assert.Equal(t, "a b", script(again.all()))

		require.NoError(t, w.stream(topic).Purge(background(t)))
		tp = record(t, b, topic, from)
		assert.Equal(t, pubsub.Position{Page: page, Sequence: 2}, tp.stream.Start())
		publish(t, b, topic, "c")
		tp.message("c")
		assert.Equal(t, "c", script(tp.all()))
	}
}

// On a quiet topic a hole is told with the next heartbeat.
func TestPurgeOfAQuietTopic(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.backend()
	tp := record(t, b, topic, pubsub.Start{})
	publish(t, b, topic, "a", "b")
	tp.message("b")
	release := tp.hold()
	s := w.stream(topic)
	for name := range s.ConsumerNames(background(t)).Name() {
		_, err := s.PauseConsumer(background(t), name, farAway())
		require.NoError(t, err)
	}
	publish(t, b, topic, "c", "d", "e")
	require.NoError(t, s.Purge(background(t)))
	for name := range s.ConsumerNames(background(t)).Name() {
		_, err := s.ResumeConsumer(background(t), name)
		require.NoError(t, err)
	}
	tp.until("the hole", func(list []pubsub.Frame) bool { return script(list) == "a b [3 backend]" })
	release()
	publish(t, b, topic, "f")
	tp.message("f")
	assert.Equal(t, "a b [3 backend] f", script(tp.all()))
}

// A deleted message at the end of a quiet topic is told with a heartbeat.
func TestDeletedTail(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.backend()
	tp := record(t, b, topic, pubsub.Start{})
	publish(t, b, topic, "a")
	tp.message("a")
	s := w.stream(topic)
	for name := range s.ConsumerNames(background(t)).Name() {
		_, err := s.PauseConsumer(background(t), name, farAway())
		require.NoError(t, err)
	}
	publish(t, b, topic, "b", "c", "d")
	require.NoError(t, s.DeleteMsg(background(t), 4))
	require.NoError(t, s.DeleteMsg(background(t), 2))
	for name := range s.ConsumerNames(background(t)).Name() {
		_, err := s.ResumeConsumer(background(t), name)
		require.NoError(t, err)
	}
	tp.until("the hole", func(list []pubsub.Frame) bool { return script(list) == "a [1 backend] c [1 backend]" })
}

// A stream whose numbers begin elsewhere than at 1 misses nothing before them.
func TestFirstSequence(t *testing.T) {
	w := newWorld(t)
	b := w.backend(nats.WithStreamConfig(func(c *jetstream.StreamConfig) { c.FirstSeq = 1000 }))
	tp := record(t, b, topic, pubsub.Start{})
	assert.Equal(t, uint64(999), tp.stream.Start().Sequence)
	publish(t, b, topic, "a")
	assert.Equal(t, uint64(1000), tp.message("a").Position.Sequence)
	require.NoError(t, w.admin.DeleteStream(background(t), w.name(topic)))
	publish(t, b, topic, "b")
	tp.message("b")
	assert.Equal(t, "a [0+ reset] b", script(tp.all()))
}

// A consumer that is gone, as after its server's restart, is made again.
func TestConsumerGone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.backend()
	tp := record(t, b, topic, pubsub.Start{})
	publish(t, b, topic, "a")
	tp.message("a")
	s := w.stream(topic)
	for name := range s.ConsumerNames(background(t)).Name() {
		require.NoError(t, s.DeleteConsumer(background(t), name))
	}
	publish(t, b, topic, "b")
	tp.message("b")
	assert.Equal(t, "a b", script(tp.all()))
	assert.ErrorIs(t, tp.state(pubsub.Reconnecting, 1).Err, pubsub.ErrUnavailable)
	assert.Equal(t, 1, w.consumers())
}

// A consumer may be gone before Receive is called, with its stream or not.
func TestConsumerGoneBeforeReceive(t *testing.T) {
	w := newWorld(t)
	b := w.backend()
	tp := open(t, b, topic, pubsub.Start{})
	require.NoError(t, w.admin.DeleteStream(background(t), w.name(topic)))
	publish(t, b, topic, "a", "b")
	tp.read()
	tp.message("b")
	assert.Equal(t, "[0+ reset] a b", script(tp.all()))
}

// A stream comes back after its server's restart, with what was stored.
func TestRestart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.backend()
	tp := record(t, b, topic, pubsub.Start{})
	publish(t, b, topic, "a", "b")
	tp.message("b")
	w.server.Stop()
	tp.state(pubsub.Reconnecting, 1)
	err := b.Publish(background(t), topic, pubsub.Payload{})
	require.ErrorIs(t, err, pubsub.ErrUnavailable)
	require.Eventually(t, func() bool { // the stream may know sooner than the connection
		return pubsub.OutcomeOf(b.Publish(background(t), topic, pubsub.Payload{})) == pubsub.NotAccepted
	}, patience, time.Millisecond)
	_, err = b.Subscribe(background(t), "another", pubsub.Start{})
	require.ErrorIs(t, err, pubsub.ErrUnavailable)
	w.server.Start()
	tp.state(pubsub.Resumed, 1)
	publish(t, b, topic, "c")
	tp.message("c")
	assert.Equal(t, "a b c", script(tp.all()))
}

// A stream in memory is lost with its server. That is a reset.
func TestRestartOfMemory(t *testing.T) {
	w := newWorld(t)
	b := w.backend(nats.WithStorage(jetstream.MemoryStorage))
	tp := record(t, b, topic, pubsub.Start{})
	publish(t, b, topic, "a", "b", "c")
	tp.message("c")
	w.server.Stop()
	w.server.Start()
	tp.state(pubsub.Resumed, 1)
	publish(t, b, topic, "d")
	tp.message("d")
	assert.Equal(t, "a b c [0+ reset] d", script(tp.all()))
}

// A server that its operators stop asks its clients to leave.
func TestLameDuck(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.backend()
	tp := record(t, b, topic, pubsub.Start{})
	publish(t, b, topic, "a")
	tp.message("a")
	w.server.LameDuck()
	w.server.Start()
	tp.state(pubsub.Resumed, 1)
	publish(t, b, topic, "b")
	tp.message("b")
	assert.Equal(t, "a b", script(tp.all()))
}

// A connection that passes nothing any more is found out, and what was
// published meanwhile is delivered.
func TestBlackHole(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.backend(nats.WithStallTimeout(time.Second))
	tp := record(t, b, topic, pubsub.Start{})
	publish(t, b, topic, "a")
	tp.message("a")
	w.relay.BlackHole(true)
	publish(t, w.direct(), topic, "b")
	assert.ErrorIs(t, tp.state(pubsub.Reconnecting, 1).Err, pubsub.ErrUnavailable)
	w.relay.BlackHole(false)
	tp.message("b")
	tp.state(pubsub.Resumed, 1)
	publish(t, b, topic, "c")
	tp.message("c")
	assert.Equal(t, "a b c", script(tp.all()))
}

// Heartbeats that do not come, though the connection lives, have the consumer
// made again.
func TestHeartbeatsMissed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.backend(nats.WithStallTimeout(time.Second))
	tp := record(t, b, topic, pubsub.Start{})
	publish(t, b, topic, "a")
	tp.message("a")
	w.relay.Drop(func(subject string) bool {
		return strings.HasPrefix(subject, "_INBOX.") && strings.Count(subject, ".") == 1
	})
	tp.broke("stall timeout")
	w.relay.Drop(nil)
	publish(t, b, topic, "b")
	tp.message("b")
	assert.Equal(t, "a b", script(tp.all()))
}

// A message that is lost between server and client, as by a full buffer, is
// had again.
func TestLostOnTheWay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.backend(nats.WithStallTimeout(time.Second))
	for _, quiet := range []bool{false, true} {
		topic := fmt.Sprint("quiet: ", quiet)
		tp := record(t, b, topic, pubsub.Start{})
		publish(t, b, topic, "a")
		tp.message("a")
		subject := w.stream(topic).CachedInfo().Config.Subjects[0]
		var dropped atomic.Bool
		w.relay.Drop(func(s string) bool { return s == subject && !dropped.Swap(true) })
		publish(t, b, topic, "b")
		if !quiet {
			publish(t, b, topic, "c")
		}
		tp.message("b") // if quiet, a heartbeat tells
		publish(t, b, topic, "d")
		tp.message("d")
		want := "a b c d"
		if quiet {
			want = "a b d"
		}
		assert.Equal(t, want, script(tp.all()))
		assert.True(t, dropped.Load())
		tp.broke("lost between server and client")
	}
}

// What the server does not permit it tells nobody in particular: the subject
// tells whom it concerns.
func TestPermissions(t *testing.T) {
	user := func(deny ...string) func(*server.Options) {
		return func(o *server.Options) {
			o.Users = []*server.User{
				{Username: "admin", Password: "secret"},
				{Username: "app", Password: "secret", Permissions: &server.Permissions{Publish: &server.SubjectPermission{Deny: deny}}},
			}
		}
	}
	s, err := natstest.NewServer(natstest.WithOptions(user("pubsub.forbidden", "$JS.API.STREAM.CREATE.>")))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	relay, err := natstest.NewRelay(s.URL())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, relay.Close()) })
	as := func(name string) *nats.Backend {
		b, err := nats.New(relay.URL(), append(quick(), nats.WithUserPassword(name, "secret"))...)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, b.Close()) })
		return b
	}
	admin, b := as("admin"), as("app")
	publish(t, admin, "forbidden", "a")
	publish(t, admin, topic, "a")

	err = b.Publish(background(t), "forbidden", pubsub.Payload{})
	require.ErrorIs(t, err, pubsub.ErrPermissionDenied)
	require.ErrorIs(t, err, natsgo.ErrPermissionViolation)
	assert.Equal(t, pubsub.NotAccepted, pubsub.OutcomeOf(err))
	n, err := b.Topic(b, "forbidden").(pubsub.BatchPublisher).PublishBatch(background(t), make([]pubsub.Payload, 10))
	require.ErrorIs(t, err, pubsub.ErrPermissionDenied)
	assert.Zero(t, n)
	assert.Equal(t, pubsub.NotAccepted, pubsub.OutcomeOf(err))

	err = b.Publish(background(t), "new", pubsub.Payload{})
	require.ErrorIs(t, err, pubsub.ErrPermissionDenied, "it may not make a stream")
	assert.Equal(t, pubsub.NotAccepted, pubsub.OutcomeOf(err))
	_, err = b.Subscribe(background(t), "new", pubsub.Start{})
	require.ErrorIs(t, err, pubsub.ErrPermissionDenied)

	tp := record(t, b, topic, pubsub.Start{})
	publish(t, b, topic, "b")
	tp.message("b")
	for _, deny := range []string{"$JS.API.STREAM.INFO.>", "$JS.API.CONSUMER.CREATE.>", "$JS.API.CONSUMER.MSG.NEXT.>"} {
		t.Run(deny, func(t *testing.T) {
			tp := record(t, b, topic, pubsub.Start{})
			publish(t, b, topic, "c")
			tp.message("c")
			change := func(deny ...string) {
				s.Stop() // to reload users while clients are busy is a race inside the server
				require.NoError(t, s.Reload(user(deny...)))
				s.Start()
			}
			change(deny)
			require.ErrorIs(t, tp.ended(), pubsub.ErrPermissionDenied)
			change()
			require.Eventually(t, func() bool { return b.Publish(background(t), topic, pubsub.Payload{}) == nil }, patience, 10*time.Millisecond)
		})
	}
}

// A client that may not listen to its inbox gets no answers.
func TestPermissionOfInbox(t *testing.T) {
	s, err := natstest.NewServer(natstest.WithOptions(func(o *server.Options) {
		o.Users = []*server.User{{Username: "app", Password: "secret", Permissions: &server.Permissions{
			Subscribe: &server.SubjectPermission{Deny: []string{"_INBOX.>"}}}}}
	}))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	b, err := nats.New(s.URL(), append(quick(), nats.WithUserPassword("app", "secret"))...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	for range 2 { // nats.go asks for its inbox once
		err = b.Publish(background(t), topic, pubsub.Payload{})
		require.ErrorIs(t, err, pubsub.ErrPermissionDenied)
		_, err = b.Subscribe(background(t), topic, pubsub.Start{})
		require.ErrorIs(t, err, pubsub.ErrPermissionDenied)
	}
}

// Credentials that expire end the connection. If the server accepts the client
// again, streams go on; if not, they end.
func TestAuthenticationExpired(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.backend()
	tp := record(t, b, topic, pubsub.Start{})
	publish(t, b, topic, "a")
	tp.message("a")

	var once atomic.Bool
	w.relay.Intercept(func(string) *natstest.Answer {
		if once.Swap(true) {
			return nil
		}
		return &natstest.Answer{Error: "User Authentication Expired", Close: true}
	})
	err := b.Publish(background(t), topic, pubsub.Payload{})
	require.ErrorIs(t, err, pubsub.ErrUnauthenticated)
	require.ErrorIs(t, err, natsgo.ErrAuthExpired)
	assert.Equal(t, pubsub.OutcomeUnknown, pubsub.OutcomeOf(err))
	tp.state(pubsub.Resumed, 1)
	publish(t, b, topic, "b")
	tp.message("b")

	w.relay.Refuse(2, "Authorization Violation") // twice: the client gives up then
	w.relay.Error("User Authentication Expired")
	w.relay.Cut()
	require.ErrorIs(t, tp.ended(), pubsub.ErrUnauthenticated)
	// The next call asks again.
	publish(t, b, topic, "c")
	again := record(t, b, topic, pubsub.Start{Oldest: true})
	again.message("c")
	assert.Equal(t, "a b c", script(again.all()))
}

func TestBackOffStops(t *testing.T) {
	w := newWorld(t)
	b := w.backend(nats.WithBackoff(func() backoff.BackOff { return &backoff.StopBackOff{} }))
	tp := record(t, b, topic, pubsub.Start{})
	w.relay.Down()
	require.ErrorIs(t, tp.ended(), pubsub.ErrUnavailable)
}

// A stream that others have made so that it cannot carry the topic is refused
// for good, not tried again and again.
func TestUnfitStreams(t *testing.T) {
	w := newWorld(t)
	b := w.backend()
	for i, c := range []struct {
		what      string
		edit      func(*jetstream.StreamConfig)
		publishes bool
	}{
		{"SubjectDeleteMarkerTTL", func(c *jetstream.StreamConfig) { c.AllowMsgTTL, c.SubjectDeleteMarkerTTL = true, time.Second }, true},
		{"AllowMsgCounter", func(c *jetstream.StreamConfig) { c.AllowMsgCounter = true }, false},
		{"PersistMode", func(c *jetstream.StreamConfig) { c.PersistMode = jetstream.AsyncPersistMode }, true},
		{"InactiveThreshold", func(c *jetstream.StreamConfig) { c.ConsumerLimits.InactiveThreshold = time.Second }, true},
	} {
		topic := fmt.Sprint("topic", i)
		publish(t, b, topic, "a")
		config := w.stream(topic).CachedInfo().Config
		require.NoError(t, w.admin.DeleteStream(background(t), config.Name))
		c.edit(&config)
		require.NoError(t, settled(func() error {
			_, err := w.admin.CreateStream(background(t), config)
			return err
		}))
		_, err := b.Subscribe(background(t), topic, pubsub.Start{})
		require.ErrorIs(t, err, pubsub.ErrInvalidArgument, c.what)
		assert.ErrorContains(t, err, c.what)
		if err := b.Publish(background(t), topic, pubsub.Payload{}); c.publishes {
			assert.NoError(t, err, c.what)
		} else {
			assert.ErrorIs(t, err, pubsub.ErrInvalidArgument, c.what)
		}
	}

	// One that becomes so while a subscription is cut off. The server refuses its
	// consumer before anybody looks at the stream.
	tp := record(t, b, topic, pubsub.Start{})
	w.relay.Down()
	s := w.stream(topic)
	for name := range s.ConsumerNames(background(t)).Name() {
		require.NoError(t, s.DeleteConsumer(background(t), name))
	}
	config := s.CachedInfo().Config
	config.ConsumerLimits.InactiveThreshold = time.Second
	_, err := w.admin.UpdateStream(background(t), config)
	require.NoError(t, err)
	w.relay.Up()
	require.ErrorIs(t, tp.ended(), pubsub.ErrInvalidArgument)
}

// Foreign programs publish and read plainly.
func TestForeignPrograms(t *testing.T) {
	w := newWorld(t)
	b := w.backend()
	nc, err := w.server.Connect()
	require.NoError(t, err)
	defer nc.Close()
	raw, err := nc.SubscribeSync("pubsub.orders.eu")
	require.NoError(t, err)
	require.NoError(t, nc.Flush())
	tp := record(t, b, "orders.eu", pubsub.Start{})
	publish(t, b, "orders.eu", `{"id":1}`)
	m, err := raw.NextMsg(patience)
	require.NoError(t, err)
	assert.Equal(t, `{"id":1}`, string(m.Data))
	assert.Equal(t, "text/plain; charset=utf-8", m.Header.Get("Content-Type"))

	for _, c := range []struct {
		content, data string
		want          pubsub.Format
	}{
		{"", "plain", pubsub.Binary},
		{"text/plain", "text", pubsub.Text},
		{"Application/JSON; charset=utf-8", "{}", pubsub.Text},
		{"application/cloudevents+json", "[]", pubsub.Text},
		{"image/png", "png", pubsub.Binary},
		{"text/plain", "\xff", pubsub.Binary},
		{"text/plain", "", pubsub.Text},
	} {
		m := &natsgo.Msg{Subject: "pubsub.orders.eu", Data: []byte(c.data)}
		if c.content != "" {
			m.Header = natsgo.Header{"Content-Type": {c.content}}
		}
		_, err := w.admin.PublishMsg(background(t), m)
		require.NoError(t, err)
		publish(t, b, "orders.eu", "mark "+c.data)
		tp.message("mark " + c.data)
		got := tp.message(c.data).Payload
		assert.Equal(t, c.want, got.Format, "%+v", c)
		assert.Equal(t, c.data, string(got.Data))
	}
}

// Nothing is left at the server when a stream, or the process, has ended.
func TestNoConsumerIsLeft(t *testing.T) {
	w := newWorld(t)
	b := w.backend()
	for i := range 5 {
		record(t, b, fmt.Sprint("topic ", i), pubsub.Start{}).stop()
	}
	open := record(t, b, topic, pubsub.Start{})
	require.Eventually(t, func() bool { return w.consumers() == 1 }, patience, 10*time.Millisecond)
	require.NoError(t, b.Close())
	require.ErrorIs(t, open.ended(), pubsub.ErrClosed)
	require.Eventually(t, func() bool { return w.consumers() == 0 && w.relay.Conns() == 0 }, patience, 10*time.Millisecond)
}

// A connection of the caller's is used, told about, and left open.
func TestNewFromConn(t *testing.T) {
	w := newWorld(t)
	var told atomic.Int32
	count := func() { told.Add(1) }
	nc, err := natsgo.Connect(w.relay.URL(), natsgo.MaxReconnects(-1), natsgo.ReconnectWait(10*time.Millisecond), natsgo.ReconnectBufSize(-1),
		natsgo.DisconnectErrHandler(func(*natsgo.Conn, error) { count() }),
		natsgo.ReconnectHandler(func(*natsgo.Conn) { count() }),
		natsgo.ErrorHandler(func(*natsgo.Conn, *natsgo.Subscription, error) { count() }),
		natsgo.ClosedHandler(func(*natsgo.Conn) { count() }))
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	b, err := nats.NewFromConn(nc, quick()...)
	require.NoError(t, err)
	tp := record(t, b, topic, pubsub.Start{})
	publish(t, b, topic, "a")
	tp.message("a")
	w.relay.Cut()
	tp.state(pubsub.Resumed, 1)
	publish(t, b, topic, "b")
	tp.message("b")
	w.relay.Error("Permissions Violation for Publish to \"elsewhere\"")
	require.Eventually(t, func() bool { return told.Load() == 3 }, patience, time.Millisecond)
	require.NoError(t, b.Close())
	require.ErrorIs(t, tp.ended(), pubsub.ErrClosed)
	assert.True(t, nc.IsConnected())

	for name, option := range map[string]nats.Option{
		"WithToken": nats.WithToken("secret"), "WithTLS": nats.WithTLS(new(tls.Config)), "WithName": nats.WithName("me"),
		"WithUserPassword": nats.WithUserPassword("me", "secret"),
	} {
		_, err = nats.NewFromConn(nc, option)
		require.ErrorIs(t, err, pubsub.ErrInvalidArgument)
		assert.ErrorContains(t, err, name+" is about the connection")
	}
	b, err = nats.NewFromConn(nc, quick()...)
	require.NoError(t, err)
	tp = record(t, b, topic, pubsub.Start{})
	nc.Close()
	require.ErrorIs(t, tp.ended(), pubsub.ErrClosed)
	err = b.Publish(background(t), topic, pubsub.Payload{})
	require.ErrorIs(t, err, pubsub.ErrClosed)
	assert.Equal(t, pubsub.NotAccepted, pubsub.OutcomeOf(err))
	require.NoError(t, b.Close())
}

// resets counts how often a back-off begins anew.
type resets struct {
	backoff.BackOff
	n atomic.Int32
}

func (r *resets) Reset() { r.n.Add(1) }

// A back-off made by hand is reset before its first use, and the consumer is one
// that costs the server little.
func TestWhatASubscriptionBeginsWith(t *testing.T) {
	w := newWorld(t)
	policy := &resets{BackOff: &backoff.ZeroBackOff{}}
	b := w.backend(nats.WithBackoff(func() backoff.BackOff { return policy }))
	record(t, b, topic, pubsub.Start{})
	assert.EqualValues(t, 1, policy.n.Load())
	for info := range w.stream(topic).ListConsumers(background(t)).Info() {
		assert.True(t, info.Config.MemoryStorage)
		assert.Equal(t, 1, info.Config.Replicas)
		assert.Equal(t, jetstream.AckNonePolicy, info.Config.AckPolicy)
		assert.Equal(t, time.Minute, info.Config.InactiveThreshold)
	}
}

// An error behind the making of the consumer is told, and not tried again as if
// the stream were gone.
func TestErrorBehindTheConsumer(t *testing.T) {
	w := newWorld(t)
	b := w.backend()
	publish(t, b, topic, "a")
	var asked atomic.Int32
	w.relay.Intercept(func(subject string) *natstest.Answer {
		if !strings.HasPrefix(subject, "$JS.API.STREAM.INFO.") || asked.Add(1) < 2 {
			return nil
		}
		return &natstest.Answer{Reply: []byte(`{"error":{"code":500,"err_code":10049,"description":"the disk is on fire"}}`)}
	})
	_, err := b.Subscribe(background(t), topic, pubsub.Start{})
	require.ErrorContains(t, err, "the disk is on fire")
	assert.EqualValues(t, 2, asked.Load())
}

// A long outage, of which many attempts know nothing but that there is no
// connection, does not make a stream forget which consumers it had made.
func TestConsumersBeforeALongOutageAreForgotten(t *testing.T) {
	w := newWorld(t)
	b := w.backend(nats.WithBackoff(func() backoff.BackOff { return backoff.NewConstantBackOff(time.Millisecond) }))
	tp := record(t, b, topic, pubsub.Start{})
	w.relay.Down()
	tp.state(pubsub.Reconnecting, 60)
	w.relay.Up()
	tp.state(pubsub.Resumed, 1)
	require.Eventually(t, func() bool { return w.consumers() == 1 }, patience, time.Millisecond)
}

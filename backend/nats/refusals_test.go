package nats_test

import (
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	natsgo "github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/nats"
	"github.com/topicbus/pubsub/backend/nats/natstest"
)

// permitted starts a server whose user app has these permissions.
func permitted(t *testing.T, p server.Permissions) *natstest.Server {
	t.Helper()
	s, err := natstest.NewServer(natstest.WithOptions(func(o *server.Options) {
		o.Users = []*server.User{{Username: "app", Password: "secret", Permissions: &p}}
	}))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

// TestRefusalOfAnotherSubscription: what the server refuses to the application
// on its own connection does not concern the Backend, whose inbox is permitted.
func TestRefusalOfAnotherSubscription(t *testing.T) {
	for _, inbox := range []string{"_INBOX", "_OURS.app"} {
		t.Run(inbox, func(t *testing.T) {
			s := permitted(t, server.Permissions{Subscribe: &server.SubjectPermission{Allow: []string{inbox + ".>"}}})
			refused := make(chan error, 1)
			opts := []natsgo.Option{
				natsgo.UserInfo("app", "secret"),
				natsgo.ErrorHandler(func(_ *natsgo.Conn, _ *natsgo.Subscription, err error) { refused <- err }),
			}
			if inbox != "_INBOX" {
				opts = append(opts, natsgo.CustomInboxPrefix(inbox))
			}
			nc, err := s.Connect(opts...)
			require.NoError(t, err)
			t.Cleanup(nc.Close)
			b, err := nats.NewFromConn(nc, quick()...)
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, b.Close()) })
			tp := record(t, b, topic, pubsub.Start{})
			publish(t, b, topic, "a")
			tp.message("a")

			// Not even one whose name begins like that of an inbox.
			for _, subject := range []string{"something.of.the.application", "_INBOXES.of.the.application", "pubsub.topic"} {
				sub, err := nc.SubscribeSync(subject)
				require.NoError(t, err)
				select {
				case err := <-refused: // the Backend has heard of it
					require.ErrorIs(t, err, natsgo.ErrPermissionViolation)
				case <-time.After(patience):
					require.Fail(t, "the server permits it", subject)
				}
				publish(t, b, topic, subject)
				tp.message(subject)
				require.NoError(t, sub.Unsubscribe())
			}
			for _, f := range tp.all() {
				assert.NotEqual(t, pubsub.KindState, f.Kind, "the stream never broke")
			}
		})
	}
}

// TestRefusalOfQuotedSubjects: the server quotes subjects in what it refuses, so
// that those with quotation marks come in another spelling.
func TestRefusalOfQuotedSubjects(t *testing.T) {
	topics := []string{`a"b`, `ab"`, `a\b`, `"`, `a\"b`}
	var deny []string
	for _, topic := range topics {
		deny = append(deny, "pubsub."+topic)
	}
	s := permitted(t, server.Permissions{Publish: &server.SubjectPermission{Deny: deny}})
	b, err := nats.New(s.URL(), append(quick(), nats.WithUserPassword("app", "secret"))...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	for _, topic := range topics {
		t.Run(topic, func(t *testing.T) {
			err := b.Publish(background(t), topic, pubsub.Payload{})
			require.ErrorIs(t, err, pubsub.ErrPermissionDenied)
			assert.Equal(t, pubsub.NotAccepted, pubsub.OutcomeOf(err))
			n, err := b.Topic(b, topic).(pubsub.BatchPublisher).PublishBatch(background(t), make([]pubsub.Payload, 3))
			require.ErrorIs(t, err, pubsub.ErrPermissionDenied)
			assert.Zero(t, n)
			assert.Equal(t, pubsub.NotAccepted, pubsub.OutcomeOf(err))
		})
	}
	// A subscription reads through subjects that have the stream's name.
	for _, topic := range topics {
		record(t, b, topic, pubsub.Start{})
	}
}

package nats_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/nats"
	"github.com/topicbus/pubsub/backend/nats/natstest"
)

// TestCredentialsExpire: the server ends a connection whose credentials expire.
// If the file has been renewed by then the subscription goes on; if not, it ends.
func TestCredentialsExpire(t *testing.T) {
	for _, renewed := range []bool{true, false} {
		t.Run(map[bool]string{true: "renewed", false: "not renewed"}[renewed], func(t *testing.T) {
			t.Parallel()
			operator, account, system := pairOf(t, nkeys.CreateOperator), pairOf(t, nkeys.CreateAccount), pairOf(t, nkeys.CreateAccount)
			claims := jwt.NewAccountClaims(public(t, account))
			claims.Limits.JetStreamLimits = jwt.JetStreamLimits{MemoryStorage: -1, DiskStorage: -1, Streams: -1, Consumer: -1}
			encoded, err := claims.Encode(operator)
			require.NoError(t, err)
			resolver := &server.MemAccResolver{}
			require.NoError(t, resolver.Store(public(t, account), encoded))
			encoded, err = jwt.NewAccountClaims(public(t, system)).Encode(operator)
			require.NoError(t, err)
			require.NoError(t, resolver.Store(public(t, system), encoded))
			s, err := natstest.NewServer(natstest.WithOptions(func(o *server.Options) {
				o.TrustedKeys = []string{public(t, operator)}
				o.AccountResolver = resolver
				o.SystemAccount = public(t, system)
			}))
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, s.Close()) })

			file := filepath.Join(t.TempDir(), "app.creds")
			write := func(lasts time.Duration) {
				user := pairOf(t, nkeys.CreateUser)
				claims := jwt.NewUserClaims(public(t, user))
				claims.Expires = time.Now().Add(lasts).Unix()
				encoded, err := claims.Encode(account)
				require.NoError(t, err)
				seed, err := user.Seed()
				require.NoError(t, err)
				contents, err := jwt.FormatUserConfig(encoded, seed)
				require.NoError(t, err)
				require.NoError(t, os.WriteFile(file, contents, 0o600))
			}
			const short = 8 * time.Second // in which it connects, and publishes
			write(short)
			b, err := nats.New(s.URL(), append(quick(), nats.WithCredentialsFile(file))...)
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, b.Close()) })
			tp := record(t, b, topic, pubsub.Start{})
			publish(t, b, topic, "a")
			tp.message("a")
			if !renewed {
				require.ErrorIs(t, tp.ended(), pubsub.ErrUnauthenticated)
				// For the rest of the second the server lets the client in, and ends
				// its connection at once.
				require.Eventually(t, func() bool {
					err := b.Publish(background(t), topic, pubsub.Payload{})
					return errors.Is(err, pubsub.ErrUnauthenticated) && pubsub.OutcomeOf(err) == pubsub.NotAccepted
				}, patience, 10*time.Millisecond)
				write(time.Hour)
				require.Eventually(t, func() bool { // the file is read again
					return b.Publish(background(t), topic, pubsub.Payload{}) == nil
				}, patience, 10*time.Millisecond)
				return
			}
			write(time.Hour)
			broke := tp.state(pubsub.Reconnecting, 1)
			require.ErrorIs(t, broke.Err, pubsub.ErrUnauthenticated)
			tp.state(pubsub.Resumed, 1)
			publish(t, b, topic, "b")
			tp.message("b")
			assert.Equal(t, "a b", script(tp.all()))
		})
	}
}

func pairOf(t *testing.T, create func() (nkeys.KeyPair, error)) nkeys.KeyPair {
	pair, err := create()
	require.NoError(t, err)
	return pair
}

func public(t *testing.T, pair nkeys.KeyPair) string {
	key, err := pair.PublicKey()
	require.NoError(t, err)
	return key
}

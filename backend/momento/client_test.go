package momento

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/momentohq/client-sdk-go/auth"
	"github.com/momentohq/client-sdk-go/config"
	sdk "github.com/momentohq/client-sdk-go/momento"
	"github.com/momentohq/client-sdk-go/responses"
	"github.com/stretchr/testify/require"
	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/internal/turns"
)

var (
	errTimeout    = sdk.NewMomentoError(sdk.TimeoutError, "context deadline exceeded", nil)
	errOverloaded = sdk.NewMomentoError(sdk.ServerUnavailableError, "overloaded", nil)
)

// distant is a service to which a client connects, from its first call on, for
// a while.
type distant struct {
	sdk.TopicClient
	connecting time.Duration
	ready      time.Time
}

func atADistance(s *service, connecting time.Duration) Option {
	return func(o *options) {
		o.newClient = func(c config.TopicsConfiguration, p auth.CredentialProvider) (sdk.TopicClient, error) {
			tc, err := s.newClient(c, p)
			return &distant{TopicClient: tc, connecting: connecting}, err
		}
	}
}

func (c *distant) wait(ctx context.Context) error {
	if c.ready.IsZero() {
		c.ready = time.Now().Add(c.connecting)
	}
	if !turns.Sleep(ctx, time.Until(c.ready), nil) {
		return errTimeout
	}
	return nil
}

func (c *distant) Publish(ctx context.Context, r *sdk.TopicPublishRequest) (responses.TopicPublishResponse, error) {
	if err := c.wait(ctx); err != nil {
		return nil, err
	}
	return c.TopicClient.Publish(ctx, r)
}

func (c *distant) Subscribe(ctx context.Context, r *sdk.TopicSubscribeRequest) (sdk.TopicSubscription, error) {
	if err := c.wait(ctx); err != nil {
		return nil, err
	}
	return c.TopicClient.Subscribe(ctx, r)
}

// A new client would begin to connect again, so that nothing ever got through.
func TestPatienceShorterThanConnecting(t *testing.T) {
	const patience = 200 * time.Millisecond
	publish := func(ctx context.Context, b *Backend) error { return b.Publish(ctx, "topic", pubsub.Payload{}) }
	subscribe := func(ctx context.Context, b *Backend) error {
		s, err := b.Subscribe(ctx, "topic", pubsub.Start{})
		if err == nil {
			run(s)
		}
		return err
	}
	for _, test := range []struct {
		name     string
		call     func(context.Context, *Backend) error
		deadline time.Duration
		opts     []Option
	}{
		{"publish with a deadline", publish, patience, nil},
		{"subscribe with a deadline", subscribe, patience, nil},
		{"publish timeout", publish, time.Hour, []Option{WithPublishTimeout(patience)}},
		{"subscribe timeout", subscribe, time.Hour, []Option{WithSubscribeTimeout(patience)}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newService(t)
				b := s.newBackend(append(test.opts, atADistance(s, 1100*time.Millisecond))...)
				for range 5 {
					ctx, cancel := context.WithTimeout(t.Context(), test.deadline)
					defer cancel()
					require.Error(t, test.call(ctx, b))
				}
				require.NoError(t, test.call(t.Context(), b))
				clients, _, _ := s.counts()
				require.Equal(t, 1, clients)
			})
		})
	}
}

// A caller whose deadline passes has not found the client deaf, however long
// that has been without a success.
func TestDeadlineOfACallerKeepsTheClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		b := s.newBackend(WithStallTimeout(0))
		s.onPublish = func(ctx context.Context, _ *fakeClient, r *sdk.TopicPublishRequest) error {
			if r.TopicName != "slow" {
				return nil
			}
			s.mu.Unlock()
			defer s.mu.Lock()
			<-ctx.Done()
			return errTimeout
		}
		receive(t, b, t.Context(), pubsub.Position{})
		for range 3 {
			time.Sleep(time.Minute)
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			defer cancel()
			require.ErrorIs(t, b.Publish(ctx, "slow", pubsub.Payload{}), context.DeadlineExceeded)
			require.NoError(t, b.Publish(t.Context(), "topic", pubsub.Payload{}))
		}
		clients, _, _ := s.counts()
		require.Equal(t, 1, clients)
	})
}

// A service that answers is no better on another connection.
func TestUnavailableServiceIsNotConnectedToAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		s.onPublish = func(context.Context, *fakeClient, *sdk.TopicPublishRequest) error { return errOverloaded }
		b := s.newBackend()
		for start := time.Now(); time.Since(start) < time.Minute; time.Sleep(10 * time.Millisecond) {
			require.ErrorIs(t, b.Publish(t.Context(), "topic", pubsub.Payload{}), pubsub.ErrUnavailable)
		}
		clients, _, _ := s.counts()
		require.LessOrEqual(t, clients, int(time.Minute/renewSlowAfter)+1)
	})
}

// Each Publish that is refused would otherwise ask for credentials.
func TestWrongCredentialsAreNotAskedForAgainAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		s.token = "right"
		asked, token := 0, "wrong"
		b := s.newBackend(WithCredentialsFunc(func(context.Context) (auth.CredentialProvider, error) {
			asked++
			return fakeCredentials(token), nil
		}))
		for range 1000 {
			require.ErrorIs(t, b.Publish(t.Context(), "topic", pubsub.Payload{}), pubsub.ErrUnauthenticated)
			time.Sleep(10 * time.Millisecond)
		}
		require.InDelta(t, 10*time.Second/askAgainAfter, asked, 1)
		token = "right"
		time.Sleep(askAgainAfter)
		require.NoError(t, b.Publish(t.Context(), "topic", pubsub.Payload{}))
	})
}

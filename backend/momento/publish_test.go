package momento

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cenkalti/backoff/v4"
	sdk "github.com/momentohq/client-sdk-go/momento"
	"github.com/stretchr/testify/require"
	"github.com/topicbus/pubsub"
)

func TestPublishFormats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		var got []sdk.TopicValue
		s.onPublish = func(_ context.Context, _ *fakeClient, r *sdk.TopicPublishRequest) error {
			require.Equal(t, "cache", r.CacheName)
			require.Equal(t, "topic", r.TopicName)
			got = append(got, r.Value)
			return nil
		}
		b := s.newBackend()
		for _, p := range []pubsub.Payload{
			{Format: pubsub.Text, Data: []byte("a")}, {Format: pubsub.Text}, {Format: pubsub.Binary, Data: []byte("b")}, {},
		} {
			require.NoError(t, b.Publish(t.Context(), "topic", p))
		}
		require.Equal(t, []sdk.TopicValue{sdk.String("a"), sdk.String(""), sdk.Bytes("b"), sdk.Bytes(nil)}, got)
		require.ErrorIs(t, b.Publish(t.Context(), "topic", pubsub.Payload{Format: 9}), pubsub.ErrInvalidPayload)
	})
}

func TestPublishEndsWithItsCtx(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		s.latency = time.Hour
		b := s.newBackend()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, b.Publish(ctx, "topic", pubsub.Payload{}), context.DeadlineExceeded)
		ctx, cancel = context.WithCancel(t.Context())
		cancel()
		require.ErrorIs(t, b.Publish(ctx, "topic", pubsub.Payload{}), context.Canceled)
	})
}

func TestPublishTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		s.latency = time.Hour
		b := s.newBackend(WithPublishTimeout(2 * time.Second))
		start := time.Now()
		err := b.Publish(t.Context(), "topic", pubsub.Payload{})
		require.ErrorIs(t, err, pubsub.ErrUnavailable)
		require.NotErrorIs(t, err, context.DeadlineExceeded, "the caller's ctx did not end")
		require.Equal(t, 2*time.Second, time.Since(start))
	})
}

func TestPublishRetry(t *testing.T) {
	policy := func() backoff.BackOff { return backoff.WithMaxRetries(backoff.NewConstantBackOff(time.Second), 2) }
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		var tries int
		var results []error
		s.onPublish = func(context.Context, *fakeClient, *sdk.TopicPublishRequest) error {
			tries++
			return results[min(tries, len(results))-1]
		}
		for _, test := range []struct {
			name    string
			b       *Backend
			results []error
			want    error
			tries   int
		}{
			{"not by default", s.newBackend(), []error{errAway, nil}, pubsub.ErrUnavailable, 1},
			{"after unavailable", s.newBackend(WithPublishRetry(policy)), []error{errAway, errAway, nil}, nil, 3},
			{"after a limit", s.newBackend(WithPublishRetry(policy)), []error{errLimit, nil}, nil, 2},
			{"as the policy says", s.newBackend(WithPublishRetry(policy)), []error{errAway}, pubsub.ErrUnavailable, 3},
			{"not what is permanent", s.newBackend(WithPublishRetry(policy)), []error{errToken}, pubsub.ErrUnauthenticated, 1},
		} {
			tries, results = 0, test.results
			err := test.b.Publish(t.Context(), "topic", pubsub.Payload{})
			if test.want == nil {
				require.NoError(t, err, test.name)
			} else {
				require.ErrorIs(t, err, test.want, test.name)
			}
			require.Equal(t, test.tries, tries, test.name)
		}
		results = []error{errAway}
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		start := time.Now()
		require.ErrorIs(t, s.newBackend(WithPublishRetry(policy)).Publish(ctx, "topic", pubsub.Payload{}), context.DeadlineExceeded)
		require.Equal(t, 500*time.Millisecond, time.Since(start))
	})
}

// A message may have been accepted if any of the attempts may.
func TestOutcomeOfSeveralAttempts(t *testing.T) {
	unknown, refused := errReset, errLimit
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		var tries int
		var results []error
		s.onPublish = func(context.Context, *fakeClient, *sdk.TopicPublishRequest) error {
			tries++
			return results[min(tries, len(results))-1]
		}
		b := s.newBackend(WithPublishRetry(func() backoff.BackOff {
			return backoff.WithMaxRetries(backoff.NewConstantBackOff(time.Second), 2)
		}))
		for _, test := range []struct {
			results []error
			want    pubsub.Outcome
		}{
			{[]error{refused, refused, refused}, pubsub.NotAccepted},
			{[]error{unknown, refused, refused}, pubsub.OutcomeUnknown},
			{[]error{refused, unknown, refused}, pubsub.OutcomeUnknown},
			{[]error{refused, refused, unknown}, pubsub.OutcomeUnknown},
			{[]error{unknown, errToken}, pubsub.OutcomeUnknown},
			{[]error{errAway, errAway, errAway}, pubsub.NotAccepted},
			{[]error{unknown, nil}, pubsub.Accepted},
		} {
			tries, results = 0, test.results
			require.Equal(t, test.want, pubsub.OutcomeOf(b.Publish(t.Context(), "topic", pubsub.Payload{})), "%v", test.results)
		}
		for first, want := range map[error]pubsub.Outcome{unknown: pubsub.OutcomeUnknown, refused: pubsub.NotAccepted} {
			tries, results = 0, []error{first}
			ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			err := b.Publish(ctx, "topic", pubsub.Payload{})
			cancel()
			require.ErrorIs(t, err, context.DeadlineExceeded, "it ended during a pause")
			require.Equal(t, want, pubsub.OutcomeOf(err))
		}
	})
}

package momento

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/momentohq/client-sdk-go/auth"
	"github.com/stretchr/testify/require"
	"github.com/topicbus/pubsub"
)

// insecure says of an endpoint that it needs no TLS.
type insecure struct{ endpointProvider }

func (insecure) IsCacheEndpointSecure() bool { return false }

// secure says that it does.
type secure struct{ endpointProvider }

func (secure) IsCacheEndpointSecure() bool { return true }

func TestInsecureHosts(t *testing.T) {
	good := fakeCredentials("TOPSECRET")
	for _, test := range []struct {
		endpoint string
		named    []string
		want     bool
	}{
		{"127.0.0.1:8080", nil, true},
		{"127.8.9.10:8080", nil, true},
		{"[::1]:8080", nil, true},
		{"[::ffff:127.0.0.1]:8080", nil, true},
		{"localhost:8080", nil, true},
		{"LOCALHOST:8080", nil, true},
		{"passthrough:///127.0.0.1:8080", nil, true},
		{"dns://8.8.8.8/localhost:8080", nil, true},
		{"unix:///run/momento.sock", nil, true},
		{"cell.example.com:443", nil, false},
		{"localhost.example.com:443", nil, false},
		{"127.0.0.1.example.com:443", nil, false},
		{"10.0.0.1:443", nil, false},
		{"0.0.0.0:443", nil, false},
		{"[::]:443", nil, false},
		{"passthrough:///cell.example.com:443", nil, false},
		{"dns://127.0.0.1/cell.example.com:443", nil, false},
		{"momento-local:8080", []string{"momento-local"}, true},
		{"momento-local:8080", []string{"another", "momento-local"}, true},
		{"momento-local:8080", []string{"another"}, false},
		{"passthrough:///momento-local:8080", []string{"momento-local"}, true},
	} {
		t.Run(test.endpoint, func(t *testing.T) {
			var opts []Option
			for _, host := range test.named {
				opts = append(opts, WithInsecureHost(host))
			}
			check := func(err error) {
				if test.want {
					require.NoError(t, err)
					return
				}
				require.ErrorIs(t, err, pubsub.ErrInvalidArgument)
				require.ErrorContains(t, err, "WithInsecureHost")
				require.NotContains(t, err.Error(), "TOPSECRET")
			}
			p := insecure{endpointProvider{good, test.endpoint}}
			for _, all := range [][]Option{append([]Option{WithCredentials(p)}, opts...), append(opts, WithCredentials(p))} {
				b, err := New("cache", all...)
				check(err)
				if err == nil {
					require.NoError(t, b.Close())
				}
			}
			_, err := New("cache", WithCredentials(secure(p)))
			require.NoError(t, err, "with TLS")
			synctest.Test(t, func(t *testing.T) { // asked for later
				f := WithCredentialsFunc(func(context.Context) (auth.CredentialProvider, error) { return p, nil })
				b := newService(t).newBackend(append(opts, f)...)
				check(b.Publish(t.Context(), "topic", pubsub.Payload{}))
			})
		})
	}
	for _, host := range []string{"", " ", "https://cell.example.com", "a/b"} {
		_, err := New("cache", WithCredentials(good), WithInsecureHost(host))
		require.ErrorIs(t, err, pubsub.ErrInvalidArgument)
	}
}

// A credentials function that ignores its ctx holds up nobody for longer than is
// stated, and is not called twice at once.
func TestCredentialsFunctionThatDoesNotReturn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		out := &syncBuffer{}
		release := make(chan struct{})
		var running, calls atomic.Int32
		b := s.openBackend(WithSubscribeTimeout(3*time.Second), WithLogger(slog.New(slog.NewTextHandler(out, nil))),
			WithCredentialsFunc(func(context.Context) (auth.CredentialProvider, error) {
				calls.Add(1)
				require.EqualValues(t, 1, running.Add(1), "calls at once")
				<-release
				running.Add(-1)
				return fakeCredentials("t"), nil
			}))
		for range 2 {
			begun := time.Now()
			_, err := b.Subscribe(t.Context(), "topic", pubsub.Start{})
			require.ErrorIs(t, err, pubsub.ErrUnavailable)
			require.Equal(t, 3*time.Second+closePause, time.Since(begun))
			begun = time.Now()
			err = b.Publish(t.Context(), "topic", pubsub.Payload{})
			require.ErrorIs(t, err, pubsub.ErrUnavailable)
			require.Equal(t, pubsub.NotAccepted, pubsub.OutcomeOf(err))
			require.Equal(t, 3*time.Second+closePause, time.Since(begun))
		}
		require.EqualValues(t, 1, calls.Load())
		require.Contains(t, out.lines()[0], "level=WARN")
		require.Contains(t, out.lines()[0], "credentials function has not returned")

		// What it returns at last is used by who waits then, and by nobody later.
		time.AfterFunc(time.Second, func() { close(release) })
		require.NoError(t, b.Publish(t.Context(), "topic", pubsub.Payload{}))
		require.EqualValues(t, 1, calls.Load())
		require.NoError(t, b.Close())
	})
	synctest.Test(t, func(t *testing.T) { // Close
		s := newService(t)
		release := make(chan struct{})
		b := s.openBackend(WithCredentialsFunc(func(context.Context) (auth.CredentialProvider, error) {
			<-release
			return nil, nil
		}))
		done := make(chan error)
		go func() {
			_, err := b.Subscribe(t.Context(), "topic", pubsub.Start{})
			done <- err
		}()
		time.Sleep(time.Second)
		begun := time.Now()
		require.NoError(t, b.Close())
		require.ErrorIs(t, <-done, pubsub.ErrClosed)
		require.LessOrEqual(t, time.Since(begun), 2*closePause)
		close(release) // by its owner
	})
}

// What a credentials function says is shown as what others say is.
func TestTextOfACredentialsFunction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("vault:\r\n" + strings.Repeat("x", 1<<20))
		b := newService(t).newBackend(WithCredentialsFunc(func(context.Context) (auth.CredentialProvider, error) { return nil, broken }))
		err := b.Publish(t.Context(), "topic", pubsub.Payload{})
		require.ErrorIs(t, err, broken)
		require.Less(t, len(err.Error()), 2*maxForeign)
		require.NotContains(t, err.Error(), "\n")
	})
}

// After a pause a call does not trust the connection; without the option it
// does.
func TestFreshConnectionAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, test := range []struct {
			idle    time.Duration
			pause   time.Duration
			clients int
		}{
			{0, time.Hour, 1},
			{time.Minute, 59 * time.Second, 1},
			{time.Minute, 61 * time.Second, 3},
			{1, time.Second, 3},
		} {
			s := newService(t)
			b := s.newBackend(WithFreshConnectionAfter(test.idle), WithStallTimeout(0))
			for range 3 {
				require.NoError(t, b.Publish(t.Context(), "topic", pubsub.Payload{}))
				time.Sleep(test.pause)
			}
			clients, open, _ := s.counts()
			require.Equal(t, test.clients, clients)
			require.Equal(t, 1, open, "the old ones are closed")
		}
		// Streams stay where they are.
		s := newService(t)
		b := s.newBackend(WithFreshConnectionAfter(time.Minute), WithStallTimeout(0))
		r := receive(t, b, t.Context(), pubsub.Position{})
		time.Sleep(time.Hour)
		require.NoError(t, b.Publish(t.Context(), "topic", pubsub.Payload{}))
		clients, open, streams := s.counts()
		require.Equal(t, []int{2, 2, 1}, []int{clients, open, streams})
		require.Empty(t, r.frames)
	})
	_, err := New("cache", WithCredentials(fakeCredentials("t")), WithFreshConnectionAfter(-1))
	require.ErrorIs(t, err, pubsub.ErrInvalidArgument)
}

// With WithProxyNames gRPC is given names that it does not resolve.
func TestProxyNames(t *testing.T) {
	for endpoint, want := range map[string]string{
		"cell.example.com:443":     "passthrough:///cell.example.com:443",
		"dns:///cell.example.com":  "dns:///cell.example.com",
		"unix:///run/momento.sock": "unix:///run/momento.sock",
	} {
		p := endpointProvider{fakeCredentials("t"), endpoint}
		require.Equal(t, want, unresolved{p}.GetCacheEndpoint())
		require.Equal(t, "t", unresolved{p}.GetAuthToken())
	}
}

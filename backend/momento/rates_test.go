package momento

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/momentohq/client-sdk-go/auth"
	sdk "github.com/momentohq/client-sdk-go/momento"
	"github.com/stretchr/testify/require"
	"github.com/topicbus/pubsub/internal/turns"
)

// TestWorstRequestRates has a service misbehave towards 400 streams for five
// minutes, in each way that it can, and holds how often it is asked for streams
// against a limit: in the worst second, and in one of the last minute. docs/faults.md
// has such a table of what was measured over TCP.
func TestWorstRequestRates(t *testing.T) {
	const streams = 400
	type answer = func(n int, asked uint64) ([]any, error)
	ends := func(after time.Duration, err error) answer {
		return func(int, uint64) ([]any, error) { return []any{sdk.TopicHeartbeat{}, after, err}, nil }
	}
	refuses := func(err error) answer {
		return func(int, uint64) ([]any, error) { return nil, err }
	}
	// one fails where a stream asks for one message, and ends no stream otherwise.
	one := func(err error) answer {
		return func(_ int, asked uint64) ([]any, error) {
			switch asked {
			case 0:
				return []any{discontinuity(9, 7)}, nil
			case 2:
				return nil, err
			}
			return []any{time.Minute, errReset}, nil
		}
	}
	for _, test := range []struct {
		name       string
		misbehaves answer
		worst      int // requests in a second
		later      int // requests in a second of the last minute, on average
		opts       []Option
	}{
		{"accepts and ends at once", ends(0, errReset), streams + 40, 2, nil},
		{"accepts and ends at once, without an error", ends(0, errEnded), streams + 40, 2, nil},
		{"accepts and ends after a moment", ends(50*time.Millisecond, errReset), streams + 40, 2, nil},
		{"accepts and ends when it seems to be well", ends(turns.ProvenAfter+10*time.Millisecond, errReset), 4 * streams, streams/10 + 1, nil},
		{"accepts and ends after almost a second", ends(healthyAfter-time.Millisecond, errReset), 2 * streams, streams/10 + 1, nil},
		{"accepts and ends after a second", ends(healthyAfter, errReset), 2 * streams, streams / 8, nil},
		{"accepts and ends after ten seconds", ends(10*time.Second, errReset), 2 * streams, streams / 8, nil},
		{"accepts, then names a limit", ends(0, errLimit), streams + 10, 1, nil},
		{"accepts, then sends what is too large", ends(0, errTooLong), streams + 40, 2, nil},
		{"accepts, then sends what cannot be decoded", ends(0, errUndecodable), streams + 40, 2, nil},
		{"is unavailable", refuses(errOverloaded), streams + 40, 2, nil},
		{"fails", refuses(sdk.NewMomentoError(sdk.InternalServerError, "no", nil)), streams + 40, 2, nil},
		{"has no place", refuses(errLimit), streams + 10, 1, nil},
		{"refuses for the moment", refuses(sdk.NewMomentoError(sdk.PermissionError, "no", nil)), streams + 40, 2, []Option{WithRefusalPatience(time.Hour)}},
		{"refuses every token", refuses(errToken), streams + 40, 3, []Option{WithRefusalPatience(time.Hour),
			WithCredentialsFunc(func(context.Context) (auth.CredentialProvider, error) { return fakeCredentials("another"), nil })}},
		{"fails for one message", one(errReset), streams + 40, streams/10 + 1, nil},
		{"knows no such message", one(sdk.NewMomentoError(sdk.InvalidArgumentError, "no", nil)), 2 * streams, streams/10 + 1, nil},
		{"accepts one in ten, and ends it", func(n int, _ uint64) ([]any, error) {
			if n%10 == 0 {
				return []any{sdk.TopicHeartbeat{}, turns.ProvenAfter + time.Millisecond, errReset}, nil
			}
			return nil, errOverloaded
		}, 4 * streams, streams/5 + 5, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newService(t)
				var begun time.Time
				perSecond := make(map[int]int)
				s.onTry = func(n int, r *sdk.TopicSubscribeRequest) ([]any, error) {
					if n <= streams {
						return []any{sdk.TopicHeartbeat{}, text(7, 1, "x"), time.Until(begun), errReset}, nil
					}
					perSecond[int(time.Since(begun)/time.Second)]++
					return test.misbehaves(n, r.ResumeAtTopicSequenceNumber)
				}
				begun = time.Now().Add(time.Minute)
				b := s.openBackend(append([]Option{WithStallTimeout(0), WithMaxSubscriptions(streams)}, test.opts...)...)
				listen(t, b, "topic-", streams)
				const minutes = 5
				time.Sleep(time.Until(begun) + minutes*time.Minute)
				require.NoError(t, b.Close())
				worst, later := 0, 0
				for second, n := range perSecond {
					worst = max(worst, n)
					if second >= (minutes-1)*60 {
						later += n
					}
				}
				t.Logf("%d in the worst second, %.1f a second later", worst, float64(later)/60)
				require.LessOrEqual(t, worst, test.worst)
				require.LessOrEqual(t, later, 60*test.later)
				require.NotZero(t, later, "it gave up")
			})
		})
	}
}

// One stream that is accepted and ended at once does not wake the others.
func TestOthersFollowOnlyWhoIsBackForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const streams = 50
		s := newService(t)
		lives := time.Duration(0)
		s.onTry = func(n int, _ *sdk.TopicSubscribeRequest) ([]any, error) {
			if n <= 2*streams { // each breaks, and comes back but for a moment
				return []any{sdk.TopicHeartbeat{}, lives, errReset}, nil
			}
			return nil, nil
		}
		b := s.openBackend(WithStallTimeout(0), WithBackoff(constantly(10*time.Second)))
		listen(t, b, "topic-", streams)
		time.Sleep(100 * time.Second)
		s.mu.Lock() // somebody may be trying just now
		tries := len(s.subscribes)
		lives = time.Hour
		s.mu.Unlock()
		require.Less(t, tries, streams+15, "they take turns")
		time.Sleep(10*time.Second + 2*turns.ProvenAfter)
		s.mu.Lock()
		tries = len(s.subscribes)
		s.mu.Unlock()
		require.GreaterOrEqual(t, tries, 2*streams)
		require.NoError(t, b.Close())
	})
}

// syncBuffer is a bytes.Buffer for many.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) lines() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Split(strings.TrimSpace(b.b.String()), "\n")
}

// However many streams break, and however often, that is said in few lines.
func TestOutagesAreLoggedOnce(t *testing.T) {
	for _, test := range []struct {
		name string
		// outage returns what a stream brings, and what the nth attempt then
		// finds.
		try  func(n int, since time.Duration) ([]any, error)
		want []string
		most int // lines
	}{
		{"one outage", func(n int, since time.Duration) ([]any, error) {
			if since < 5*time.Second {
				return nil, errAway
			}
			return nil, nil
		}, []string{"a stream broke, reconnecting", "streams are back"}, 2},
		{"a long one", func(n int, since time.Duration) ([]any, error) {
			if since < 150*time.Second {
				return nil, errAway
			}
			return nil, nil
		}, []string{"a stream broke, reconnecting", "streams are down", "streams are down", "streams are back"}, 4},
		{"without end", func(n int, since time.Duration) ([]any, error) {
			return []any{sdk.TopicHeartbeat{}, errReset}, nil
		}, []string{"a stream broke, reconnecting"}, 2 * 300 / 10},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const streams = 400
				s := newService(t)
				out := &syncBuffer{}
				begun := time.Now().Add(time.Minute)
				s.onTry = func(n int, r *sdk.TopicSubscribeRequest) ([]any, error) {
					if n <= streams {
						return []any{sdk.TopicHeartbeat{}, time.Until(begun), errReset}, nil
					}
					return test.try(n, time.Since(begun))
				}
				b := s.openBackend(WithStallTimeout(0), WithMaxSubscriptions(streams),
					WithLogger(slog.New(slog.NewTextHandler(out, nil))))
				listen(t, b, "topic-", streams)
				time.Sleep(time.Until(begun) + 5*time.Minute)
				require.NoError(t, b.Close())
				lines := out.lines()
				require.LessOrEqual(t, len(lines), test.most)
				for i, want := range test.want {
					require.Contains(t, lines[i], "level=INFO")
					require.Contains(t, lines[i], want)
				}
				if test.name == "one outage" {
					require.Contains(t, lines[0], "topic=topic-")
					require.Contains(t, lines[0], "connection reset")
					require.Contains(t, lines[1], fmt.Sprintf("streams=%d", streams))
				}
			})
		})
	}
}

// A stream that comes and goes fills no log.
func TestFlappingIsLoggedNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		out := &syncBuffer{}
		s.onTry = script([]any{sdk.TopicHeartbeat{}, 2 * time.Second, errReset})
		b := s.openBackend(WithLogger(slog.New(slog.NewTextHandler(out, nil))))
		listen(t, b, "topic-", 1)
		time.Sleep(time.Minute)
		require.NoError(t, b.Close())
		require.InDelta(t, 2*time.Minute/outagePause, len(out.lines()), 3)
		require.Contains(t, out.lines()[2], "broken_since_last_line=")
		require.NotContains(t, out.lines()[2], "broken_since_last_line=1\n")
	})
}

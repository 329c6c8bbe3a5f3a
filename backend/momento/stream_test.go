package momento

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/momentohq/client-sdk-go/auth"
	sdk "github.com/momentohq/client-sdk-go/momento"
	"github.com/stretchr/testify/require"
	"github.com/topicbus/pubsub"
)

// script plays one script per stream; the last one is repeated.
func script(scripts ...[]any) func(int, *sdk.TopicSubscribeRequest) ([]any, error) {
	return func(n int, _ *sdk.TopicSubscribeRequest) ([]any, error) {
		return scripts[min(n, len(scripts))-1], nil
	}
}

func TestReceiveDeliversWhatArrives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		s.onTry = script([]any{
			sdk.NewTopicItem(sdk.String("héllo"), "alice", 1, 7),
			sdk.NewTopicItem(sdk.Bytes{0, 255}, "", 2, 7),
			sdk.TopicHeartbeat{},
			text(7, 3, ""),
		})
		r := receive(t, s.newBackend(), t.Context(), pubsub.Position{})
		require.Equal(t, pubsub.Frame{Kind: pubsub.KindMessage, Payload: pubsub.Payload{Format: pubsub.Text, Data: []byte("héllo")}, Publisher: "alice", Position: at(7, 1)}, <-r.frames)
		require.Equal(t, pubsub.Frame{Kind: pubsub.KindMessage, Payload: pubsub.Payload{Format: pubsub.Binary, Data: []byte{0, 255}}, Position: at(7, 2)}, <-r.frames)
		require.Equal(t, pubsub.Frame{Kind: pubsub.KindHeartbeat}, <-r.frames)
		f := <-r.frames
		require.Equal(t, pubsub.Text, f.Payload.Format)
		require.Empty(t, f.Payload.Data)
	})
}

func TestReconnectResumesBehindTheLastDelivered(t *testing.T) {
	for _, broken := range []error{errEnded, errReset, errLimit,
		sdk.NewMomentoError(sdk.InternalServerError, "", nil), sdk.NewMomentoError(sdk.UnknownServiceError, "", nil),
		sdk.NewMomentoError(sdk.CanceledError, "by the server", nil), sdk.NewMomentoError(sdk.TimeoutError, "", nil)} {
		synctest.Test(t, func(t *testing.T) {
			s := newService(t)
			s.onTry = script(
				[]any{text(7, 5, "a"), 3 * time.Second, broken},
				[]any{text(7, 5, "a"), text(7, 6, "b")},
			)
			r := receive(t, s.newBackend(), t.Context(), pubsub.Position{})
			require.Equal(t, at(7, 5), r.nextOf(t, pubsub.KindMessage).Position)
			down := r.state(t, pubsub.Reconnecting)
			require.Equal(t, 1, down.Attempt)
			require.Zero(t, down.Downtime)
			require.ErrorIs(t, down.Err, broken)
			up := r.state(t, pubsub.Resumed)
			require.Positive(t, up.Downtime)
			require.NoError(t, up.Err)
			require.Equal(t, at(7, 6), r.nextOf(t, pubsub.KindMessage).Position)
			require.Equal(t, sdk.TopicSubscribeRequest{CacheName: "cache", TopicName: "topic", ResumeAtTopicSequenceNumber: 6, SequencePage: 7}, s.subscribes[1])
		})
	}
}

func TestSubscribeResumesAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		receive(t, s.newBackend(), t.Context(), at(7, 41))
		require.EqualValues(t, 42, s.subscribes[0].ResumeAtTopicSequenceNumber)
		require.EqualValues(t, 7, s.subscribes[0].SequencePage)
	})
}

func TestOutageThatCannotBeResumedIsReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		s.onTry = script([]any{errReset}, []any{text(7, 9, "a")})
		r := receive(t, s.newBackend(), t.Context(), pubsub.Position{})
		require.Equal(t, &pubsub.Discontinuity{Cause: pubsub.CauseReconnect}, r.nextOf(t, pubsub.KindDiscontinuity).Discontinuity)
		require.Equal(t, at(7, 9), r.nextOf(t, pubsub.KindMessage).Position)
	})
}

func TestHeldDiscontinuity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		s.onTry = script([]any{
			text(7, 1, "a"), discontinuity(5, 7), text(7, 6, "b"), // settled by the item
			discontinuity(9, 7), time.Minute, text(7, 9, "c"), // on a quiet topic, without even a heartbeat
		})
		r := receive(t, s.newBackend(WithStallTimeout(0)), t.Context(), pubsub.Position{})
		require.Equal(t, &pubsub.Discontinuity{Cause: pubsub.CauseBackend, Lost: 4, Exact: true, After: at(7, 1), Resume: at(7, 6)},
			r.nextOf(t, pubsub.KindDiscontinuity).Discontinuity)
		start := time.Now()
		require.Equal(t, &pubsub.Discontinuity{Cause: pubsub.CauseBackend, Lost: 2, Exact: true, After: at(7, 6), Resume: at(7, 9)},
			r.nextOf(t, pubsub.KindDiscontinuity).Discontinuity)
		require.LessOrEqual(t, time.Since(start), holdFor)
		require.Equal(t, at(7, 9), r.nextOf(t, pubsub.KindMessage).Position)
		require.Equal(t, time.Minute, time.Since(start))
	})
}

func TestItemWithoutValueIsReportedAndTheStreamGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		s.onTry = script([]any{text(7, 1, "a"), "panic", text(7, 3, "c")})
		r := receive(t, s.newBackend(), t.Context(), pubsub.Position{})
		require.Equal(t, &pubsub.Discontinuity{Cause: pubsub.CauseBackend, Lost: 1, Exact: true, After: at(7, 1), Resume: at(7, 3), Err: errNoValue},
			r.nextOf(t, pubsub.KindDiscontinuity).Discontinuity)
		require.Equal(t, at(7, 3), r.nextOf(t, pubsub.KindMessage).Position)
		require.Len(t, s.subscribes, 1)
	})
}

func TestOversizeMessageIsSkipped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		s.onTry = func(_ int, r *sdk.TopicSubscribeRequest) ([]any, error) {
			switch r.ResumeAtTopicSequenceNumber {
			case 0:
				return []any{text(7, 1, "a"), errTooLong}, nil
			case 2:
				return nil, errors.New("asked for the oversize message again")
			}
			return []any{text(7, 3, "c")}, nil
		}
		r := receive(t, s.newBackend(), t.Context(), pubsub.Position{})
		d := r.nextOf(t, pubsub.KindDiscontinuity).Discontinuity
		require.EqualValues(t, 1, d.Lost)
		require.True(t, d.Exact)
		require.ErrorIs(t, d, errTooLong)
		require.Equal(t, at(7, 3), r.nextOf(t, pubsub.KindMessage).Position)
	})
}

func TestServiceLimitSkipsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		s.onTry = script([]any{text(7, 1, "a"), errLimit}, []any{text(7, 2, "b")})
		r := receive(t, s.newBackend(), t.Context(), pubsub.Position{})
		r.state(t, pubsub.Resumed)
		require.Equal(t, at(7, 2), r.nextOf(t, pubsub.KindMessage).Position)
		require.EqualValues(t, 2, s.subscribes[1].ResumeAtTopicSequenceNumber)
	})
}

func TestPermanentErrorsEndTheStream(t *testing.T) {
	for code, sentinel := range map[string]error{
		sdk.AuthenticationError:  pubsub.ErrUnauthenticated,
		sdk.PermissionError:      pubsub.ErrPermissionDenied,
		sdk.CacheNotFoundError:   pubsub.ErrNotFound,
		sdk.InvalidArgumentError: pubsub.ErrInvalidArgument,
	} {
		t.Run(code, func(t *testing.T) {
			cause := sdk.NewMomentoError(code, "no", nil)
			check := func(t *testing.T, err error) {
				require.ErrorIs(t, err, sentinel)
				var me sdk.MomentoError
				require.ErrorAs(t, err, &me)
				require.Equal(t, code, me.Code())
			}
			synctest.Test(t, func(t *testing.T) { // at first
				s := newService(t)
				s.onTry = func(int, *sdk.TopicSubscribeRequest) ([]any, error) { return nil, cause }
				_, err := s.newBackend().Subscribe(t.Context(), "topic", pubsub.Start{})
				check(t, err)
				require.Len(t, s.subscribes, 1)
			})
			synctest.Test(t, func(t *testing.T) { // in mid-stream
				s := newService(t)
				s.onTry = script([]any{text(7, 1, "a"), cause})
				r := receive(t, s.newBackend(), t.Context(), pubsub.Position{})
				<-r.done
				check(t, r.err)
				require.Equal(t, at(7, 1), (<-r.frames).Position)
				require.Empty(t, r.frames)
			})
			synctest.Test(t, func(t *testing.T) { // behind an item that could not be read
				s := newService(t)
				s.onTry = script([]any{text(7, 1, "a"), "panic", cause})
				r := receive(t, s.newBackend(), t.Context(), pubsub.Position{})
				<-r.done
				check(t, r.err)
				require.Equal(t, at(7, 1), (<-r.frames).Position)
				require.ErrorIs(t, (<-r.frames).Discontinuity, errNoValue)
				require.Empty(t, r.frames)
			})
			synctest.Test(t, func(t *testing.T) { // when reconnecting
				s := newService(t)
				s.onTry = func(n int, _ *sdk.TopicSubscribeRequest) ([]any, error) {
					if n > 2 {
						return nil, cause
					}
					return []any{errReset}, nil
				}
				r := receive(t, s.newBackend(), t.Context(), pubsub.Position{})
				<-r.done
				check(t, r.err)
			})
		})
	}
}

func TestFirstSubscribeFailsFast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		s.downUntil = time.Now().Add(time.Hour)
		start := time.Now()
		_, err := s.newBackend().Subscribe(t.Context(), "topic", pubsub.Start{})
		require.ErrorIs(t, err, pubsub.ErrUnavailable)
		require.Zero(t, time.Since(start))
	})
}

func TestFirstSubscribeUsesANewClientWhenTheOldOneIsDeaf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		b := s.newBackend()
		s.downUntil = time.Now().Add(900 * time.Millisecond)
		require.Error(t, b.Publish(t.Context(), "topic", pubsub.Payload{}))
		time.Sleep(950 * time.Millisecond) // the service is back, the channel does not know it
		_, err := b.Subscribe(t.Context(), "topic", pubsub.Start{})
		require.NoError(t, err)
		clients, _, _ := s.counts()
		require.Equal(t, 2, clients)
	})
}

// The SDK leaves a stream open whose Subscribe failed, until its ctx ends.
func TestFailedAttemptsLeaveNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		s.onTry = func(n int, _ *sdk.TopicSubscribeRequest) ([]any, error) {
			if n > 1 && n < 5 {
				return nil, sdk.NewMomentoError(sdk.TimeoutError, "no first message", nil)
			}
			return []any{errReset}, nil
		}
		r := receive(t, s.newBackend(), t.Context(), pubsub.Position{})
		r.state(t, pubsub.Resumed)
		require.GreaterOrEqual(t, len(s.failed), 3)
		for _, ctx := range s.failed {
			require.Error(t, ctx.Err())
		}
	})
}

func TestSubscribeTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		s.latency = time.Hour
		b := s.newBackend(WithSubscribeTimeout(3 * time.Second))
		start := time.Now()
		_, err := b.Subscribe(t.Context(), "topic", pubsub.Start{})
		require.ErrorIs(t, err, pubsub.ErrUnavailable)
		require.NotErrorIs(t, err, context.Canceled)
		require.NotErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, 3*time.Second, time.Since(start))
	})
}

func TestSubscribeEndsWithItsCtx(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		s.latency = time.Hour
		b := s.newBackend()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := b.Subscribe(ctx, "topic", pubsub.Start{})
		require.ErrorIs(t, err, context.DeadlineExceeded)

		ctx, cancel = context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		start := time.Now()
		_, err = b.Subscribe(ctx, "topic", pubsub.Start{})
		require.ErrorIs(t, err, context.Canceled)
		require.Equal(t, time.Second, time.Since(start))
	})
}

func TestRefusalsOfThePoolAreRetriedAtOnce(t *testing.T) {
	for _, test := range []struct {
		refusals, tries, clients int
		want                     error
	}{
		{1, 2, 1, nil}, // was full before
		{2, 3, 2, nil}, // has lost places
		{3, 3, 2, pubsub.ErrLimitExceeded},
	} {
		t.Run(fmt.Sprint(test.refusals), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newService(t)
				s.onTry = func(n int, _ *sdk.TopicSubscribeRequest) ([]any, error) {
					if n <= test.refusals {
						return nil, errPool
					}
					return nil, nil
				}
				start := time.Now()
				stream, err := s.newBackend().Subscribe(t.Context(), "topic", pubsub.Start{})
				require.LessOrEqual(t, time.Since(start), openingMin)
				require.ErrorIs(t, err, test.want)
				if err == nil {
					run(stream)
				}
				clients, _, _ := s.counts()
				require.Equal(t, test.clients, clients)
				require.Len(t, s.subscribes, test.tries)
			})
		})
	}
}

func TestFullPoolIsNotReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const room = 200
		s := newService(t)
		s.onTry = func(n int, _ *sdk.TopicSubscribeRequest) ([]any, error) {
			if n > room {
				return nil, errPool
			}
			return nil, nil
		}
		b := s.newBackend(WithMaxSubscriptions(room - 50)) // connections take 100 each
		listen(t, b, "topic-", room)
		for range 3 {
			_, err := b.Subscribe(t.Context(), "one too many", pubsub.Start{})
			require.ErrorIs(t, err, pubsub.ErrLimitExceeded)
		}
		clients, _, _ := s.counts()
		require.Equal(t, 1, clients)
	})
}

// waits returns the pauses between the attempts of one stream that is down for
// a while.
func waits(t *testing.T, opts ...Option) []time.Duration {
	s := newService(t)
	const tries = 180
	var tried []time.Time
	s.onTry = func(n int, _ *sdk.TopicSubscribeRequest) ([]any, error) {
		tried = append(tried, time.Now())
		if n == 1 {
			return []any{errReset}, nil
		}
		if n <= tries {
			return nil, sdk.NewMomentoError(sdk.InternalServerError, "", nil)
		}
		return nil, nil
	}
	r := receive(t, s.newBackend(opts...), t.Context(), pubsub.Position{})
	for n := 1; n <= tries; n++ {
		require.Equal(t, n, r.state(t, pubsub.Reconnecting).Attempt)
	}
	r.state(t, pubsub.Resumed)
	var waits []time.Duration
	for i := 1; i < len(tried); i++ {
		waits = append(waits, tried[i].Sub(tried[i-1]))
	}
	return waits
}

func TestDefaultBackOffGrowsWithJitterWithinBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := 50 * time.Millisecond
		seen := map[time.Duration]bool{}
		for i, wait := range waits(t) {
			require.GreaterOrEqual(t, wait, base/2-1, "wait %d", i)
			require.LessOrEqual(t, wait, base*3/2+1, "wait %d", i)
			seen[wait] = true
			base = min(base*102/100, time.Second)
		}
		require.Greater(t, len(seen), 150, "no jitter")
		require.Equal(t, time.Second, base)
	})
}

func TestBackOffPolicyIsTheUsers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, wait := range waits(t, WithBackoff(func() backoff.BackOff { return backoff.NewConstantBackOff(7 * time.Second) })) {
			require.Equal(t, 7*time.Second, wait)
		}
	})
}

func TestBackOffDoesNotSpin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, wait := range waits(t, WithBackoff(func() backoff.BackOff { return &backoff.ZeroBackOff{} })) {
			require.Equal(t, minWait, wait)
		}
	})
}

func TestBackOffStopEndsTheStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		s.onTry = script([]any{errReset})
		r := receive(t, s.newBackend(WithBackoff(func() backoff.BackOff {
			return backoff.WithMaxRetries(backoff.NewConstantBackOff(time.Second), 3)
		})), t.Context(), pubsub.Position{})
		<-r.done
		require.ErrorIs(t, r.err, pubsub.ErrUnavailable)
		require.Len(t, s.subscribes, 4)
	})
}

func TestBackOffStartsOverAfterHealth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		doubling := func() backoff.BackOff {
			return backoff.NewExponentialBackOff(backoff.WithInitialInterval(time.Second), backoff.WithMultiplier(2),
				backoff.WithRandomizationFactor(0), backoff.WithMaxInterval(time.Hour), backoff.WithMaxElapsedTime(time.Hour))
		}
		s := newService(t)
		s.onTry = script(
			[]any{errReset}, []any{errReset}, []any{errReset}, // up for no time: 1, 2, 4 s
			[]any{24 * time.Hour, errReset},         // healthy: 1 s again, and not past its maximum
			[]any{999 * time.Millisecond, errReset}, // not long enough: 2 s
			nil,
		)
		r := receive(t, s.newBackend(WithStallTimeout(0), WithBackoff(doubling)), t.Context(), pubsub.Position{})
		for _, want := range []time.Duration{1, 2, 4, 1, 2} {
			require.Equal(t, want*time.Second, r.state(t, pubsub.Resumed).Downtime)
		}
	})
}

func TestLimitsAreRetriedTenTimesSlower(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		s.onTry = script([]any{errLimit}, nil)
		r := receive(t, s.newBackend(WithBackoff(func() backoff.BackOff { return backoff.NewConstantBackOff(time.Second) })), t.Context(), pubsub.Position{})
		require.Equal(t, 10*time.Second, r.state(t, pubsub.Resumed).Downtime)
	})
}

func TestStallTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		beat := []any{text(7, 1, "a")}
		for range 50 {
			beat = append(beat, 9*time.Second, sdk.TopicHeartbeat{})
		}
		s.onTry = script(beat, []any{text(7, 2, "b")})
		r := receive(t, s.newBackend(WithStallTimeout(10*time.Second)), t.Context(), pubsub.Position{})
		start := time.Now()
		down := r.state(t, pubsub.Reconnecting)
		require.ErrorIs(t, down.Err, errStalled)
		require.ErrorIs(t, down.Err, pubsub.ErrUnavailable)
		require.Equal(t, 50*9*time.Second+10*time.Second, time.Since(start), "any frame is a sign of life")
		require.Equal(t, at(7, 2), r.nextOf(t, pubsub.KindMessage).Position)
	})
}

func TestStallTimeoutDoesNotCountTimeInDeliver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		s.onTry = script([]any{text(7, 1, "a"), text(7, 2, "b"), 5 * time.Second, text(7, 3, "c")})
		stream, err := s.newBackend(WithStallTimeout(10*time.Second)).Subscribe(t.Context(), "topic", pubsub.Start{})
		require.NoError(t, err)
		var kinds []pubsub.Kind
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() {
			_ = stream.Receive(func(_ context.Context, f pubsub.Frame) error {
				kinds = append(kinds, f.Kind)
				if len(kinds) == 3 {
					cancel()
				}
				sleep(ctx, time.Hour, nil)
				return nil
			})
		}()
		<-ctx.Done()
		require.Equal(t, []pubsub.Kind{pubsub.KindMessage, pubsub.KindMessage, pubsub.KindMessage}, kinds)
		require.Len(t, s.subscribes, 1)
	})
}

func TestStallTimeoutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		s.onTry = script([]any{240 * time.Hour, text(7, 1, "a")})
		r := receive(t, s.newBackend(WithStallTimeout(0)), t.Context(), pubsub.Position{})
		require.Equal(t, at(7, 1), (<-r.frames).Position)
	})
}

func TestFailingDeliverDoesNotStopTheStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		s.onTry = script([]any{text(7, 1, "a"), text(7, 2, "b")})
		stream, err := s.newBackend().Subscribe(t.Context(), "topic", pubsub.Start{})
		require.NoError(t, err)
		got := make(chan pubsub.Position)
		go func() {
			_ = stream.Receive(func(_ context.Context, f pubsub.Frame) error {
				got <- f.Position
				return errors.New("not taken")
			})
		}()
		require.Equal(t, at(7, 1), <-got)
		require.Equal(t, at(7, 2), <-got)
	})
}

// The recovery must not depend on how long the outage was: gRPC's own back-off
// would leave the channel deaf for up to two minutes.
func TestRecoveryTimeDoesNotDependOnTheOutage(t *testing.T) {
	for _, outage := range []time.Duration{time.Second, 30 * time.Second, 10 * time.Minute} {
		for _, streams := range []int{1, 450} {
			t.Run(fmt.Sprintf("%v of %d streams", outage, streams), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := newService(t)
					b := s.newBackend()
					s.downUntil = time.Now().Add(time.Minute + outage)
					s.onTry = func(n int, _ *sdk.TopicSubscribeRequest) ([]any, error) {
						if n <= streams {
							return []any{text(7, 1, "a"), time.Minute, errReset}, nil
						}
						return []any{text(7, 2, "b")}, nil
					}
					s.downUntil = time.Time{}
					var all []*receiver
					for range streams {
						all = append(all, receive(t, b, t.Context(), pubsub.Position{}))
					}
					back := time.Now().Add(time.Minute + outage)
					time.Sleep(59 * time.Second)
					s.mu.Lock()
					s.downUntil = back
					dials := s.dials
					s.mu.Unlock()
					for _, r := range all {
						require.Equal(t, at(7, 1), r.nextOf(t, pubsub.KindMessage).Position)
						require.Equal(t, at(7, 2), r.nextOf(t, pubsub.KindMessage).Position)
					}
					took := time.Since(back)
					require.Less(t, took, 3*time.Second+100*time.Millisecond)
					clients, open, _ := s.counts()
					tries := s.dials - dials - streams
					t.Logf("%v after the service was back; %d clients, %d vain attempts", took, clients, tries)
					require.LessOrEqual(t, clients, 3+int(outage/renewAfter))
					require.LessOrEqual(t, tries, 2*(streams+200+int(outage.Seconds()*2)), "attempts during the outage")
					require.LessOrEqual(t, open, 2)
				})
			})
		}
	}
}

// A stream that comes back wakes the others, which must not become a storm
// where all of them come back only to break again.
func TestFlappingStreamsDoNotSpin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const streams = 50
		s := newService(t)
		s.onTry = script([]any{errReset})
		b := s.openBackend(WithBackoff(func() backoff.BackOff { return backoff.NewConstantBackOff(time.Second) }))
		for range streams {
			receive(t, b, t.Context(), pubsub.Position{})
		}
		time.Sleep(10*time.Second + time.Millisecond)
		require.NoError(t, b.Close())
		require.LessOrEqual(t, s.dials, streams*11)
	})
}

func TestPublishSurvivesALongOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		b := s.newBackend()
		back := time.Now().Add(10 * time.Minute)
		s.downUntil = back
		for time.Now().Before(back) {
			require.ErrorIs(t, b.Publish(t.Context(), "topic", pubsub.Payload{}), pubsub.ErrUnavailable)
			time.Sleep(100 * time.Millisecond)
		}
		require.Eventually(t, func() bool { return b.Publish(t.Context(), "topic", pubsub.Payload{}) == nil }, time.Second, 50*time.Millisecond)
	})
}

func TestHealthyStreamsKeepTheirClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		s.onTry = func(n int, _ *sdk.TopicSubscribeRequest) ([]any, error) {
			if n > 1 && n < 100 {
				return nil, errAway // one topic fails, the other is fine
			}
			return []any{text(7, 1, "a")}, nil
		}
		b := s.newBackend(WithStallTimeout(0))
		healthy := receive(t, b, t.Context(), pubsub.Position{})
		for range 97 {
			_, err := b.Subscribe(t.Context(), "other", pubsub.Start{})
			require.ErrorIs(t, err, pubsub.ErrUnavailable)
			time.Sleep(100 * time.Millisecond)
		}
		healthy.nextOf(t, pubsub.KindMessage)
		require.Empty(t, healthy.frames)
		clients, _, streams := s.counts()
		require.Equal(t, 1, clients)
		require.Equal(t, 1, streams)
	})
}

func TestExpiredCredentialsAreRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		s.token = "v1"
		var asked int
		b := s.newBackend(WithCredentialsFunc(func(context.Context) (auth.CredentialProvider, error) {
			asked++
			return fakeCredentials(fmt.Sprintf("v%d", asked)), nil
		}))
		s.onTry = func(n int, r *sdk.TopicSubscribeRequest) ([]any, error) {
			if r.TopicName == "topic" {
				return []any{text(7, r.ResumeAtTopicSequenceNumber+1-min(1, r.ResumeAtTopicSequenceNumber), "a"), time.Minute, errToken}, nil
			}
			return nil, nil
		}
		r := receive(t, b, t.Context(), pubsub.Position{})
		require.Equal(t, at(7, 1), r.nextOf(t, pubsub.KindMessage).Position)
		for n := 2; n < 6; n++ {
			s.mu.Lock()
			s.token = fmt.Sprintf("v%d", n)
			s.mu.Unlock()
			require.Equal(t, at(7, uint64(n)), r.nextOf(t, pubsub.KindMessage).Position)
			require.Equal(t, n, asked)
			time.Sleep(time.Second)
			_, open, _ := s.counts()
			require.Equal(t, 1, open, "the old client is closed")
		}
		// So are those of Publish.
		s.mu.Lock()
		s.token = "v6"
		s.mu.Unlock()
		require.NoError(t, b.Publish(t.Context(), "topic", pubsub.Payload{}))
		require.Equal(t, 6, asked)
	})
}

func TestFreshCredentialsRefusedAtOnceArePermanent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		s.token = "good"
		var asked int
		tokens := []string{"good", "bad", "bad", "better"}
		b := s.newBackend(WithCredentialsFunc(func(context.Context) (auth.CredentialProvider, error) {
			asked++
			return fakeCredentials(tokens[asked-1]), nil
		}))
		s.onTry = script([]any{time.Minute, errToken})
		r := receive(t, b, t.Context(), pubsub.Position{})
		<-r.done
		require.ErrorIs(t, r.err, pubsub.ErrUnauthenticated)
		require.Equal(t, 2, asked)
		// They are not kept for long: a later call asks again.
		time.Sleep(askAgainAfter)
		_, err := b.Subscribe(t.Context(), "topic", pubsub.Start{})
		require.ErrorIs(t, err, pubsub.ErrUnauthenticated)
		require.Equal(t, 3, asked)
		s.token = "better"
		time.Sleep(askAgainAfter)
		require.NoError(t, b.Publish(t.Context(), "topic", pubsub.Payload{}))
	})
}

func TestEndlessRefusalsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		s.onTry = script([]any{errToken}) // accepts, then refuses
		b := s.newBackend(WithCredentialsFunc(func(context.Context) (auth.CredentialProvider, error) { return fakeCredentials("t"), nil }))
		r := receive(t, b, t.Context(), pubsub.Position{})
		<-r.done
		require.ErrorIs(t, r.err, pubsub.ErrUnauthenticated)
		require.Len(t, s.subscribes, maxRefusals+1)
	})
}

func TestCredentialsFunctionThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		broken, vaultSilent := errors.New("vault is sealed"), errors.New("vault does not answer")
		err := broken
		b := s.newBackend(WithCredentialsFunc(func(context.Context) (auth.CredentialProvider, error) { return fakeCredentials("t"), err }))
		_, got := b.Subscribe(t.Context(), "topic", pubsub.Start{})
		require.ErrorIs(t, got, pubsub.ErrUnavailable)
		require.ErrorIs(t, got, broken)
		err = fmt.Errorf("no: %w", pubsub.ErrPermissionDenied)
		require.ErrorIs(t, b.Publish(t.Context(), "topic", pubsub.Payload{}), pubsub.ErrPermissionDenied)

		hang := s.newBackend(WithCredentialsFunc(func(ctx context.Context) (auth.CredentialProvider, error) {
			<-ctx.Done()
			return nil, vaultSilent
		}))
		start := time.Now()
		require.ErrorIs(t, hang.Publish(t.Context(), "topic", pubsub.Payload{}), pubsub.ErrUnavailable)
		require.Equal(t, 5*time.Second, time.Since(start))
		_, got = hang.Subscribe(t.Context(), "topic", pubsub.Start{})
		require.ErrorIs(t, got, pubsub.ErrUnavailable)
		require.ErrorIs(t, got, vaultSilent, "it tells why")
		require.Equal(t, 10*time.Second, time.Since(start))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, hang.Publish(ctx, "topic", pubsub.Payload{}), context.DeadlineExceeded)

		none := s.newBackend(WithCredentialsFunc(func(ctx context.Context) (auth.CredentialProvider, error) { return nil, nil }))
		require.ErrorIs(t, none.Publish(t.Context(), "topic", pubsub.Payload{}), pubsub.ErrInvalidArgument)
	})
}

func TestCloseEndsStreamsAtEveryStage(t *testing.T) {
	stages := map[string]func(*service){
		"receiving": func(s *service) { s.onTry = script([]any{text(7, 1, "a")}) },
		"holding":   func(s *service) { s.onTry = script([]any{text(7, 1, "a"), discontinuity(9, 7)}) },
		"backing off": func(s *service) {
			s.onTry = script([]any{errReset}, []any{errReset}, []any{errLimit})
		},
		"subscribing again": func(s *service) {
			s.onTry = func(n int, _ *sdk.TopicSubscribeRequest) ([]any, error) {
				s.latency = time.Hour
				return []any{errReset}, nil
			}
		},
	}
	for name, prepare := range stages {
		for _, by := range []string{"Close", "ctx"} {
			t.Run(name+" by "+by, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := newService(t)
					prepare(s)
					slow := func() backoff.BackOff { return backoff.NewConstantBackOff(400 * time.Millisecond) }
					b := s.openBackend(WithBackoff(slow), WithSubscribeTimeout(time.Minute))
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					r := receive(t, b, ctx, pubsub.Position{})
					time.Sleep(1020 * time.Millisecond)
					start := time.Now()
					if by == "ctx" {
						cancel()
						<-r.done
						require.NoError(t, r.err)
						require.Zero(t, time.Since(start), "not prompt")
						require.NoError(t, b.Close())
					} else {
						require.NoError(t, b.Close())
						<-r.done
						require.ErrorIs(t, r.err, pubsub.ErrClosed)
					}
					require.LessOrEqual(t, time.Since(start), 2*closePause)
					_, open, streams := s.counts()
					require.Zero(t, open)
					require.Zero(t, streams)
					require.NoError(t, b.Close(), "again")
				})
			})
		}
	}
}

func TestCloseEndsADeliverThatBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		s.onTry = script([]any{text(7, 1, "a")})
		b := s.openBackend()
		stream, err := b.Subscribe(t.Context(), "topic", pubsub.Start{})
		require.NoError(t, err)
		done := make(chan error)
		go func() {
			done <- stream.Receive(func(ctx context.Context, f pubsub.Frame) error {
				<-ctx.Done()
				return ctx.Err()
			})
		}()
		synctest.Wait()
		require.NoError(t, b.Close())
		require.ErrorIs(t, <-done, pubsub.ErrClosed)
	})
}

func TestCallsAfterClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		b := s.openBackend()
		require.NoError(t, b.Publish(t.Context(), "topic", pubsub.Payload{}))
		require.NoError(t, b.Close())
		require.ErrorIs(t, b.Publish(t.Context(), "topic", pubsub.Payload{}), pubsub.ErrClosed)
		_, err := b.Subscribe(t.Context(), "topic", pubsub.Start{})
		require.ErrorIs(t, err, pubsub.ErrClosed)

		b = s.openBackend() // during calls
		s.latency = time.Hour
		var wg sync.WaitGroup
		wg.Go(func() {
			_, err := b.Subscribe(t.Context(), "topic", pubsub.Start{})
			require.ErrorIs(t, err, pubsub.ErrClosed)
		})
		time.Sleep(time.Second)
		require.NoError(t, b.Close())
		wg.Wait()
	})
}

// TestRandomInterleavings ends streams and Backends at random moments of a
// random life. The fakes fail it where the SDK would panic, the bubble if a
// goroutine is left.
func TestRandomInterleavings(t *testing.T) {
	for seed := range uint64(1000) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 2))
			var mu sync.Mutex
			r := func(n int) int {
				mu.Lock()
				defer mu.Unlock()
				return random.IntN(n)
			}
			s := newService(t)
			s.latency = time.Duration(r(200)) * time.Millisecond
			s.token = "v1"
			var asked int
			s.onTry = func(int, *sdk.TopicSubscribeRequest) ([]any, error) {
				switch r(10) {
				case 0:
					return nil, errAway
				case 1:
					return nil, errPool
				case 2:
					s.downUntil = time.Now().Add(time.Duration(r(2000)) * time.Millisecond)
				case 3:
					return nil, errLimit
				case 4:
					s.token = fmt.Sprintf("v%d", asked+1)
					return []any{time.Duration(r(2000)) * time.Millisecond, errToken}, nil
				}
				return []any{text(7, 1, "a"), discontinuity(uint64(r(9)), 7), time.Duration(r(300)) * time.Millisecond, "panic", text(7, 9, "b"), errReset}, nil
			}
			b := s.openBackend(WithSubscribeTimeout(time.Duration(1+r(300))*time.Millisecond), WithStallTimeout(time.Duration(r(2))*time.Second),
				WithCredentialsFunc(func(ctx context.Context) (auth.CredentialProvider, error) {
					sleep(ctx, time.Duration(r(20))*time.Millisecond, nil)
					asked++
					return fakeCredentials(fmt.Sprintf("v%d", asked)), nil
				}))
			var wg sync.WaitGroup
			for range 1 + r(20) {
				wg.Go(func() {
					ctx, cancel := context.WithTimeout(context.Background(), time.Duration(r(4000))*time.Millisecond)
					defer cancel()
					for range 3 {
						stream, err := b.Subscribe(ctx, "topic", pubsub.Start{})
						if err != nil {
							continue
						}
						err = stream.Receive(func(ctx context.Context, _ pubsub.Frame) error {
							if r(20) == 0 {
								sleep(ctx, time.Duration(r(1000))*time.Millisecond, nil)
							}
							return nil
						})
						require.False(t, err == nil && ctx.Err() == nil)
					}
				})
			}
			wg.Go(func() {
				for range 20 {
					_ = b.Publish(t.Context(), "topic", pubsub.Payload{})
					time.Sleep(time.Duration(r(100)) * time.Millisecond)
				}
			})
			time.Sleep(time.Duration(r(3000)) * time.Millisecond)
			require.NoError(t, b.Close())
			_, open, _ := s.counts()
			require.Zero(t, open, "seed %d", seed)
			wg.Wait()
			_, _, streams := s.counts()
			require.Zero(t, streams, "seed %d", seed)
		})
	}
}

// A panic of a middleware is not taken for an item that cannot be read: what is
// reported as lost then, and dropped later, would be a message.
func TestPanicOfAMiddlewareIsNotHidden(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var nothing []int
		for _, frame := range []func(){func() { nothing[0]++ }, func() { panic("a bug") }} {
			sub := &fakeSubscription{frames: make(chan any, 1), ctx: t.Context()}
			sub.frames <- frame
			require.Panics(t, func() { _, _ = (&session{sub: sub, ctx: t.Context()}).event() })
		}
	})
}

package momento

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	sdk "github.com/momentohq/client-sdk-go/momento"
	"github.com/stretchr/testify/require"
	"github.com/topicbus/pubsub"
)

// Subscribe waits for what tells where a topic stands, but never for long.
func TestOpeningIsShort(t *testing.T) {
	for _, test := range []struct {
		name    string
		latency time.Duration // of the service
		script  []any
		want    time.Duration // beyond that
		start   pubsub.Position
	}{
		{"told at once", 0, []any{discontinuity(9, 7)}, 0, at(7, 8)},
		{"told a little later", 0, []any{30 * time.Millisecond, discontinuity(9, 7)}, 30 * time.Millisecond, at(7, 8)},
		{"told too late", 0, []any{time.Second, discontinuity(9, 7)}, openingMin, at(0, 0)},
		{"told late by a slow service", 30 * time.Millisecond, []any{100 * time.Millisecond, discontinuity(9, 7)}, 100 * time.Millisecond, at(7, 8)},
		{"not told by a very slow service", 3 * time.Second, nil, openingMax, at(0, 0)},
		{"the page only", 0, []any{discontinuity(0, 7)}, openingMin, at(0, 0)},
		{"told by a message", 0, []any{text(7, 9, "a")}, 0, at(7, 8)},
		{"told by the first message", 0, []any{text(7, 1, "a")}, 0, at(7, 0)},
		{"a message without a number", 0, []any{text(0, 0, "a")}, 0, at(0, 0)},
		{"a heartbeat", 0, []any{sdk.TopicHeartbeat{}}, 0, at(0, 0)},
		{"nothing", 0, nil, openingMin, at(0, 0)},
		{"it breaks", 0, []any{errReset}, 0, at(0, 0)},
		{"what cannot be read", 0, []any{"panic"}, 0, at(0, 0)},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newService(t)
				s.latency, s.onTry = test.latency, script(test.script)
				begun := time.Now()
				stream, err := s.newBackend().Subscribe(t.Context(), "topic", pubsub.Start{})
				require.NoError(t, err)
				require.Equal(t, test.want, time.Since(begun)-test.latency)
				require.Equal(t, test.start, stream.Start())
				run(stream)
			})
		})
	}
}

// What was read by Subscribe is received all the same, in order.
func TestOpeningLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, first := range [][]any{
			{text(7, 1, "a")},
			{discontinuity(1, 7), text(7, 1, "a")},
			{sdk.TopicHeartbeat{}, text(7, 1, "a")},
			{40 * time.Millisecond, text(7, 1, "a")},
			{openingMin, text(7, 1, "a")},
			{time.Hour, text(7, 1, "a")},
		} {
			for _, start := range []pubsub.Start{{}, {Oldest: true}} {
				s := newService(t)
				s.onTry = script(append(first, text(7, 2, "b"), errReset), []any{text(7, 3, "c")})
				stream, err := s.newBackend(WithStallTimeout(0)).Subscribe(t.Context(), "topic", start)
				require.NoError(t, err)
				time.Sleep(time.Minute) // before Receive is called
				r := run(stream)
				for n := range uint64(3) {
					require.Equal(t, at(7, n+1), r.nextOf(t, pubsub.KindMessage).Position)
				}
			}
		}
	})
}

func TestSubscribeFailsWhileItAsksForTheLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		s.onTry = func(n int, _ *sdk.TopicSubscribeRequest) ([]any, error) {
			if n == 2 {
				return nil, errLimit
			}
			return []any{discontinuity(9, 7)}, nil
		}
		_, err := s.newBackend().Subscribe(t.Context(), "topic", pubsub.Start{Last: 3})
		require.ErrorIs(t, err, pubsub.ErrLimitExceeded)
		_, _, streams := s.counts()
		require.Zero(t, streams)
	})
}

func TestCtxEndsWhileSubscribeWaitsForTheOpening(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(openingMin/2, cancel)
		begun := time.Now()
		stream, err := s.newBackend().Subscribe(ctx, "topic", pubsub.Start{})
		require.NoError(t, err)
		require.Equal(t, openingMin/2, time.Since(begun))
		r := run(stream)
		<-r.done
		require.NoError(t, r.err)
	})
}

// The last n, as services tell where a topic stands and what they retain.
func TestLast(t *testing.T) {
	items := func(page uint64, from, to uint64) (script []any) {
		for n := from; n <= to; n++ {
			script = append(script, text(page, n, "x"))
		}
		return script
	}
	for _, test := range []struct {
		name   string
		n      uint64
		first  []any
		asks   uint64 // 0: it asks once only
		second []any
		want   []uint64
		start  pubsub.Position
	}{
		{"told by the next number", 2, []any{discontinuity(6, 7)}, 4, append([]any{discontinuity(4, 7)}, items(7, 4, 7)...), []uint64{4, 5, 6, 7}, at(7, 3)},
		{"told by the last number", 2, []any{discontinuity(5, 7)}, 3, append([]any{discontinuity(2, 7)}, items(7, 3, 6)...), []uint64{4, 5, 6}, at(7, 3)},
		{"told once only", 2, []any{discontinuity(5, 7)}, 3, items(7, 3, 6), []uint64{4, 5, 6}, at(7, 3)},
		{"told by a message", 2, []any{text(7, 6, "x")}, 4, items(7, 4, 6), []uint64{4, 5, 6}, at(7, 3)},
		{"begins earlier than asked", 2, []any{discontinuity(5, 7)}, 3, items(7, 1, 6), []uint64{4, 5, 6}, at(7, 3)},
		{"a part is gone", 3, []any{discontinuity(9, 7)}, 6, append([]any{discontinuity(7, 7)}, items(7, 8, 10)...), []uint64{8, 9, 10}, at(7, 7)},
		{"all is gone", 3, []any{discontinuity(9, 7)}, 6, []any{discontinuity(9, 7), time.Minute, text(7, 10, "x")}, []uint64{10}, at(7, 6)},
		{"not told", 3, nil, 0, nil, nil, at(0, 0)},
		{"the topic begins anew meanwhile", 3, []any{discontinuity(9, 7)}, 6, append([]any{discontinuity(1, 9)}, items(9, 1, 2)...), []uint64{1, 2}, at(9, 0)},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newService(t)
				s.onTry = script(test.first, test.second)
				stream, err := s.newBackend(WithStallTimeout(0)).Subscribe(t.Context(), "topic", pubsub.Start{Last: test.n})
				require.NoError(t, err)
				require.Equal(t, test.start, stream.Start())
				if test.asks == 0 {
					require.Len(t, s.subscribes, 1)
				} else {
					require.Len(t, s.subscribes, 2)
					require.Equal(t, test.asks, s.subscribes[1].ResumeAtTopicSequenceNumber)
				}
				r := run(stream)
				time.Sleep(time.Hour)
				var got []uint64
				for len(r.frames) > 0 {
					f := <-r.frames
					require.Equal(t, pubsub.KindMessage, f.Kind, "%+v", f.Discontinuity)
					got = append(got, f.Position.Sequence)
				}
				require.Equal(t, test.want, got)
				_, _, streams := s.counts()
				require.Equal(t, 1, streams)
			})
		})
	}
}

// A stream that begins with the oldest and breaks before it heard anything
// begins there again, and tells that it cannot know.
func TestOldestBreaksAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		s.onTry = script([]any{errReset}, []any{discontinuity(3, 7), text(7, 3, "a"), errReset}, nil)
		stream, err := s.newBackend().Subscribe(t.Context(), "topic", pubsub.Start{Oldest: true})
		require.NoError(t, err)
		r := run(stream)
		require.Equal(t, pubsub.CauseReconnect, r.nextOf(t, pubsub.KindDiscontinuity).Discontinuity.Cause)
		require.Equal(t, at(7, 3), r.nextOf(t, pubsub.KindMessage).Position)
		r.state(t, pubsub.Resumed)
		require.Equal(t, []pubsub.Position{at(0, 1), at(0, 1), at(7, 4)}, s.asked())
	})
}

// asked returns where the streams were to begin.
func (s *service) asked() (all []pubsub.Position) {
	for _, r := range s.subscribes {
		all = append(all, at(r.SequencePage, r.ResumeAtTopicSequenceNumber))
	}
	return all
}

var errUndecodable = sdk.NewMomentoError(sdk.InternalServerError, "grpc: failed to unmarshal the received message: string field contains invalid UTF-8", nil)

// A message that gRPC cannot decode is asked for once more, and then skipped.
func TestUndecodableMessageIsSkipped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		s.onTry = func(_ int, r *sdk.TopicSubscribeRequest) ([]any, error) {
			switch r.ResumeAtTopicSequenceNumber {
			case 0:
				return []any{text(7, 1, "a"), errUndecodable}, nil
			case 2, 3:
				return []any{errUndecodable}, nil
			}
			return []any{text(7, 4, "d")}, nil
		}
		r := receive(t, s.newBackend(), t.Context(), pubsub.Position{})
		d := r.nextOf(t, pubsub.KindDiscontinuity).Discontinuity
		require.Equal(t, at(7, 1), d.After)
		require.Equal(t, at(7, 4), d.Resume)
		require.EqualValues(t, 2, d.Lost)
		require.True(t, d.Exact)
		require.ErrorIs(t, d, errUndecodable)
		require.Equal(t, at(7, 4), r.nextOf(t, pubsub.KindMessage).Position)
		require.Equal(t, []pubsub.Position{at(0, 0), at(7, 2), at(7, 3), at(7, 4)}, s.asked())
	})
}

// What was spoiled on the way only once is not skipped.
func TestUndecodableOnceIsNotSkipped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		s.onTry = script(
			[]any{text(7, 1, "a"), errUndecodable},
			[]any{text(7, 2, "b"), errUndecodable},
			[]any{text(7, 3, "c")},
		)
		r := receive(t, s.newBackend(), t.Context(), pubsub.Position{})
		for n := range uint64(3) {
			require.Equal(t, at(7, n+1), r.nextOf(t, pubsub.KindMessage).Position)
		}
	})
}

// A service that sends what cannot be received, whatever it is asked for, is at
// last asked for what comes next.
func TestUnreadableForEver(t *testing.T) {
	for _, bad := range []error{errTooLong, errUndecodable} {
		synctest.Test(t, func(t *testing.T) {
			s := newService(t)
			s.onTry = func(n int, r *sdk.TopicSubscribeRequest) ([]any, error) {
				switch {
				case n == 1:
					return []any{text(7, 1, "a"), bad}, nil
				case r.ResumeAtTopicSequenceNumber == 0:
					return []any{discontinuity(77, 9), text(9, 77, "b")}, nil
				}
				return []any{bad}, nil // of page 9
			}
			r := receive(t, s.newBackend(), t.Context(), pubsub.Position{})
			require.Equal(t, at(7, 1), r.nextOf(t, pubsub.KindMessage).Position)
			var told []*pubsub.Discontinuity
			for {
				f := <-r.frames
				if f.Kind == pubsub.KindDiscontinuity {
					require.False(t, f.Discontinuity.Exact)
					require.Zero(t, f.Discontinuity.Lost)
					told = append(told, f.Discontinuity)
				} else if f.Kind == pubsub.KindMessage {
					require.Equal(t, at(9, 77), f.Position)
					break
				}
			}
			require.Equal(t, pubsub.CauseReset, told[len(told)-1].Cause)
			require.LessOrEqual(t, len(told), 2)
			require.LessOrEqual(t, len(s.subscribes), maxSkips+4)
		})
	}
}

// Announcements that follow each other closely do not put off the report.
func TestHeldIsBoundedByTheFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		frames := []any{text(7, 1, "a")}
		for n := range uint64(1000) {
			frames = append(frames, discontinuity(10+n, 7), holdFor/5)
		}
		s.onTry = script(frames)
		r := receive(t, s.newBackend(), t.Context(), pubsub.Position{})
		require.Equal(t, at(7, 1), r.nextOf(t, pubsub.KindMessage).Position)
		var lost uint64
		last := time.Now()
		for begun := last; lost < 1000; {
			d := r.nextOf(t, pubsub.KindDiscontinuity).Discontinuity
			require.True(t, d.Exact)
			require.LessOrEqual(t, time.Since(last), holdFor+holdFor/5, "nothing is told in between")
			last = time.Now()
			lost += d.Lost
			// So many had been announced holdFor ago.
			require.GreaterOrEqual(t, lost+1, 8+uint64((time.Since(begun)-holdFor)/(holdFor/5)))
		}
	})
}

// Where a message broke the stream, and the stream does not come back, that is
// told nevertheless.
func TestUnreadableIsToldDuringAnOutage(t *testing.T) {
	for name, policy := range map[string]time.Duration{"while it waits": time.Hour, "after an attempt": holdUnreadable / 4} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newService(t)
				s.onTry = func(n int, _ *sdk.TopicSubscribeRequest) ([]any, error) {
					if n > 1 {
						return nil, errAway
					}
					return []any{text(7, 1, "a"), errTooLong}, nil
				}
				b := s.newBackend(WithBackoff(constantly(policy)))
				begun := time.Now()
				r := receive(t, b, t.Context(), pubsub.Position{})
				d := r.nextOf(t, pubsub.KindDiscontinuity).Discontinuity
				require.False(t, d.Exact)
				require.ErrorIs(t, d, errTooLong)
				require.LessOrEqual(t, time.Since(begun), holdUnreadable)
			})
		})
	}
}

// The largest announcement there can be neither ends a topic nor wraps a count.
func TestAbsurdAnnouncementIsAReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		s.onTry = script([]any{text(7, 5, "a"), discontinuity(1<<64-1, 7), time.Second, text(7, 6, "b"), text(7, 7, "c")})
		r := receive(t, s.newBackend(), t.Context(), pubsub.Position{})
		require.Equal(t, at(7, 5), r.nextOf(t, pubsub.KindMessage).Position)
		require.Equal(t, &pubsub.Discontinuity{Cause: pubsub.CauseReset, After: at(7, 5)}, r.nextOf(t, pubsub.KindDiscontinuity).Discontinuity)
		require.Equal(t, at(7, 6), r.nextOf(t, pubsub.KindMessage).Position)
		require.Equal(t, at(7, 7), r.nextOf(t, pubsub.KindMessage).Position)
	})
}

// What proxies say in words of their own is taken for the service's: no list
// knows them all. It ends no subscription as long as it may pass.
func TestRefusalsInAnyWordsMayPass(t *testing.T) {
	for _, refusal := range []error{
		sdk.NewMomentoError(sdk.PermissionError, "denied by ext_authz", nil),
		sdk.NewMomentoError(sdk.PermissionError, "Forbidden", nil),
		sdk.NewMomentoError(sdk.PermissionError, "PERMISSION_DENIED: API blocked", nil),
		sdk.NewMomentoError(sdk.PermissionError, "HTTP 403", nil),
		sdk.NewMomentoError(sdk.AuthenticationError, "unauthorized.", nil),
		sdk.NewMomentoError(sdk.CacheNotFoundError, "no route", nil),
		sdk.NewMomentoError(sdk.InvalidArgumentError, "bad request", nil),
	} {
		t.Run(refusal.Error(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				topic := &topicOf7{last: 1}
				s := newService(t)
				s.onTry = topic.answer
				var until time.Time
				topic.fault = func(uint64) ([]any, error) {
					switch {
					case topic.requests == 1:
						until = time.Now().Add(time.Minute + 8*time.Second)
						return []any{text(7, 1, "x"), time.Minute, refusal}, nil
					case time.Now().Before(until):
						return nil, refusal
					}
					return nil, nil
				}
				b := s.newBackend(WithStallTimeout(0))
				r := receive(t, b, t.Context(), pubsub.Position{})
				require.ErrorIs(t, r.state(t, pubsub.Reconnecting).Err, refusal)
				s.mu.Lock()
				topic.last = 3
				s.mu.Unlock()
				_, err := b.Subscribe(t.Context(), "another", pubsub.Start{})
				require.ErrorIs(t, err, refusal, "who comes now is told at once")
				time.Sleep(time.Minute)
				h := r.hear()
				require.NoError(t, h.ended)
				require.Equal(t, []uint64{2, 3}, h.messages)
				require.Empty(t, h.holes)
			})
		})
	}
}

// A refusal that passes within the stated time does not end a stream.
func TestRefusalPatience(t *testing.T) {
	refusals := map[string]error{
		"permission": sdk.NewMomentoError(sdk.PermissionError, "no", nil),
		"cache":      sdk.NewMomentoError(sdk.CacheNotFoundError, "no", nil),
		"token":      errToken,
	}
	for name, refusal := range refusals {
		for _, passes := range []time.Duration{9 * time.Second, 11 * time.Second} {
			t.Run(name+" "+passes.String(), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := newService(t)
					var since time.Time
					s.onTry = func(n int, _ *sdk.TopicSubscribeRequest) ([]any, error) {
						if n == 1 {
							return []any{text(7, 1, "a"), time.Minute, refusal}, nil
						}
						if since.IsZero() {
							since = time.Now()
						}
						if time.Since(since) < passes {
							return nil, refusal
						}
						return []any{text(7, 2, "b")}, nil
					}
					b := s.newBackend(WithStallTimeout(0), WithRefusalPatience(10*time.Second), WithBackoff(constantly(500*time.Millisecond)))
					r := receive(t, b, t.Context(), pubsub.Position{})
					down := r.state(t, pubsub.Reconnecting)
					require.ErrorIs(t, down.Err, refusal)
					if passes < 10*time.Second {
						r.state(t, pubsub.Resumed)
						require.Equal(t, at(7, 2), r.nextOf(t, pubsub.KindMessage).Position)
						return
					}
					<-r.done
					require.ErrorIs(t, r.err, refusal)
					require.InDelta(t, 10*time.Second, time.Since(since), float64(time.Second))
				})
			})
		}
	}
	synctest.Test(t, func(t *testing.T) { // at first it is told at once
		s := newService(t)
		s.onTry = func(int, *sdk.TopicSubscribeRequest) ([]any, error) { return nil, errToken }
		_, err := s.newBackend(WithRefusalPatience(time.Hour)).Subscribe(t.Context(), "topic", pubsub.Start{})
		require.ErrorIs(t, err, pubsub.ErrUnauthenticated)
		require.Len(t, s.subscribes, 1)
	})
	synctest.Test(t, func(t *testing.T) { // the end of the Backend is none
		s := newService(t)
		s.onTry = script([]any{errReset})
		b := s.openBackend(WithRefusalPatience(time.Hour))
		r := receive(t, b, t.Context(), pubsub.Position{})
		require.NoError(t, b.Close())
		<-r.done
		require.True(t, errors.Is(r.err, pubsub.ErrClosed))
	})
}

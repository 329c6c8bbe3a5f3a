package momento_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/momento"
	"github.com/topicbus/pubsub/backend/momento/momentotest"
)

// both calls test with either reading of the number that the service announces.
func both(t *testing.T, test func(t *testing.T, inclusive bool, opts ...momentotest.Option)) {
	for _, inclusive := range []bool{false, true} {
		t.Run(fmt.Sprint("inclusive ", inclusive), func(t *testing.T) {
			var opts []momentotest.Option
			if inclusive {
				opts = append(opts, momentotest.WithInclusiveAnnouncements())
			}
			test(t, inclusive, opts...)
		})
	}
}

// from subscribes and returns the stream and what it brings up to a message.
func from(t *testing.T, b *momento.Backend, start pubsub.Start) (pubsub.Stream, func(last pubsub.Position) []string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	s, err := b.Subscribe(ctx, "topic", start)
	if err != nil {
		cancel()
		require.NoError(t, err)
	}
	l := receiveAll(t, s, cancel)
	return s, func(last pubsub.Position) (got []string) {
		t.Helper()
		for {
			f := l.any(t)
			switch f.Kind {
			case pubsub.KindDiscontinuity:
				got = append(got, f.Discontinuity.Cause.String())
			case pubsub.KindMessage:
				got = append(got, fmt.Sprint(f.Position.Sequence))
				if f.Position == last {
					return got
				}
			}
		}
	}
}

func publish(t *testing.T, topic *momentotest.Topic, n int) (last pubsub.Position) {
	for range n {
		var err error
		last, err = topic.Publish(text("x"))
		require.NoError(t, err)
	}
	return last
}

func TestWhereAStreamBegins(t *testing.T) {
	both(t, func(t *testing.T, inclusive bool, opts ...momentotest.Option) {
		for _, test := range []struct {
			name    string
			from    pubsub.Start
			before  int // messages; three are retained
			want    []string
			start   uint64
			earlier bool // one earlier, where the announced number is that of the last message
		}{
			{"now", pubsub.Start{}, 5, []string{"6"}, 5, true},
			{"now, and there was nothing", pubsub.Start{}, 0, []string{"1"}, 0, false},
			{"the oldest", pubsub.Start{Oldest: true}, 5, []string{"3", "4", "5", "6"}, 2, false},
			{"the oldest, and all are there", pubsub.Start{Oldest: true}, 2, []string{"1", "2", "3"}, 0, false},
			{"the oldest, and there was nothing", pubsub.Start{Oldest: true}, 0, []string{"1"}, 0, false},
			{"the last", pubsub.Start{Last: 1}, 5, []string{"5", "6"}, 4, false},
			{"the last two", pubsub.Start{Last: 2}, 5, []string{"4", "5", "6"}, 3, false},
			{"the last three", pubsub.Start{Last: 3}, 5, []string{"3", "4", "5", "6"}, 2, false},
			{"more than are retained", pubsub.Start{Last: 4}, 5, []string{"3", "4", "5", "6"}, 2, false},
			{"more than there were", pubsub.Start{Last: 3}, 2, []string{"1", "2", "3"}, 0, false},
			{"as many as there can be", pubsub.Start{Last: 1<<64 - 1}, 5, []string{"3", "4", "5", "6"}, 2, false},
			{"the last, and there was nothing", pubsub.Start{Last: 2}, 0, []string{"1"}, 0, false},
		} {
			t.Run(test.name, func(t *testing.T) {
				srv := newServer(t, append(opts, momentotest.WithRetention(3))...)
				b := open(t, srv)
				topic := srv.Topic("cache", "topic")
				page := publish(t, topic, test.before).Page
				s, upTo := from(t, b, test.from)
				want := pubsub.Position{Page: page, Sequence: test.start}
				switch {
				case page == 0: // the service says nothing of a topic without messages
				case test.earlier && !inclusive:
					want.Sequence--
				}
				require.Equal(t, want, s.Start())
				next := publish(t, topic, 1)
				require.Equal(t, test.want, upTo(next), "and no loss is told")
				require.Equal(t, want, s.Start(), "it does not change")

				// The stream goes on where it is.
				srv.EndStreams(momentotest.Fail(codes.Unavailable, "scripted"))
				last := publish(t, topic, 1)
				require.Equal(t, []string{fmt.Sprint(last.Sequence)}, upTo(last))
			})
		}
	})
}

// Who resumes behind Start gets what the stream got.
func TestStartIsFitForResuming(t *testing.T) {
	both(t, func(t *testing.T, inclusive bool, opts ...momentotest.Option) {
		srv := newServer(t, opts...)
		b := open(t, srv)
		topic := srv.Topic("cache", "topic")
		publish(t, topic, 5)
		for _, start := range []pubsub.Start{{}, {Oldest: true}, {Last: 2}} {
			s, upTo := from(t, b, start)
			last := publish(t, topic, 3)
			want := upTo(last)
			_, again := from(t, b, pubsub.Start{After: s.Start()})
			got := again(last)
			if start == (pubsub.Start{}) && !inclusive {
				got = got[1:] // the one before may come too
			}
			require.Equal(t, want, got)
		}
		after := pubsub.Position{Page: topic.Position().Page, Sequence: 2}
		s, _ := from(t, b, pubsub.Start{After: after})
		require.Equal(t, after, s.Start())
	})
}

// A position of another server, or of an earlier life of this one, is told to be
// one, whether its page is lower or greater.
func TestPositionOfAnotherLife(t *testing.T) {
	both(t, func(t *testing.T, inclusive bool, opts ...momentotest.Option) {
		srv := newServer(t, opts...)
		b := open(t, srv)
		topic := srv.Topic("cache", "topic")
		at := publish(t, topic, 5)
		for _, page := range []uint64{at.Page - 1, at.Page + 1, 1, 1<<64 - 1} {
			for _, sequence := range []uint64{1, 3, 300, 1<<64 - 1} {
				_, upTo := from(t, b, pubsub.Start{After: pubsub.Position{Page: page, Sequence: sequence}})
				next := publish(t, topic, 1)
				require.Equal(t, []string{"reset", fmt.Sprint(next.Sequence)}, upTo(next))
			}
		}
	})
}

func TestOneStartOnly(t *testing.T) {
	b := open(t, newServer(t))
	for _, start := range []pubsub.Start{
		{Oldest: true, Last: 1}, {Last: 1, After: pubsub.Position{Page: 1, Sequence: 1}}, {Oldest: true, After: pubsub.Position{Page: 1}},
	} {
		_, err := b.Subscribe(t.Context(), "topic", start)
		require.ErrorIs(t, err, pubsub.ErrInvalidArgument)
	}
}

// A service that could not keep up says a second time where it goes on, before
// the first message. What is missing between is told, and Start lies before it.
func TestStartLiesBeforeWhatIsMissing(t *testing.T) {
	both(t, func(t *testing.T, inclusive bool, opts ...momentotest.Option) {
		srv := newServer(t, append(opts, momentotest.WithRetention(3))...)
		b := open(t, srv)
		topic := srv.Topic("cache", "topic")
		newest := publish(t, topic, 7)
		announced := func(next uint64) momentotest.Frame {
			if !inclusive {
				next--
			}
			return momentotest.Discontinuity(0, next, newest.Page)
		}
		require.NoError(t, topic.ScriptOpening(momentotest.Heartbeat(), announced(2), announced(2), announced(5)))
		s, upTo := from(t, b, pubsub.Start{Oldest: true})
		require.Equal(t, []string{"backend", "5", "6", "7"}, upTo(newest))
		want := uint64(1)
		if !inclusive {
			want-- // the earlier one of two that are possible
		}
		require.Equal(t, pubsub.Position{Page: newest.Page, Sequence: want}, s.Start())
	})
}

package momento

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	sdk "github.com/momentohq/client-sdk-go/momento"
	"github.com/stretchr/testify/require"
	"github.com/topicbus/pubsub"
)

// topicOf7 is a service with one topic, on page 7, whose messages it keeps.
type topicOf7 struct {
	last      uint64                            // the newest message
	inclusive bool                              // it tells the number of the next message, not of the last
	mute      bool                              // it does not tell where the topic stands
	fault     func(asked uint64) ([]any, error) // what it answers; nil, nil: what it should
	spoiled   map[uint64]any                    // what comes in place of a message
	requests  int
}

// answer is an onTry.
func (s *topicOf7) answer(_ int, r *sdk.TopicSubscribeRequest) ([]any, error) {
	s.requests++
	from := r.ResumeAtTopicSequenceNumber
	if s.fault != nil {
		if script, err := s.fault(from); script != nil || err != nil {
			return script, err
		}
	}
	var script []any // the SDK takes the first heartbeat
	if from == 0 {
		from = s.last + 1
	}
	if r.SequencePage == 0 && !s.mute {
		told := min(from, s.last+1)
		if !s.inclusive {
			told--
		}
		script = append(script, discontinuity(told, 7))
	}
	for n := from; n <= s.last; n++ {
		bad, ok := s.spoiled[n]
		switch {
		case !ok:
			script = append(script, text(7, n, "x"))
		case bad == errNoValue: // and then the connection breaks
			return append(script, "panic", errReset), nil
		default:
			return append(script, bad), nil
		}
	}
	return script, nil
}

// asks returns how often a stream was asked for.
func (s *service) asks() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.subscribes)
}

// heard is what a stream brought.
type heard struct {
	messages []uint64
	holes    []*pubsub.Discontinuity
	ended    error
}

// hear takes what r has received.
func (r *receiver) hear() (h heard) {
	for {
		select {
		case f := <-r.frames:
			switch f.Kind {
			case pubsub.KindMessage:
				h.messages = append(h.messages, f.Position.Sequence)
			case pubsub.KindDiscontinuity:
				h.holes = append(h.holes, f.Discontinuity)
			}
		default:
			select {
			case <-r.done:
				h.ended = r.err
			default:
			}
			return h
		}
	}
}

// lost returns how many messages were reported lost.
func (h heard) lost() (n uint64) {
	for _, d := range h.holes {
		n += d.Lost
	}
	return n
}

// What cannot be read is passed, wherever it is and wherever a stream begins.
func TestUnreadableMessageIsPassed(t *testing.T) {
	for name, bad := range map[string]any{"not to be decoded": errUndecodable, "too large": errTooLong, "without a value": errNoValue} {
		for _, test := range []struct {
			start   pubsub.Start
			spoiled []uint64
			want    []uint64
		}{
			{pubsub.Start{Oldest: true}, []uint64{1}, []uint64{2, 3, 4}},
			{pubsub.Start{Oldest: true}, []uint64{1, 2}, []uint64{3, 4}},
			{pubsub.Start{Oldest: true}, []uint64{2, 4}, []uint64{1, 3}},
			{pubsub.Start{Oldest: true}, []uint64{1, 2, 3, 4}, nil},
			{pubsub.Start{After: at(7, 1)}, []uint64{2}, []uint64{3, 4}},
		} {
			for _, inclusive := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s, %v of 4, %+v, inclusive %v", name, test.spoiled, test.start, inclusive), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						topic := &topicOf7{last: 4, inclusive: inclusive, spoiled: map[uint64]any{}}
						for _, n := range test.spoiled {
							topic.spoiled[n] = bad
						}
						s := newService(t)
						s.onTry = topic.answer
						stream, err := s.newBackend(WithStallTimeout(0)).Subscribe(t.Context(), "topic", test.start)
						require.NoError(t, err)
						r := run(stream)
						time.Sleep(20 * time.Minute)
						h := r.hear()
						require.Equal(t, test.want, h.messages)
						require.NotEmpty(t, h.holes)
						require.LessOrEqual(t, len(h.holes), 2+len(test.spoiled))
						require.LessOrEqual(t, h.lost(), uint64(len(test.spoiled)))
						require.LessOrEqual(t, s.asks(), 20)
					})
				})
			}
		}
	}
}

// A stream that cannot tell where it is reports that once, and not at each
// attempt to come back.
func TestUnknownOutageIsToldOnce(t *testing.T) {
	for _, start := range []pubsub.Start{{}, {Oldest: true}} {
		synctest.Test(t, func(t *testing.T) {
			s := newService(t)
			broken := true
			s.onTry = func(int, *sdk.TopicSubscribeRequest) ([]any, error) {
				if broken {
					return []any{sdk.TopicHeartbeat{}, errReset}, nil
				}
				return []any{text(0, 0, "a"), time.Minute, errReset}, nil
			}
			stream, err := s.newBackend(WithStallTimeout(0)).Subscribe(t.Context(), "topic", start)
			require.NoError(t, err)
			r := run(stream)
			time.Sleep(20 * time.Minute)
			require.Len(t, r.hear().holes, 1)
			s.mu.Lock()
			broken = false
			s.mu.Unlock()
			time.Sleep(time.Hour) // each message may have been followed by others
			h := r.hear()
			require.InDelta(t, len(h.messages), len(h.holes), 1)
			require.Greater(t, len(h.holes), 10)
		})
	}
}

// A service that fails whenever it is asked for one message, and for no other,
// keeps nobody from those behind it.
func TestOneMessageThatFails(t *testing.T) {
	of := func(code, text string) error { return sdk.NewMomentoError(code, text, nil) }
	const soon, later = 3 * time.Second, 40 * time.Second
	tests := []struct {
		name   string
		err    error // nil: silence
		within time.Duration
		place  bool // it says that it is about the place, so the second time it is believed
	}{
		{"internal", of(sdk.InternalServerError, "no"), later, false},
		{"unknown", of(sdk.UnknownServiceError, "no"), later, false},
		{"unavailable", errOverloaded, later, false},
		{"reset", errReset, later, false},
		{"failed precondition", of(sdk.FailedPreconditionError, "no"), later, false},
		{"timeout", of(sdk.TimeoutError, "no"), later, false},
		{"canceled", of(sdk.CanceledError, "no"), later, false},
		{"a limit", errLimit, time.Minute, false},
		{"end without an error", errEnded, later, false},
		{"out of range", of(sdk.BadRequestError, "out of range"), soon, true},
		{"invalid argument", of(sdk.InvalidArgumentError, "no"), soon, true},
		{"not found", of(sdk.ItemNotFoundError, "no"), soon, true},
		{"not to be decoded", errUndecodable, soon, false},
		{"too large", errTooLong, soon, false},
		{"without a value", errNoValue, soon, false},
		{"silence", nil, 8 * time.Minute, false},
	}
	for _, test := range tests {
		for _, accepted := range []bool{true, false} {
			for _, bad := range [][]uint64{{2}, {2, 3}, {4}} {
				if !accepted && (test.err == nil || test.err == errNoValue) {
					continue
				}
				t.Run(fmt.Sprintf("%s, %v, accepted %v", test.name, bad, accepted), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						topic := &topicOf7{last: 1}
						s := newService(t)
						topic.fault = func(asked uint64) ([]any, error) {
							switch {
							case topic.requests == 1:
								return []any{text(7, 1, "x"), time.Second, errReset}, nil
							case !slices.Contains(bad, asked):
								return nil, nil
							case !accepted:
								return nil, test.err
							case test.err == nil:
								return []any{sdk.TopicHeartbeat{}}, nil
							case test.err == errNoValue:
								return []any{"panic", errReset}, nil
							}
							return []any{test.err}, nil
						}
						s.onTry = topic.answer
						opts := []Option{WithRefusalPatience(0)}
						if test.err != nil {
							opts = append(opts, WithStallTimeout(0))
						}
						r := receive(t, s.newBackend(opts...), t.Context(), pubsub.Position{})
						require.Equal(t, at(7, 1), r.nextOf(t, pubsub.KindMessage).Position)
						s.mu.Lock()
						topic.last = 4
						s.mu.Unlock()
						want := []uint64{3, 4}
						lost := uint64(1)
						switch {
						case len(bad) == 2 && test.place: // it goes on with what comes next
							want, lost = nil, 2
						case len(bad) == 2:
							want, lost = []uint64{4}, 2
						case bad[0] == 4: // it comes with the others
							want, lost = []uint64{2, 3, 4}, 0
						}
						within := test.within * time.Duration(len(bad))
						time.Sleep(within)
						h := r.hear()
						require.NoError(t, h.ended)
						require.Equal(t, want, h.messages)
						require.LessOrEqual(t, len(h.holes), 2)
						require.Equal(t, lost, h.lost())
						require.LessOrEqual(t, s.asks(), 160)
					})
				})
			}
		}
	}
}

// What fails for whatever it is asked for is an outage, which is no reason to
// skip a message: when it ends, all come.
func TestOutageSkipsNothing(t *testing.T) {
	of := func(code, text string) error { return sdk.NewMomentoError(code, text, nil) }
	ends := func(script ...any) func(int) ([]any, error) {
		return func(int) ([]any, error) { return script, nil }
	}
	refuses := func(err error) func(int) ([]any, error) {
		return func(int) ([]any, error) { return nil, err }
	}
	told := discontinuity(1, 7)
	for _, test := range []struct {
		name   string
		answer func(n int) ([]any, error)
		opts   []Option
	}{
		{"unavailable", refuses(errOverloaded), nil},
		{"away", refuses(errAway), nil},
		{"internal", refuses(of(sdk.InternalServerError, "no")), nil},
		{"a limit", refuses(errLimit), nil},
		{"timeouts", refuses(of(sdk.TimeoutError, "no")), nil},
		{"not to be decoded", refuses(errUndecodable), nil},
		{"out of range", refuses(of(sdk.BadRequestError, "no")), nil},
		{"not found", refuses(of(sdk.CacheNotFoundError, "no")), []Option{WithRefusalPatience(time.Hour)}},
		{"invalid argument", refuses(of(sdk.InvalidArgumentError, "no")), []Option{WithRefusalPatience(time.Hour)}},
		{"not allowed", refuses(of(sdk.PermissionError, "no")), []Option{WithRefusalPatience(time.Hour)}},
		{"ends at once", ends(errReset), nil},
		{"ends at once, told", ends(told, errReset), nil},
		{"ends soon", ends(250*time.Millisecond, errReset), nil},
		{"ends soon, told", ends(told, 250*time.Millisecond, errReset), nil},
		{"ends later, told", ends(told, 900*time.Millisecond, errReset), nil},
		{"ends after a while, told", ends(told, 3*time.Second, errReset), nil},
		{"is silent", ends(), []Option{WithStallTimeout(10 * time.Second)}},
		{"tells, and is silent", ends(told), []Option{WithStallTimeout(10 * time.Second)}},
		{"is here and away", func(n int) ([]any, error) {
			if n%3 == 0 {
				return []any{told, 210 * time.Millisecond, errReset}, nil
			}
			return nil, errOverloaded
		}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				topic := &topicOf7{last: 1}
				s := newService(t)
				down := true
				topic.fault = func(uint64) ([]any, error) {
					switch {
					case topic.requests == 1:
						return []any{text(7, 1, "x"), time.Second, errReset}, nil
					case down:
						return test.answer(topic.requests)
					}
					return nil, nil
				}
				s.onTry = topic.answer
				r := receive(t, s.newBackend(append([]Option{WithStallTimeout(0)}, test.opts...)...), t.Context(), pubsub.Position{})
				time.Sleep(20 * time.Minute)
				s.mu.Lock()
				down, topic.last = false, 5
				s.mu.Unlock()
				time.Sleep(time.Minute)
				h := r.hear()
				require.NoError(t, h.ended)
				require.Equal(t, []uint64{1, 2, 3, 4, 5}, h.messages)
				require.Empty(t, h.holes)
			})
		})
	}
}

// If nothing is behind the message that fails, the stream waits for what comes
// next; if that is the message itself, nothing is lost.
func TestTheNextMessageFails(t *testing.T) {
	for _, err := range []error{errOverloaded, errEnded, sdk.NewMomentoError(sdk.BadRequestError, "out of range", nil)} {
		for _, accepted := range []bool{true, false} {
			for last, lost := range map[uint64]int{1: 0, 2: 1} {
				t.Run(fmt.Sprintf("%v, accepted %v, the last is %d", err, accepted, last), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						topic := &topicOf7{last: last}
						topic.fault = func(asked uint64) ([]any, error) {
							switch {
							case topic.requests == 1:
								return []any{text(7, 1, "x"), time.Second, errReset}, nil
							case asked == 0:
								return []any{discontinuity(last, 7), time.Hour, text(7, last+1, "x")}, nil
							case accepted:
								return []any{err}, nil
							}
							return nil, err
						}
						s := newService(t)
						s.onTry = topic.answer
						r := receive(t, s.newBackend(WithStallTimeout(0)), t.Context(), pubsub.Position{})
						time.Sleep(2 * time.Hour)
						h := r.hear()
						require.Equal(t, []uint64{1, last + 1}, h.messages)
						require.Len(t, h.holes, lost)
						require.EqualValues(t, lost, h.lost())
						require.LessOrEqual(t, s.asks(), 200)
					})
				})
			}
		}
	}
}

// What breaks the stream in which the last n were asked for takes none of those
// behind it along. It is missed if it was one of them, or may have been.
func TestLastBeginsWithWhatBreaksTheStream(t *testing.T) {
	for name, bad := range map[string]any{"not to be decoded": errUndecodable, "too large": errTooLong, "without a value": errNoValue} {
		for _, test := range []struct {
			last    uint64
			spoiled []uint64
			want    []uint64
			told    bool
		}{
			{3, []uint64{1}, []uint64{2, 3, 4}, false},
			{3, []uint64{2}, []uint64{3, 4}, true},
			{3, []uint64{1, 2}, []uint64{3, 4}, true},
			{2, []uint64{2}, []uint64{3, 4}, false},
			{9, []uint64{1}, []uint64{2, 3, 4}, true},
		} {
			for _, inclusive := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s, %v of 4, the last %d, inclusive %v", name, test.spoiled, test.last, inclusive), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						topic := &topicOf7{last: 4, inclusive: inclusive, spoiled: map[uint64]any{}}
						for _, n := range test.spoiled {
							topic.spoiled[n] = bad
						}
						s := newService(t)
						s.onTry = topic.answer
						stream, err := s.newBackend(WithStallTimeout(0)).Subscribe(t.Context(), "topic", pubsub.Start{Last: test.last})
						require.NoError(t, err)
						r := run(stream)
						time.Sleep(20 * time.Minute)
						h := r.hear()
						require.Equal(t, test.want, h.messages)
						require.LessOrEqual(t, len(h.holes), 2)
						require.LessOrEqual(t, h.lost(), uint64(len(test.spoiled)))
						if test.told {
							require.NotEmpty(t, h.holes)
						}
					})
				})
			}
		}
	}
	synctest.Test(t, func(t *testing.T) { // the network, before anything was told
		topic := &topicOf7{last: 4}
		topic.fault = func(uint64) ([]any, error) {
			if topic.requests == 2 {
				return []any{errReset}, nil
			}
			return nil, nil
		}
		s := newService(t)
		s.onTry = topic.answer
		stream, err := s.newBackend(WithStallTimeout(0)).Subscribe(t.Context(), "topic", pubsub.Start{Last: 2})
		require.NoError(t, err)
		require.Equal(t, at(7, 1), stream.Start())
		r := run(stream)
		time.Sleep(time.Minute)
		h := r.hear()
		require.Equal(t, []uint64{2, 3, 4}, h.messages, "one too many, since the service did not tell")
		require.Empty(t, h.holes)
	})
}

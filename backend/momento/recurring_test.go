package momento

import (
	"fmt"
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
						require.LessOrEqual(t, topic.requests, 20)
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

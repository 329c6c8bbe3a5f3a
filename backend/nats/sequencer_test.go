package nats

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub"
)

func at(page, sequence uint64) pubsub.Position {
	return pubsub.Position{Page: page, Sequence: sequence}
}

// hole writes a discontinuity as "cause lost after-resume".
func hole(d *pubsub.Discontinuity) string {
	if d == nil {
		return "-"
	}
	plus := "+"
	if d.Exact {
		plus = ""
	}
	return fmt.Sprintf("%s %d%s %v %v", d.Cause, d.Lost, plus, d.After, d.Resume)
}

func TestSequencerJoin(t *testing.T) {
	for _, c := range []struct {
		name string
		at   pubsub.Position
		st   standing
		want string
		then pubsub.Position
	}{
		{"empty", at(1, 0), standing{1, 1, 1, 0}, "-", at(1, 0)},
		{"nothing new", at(1, 5), standing{1, 1, 1, 5}, "-", at(1, 5)},
		{"all there", at(1, 5), standing{1, 1, 6, 9}, "-", at(1, 5)},
		{"some gone", at(1, 5), standing{1, 1, 8, 9}, "reconnect 2 1/5 1/8", at(1, 7)},
		{"all gone", at(1, 5), standing{1, 1, 10, 9}, "reconnect 4 1/5 1/10", at(1, 9)},
		{"some gone before the first", at(1, 0), standing{1, 1, 3, 9}, "reconnect 2 - 1/3", at(1, 2)},
		{"made again, empty", at(1, 5), standing{2, 1, 1, 0}, "reset 0+ 1/5 -", at(2, 0)},
		{"made again", at(1, 5), standing{2, 1, 1, 9}, "reset 0+ 1/5 2/1", at(2, 0)},
		{"made again, some gone", at(1, 5), standing{2, 1, 4, 9}, "reset 3+ 1/5 2/4", at(2, 3)},
		{"made again, with numbers from 100", at(1, 5), standing{2, 100, 100, 103}, "reset 0+ 1/5 2/100", at(2, 99)},
		{"made again before its first message", at(1, 0), standing{2, 1, 1, 0}, "reset 0+ - -", at(2, 0)},
		{"from a backup", at(2, 5), standing{1, 1, 1, 9}, "reset 0+ 2/5 1/1", at(1, 0)},
		{"its end forgotten", at(1, 5), standing{1, 1, 1, 3}, "reset 0+ 1/5 1/1", at(1, 0)},
		{"all forgotten", at(1, 5), standing{1, 1, 1, 0}, "reset 0+ 1/5 -", at(1, 0)},
	} {
		s := sequencer{at: c.at, sent: 7}
		assert.Equal(t, c.want, hole(s.join(c.st)), c.name)
		assert.Equal(t, c.then, s.at, c.name)
		assert.Zero(t, s.sent, c.name)
	}
}

func TestSequencerMessages(t *testing.T) {
	type step struct {
		idle             bool
		stream, consumer uint64
		want             string
		verdict          verdict
	}
	for _, c := range []struct {
		name  string
		steps []step
	}{
		{"in order", []step{{false, 6, 1, "-", deliver}, {false, 7, 2, "-", deliver}}},
		{"a hole at the opening", []step{{false, 8, 1, "reconnect 2 1/5 1/8", deliver}, {false, 10, 2, "backend 1 1/8 1/10", deliver}}},
		{"lost on the way", []step{{false, 6, 1, "-", deliver}, {false, 8, 3, "-", reopen}}},
		{"lost on the way, the first", []step{{false, 7, 2, "-", reopen}}},
		{"twice", []step{{false, 5, 1, "-", drop}, {false, 6, 2, "-", deliver}}},
		{"idle", []step{{true, 5, 0, "-", deliver}, {false, 6, 1, "-", deliver}, {true, 6, 1, "-", deliver}}},
		{"idle behind a hole", []step{{false, 6, 1, "-", deliver}, {true, 9, 1, "backend 3 1/6 1/10", deliver}, {true, 9, 1, "-", deliver}, {false, 10, 2, "-", deliver}}},
		{"idle, and lost on the way", []step{{true, 6, 1, "-", reopen}}},
		{"idle, of a consumer that begins later", []step{{true, 4, 0, "-", deliver}}},
	} {
		s := sequencer{at: at(1, 5), rejoined: true}
		for i, step := range c.steps {
			var (
				d *pubsub.Discontinuity
				v verdict
			)
			if step.idle {
				d, v = s.idle(step.stream, step.consumer)
			} else {
				follows := s.follows(step.stream, step.consumer)
				d, v = s.message(step.stream, step.consumer)
				assert.Equal(t, follows, v == deliver && d == nil, "%s, step %d", c.name, i+1)
			}
			assert.Equal(t, step.want, hole(d), "%s, step %d", c.name, i+1)
			assert.Equal(t, step.verdict, v, "%s, step %d", c.name, i+1)
		}
	}
}

func TestBeforeNewest(t *testing.T) {
	for _, c := range []struct {
		n       uint64
		st      standing
		deleted []uint64
		want    uint64
	}{
		{1, standing{1, 1, 1, 0}, nil, 0},
		{1, standing{1, 1, 1, 9}, nil, 8},
		{9, standing{1, 1, 1, 9}, nil, 0},
		{99, standing{1, 1, 4, 9}, nil, 3},
		{1 << 63, standing{1, 1, 4, 9}, []uint64{5, 6}, 3},
		{2, standing{1, 1, 1, 9}, []uint64{8}, 6},
		{2, standing{1, 1, 1, 9}, []uint64{7, 8}, 5},
		{1, standing{1, 1, 10, 9}, nil, 9},
		{1 << 63, standing{1, 1, 1, largest - 1}, []uint64{7, 8}, largest - 1 - 1<<63},
		{largest, standing{1, 1, 1, largest - 1}, []uint64{7, 8}, 0},
	} {
		assert.Equal(t, c.want, c.st.beforeNewest(c.n, c.deleted), "%+v", c)
	}
}

// model is a server's stream as a set of numbers, and what a reader has got.
type model struct {
	page        uint64
	first, last uint64
	gone        map[uint64]bool
	got         map[pubsub.Position]bool
	lost        map[uint64]uint64 // by page
	reset       bool
}

// FuzzSequencer plays random fates of a stream against a sequencer: each
// number of a page that was reached is delivered once or reported lost, and
// never both.
func FuzzSequencer(f *testing.F) {
	for seed := range uint64(50) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		rng := rand.New(rand.NewPCG(seed, 0))
		m := model{page: 1, first: 1, gone: map[uint64]bool{}, got: map[pubsub.Position]bool{}, lost: map[uint64]uint64{}}
		s := sequencer{at: at(1, 0)}
		next, consumer := uint64(1), uint64(0) // the server's side of the consumer
		var story []string
		tell := func(d *pubsub.Discontinuity) {
			if d == nil {
				return
			}
			story = append(story, hole(d))
			require.NotZero(t, d.Cause, "%s", story)
			if d.Cause == pubsub.CauseReset {
				require.True(t, m.reset, "%s", story)
				require.False(t, d.Exact)
				m.reset = false
				m.lost[m.page] += d.Lost
				return
			}
			require.True(t, d.Exact)
			require.Equal(t, d.After.Sequence+d.Lost+1, d.Resume.Sequence, "%s", story)
			m.lost[s.at.Page] += d.Lost
		}
		join := func() {
			consumer = 0
			tell(s.join(standing{page: m.page, begin: 1, first: m.first, last: m.last}))
			next = s.at.Sequence + 1
		}
		sent := func() (stream uint64, ok bool) {
			next = max(next, m.first)
			for ; next <= m.last; next++ {
				if !m.gone[next] {
					consumer++
					next++
					return next - 1, true
				}
			}
			return 0, false
		}
		take := func() bool {
			n, ok := sent()
			if !ok {
				return false
			}
			d, v := s.message(n, consumer)
			if v == reopen {
				join()
				return true
			}
			require.Equal(t, deliver, v, "%s", story)
			tell(d)
			p := at(m.page, n)
			require.False(t, m.got[p], "twice: %v, %s", p, story)
			m.got[p] = true
			story = append(story, p.String())
			return true
		}
		for range 200 {
			switch rng.IntN(9) {
			case 0, 1, 2:
				m.last += uint64(rng.IntN(5))
			case 3, 4:
				take()
			case 5: // deleted or purged
				if m.last > m.first {
					n := m.first + uint64(rng.IntN(int(m.last-m.first)))
					if rng.IntN(2) == 0 {
						m.gone[n] = true
					} else {
						m.first = n
					}
				}
			case 6: // lost on the way, then a heartbeat or a message
				if _, ok := sent(); ok && rng.IntN(2) == 0 {
					_, v := s.idle(next-1, consumer)
					require.Equal(t, reopen, v)
					join()
				}
			case 7:
				if next > m.last {
					d, v := s.idle(next-1, consumer)
					if v == reopen {
						join()
						break
					}
					tell(d)
				}
			case 8:
				if rng.IntN(3) == 0 {
					m.page++
					m.first, m.last, m.gone, m.reset = 1, uint64(rng.IntN(4)), map[uint64]bool{}, true
				}
				join()
			}
		}
		join()
		for take() {
		}
		var delivered uint64
		for p := range m.got {
			if p.Page == m.page {
				delivered++
			}
		}
		require.Equal(t, s.at.Sequence, delivered+m.lost[m.page], strings.Join(story, "\n"))
		require.Equal(t, at(m.page, s.at.Sequence), s.at)
	})
}

// largest is the largest number that there is.
const largest = math.MaxUint64

// A number that cannot be is a reset, whose count is not known. What comes
// behind it is delivered.
func TestSequencerRefusesTheAbsurd(t *testing.T) {
	idle := func(stream uint64) func(*sequencer) (*pubsub.Discontinuity, verdict) {
		return func(s *sequencer) (*pubsub.Discontinuity, verdict) { return s.idle(stream, s.sent) }
	}
	message := func(stream uint64) func(*sequencer) (*pubsub.Discontinuity, verdict) {
		return func(s *sequencer) (*pubsub.Discontinuity, verdict) {
			follows := s.follows(stream, s.sent+1)
			d, v := s.message(stream, s.sent+1)
			if follows {
				assert.Nil(t, d, "%d", stream)
				assert.Equal(t, deliver, v, "%d", stream)
			}
			return d, v
		}
	}
	join := func(first, last uint64) func(*sequencer) (*pubsub.Discontinuity, verdict) {
		return func(s *sequencer) (*pubsub.Discontinuity, verdict) {
			return s.join(standing{page: 1, begin: 1, first: first, last: last}), deliver
		}
	}
	type step struct {
		do      func(*sequencer) (*pubsub.Discontinuity, verdict)
		want    string
		verdict verdict
	}
	for _, c := range []struct {
		name  string
		steps []step
	}{
		{"as far as it may be", []step{
			{idle(5 + maxJump), "backend 4294967296 1/5 1/4294967302", deliver},
			{message(4294967302), "-", deliver},
		}},
		{"a heartbeat", []step{
			{idle(largest - 1), "reset 0+ 1/5 -", deliver},
			{idle(largest - 1), "-", deliver},
			{message(6), "-", deliver},
			{message(6), "-", drop},
			{message(8), "backend 1 1/6 1/8", deliver},
		}},
		{"a heartbeat of the largest number", []step{
			{idle(largest), "reset 0+ 1/5 -", deliver},
			{message(7), "backend 1 1/5 1/7", deliver},
			{idle(6 + maxJump), "backend 4294967295 1/7 1/4294967303", deliver},
		}},
		{"one a little too far", []step{
			{idle(6 + maxJump), "reset 0+ 1/5 -", deliver},
			{message(6), "-", deliver},
			{idle(7 + maxJump), "reset 0+ 1/6 -", deliver},
		}},
		{"a message", []step{
			{message(largest), "reset 0+ 1/5 1/18446744073709551615", deliver},
			{message(largest), "-", drop},
			{idle(largest), "-", deliver},
			{message(6), "reset 0+ 1/18446744073709551615 1/6", deliver},
			{message(7), "-", deliver},
		}},
		{"no number", []step{
			{message(0), "-", drop},
			{message(largest), "reset 0+ 1/5 1/18446744073709551615", deliver},
			{message(0), "-", drop},
			{message(6), "reset 0+ 1/18446744073709551615 1/6", deliver},
		}},
		{"the last numbers there are", []step{
			{message(largest - 2), "reset 0+ 1/5 1/18446744073709551613", deliver},
			{idle(largest), "backend 2 1/18446744073709551613 -", deliver},
			{idle(largest), "-", deliver},
		}},
		{"where the stream stands", []step{
			{join(largest-1, largest-1), "reset 0+ 1/5 -", deliver},
			{join(largest-1, largest-1), "-", deliver},
			{message(6), "-", deliver},
			{join(6, 9), "-", deliver},
			{message(7), "-", deliver},
		}},
		{"where the stream really stands, purged up to there", []step{
			{join(1<<40, 1<<40), "reset 0+ 1/5 -", deliver},
			{message(1 << 40), "-", deliver},
			{message(1<<40 + 2), "backend 1 1/1099511627776 1/1099511627778", deliver},
		}},
		{"where another stream stands", []step{
			{func(s *sequencer) (*pubsub.Discontinuity, verdict) {
				return s.join(standing{page: 2, begin: 1, first: largest - 1, last: largest - 1}), deliver
			}, "reset 0+ 1/5 2/18446744073709551614", deliver},
			{message(1), "reset 0+ 2/18446744073709551613 2/1", deliver},
		}},
	} {
		s := sequencer{at: at(1, 5)}
		for i, step := range c.steps {
			d, v := step.do(&s)
			assert.Equal(t, step.want, hole(d), "%s, step %d", c.name, i+1)
			assert.Equal(t, step.verdict, v, "%s, step %d", c.name, i+1)
			s.sent = 0
		}
	}
	assert.Equal(t, uint64(largest), (&sequencer{at: at(1, largest)}).next())
}

func TestStandingOfTheAbsurd(t *testing.T) {
	info := func(begin, first, last, n uint64) *jetstream.StreamInfo {
		return &jetstream.StreamInfo{
			Created: time.Unix(0, 7),
			Config:  jetstream.StreamConfig{FirstSeq: begin},
			State:   jetstream.StreamState{FirstSeq: first, LastSeq: last, Msgs: n},
		}
	}
	for _, c := range []struct {
		info *jetstream.StreamInfo
		want standing
	}{
		{info(0, 0, largest, 0), standing{7, 1, largest, largest - 1}},
		{info(0, largest, 5, 1), standing{7, 1, 6, 5}},
		{info(largest, largest, largest, 1), standing{7, largest, largest, largest - 1}},
	} {
		assert.Equal(t, c.want, standingOf(c.info), "%+v", c.info)
	}
}

// FuzzSequencerNumbers gives a sequencer any numbers at all: no count is absurd,
// and no number silences the topic.
func FuzzSequencerNumbers(f *testing.F) {
	numbers := func(list ...uint64) (b []byte) {
		for _, n := range list {
			b = binary.BigEndian.AppendUint64(b, n)
		}
		return b
	}
	for _, kind := range []string{"\x00", "\x01", "\x02"} {
		for _, n := range []uint64{0, 1, 5, maxJump, maxJump + 1, 1 << 63, largest - 1, largest} {
			f.Add([]byte(kind), numbers(n), n)
			f.Add([]byte(kind+"\x00\x01\x02"), numbers(n, 6, n, 6), uint64(5))
		}
	}
	f.Fuzz(func(t *testing.T, kinds, data []byte, begin uint64) {
		s := sequencer{at: at(1, begin)}
		for _, kind := range kinds {
			if len(data) < 8 {
				break
			}
			n := binary.BigEndian.Uint64(data)
			data = data[8:]
			var d *pubsub.Discontinuity
			switch kind % 3 {
			case 0:
				d, _ = s.message(n, s.sent+1)
			case 1:
				d, _ = s.idle(n, s.sent)
			case 2:
				d = s.join(standingOf(&jetstream.StreamInfo{Created: time.Unix(0, 1), State: jetstream.StreamState{FirstSeq: n, LastSeq: n, Msgs: uint64(kind) / 3}}))
			}
			if d != nil {
				require.LessOrEqual(t, d.Lost, uint64(maxJump))
				require.Equal(t, d.Cause != pubsub.CauseReset, d.Exact)
			}
		}
		next := s.next()
		if next == largest {
			next = 1 // nothing can follow
		}
		_, v := s.message(next, s.sent+1)
		require.Equal(t, deliver, v)
	})
}

package momento

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/topicbus/pubsub"
)

func at(page, sequence uint64) pubsub.Position {
	return pubsub.Position{Page: page, Sequence: sequence}
}

// feed takes scripted frames and writes down what comes out.
type feed struct {
	seq sequencer
	out []string
}

func (f *feed) report(d *pubsub.Discontinuity) {
	if d == nil {
		return
	}
	exact := "~"
	if d.Exact {
		exact = "="
	}
	text := fmt.Sprintf("%v lost%s%d %v..%v", d.Cause, exact, d.Lost, d.After, d.Resume)
	if d.Err != nil {
		text += " " + d.Err.Error()
	}
	f.out = append(f.out, text)
}

func (f *feed) item(p pubsub.Position) {
	d, ok := f.seq.item(p)
	f.report(d)
	if ok {
		f.out = append(f.out, p.String())
	}
}

type step func(*feed)

func item(page, sequence uint64) step { return func(f *feed) { f.item(at(page, sequence)) } }
func disc(sequence, page uint64) step {
	return func(f *feed) { f.seq.discontinuity(sequence, page) }
}
func heartbeat(f *feed)  { f.report(f.seq.quiet()) }
func unreadable(f *feed) { f.seq.unreadable(errors.New("bad")) }

// broken breaks the stream, which resumes before anything is reported.
func broken(f *feed) {
	f.seq.broken(errors.New("bad"))
	resume(f)
}
func silentlyBroken(f *feed) {
	f.seq.broken(errors.New("bad"))
	f.report(f.seq.resubscribed())
}
func resume(f *feed) {
	f.out = append(f.out, "resume "+f.seq.resumeAt().String())
	f.report(f.seq.resubscribed())
}

const largest = math.MaxUint64

func outage(f *feed) {
	f.report(f.seq.quiet())
	resume(f)
}

func TestSequencer(t *testing.T) {
	for _, test := range []struct {
		name  string
		after pubsub.Position
		steps []step
		want  []string
	}{
		{"in order", at(0, 0), []step{item(7, 1), item(7, 2), heartbeat, item(7, 3)}, []string{"7/1", "7/2", "7/3"}},
		{"begins anywhere", at(0, 0), []step{item(7, 40), item(7, 41)}, []string{"7/40", "7/41"}},
		{"duplicates are dropped", at(0, 0), []step{item(7, 1), item(7, 2), item(7, 1), item(7, 2), item(7, 3)}, []string{"7/1", "7/2", "7/3"}},
		{"gap in the numbers", at(0, 0), []step{item(7, 1), item(7, 5)}, []string{"7/1", "backend lost=3 7/1..7/5", "7/5"}},

		{"announced, next at new", at(0, 0), []step{item(7, 5), disc(10, 7), item(7, 10)}, []string{"7/5", "backend lost=4 7/5..7/10", "7/10"}},
		{"announced, next at new+1", at(0, 0), []step{item(7, 5), disc(10, 7), item(7, 11)}, []string{"7/5", "backend lost=5 7/5..7/11", "7/11"}},
		{"announced without a page", at(0, 0), []step{item(7, 5), disc(10, 0), item(7, 10)}, []string{"7/5", "backend lost=4 7/5..7/10", "7/10"}},
		{"announced, then nothing is missing", at(0, 0), []step{item(7, 5), disc(10, 7), item(7, 6), item(7, 7)}, []string{"7/5", "7/6", "7/7"}},
		{"announced twice, reported once", at(0, 0), []step{item(7, 5), disc(10, 7), disc(20, 7), item(7, 21)}, []string{"7/5", "backend lost=15 7/5..7/21", "7/21"}},
		{"announced on a quiet topic, next at new", at(0, 0), []step{item(7, 5), disc(10, 7), heartbeat, heartbeat, item(7, 10)},
			[]string{"7/5", "backend lost=4 7/5..7/10", "7/10"}},
		{"announced on a quiet topic, next at new+1", at(0, 0), []step{item(7, 5), disc(10, 7), heartbeat, item(7, 11)},
			[]string{"7/5", "backend lost=4 7/5..7/10", "backend lost=1 7/9..7/11", "7/11"}},
		{"announces what is known", at(0, 0), []step{item(7, 5), disc(5, 7), heartbeat, disc(6, 7), heartbeat, item(7, 6)}, []string{"7/5", "7/6"}},
		{"announced before an outage", at(0, 0), []step{item(7, 5), disc(10, 7), outage, item(7, 10)},
			[]string{"7/5", "backend lost=4 7/5..7/10", "resume 7/10", "7/10"}},

		{"the first one names the page", at(0, 0), []step{disc(104, 7), heartbeat, item(7, 104), item(7, 105)}, []string{"7/104", "7/105"}},
		{"the first one names the page, next at new+1", at(0, 0), []step{disc(104, 7), item(7, 105), item(7, 106)}, []string{"7/105", "7/106"}},
		{"the first one names the page only", at(0, 0), []step{disc(0, 7), item(7, 3), item(7, 4)}, []string{"7/3", "7/4"}},
		{"named by the first one, resumed before an item", at(0, 0), []step{disc(104, 7), outage, item(7, 104)}, []string{"resume 7/104", "7/104"}},
		{"named, then a gap of uncertain size", at(0, 0), []step{disc(104, 7), item(7, 108)}, []string{"backend lost~3 -..7/108", "7/108"}},
		{"named, then a gap announced", at(0, 0), []step{disc(104, 7), disc(105, 7), item(7, 105)}, []string{"backend lost~0 -..7/105", "7/105"}},
		{"named, then the page changes", at(0, 0), []step{disc(104, 7), disc(3, 9), item(9, 3)}, []string{"reset lost~0 -..9/3", "9/3"}},
		{"page only, then the page changes", at(0, 0), []step{disc(0, 7), item(9, 3)}, []string{"reset lost~0 -..9/3", "9/3"}},

		{"page change announced", at(0, 0), []step{item(7, 5), disc(1, 9), item(9, 1), item(9, 2)}, []string{"7/5", "reset lost~0 7/5..9/1", "9/1", "9/2"}},
		{"page change announced, next at new+1", at(0, 0), []step{item(7, 5), disc(1, 9), item(9, 2)}, []string{"7/5", "reset lost~0 7/5..9/2", "9/2"}},
		{"page change announced, no number", at(0, 0), []step{item(7, 5), disc(0, 9), heartbeat, item(9, 4), item(9, 5)},
			[]string{"7/5", "reset lost~0 7/5..-", "9/4", "9/5"}},
		{"page change on a quiet topic", at(0, 0), []step{item(7, 5), disc(50, 9), heartbeat, item(9, 51), item(9, 53)},
			[]string{"7/5", "reset lost~0 7/5..-", "9/51", "backend lost=1 9/51..9/53", "9/53"}},
		{"page change not announced", at(0, 0), []step{item(7, 5), item(9, 1)}, []string{"7/5", "reset lost~0 7/5..9/1", "9/1"}},
		{"gap, then page change", at(0, 0), []step{item(7, 5), disc(10, 7), disc(1, 9), item(9, 1)}, []string{"7/5", "reset lost~4 7/5..9/1", "9/1"}},
		{"gap, then page change, no number", at(0, 0), []step{item(7, 5), disc(10, 7), disc(0, 9), heartbeat, item(9, 1)},
			[]string{"7/5", "reset lost~4 7/5..-", "9/1"}},
		{"two page changes", at(0, 0), []step{item(7, 5), disc(1, 9), disc(1, 11), item(11, 1)}, []string{"7/5", "reset lost~0 7/5..11/1", "11/1"}},
		{"a page without a number, then a jump", at(0, 0), []step{item(7, 5), disc(0, 9), heartbeat, disc(1<<63, 9), heartbeat, item(9, 3), item(9, 4), item(9, 3)},
			[]string{"7/5", "reset lost~0 7/5..-", "reset lost~0 -..-", "9/3", "9/4"}},
		{"stale pages", at(0, 0), []step{item(7, 5), item(6, 99), disc(200, 6), heartbeat, item(7, 6)}, []string{"7/5", "7/6"}},
		{"an old item behind an announced reset", at(0, 0), []step{item(7, 5), disc(1, 9), item(7, 6), item(9, 1)}, []string{"7/5", "reset lost~0 7/5..9/1", "9/1"}},
		{"item that names no page", at(0, 0), []step{item(7, 5), func(f *feed) { f.item(at(0, 6)) }, item(7, 7)}, []string{"7/5", "0/6", "7/7"}},
		{"no pages at all", at(0, 0), []step{disc(4, 0), item(0, 4), item(0, 6), outage}, []string{"0/4", "backend lost=1 0/4..0/6", "0/6", "resume 0/7"}},

		{"resumed without loss", at(0, 0), []step{item(7, 5), outage, item(7, 5), item(7, 6)}, []string{"7/5", "resume 7/6", "7/6"}},
		{"resumed, part is gone", at(0, 0), []step{item(7, 5), outage, item(7, 9), item(7, 11)},
			[]string{"7/5", "resume 7/6", "reconnect lost=3 7/5..7/9", "7/9", "backend lost=1 7/9..7/11", "7/11"}},
		{"resumed, part is gone and announced", at(0, 0), []step{item(7, 5), outage, disc(9, 7), heartbeat, item(7, 9)},
			[]string{"7/5", "resume 7/6", "reconnect lost=3 7/5..7/9", "7/9"}},
		{"resumed on a new page", at(0, 0), []step{item(7, 5), outage, disc(1, 9), item(9, 1)}, []string{"7/5", "resume 7/6", "reset lost~0 7/5..9/1", "9/1"}},
		{"not resumable", at(0, 0), []step{outage, disc(12, 7), item(7, 12)}, []string{"resume -", "reconnect lost~0 -..-", "7/12"}},
		{"not numbered", at(0, 0), []step{item(0, 0), item(0, 0), outage, item(0, 0)}, []string{"-", "-", "resume -", "reconnect lost~0 -..-", "-"}},
		{"after a position", at(7, 5), []step{item(7, 6), item(7, 7)}, []string{"7/6", "7/7"}},
		{"after a position, part is gone", at(7, 5), []step{item(7, 9)}, []string{"reconnect lost=3 7/5..7/9", "7/9"}},
		{"after a position on another page", at(7, 5), []step{disc(1, 9), item(9, 1)}, []string{"reset lost~0 7/5..9/1", "9/1"}},

		{"unreadable", at(0, 0), []step{item(7, 5), unreadable, item(7, 7)}, []string{"7/5", "backend lost=1 7/5..7/7 bad", "7/7"}},
		{"unreadable and more", at(0, 0), []step{item(7, 5), unreadable, item(7, 10)}, []string{"7/5", "backend lost=4 7/5..7/10 bad", "7/10"}},
		{"unreadable, but a duplicate", at(0, 0), []step{item(7, 5), unreadable, item(7, 6)}, []string{"7/5", "7/6"}},
		{"unreadable on a quiet topic", at(0, 0), []step{item(7, 5), unreadable, heartbeat, item(7, 7)}, []string{"7/5", "backend lost~0 7/5..- bad", "backend lost=1 7/5..7/7", "7/7"}},
		{"unreadable at first", at(0, 0), []step{unreadable, item(7, 7)}, []string{"backend lost~0 -..7/7 bad", "7/7"}},
		{"unreadable behind an announcement", at(0, 0), []step{item(7, 5), disc(10, 7), unreadable, item(7, 11)}, []string{"7/5", "backend lost=5 7/5..7/11 bad", "7/11"}},
		{"unreadable behind the naming one", at(0, 0), []step{disc(10, 7), unreadable, heartbeat, item(7, 12), item(7, 13)},
			[]string{"backend lost~0 -..- bad", "backend lost~1 -..7/12", "7/12", "7/13"}},
		{"unreadable before an announcement, next at new", at(0, 0), []step{item(7, 10), unreadable, disc(20, 7), heartbeat, item(7, 20)},
			[]string{"7/10", "backend lost=9 7/10..7/20 bad", "7/20"}},
		{"unreadable before an announcement, next at new+1", at(0, 0), []step{item(7, 10), unreadable, disc(20, 7), heartbeat, item(7, 21)},
			[]string{"7/10", "backend lost=9 7/10..7/20 bad", "backend lost=1 7/19..7/21", "7/21"}},
		{"unreadable, and no more announced, next at new", at(0, 0), []step{item(7, 10), unreadable, disc(12, 7), heartbeat, item(7, 12)},
			[]string{"7/10", "backend lost=1 7/10..7/12 bad", "7/12"}},
		{"unreadable, and no more announced, next at new+1", at(0, 0), []step{item(7, 10), unreadable, disc(11, 7), heartbeat, item(7, 12)},
			[]string{"7/10", "backend lost~0 7/10..- bad", "backend lost=1 7/10..7/12", "7/12"}},
		{"two unreadable, and no more announced, next at new+1", at(0, 0), []step{item(7, 10), unreadable, unreadable, disc(12, 7), heartbeat, item(7, 13)},
			[]string{"7/10", "backend lost=1 7/10..7/12 bad", "backend lost=1 7/11..7/13", "7/13"}},
		{"unreadable, announced, unreadable", at(0, 0), []step{item(7, 10), unreadable, disc(20, 7), unreadable, heartbeat, item(7, 21)},
			[]string{"7/10", "backend lost~9 7/10..- bad", "backend lost=1 7/19..7/21", "7/21"}},
		{"unreadable, then the page changes", at(0, 0), []step{item(7, 5), unreadable, disc(1, 9), heartbeat, item(9, 1)},
			[]string{"7/5", "reset lost~0 7/5..- bad", "9/1"}},
		{"unreadable before the naming one", at(0, 0), []step{unreadable, disc(104, 7), heartbeat, item(7, 104)},
			[]string{"backend lost~0 -..- bad", "7/104"}},
		{"unreadable on a new page", at(0, 0), []step{item(7, 5), disc(1, 9), unreadable, item(9, 2)}, []string{"7/5", "reset lost~0 7/5..9/2 bad", "9/2"}},
		{"too large: resumed behind it", at(0, 0), []step{item(7, 5), broken, item(7, 7)},
			[]string{"7/5", "resume 7/7", "backend lost=1 7/5..7/7 bad", "7/7"}},
		{"two too large: resumed behind them", at(0, 0), []step{item(7, 5), broken, broken, item(7, 8)},
			[]string{"7/5", "resume 7/7", "resume 7/8", "backend lost=2 7/5..7/8 bad", "7/8"}},
		{"too large, and nothing follows", at(0, 0), []step{item(7, 5), broken, heartbeat, heartbeat, item(7, 8)},
			[]string{"7/5", "resume 7/7", "backend lost~0 7/5..- bad", "reconnect lost=2 7/5..7/8", "7/8"}},
		{"too large at first: cannot be resumed", at(0, 0), []step{unreadable, outage, item(7, 7)},
			[]string{"backend lost~0 -..- bad", "resume -", "reconnect lost~0 -..-", "7/7"}},

		{"too large at first, and the stream breaks", at(0, 0), []step{broken, item(7, 7)}, []string{"resume -", "reconnect lost~0 -..- bad", "7/7"}},
		{"sent again: counted once, and nothing behind it dropped", at(0, 0), []step{item(7, 4), unreadable, unreadable, heartbeat, item(7, 6)},
			[]string{"7/4", "backend lost~0 7/4..- bad", "backend lost=1 7/4..7/6", "7/6"}},
		{"sent again after it was reported", at(0, 0), []step{item(7, 4), unreadable, heartbeat, unreadable, heartbeat, item(7, 6)},
			[]string{"7/4", "backend lost~0 7/4..- bad", "backend lost~0 7/4..- bad", "backend lost=1 7/4..7/6", "7/6"}},
		{"sent again, and it was another", at(0, 0), []step{item(7, 4), unreadable, heartbeat, unreadable, heartbeat, item(7, 7)},
			[]string{"7/4", "backend lost~0 7/4..- bad", "backend lost~0 7/4..- bad", "backend lost=2 7/4..7/7", "7/7"}},
		{"sent again before delivered ones", at(0, 0), []step{item(7, 4), unreadable, item(7, 6), outage, unreadable, item(7, 6), heartbeat, item(7, 7)},
			[]string{"7/4", "backend lost=1 7/4..7/6 bad", "7/6", "resume 7/7", "7/7"}},
		{"too large, the first of a page that is not announced", at(0, 0), []step{item(7, 4), broken, broken, item(9, 3)},
			[]string{"7/4", "resume 7/6", "resume 7/7", "reset lost~0 7/4..9/3 bad", "9/3"}},
		{"too large for ever: others are asked for", at(0, 0), slices.Concat([]step{item(7, 4)}, slices.Repeat([]step{silentlyBroken}, maxSkips+1),
			[]step{outage, disc(1, 9), item(9, 2)}), []string{"7/4", "backend lost~0 7/4..- bad", "resume -", "reset lost~0 7/4..9/2", "9/2"}},
		{"too many that are too large, on the same page", at(0, 0), slices.Concat([]step{item(7, 4)}, slices.Repeat([]step{silentlyBroken}, maxSkips+1),
			[]step{resume, disc(99, 7), item(7, 100), outage}), []string{"7/4", "resume -", "backend lost=95 7/4..7/100 bad", "7/100", "resume 7/101"}},

		{"the largest numbers", at(largest, largest-1), []step{item(largest, largest), outage, item(largest, largest), unreadable, heartbeat, outage, item(largest, largest)},
			[]string{"18446744073709551615/18446744073709551615", "resume 18446744073709551615/18446744073709551615",
				"backend lost~0 18446744073709551615/18446744073709551615..- bad", "resume 18446744073709551615/18446744073709551615"}},
		{"announces the largest number", at(0, 0), []step{item(7, 5), disc(largest, 7), heartbeat, item(7, 6), outage, item(7, 7)},
			[]string{"7/5", "reset lost~0 7/5..-", "7/6", "resume 7/7", "7/7"}},
		{"announces the largest number, an item follows", at(0, 0), []step{item(7, 5), disc(largest, 7), item(7, 6)}, []string{"7/5", "reset lost~0 7/5..7/6", "7/6"}},
		{"announces the largest number at first", at(0, 0), []step{disc(largest, 7), item(7, 6), item(7, 7)}, []string{"7/6", "7/7"}},
		{"announces too much at first", at(0, 0), []step{disc(1000, 7), item(7, 6), item(7, 7)}, []string{"7/6", "7/7"}},
		{"announces too much on a new page", at(0, 0), []step{item(7, 5), disc(1000, 9), heartbeat, item(9, 6), item(9, 7)},
			[]string{"7/5", "reset lost~0 7/5..-", "9/6", "9/7"}},
		{"announces more than there can be", at(0, 0), []step{item(7, 5), disc(7+maxJump, 7), heartbeat, item(7, 6)}, []string{"7/5", "reset lost~0 7/5..-", "7/6"}},
		{"announces what there can be", at(0, 0), []step{item(7, 5), disc(6+maxJump, 7), heartbeat, item(7, 6+maxJump)},
			[]string{"7/5", "backend lost=4294967296 7/5..7/4294967302", "7/4294967302"}},
		{"an item with the largest number", at(0, 0), []step{item(7, 5), item(7, largest), item(7, 6), item(7, 7)},
			[]string{"7/5", "reset lost~0 7/5..7/18446744073709551615", "7/18446744073709551615", "reset lost~0 7/18446744073709551615..7/6", "7/6", "7/7"}},
		{"the numbers go on far away", at(0, 0), []step{item(7, 5), disc(largest-9, 7), heartbeat, item(7, largest-8), item(7, largest-7)},
			[]string{"7/5", "reset lost~0 7/5..-", "7/18446744073709551607", "7/18446744073709551608"}},
		{"the largest page announced, and it is another", at(0, 0), []step{item(7, 5), disc(1, largest), heartbeat, item(7, 6), outage, disc(7, 7), item(7, 8)},
			[]string{"7/5", "reset lost~0 7/5..-", "resume 18446744073709551615/1", "reset lost~0 -..7/8", "7/8"}},
		{"the largest page at first, and it is another", at(0, 0), []step{disc(1, largest), item(7, 6), item(7, 7)}, []string{"reset lost~0 -..7/6", "7/6", "7/7"}},
		{"a page that has passed, and stays", at(0, 0), []step{item(7, 5), item(6, 1), item(6, 2), item(6, 3), item(6, 4)},
			[]string{"7/5", "reset lost~0 7/5..6/3", "6/3", "6/4"}},
		{"a page that has passed is sent again", at(0, 0), []step{item(7, 4), item(7, 5), item(9, 1), item(7, 3), item(7, 4), item(7, 5), item(7, 5), item(9, 2)},
			[]string{"7/4", "7/5", "reset lost~0 7/5..9/1", "9/1", "9/2"}},
		{"a page that has passed, here and there", at(0, 0), []step{item(7, 5), item(6, 1), item(6, 2), item(7, 6), item(6, 3), item(6, 5), item(6, 6), item(7, 7)},
			[]string{"7/5", "7/6", "7/7"}},
		{"after a position of a later life", at(9, 5), []step{disc(1, 7), item(7, 2)}, []string{"reset lost~0 9/5..7/2", "7/2"}},
		{"after a position of a later life, on a quiet topic", at(9, 5), []step{disc(1, 7), heartbeat, item(7, 2)}, []string{"reset lost~0 9/5..-", "7/2"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := &feed{seq: newSequencer(test.after)}
			for _, s := range test.steps {
				s(f)
			}
			require.Equal(t, test.want, f.out)
		})
	}
}

// model is a topic as the service keeps it, and a subscriber behind a
// sequencer. It knows what was published and what the subscriber was told.
type model struct {
	t    testing.TB
	next func(n int) int // the script
	seq  sequencer

	page, head uint64 // the newest message
	lowest     uint64 // of this page, the oldest still retained
	bad, lost  map[pubsub.Position]bool
	passed     pubsub.Position // the last message sent or lost

	heard    pubsub.Position // the last message delivered
	reported uint64          // lost since then
	exact    bool            // every report since then was exact
	told     bool            // there was a report since then
	floor    pubsub.Position // the last message that is not owed
	slack    uint64          // so many behind it may be missing unnoticed
}

func (m *model) report(d *pubsub.Discontinuity) {
	if d == nil {
		return
	}
	require.NotZero(m.t, d.Cause)
	if d.Exact {
		require.NotZero(m.t, d.Lost, "an exact report of nothing: %+v", d)
	}
	m.told = true
	m.exact = m.exact && d.Exact
	m.reported += d.Lost
}

func (m *model) send(p pubsub.Position) {
	fresh := p.Compare(m.passed) > 0
	if fresh {
		m.passed = p
	}
	if m.bad[p] {
		m.seq.unreadable(errors.New("bad"))
		return
	}
	d, ok := m.seq.item(p)
	m.report(d)
	if !ok {
		require.False(m.t, fresh, "%v was dropped", p)
		return
	}
	require.Positive(m.t, p.Compare(m.heard), "%v after %v: a duplicate or out of order", p, m.heard)
	switch {
	case p.Page == m.floor.Page:
		missing := max(p.Sequence, m.floor.Sequence+1) - m.floor.Sequence - 1
		if m.exact && m.slack == 0 {
			require.Equal(m.t, missing, m.reported, "before %v", p)
		}
		require.LessOrEqual(m.t, m.reported, missing, "before %v", p)
		if missing > m.slack {
			require.True(m.t, m.told, "silent loss before %v", p)
		}
	case m.slack <= 1: // otherwise nothing had told it the page
		require.True(m.t, m.told, "silent page change before %v", p)
	}
	m.heard, m.floor, m.slack = p, p, 0
	m.reported, m.exact, m.told = 0, true, false
}

// announce sends a discontinuity before the message numbered n, in either of
// the two readings.
func (m *model) announce(n uint64) { m.seq.discontinuity(n-uint64(m.next(2)), m.page) }

func (m *model) publish(n int) {
	for range n {
		m.head++
	}
}

func (m *model) lose(n int) {
	m.publish(n)
	m.passed = at(m.page, m.head)
}

// announceLoss announces that n messages were lost.
func (m *model) announceLoss(n int) {
	for range n {
		m.lose(1)
		m.lost[m.passed] = true
	}
	m.announce(m.head + 1)
}

// outage breaks the stream while n messages are published, of which some may
// be gone when it comes back.
func (m *model) outage(n int) {
	if !m.seq.uncertain() || m.next(2) == 0 {
		m.report(m.seq.quiet())
	}
	m.publish(n)
	m.lowest = max(m.lowest, m.head+1-min(m.head, uint64(m.next(8))))
	p := m.seq.resumeAt()
	m.report(m.seq.resubscribed())
	from := p.Sequence
	switch {
	case m.seq.adrift: // it knows, but does not ask
		if m.next(2) == 0 {
			m.announce(m.head + 1)
		}
		return
	case p.Sequence == 0: // the subscriber knows nothing
		m.heard = pubsub.Position{}
		m.join()
		return
	case p.Page != m.page:
		if m.next(2) == 0 {
			m.announce(m.lowest)
		}
		from = m.lowest
	case p.Sequence < m.lowest:
		if m.next(2) == 0 {
			m.announce(m.lowest)
		}
		from = m.lowest
	}
	if back := uint64(m.next(3)); from > back+m.lowest && p.Page == m.page {
		from -= back // some services begin earlier than asked
	}
	for n := from; n <= m.head; n++ {
		if m.lost[at(m.page, n)] {
			continue // it has none that it announced as lost
		}
		m.send(at(m.page, n))
	}
}

// join subscribes to what comes from now on. Nothing tells the subscriber the
// number of the next message, unless the service names it; then it is
// uncertain by one.
func (m *model) join() {
	m.floor, m.slack = at(m.page, m.head), math.MaxUint64
	m.passed = m.floor
	m.reported, m.exact, m.told = 0, true, false
	if m.next(2) == 0 {
		m.announce(m.head + 1)
		if m.seq.numbered { // it named more than the page
			m.slack = 1
		}
	}
}

func (m *model) run(steps int) {
	m.page, m.head, m.lowest = 3, uint64(m.next(5)), 1
	m.bad, m.lost = make(map[pubsub.Position]bool), make(map[pubsub.Position]bool)
	m.join()
	if m.next(3) == 0 {
		m.seq = newSequencer(at(m.page, m.head))
		m.heard, m.slack = at(m.page, m.head), 0
	}
	for range steps {
		switch m.next(13) {
		case 0, 1, 2:
			m.publish(1)
			m.send(at(m.page, m.head))
		case 3: // lost without a word
			m.lose(1 + m.next(4))
		case 4: // lost and announced
			m.announceLoss(1 + m.next(4))
		case 5:
			m.report(m.seq.quiet())
		case 6: // sent again
			for n := m.head - min(m.head, uint64(m.next(5))); n < m.head; n++ {
				if p := at(m.page, n+1); p.Compare(m.heard) <= 0 {
					m.send(p)
				}
			}
		case 7:
			m.outage(m.next(6))
		case 8: // the service forgets the topic
			m.page += 1 + uint64(m.next(3))
			m.head, m.lowest = 0, 1
			if m.next(2) == 0 {
				m.announceLoss(m.next(3))
			}
			m.publish(1)
			m.send(at(m.page, m.head))
		case 9: // of an old page
			if m.seq.at.Page != m.page {
				break // which the subscriber cannot know
			}
			m.send(at(m.page-1, 1000))
			if !m.seq.opening { // when it is believed
				m.seq.discontinuity(2000, m.page-1)
			}
		case 10: // arrives, but cannot be read
			m.publish(1)
			m.bad[at(m.page, m.head)] = true
			m.send(at(m.page, m.head))
		case 11: // too large
			m.publish(1)
			m.bad[at(m.page, m.head)] = true
			m.passed = at(m.page, m.head)
			m.seq.broken(errors.New("too large"))
			m.outage(0)
		case 12: // announces what cannot be
			if m.seq.numbered && !m.seq.opening {
				m.seq.discontinuity(math.MaxUint64-uint64(m.next(9)), m.page)
			}
		}
	}
	m.publish(1)
	m.send(at(m.page, m.head))
}

// TestSequencerAgainstModel checks, with random topics and faults, that what
// is delivered and what is reported lost is what was published: in order,
// without duplicates, nothing silently missing.
func TestSequencerAgainstModel(t *testing.T) {
	for seed := range uint64(5_000) {
		r := rand.New(rand.NewPCG(seed, 1))
		m := &model{t: failWith{t, fmt.Sprintf("seed %d", seed)}, next: r.IntN}
		m.run(40)
	}
}

type failWith struct {
	testing.TB
	prefix string
}

func (f failWith) Errorf(format string, args ...any) {
	f.TB.Errorf("%s: "+format, append([]any{f.prefix}, args...)...)
}

func FuzzSequencer(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11})
	f.Fuzz(func(t *testing.T, script []byte) {
		m := &model{t: t}
		steps := len(script)
		m.next = func(n int) int {
			if len(script) == 0 {
				return 0
			}
			b := script[0]
			script = script[1:]
			return int(b) % n
		}
		m.run(steps)
	})
}

package quickstart

import (
	"context"
	"io"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/memory"
	"github.com/topicbus/pubsub/codec"
)

// row is a line of the summary.
type row struct {
	topic, subscriber          string
	published, delivered, lost int
}

var rowPattern = regexp.MustCompile(`(?m)^(quotes/\S+) +(\S+) +\S+ +(\d+) +(\d+) +(\d+) `)

func summary(t *testing.T, out string) []row {
	t.Helper()
	number := func(s string) int {
		n, err := strconv.Atoi(s)
		require.NoError(t, err)
		return n
	}
	var rows []row
	for _, m := range rowPattern.FindAllStringSubmatch(out, -1) {
		rows = append(rows, row{m[1], m[2], number(m[3]), number(m[4]), number(m[5])})
	}
	require.Len(t, rows, 7, "one line for each subscriber in:\n%s", out)
	return rows
}

// requireNothingUnaccounted checks the law for every subscriber.
func requireNothingUnaccounted(t *testing.T, rows []row) {
	t.Helper()
	for _, r := range rows {
		require.Equal(t, r.published, r.delivered+r.lost, "delivered + lost = published: %+v", r)
	}
}

// overMemory runs the program as examples/quickstart does.
func overMemory(ctx context.Context, out io.Writer) error {
	backend := memory.New(memory.WithPage(1))
	defer backend.Close()
	return Run(ctx, backend, codec.Value[Quote](), 2*time.Millisecond, out, io.Discard)
}

func TestRun(t *testing.T) {
	// In fake time the readers keep up, except for the slow one, on any machine.
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		require.NoError(t, overMemory(t.Context(), &out))
		rows := summary(t, out.String())
		requireNothingUnaccounted(t, rows)
		for _, r := range rows {
			want := 123
			if r.topic == "quotes/GOOG" { // went public in 2004
				want = 68
			}
			require.Equal(t, want, r.published, r.topic)
			if r.subscriber == "slow" {
				require.NotZero(t, r.lost, "the slow reader shows what an overflow looks like")
			} else {
				require.Zero(t, r.lost, "%s on %s keeps up", r.subscriber, r.topic)
			}
		}
		require.Contains(t, out.String(), "223.02 in Mar 2010", "the highest price of AAPL in the data set")
		require.Contains(t, out.String(), "560 quotes published")
		require.Contains(t, out.String(), "0 unaccounted for")
	})
}

func TestHolesAreShownInPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		require.NoError(t, overMemory(t.Context(), &out))
		stretch := regexp.MustCompile(`^slow: 1/(\d+) to 1/(\d+) received$`)
		hole := regexp.MustCompile(`^slow: .* (\d+) messages? lost \(overflow\) after 1/(\d+), resuming at 1/(\d+)`)
		number := func(s string) int { n, _ := strconv.Atoi(s); return n }
		next, holes := 1, 0
		for line := range strings.Lines(out.String()) {
			line = strings.TrimSpace(line)
			if m := stretch.FindStringSubmatch(line); m != nil {
				require.Equal(t, next, number(m[1]), "%q goes on where the line before it ended", line)
				next = number(m[2]) + 1
			} else if m := hole.FindStringSubmatch(line); m != nil {
				require.Equal(t, next-1, number(m[2]), line)
				require.Equal(t, number(m[3])-next, number(m[1]), line)
				next = number(m[3])
				holes++
			}
		}
		require.Equal(t, 124, next, "the lines cover all 123 messages:\n%s", out.String())
		require.Positive(t, holes)
	})
}

func TestInterruptDrains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		start := time.Now()
		var out strings.Builder
		require.NoError(t, overMemory(ctx, &out))
		require.Less(t, time.Since(start), 600*time.Millisecond, "the end does not wait for the slow reader's stalls")
		rows := summary(t, out.String())
		requireNothingUnaccounted(t, rows)
		require.Positive(t, rows[0].delivered, "what came before the interrupt")
		require.NotContains(t, out.String(), "Jan 0001", "nothing is found where nothing came")
		for _, r := range rows {
			require.Less(t, r.published, 123, r.topic)
		}
	})
}

func TestPublishStopsWhenAPipeFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backend := memory.New(memory.WithPage(1))
		backend.FailPublishes(1, pubsub.ErrUnavailable)
		bus := pubsub.New(backend, codec.Value[Quote]())
		defer bus.Close()
		quotes, err := readQuotes()
		require.NoError(t, err)
		require.ErrorIs(t, publish(t.Context(), bus, quotes, time.Second), pubsub.ErrUnavailable)
		require.Less(t, bus.Stats().Published, uint64(len(quotes)), "not the rest of the quotes")
	})
}

func TestFlags(t *testing.T) {
	parse := func(args string) (*Flags, bool, string, error) {
		var usage strings.Builder
		flags := NewFlags(&usage, "a second")
		ok, err := flags.Parse(strings.Fields(args))
		return flags, ok, usage.String(), err
	}
	for _, c := range []struct{ args, want string }{
		{"-every -1s", "negative"},
		{"-nonsense", "not defined"},
		{"stray", `unexpected argument "stray"`},
	} {
		_, ok, _, err := parse(c.args)
		require.False(t, ok)
		require.ErrorContains(t, err, c.want, c.args)
	}
	_, ok, usage, err := parse("-h")
	require.NoError(t, err)
	require.False(t, ok, "there is nothing left to do")
	require.Contains(t, usage, "default a second")
	flags, ok, _, err := parse("-every 3s")
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, 3*time.Second, flags.Every)
}

package check

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The first lines of every case: five messages of one publisher, all accepted.
const published = `P t p 1 ok 11 100 110
P t p 2 ok 12 200 210
P t p 3 ok 13 300 310
P t p 4 ok 14 400 410
P t fin 1 ok 15 500 510
`

// run has the lines checked. A subscription s is there unless they begin one.
func run(t *testing.T, lines string) ([]string, Tally) {
	t.Helper()
	c := New("fin")
	if !strings.Contains(lines, "S s ") {
		lines = "S s t all - 50 -\n" + lines
	}
	for line := range strings.Lines(published + lines) {
		require.NoError(t, c.Add(strings.TrimSpace(line)))
	}
	return c.Finish()
}

func TestWhatIsKept(t *testing.T) {
	for name, lines := range map[string]string{
		"all":                     "M s p 1 1/1 11\nM s p 2 1/2 12\nM s p 3 1/3 13\nM s p 4 1/4 14\nM s fin 1 1/5 15\nE s fin 600 5 0 - \"\"",
		"a hole with a count":     "M s p 1 1/1 11\nG s backend 2 true 1/1 1/4\nM s p 4 1/4 14\nM s fin 1 1/5 15\nE s fin 600 3 2 - \"\"",
		"a hole in two gaps":      "M s p 1 1/1 11\nG s backend 1 true 1/1 1/3\nG s decode 1 true 1/2 1/4\nM s p 4 1/4 14\nM s fin 1 1/5 15\nE s fin 600 3 2 - \"\"",
		"a hole without a count":  "M s p 1 1/1 11\nG s reconnect 0 false 1/1 1/4\nM s p 4 1/4 14\nM s fin 1 1/5 15\nE s fin 600 3 0 - \"\"",
		"another page":            "M s p 1 1/1 11\nG s reset 0 false 1/1 2/1\nM s p 4 2/1 14\nM s fin 1 2/2 15\nE s fin 600 3 0 - \"\"",
		"resumed":                 "S s t all 1/2 50 resumed\nM s p 3 1/3 13\nM s p 4 1/4 14\nM s fin 1 1/5 15\nE s fin 600 3 0 - \"\"",
		"a hole before its time":  "S s t all 1/1 350 -\nM s p 4 1/4 14\nM s fin 1 1/5 15\nE s fin 600 2 0 0 \"\"",
		"a page before its time":  "S s t all 1/1 350 -\nM s p 4 2/4 14\nM s fin 1 2/5 15\nE s fin 600 2 0 0 \"\"",
		"of an earlier round":     "O t old 7 ok 7 1 2\nS s t all 1/0 350 -\nM s old 7 1/1 7\nM s p 4 1/2 14\nM s fin 1 1/3 15\nE s fin 600 3 0 0 \"\"",
		"joined late":             "S s t all - 350 -\nM s p 4 1/4 14\nM s fin 1 1/5 15\nE s fin 600 2 0 - \"\"",
		"a channel, gap early":    "S s t c 1/0 50 resumed\nG s backend 2 true 1/1 1/4\nM s p 1 1/1 11\nM s p 4 1/4 14\nM s fin 1 1/5 15\nE s fin 600 9 9 - \"\"",
		"closed":                  "M s p 1 1/1 11\nE s closed 150 1 0 3 \"\"",
		"closed, some dropped":    "S s t next - 50 direct\nM s p 1 1/1 11\nE s closed 350 1 0 2 \"\"",
		"drained, a loss counted": "S s t next - 50 direct\nM s p 1 1/1 11\nG s backend 2 true 1/1 1/4\nE s drained 350 1 2 0 \"\"\n",
		"unknown, and late":       "P t q 1 unknown 1 1 2\nP t q 2 ok 2 3 4\nM s q 2 1/1 2\nM s q 1 1/2 1\nE s closed 150 2 0 - \"\"",
		"killed":                  "M s p 1 1/1 11\nE s killed 150 0 0 - \"\"",
	} {
		t.Run(name, func(t *testing.T) {
			violations, tally := run(t, lines)
			require.Empty(t, violations)
			require.EqualValues(t, 5+strings.Count(lines, "P t q 2 ok"), tally.Accepted)
			require.EqualValues(t, 1, tally.Subscriptions)
			require.NotZero(t, tally.Received)
		})
	}
}

var flags = regexp.MustCompile(` of t, [a-z,-]+\)`)

func TestWhatIsViolated(t *testing.T) {
	const rest = "M s fin 1 1/5 15\n"
	for _, c := range []struct{ rule, lines string }{
		{"holes: s (all of t): 2 missing between 1/1 and 1/4, and nothing was reported", "M s p 1 1/1 11\nM s p 4 1/4 14"},
		{"holes: s (all of t): 1 reported lost between 1/1 and 1/4, where 2 are missing", "M s p 1 1/1 11\nG s backend 1 true 1/1 1/4\nM s p 4 1/4 14"},
		{"holes: s (all of t): 3 reported lost between 1/1 and 1/4, where 2 are missing", "M s p 1 1/1 11\nG s backend 3 true 1/1 1/4\nM s p 4 1/4 14"},
		{"holes: s (all of t): at least 3 reported lost", "M s p 1 1/1 11\nG s backend 3 false 1/1 1/4\nM s p 4 1/4 14"},
		{"holes: s (all of t): 1 reported lost between 1/1 and 1/2, where 0 are missing", "M s p 1 1/1 11\nG s backend 1 true 1/1 1/2\nM s p 2 1/2 12"},
		{"the page changes from 1/1 to 2/1, and nothing was reported", "M s p 1 1/1 11\nM s p 2 2/1 12"},
		{"a gap after 1/1, when 1/2 was received", "M s p 2 1/2 12\nG s backend 1 true 1/1 1/4\nM s p 4 1/4 14"},
		{"a gap from 1/3 to 1/3", "M s p 2 1/2 12\nG s backend 1 true 1/3 1/3\nM s p 4 1/4 14"},
		{"holes: s (c of t): 0 reported lost between 1/0 and 1/5, where 2 are missing", "S s t c 1/0 50 resumed\nG s overflow 0 true - -\nM s p 1 1/1 11\nM s p 4 1/4 14\n" + rest + "E s fin 600 3 0 - \"\""},
		{"order: s (all of t): p#1 after #2", "M s p 2 1/2 12\nM s p 1 1/3 11"},
		{"order: s (all of t): p#1 twice", "M s p 1 1/1 11\nM s p 1 1/2 11"},
		{"order: s (all of t): p#2 at 1/1 after 1/1", "M s p 1 1/1 11\nM s p 2 1/1 12"},
		{"source: s (all of t): q#1 was not published", "M s q 1 1/1 11"},
		{"source: s (all of t): p#1 was changed", "M s p 1 1/1 12"},
		{"source: s (all of t): q#1 was received, and its publish said", "P t q 1 no 1 1 2\nM s q 1 1/1 1"},
		{"one place: r (all of t): 1/1 is p#2, and p#1 for others", "M s p 1 1/1 11\nS r t all - 50 -\nM r p 2 1/1 12"},
		{"start: s (all of t): began with 1/3, and p#2 at 1/2", "M s p 3 1/3 13\nS r t all - 50 -\nM r p 1 1/1 11\nM r p 2 1/2 12\nM r p 3 1/3 13"},
		{"start: s (all of t): began with 1/3, and p#2 at 1/2", "S s t all 1/0 50 -\nM s p 3 1/3 13\nS r t all - 50 -\nM r p 1 1/1 11\nM r p 2 1/2 12\nM r p 3 1/3 13"},
		{"holes: s (all of t): 3 reported lost between 1/1 and 1/4", "S s t all 1/1 50 -\nG s backend 3 true 1/1 1/4\nM s p 4 1/4 14"},
		{"holes: s (all of t): 1 missing between 1/2 and 1/4", "S s t all 1/2 50 resumed\nM s p 4 1/4 14"},
		{"end: s (all of t): read to the end without the last message", "M s p 1 1/1 11\nE s fin 600 1 0 - \"\""},
		{"end: s (all of t): the last message did not come", "M s p 1 1/1 11\nE s stuck 600 1 0 - \"\""},
		{"end: s (all of t): ended by itself: not found", "M s p 1 1/1 11\nE s failed 600 1 0 - \"not found\""},
		{"end: s (next of t): 2 messages were accepted before the end and not received", "S s t next - 50 direct\nM s p 1 1/1 11\nE s drained 350 1 0 - \"\""},
		{"end: s (next of t): 2 messages were accepted before the end and not received, such as p#", "S s t next - 50 direct\nM s p 1 1/1 11\nE s ctx 350 1 0 1 \"\""},
		{"counters: s (all of t): 2 delivered, 1 received", "M s p 1 1/1 11\nE s closed 600 2 0 - \"\""},
		{"counters: s (all of t): 2 counted as lost, 0 reported", "M s p 1 1/1 11\nE s closed 600 1 2 - \"\""},
	} {
		t.Run(c.rule, func(t *testing.T) {
			violations, _ := run(t, c.lines)
			require.Contains(t, flags.ReplaceAllString(strings.Join(violations, "\n"), " of t)"), c.rule)
		})
	}
}

func TestWhatIsNoRecord(t *testing.T) {
	for _, lines := range []string{
		"X s", "M nobody p 1 1/1 1", "S s t all", "S s t all 1 2 3", "S s t all - 1 -\nS s t all - 1 -", "S s t all - 1 -\nM s p x 1/1 1",
		"P t p 1 ok 1 1 1\nP t p 1 ok 1 1 1", "S s t all - 1 -\nE s closed 1 0 0 - \"\"\nM s p 1 1/1 1", "S s t all - 1 -\nE s closed 1 0 0 - x",
	} {
		c, failed := New("fin"), false
		for line := range strings.Lines(lines) {
			failed = c.Add(strings.TrimSpace(line)) != nil
		}
		require.True(t, failed, lines)
	}
}

func TestOpenAndLast(t *testing.T) {
	c := New("fin")
	for _, line := range []string{"S a t all - 1 -", "S b t all 1/7 1 -", "M a p 1 1/1 1", "G a backend 1 true 1/1 1/3", `E a closed 1 1 1 - ""`} {
		require.NoError(t, c.Add(line))
	}
	require.Equal(t, []string{"b"}, c.Open())
	require.Equal(t, "1/1", c.Last("a"))
	require.Equal(t, "1/7", c.Last("b"))
	require.Equal(t, "-", c.Last("c"))
}

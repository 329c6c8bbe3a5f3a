package main

import (
	"context"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// A test runs the program as a process by starting the test binary with this.
const asProgram = "ORDERS_TEST_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	goleak.VerifyTestMain(m)
}

// outcome is the summary's last line.
type outcome struct{ published, placed, dead, lost, missing int }

var outcomePattern = regexp.MustCompile(`(?m)^(\d+) orders published in \S+: (\d+) placed, (\d+) dead letters, (\d+) reported lost, (\d+) unaccounted for$`)

func outcomeOf(t *testing.T, out string) outcome {
	t.Helper()
	m := outcomePattern.FindStringSubmatch(out)
	require.NotNil(t, m, "no summary in:\n%s", out)
	var n [5]int
	for i := range n {
		var err error
		n[i], err = strconv.Atoi(m[i+1])
		require.NoError(t, err)
	}
	require.Contains(t, out, "; 0 orders out of order\n")
	return outcome{n[0], n[1], n[2], n[3], n[4]}
}

// buffer is what a program writes to while a test reads.
type buffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// All orders are placed, in order, though the broker was down; those that no
// broker takes are dead letters.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out buffer
		require.NoError(t, run(t.Context(), nil, &out, io.Discard))
		require.Equal(t, outcome{published: 560, placed: 542, dead: 18}, outcomeOf(t, out.String()))
		require.Contains(t, out.String(), "the broker goes down, for 300ms\nthe broker is back\n")
		require.Contains(t, out.String(), "dead letter: order 369, 0 of GOOG: broker: no shares for 501.50 a piece\n")
	})
}

// An outage that lasts longer than orders are tried again makes dead letters.
func TestLongOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out buffer
		require.NoError(t, run(t.Context(), []string{"-outage", "10s"}, &out, io.Discard))
		got := outcomeOf(t, out.String())
		require.Equal(t, 560, got.placed+got.dead)
		require.Greater(t, got.dead, 18)
		require.Contains(t, out.String(), "connection refused")
	})
}

// A signal in the middle of the outage loses nothing either.
func TestInterruptLosesNothing(t *testing.T) {
	for _, outage := range []string{"300ms", "1h"} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			var out buffer
			time.AfterFunc(450*time.Millisecond, cancel)
			require.NoError(t, run(ctx, []string{"-outage", outage}, &out, io.Discard))
			got := outcomeOf(t, out.String())
			require.Less(t, got.published, 560)
			require.Equal(t, got.published, got.placed+got.dead)
			require.Zero(t, got.lost)
			require.Contains(t, out.String(), "the broker goes down")
		})
	}
}

// Over TCP nothing is in step, but the account is the same.
func TestMomento(t *testing.T) {
	var out buffer
	require.NoError(t, run(t.Context(), strings.Fields("-backend momento -local -every 100us -outage 50ms"), &out, io.Discard))
	got := outcomeOf(t, out.String())
	require.Equal(t, 560, got.published)
	require.Equal(t, 560, got.placed+got.dead+got.lost)
	require.Zero(t, got.missing)
}

func TestFlags(t *testing.T) {
	for args, want := range map[string]string{
		"-backend pigeon": `-backend "pigeon": use memory or momento`,
		"-every -1s":      "must not be negative",
		"-outage -1s":     "must not be negative",
		"-nonsense":       "not defined",
		"stray":           `unexpected argument "stray"`,
	} {
		require.ErrorContains(t, run(t.Context(), strings.Fields(args), io.Discard, io.Discard), want, args)
	}
	require.NoError(t, run(t.Context(), []string{"-h"}, io.Discard, io.Discard))
}

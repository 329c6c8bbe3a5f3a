package pubsubtest

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/memory"
)

// bare hides all of a backend but the seam.
type bare struct{ pubsub.Backend }

func bareHarness(without ...string) Harness {
	return Harness{
		New:     func(testing.TB) Target { return Target{Backend: bare{memory.New()}} },
		Without: without,
	}
}

var allCapabilities = []string{
	"Close", "Disconnect", "EndStreams", "FailPublish", "FailSubscribe", "Heartbeat", "History",
	"Lose", "MaxPayload", "Numbered", "Publish", "Reconnect", "Reset", "Streams",
}

func TestMissingCapabilitiesMustBeStated(t *testing.T) {
	f := rehearse(t, func(tb testing.TB) { checkHarness(tb, bareHarness("Close", "Lose")) })
	require.True(t, f.failed)
	require.Contains(t, f.text(), `Without: []string{"Disconnect", "EndStreams", "FailPublish", "FailSubscribe", "Heartbeat", "History", "MaxPayload", "Numbered", "Publish", "Reconnect", "Reset", "Streams"}`)

	f = rehearse(t, func(tb testing.TB) { checkHarness(tb, bareHarness(allCapabilities...)) })
	require.False(t, f.failed, f.text())
}

func TestStatementsMustBeTrue(t *testing.T) {
	h := bareHarness(append(allCapabilities, "Telepathy")...)
	h.New = func(testing.TB) Target { return Target{Backend: bare{memory.New()}, Numbered: true} }
	f := rehearse(t, func(tb testing.TB) { checkHarness(tb, h) })
	require.Contains(t, f.text(), `"Telepathy", which is no field of Target`)
	require.Contains(t, f.text(), `"Numbered", but the Target has it`)
}

func TestHarnessWithoutBackend(t *testing.T) {
	h := Harness{New: func(testing.TB) Target { return Target{} }}
	f := rehearse(t, func(tb testing.TB) { checkHarness(tb, h) })
	require.True(t, f.failed)
	require.Contains(t, f.text(), "Target.Backend is nil")
}

// What is not checked is named; what can be checked is.
func TestCasesWithoutCapabilities(t *testing.T) {
	for _, c := range cases() {
		f := rehearse(t, func(tb testing.TB) { c.test(tb, bareHarness(allCapabilities...)) })
		require.False(t, f.failed, "%s: %s", c.name, f.text())
		require.Equal(t, len(c.needs) > 0, f.skipped, c.name)
		if f.skipped {
			require.Contains(t, f.text(), "NOT CHECKED")
			require.Contains(t, f.text(), string(c.needs[0]))
			require.Contains(t, f.text(), c.clause)
		}
	}
}

func TestRunOfBareBackend(t *testing.T) { Run(t, bareHarness(allCapabilities...)) }

func TestCaseNames(t *testing.T) {
	seen := make(map[string]bool)
	for _, c := range cases() {
		require.False(t, seen[c.name], "two cases are called %s", c.name)
		seen[c.name] = true
		require.True(t, strings.HasSuffix(c.clause, "."), "%s: %s", c.name, c.clause)
	}
}

package pubsubtest

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/memory"
)

// bare hides all of a backend but what it must do.
type bare struct{ pubsub.Backend }

func (b bare) Subscribe(ctx context.Context, topic string, from pubsub.Start) (pubsub.Stream, error) {
	s, err := b.Backend.Subscribe(ctx, topic, from)
	if err != nil {
		return nil, err
	}
	return bareStream{s}, nil
}

type bareStream struct{ pubsub.Stream }

// Start cannot tell.
func (bareStream) Start() pubsub.Position { return pubsub.Position{} }

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
	for _, c := range cases() {
		f := rehearse(t, func(tb testing.TB) { c.test(tb, h, new(unchecked)) })
		require.True(t, f.failed)
		require.Contains(t, f.text(), "Target.Backend is nil")
	}
}

// The end of a case waits for Close, but not for ever.
func TestHarnessOfABackendThatDoesNotClose(t *testing.T) {
	h := bareHarness(allCapabilities[1:]...)
	h.New = func(testing.TB) Target {
		return Target{Backend: &broken{Backend: memory.New(), close: func() error { time.Sleep(50 * time.Minute); return nil }}}
	}
	f := rehearse(t, func(tb testing.TB) { checkHarness(tb, h) })
	require.False(t, f.failed, f.text())
	require.Less(t, f.took, maxWait)
}

// What is not checked is named; what can be checked is.
func TestCasesWithoutCapabilities(t *testing.T) {
	var left unchecked
	for _, c := range cases() {
		f := rehearse(t, func(tb testing.TB) { c.test(tb, bareHarness(), &left) }) // stated or not
		require.False(t, f.failed, "%s: %s", c.name, f.text())
		require.Equal(t, len(c.needs) > 0, f.skipped, c.name)
		if f.skipped {
			require.Contains(t, f.text(), "NOT CHECKED")
			require.Contains(t, f.text(), string(c.needs[0]))
			require.Contains(t, f.text(), c.clause)
			require.Contains(t, left.cases, c.name)
		}
	}
	require.Contains(t, left.String(), "not checked, because the Target has no BatchPublisher, Close, Disconnect, EndStreams, FailAccepted, FailPublish, "+
		"FailSubscribe, Flusher, Heartbeat, History, Holder, Lose, MaxPayload, Numbered, Publish, Reconnect, Reset, RunStream, Start, "+
		"Start of an empty topic, Streams, TopicBackend or ValueCarrier:\n\tPublish/error\n\tPayload/limit\n")
}

func TestUncheckedIsInWords(t *testing.T) {
	var left unchecked
	left.add("Receive/gap-place", []capability{lose})
	require.Equal(t, "not checked, because the Target has no Lose:\n\tReceive/gap-place", left.String())
	left.add("Receive/reset", []capability{reset})
	left.add("Receive/gap-count", []capability{lose})
	require.Equal(t, "not checked, because the Target has no Lose or Reset:\n\tReceive/gap-place\n\tReceive/reset\n\tReceive/gap-count", left.String())
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

package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/nats"
	"github.com/topicbus/pubsub/backend/nats/natstest"
	"github.com/topicbus/pubsub/codec"
)

const patience = time.Minute

// The test binary is the program too.
func TestMain(m *testing.M) {
	if os.Getenv("RESUME_EXAMPLE") == "" {
		os.Exit(m.Run())
	}
	main()
}

// TestReset: when the stream was deleted and made again, the journal goes on with
// the new one's positions, and a reader that is started again there reports
// nothing twice.
func TestReset(t *testing.T) {
	server, err := natstest.NewServer()
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, server.Close()) })
	nc, err := server.Connect()
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	backend, err := nats.New(server.URL())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, backend.Close()) })
	numbers := pubsub.New(backend, codec.JSON[int]()).Topic(topic)
	publish := func(n int) {
		require.Eventually(t, func() bool { return numbers.Publish(t.Context(), n) == nil }, patience, 5*time.Millisecond)
	}
	journal := filepath.Join(t.TempDir(), "got")
	read := func(until string) (lines []string) {
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- run(ctx, []string{"-url", server.URL(), "-journal", journal, "read"}) }()
		require.Eventually(t, func() bool {
			contents, _ := os.ReadFile(journal)
			lines = strings.Split(strings.TrimSpace(string(contents)), "\n")
			return strings.HasSuffix(lines[len(lines)-1], until)
		}, patience, 5*time.Millisecond)
		stop()
		require.NoError(t, <-done)
		return lines
	}
	publish(1)
	publish(2)
	read(" 2")
	for name := range js.StreamNames(t.Context()).Name() {
		require.NoError(t, js.DeleteStream(t.Context(), name))
	}
	publish(3)
	lines := read(" 3")
	require.Len(t, lines, 4)
	page := func(line string) string { before, _, _ := strings.Cut(line, "/"); return before }
	assert.Contains(t, lines[2], " lost 0")
	assert.Equal(t, page(lines[3]), page(lines[2]))
	assert.NotEqual(t, page(lines[1]), page(lines[2]))

	// Killed before it noted the message.
	require.NoError(t, os.WriteFile(journal, []byte(strings.Join(lines[:3], "\n")+"\n"), 0o644))
	assert.Equal(t, lines, read(" 3"))
}

// TestKilled kills both processes again and again, by SIGKILL, and the server
// stops once meanwhile. Nothing that the publisher noted as accepted is missing,
// and nothing came twice.
func TestKilled(t *testing.T) {
	server, err := natstest.NewServer()
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, server.Close()) })
	dir := t.TempDir()
	sent, got := filepath.Join(dir, "sent"), filepath.Join(dir, "got")
	start := func(journal string, args ...string) *exec.Cmd {
		cmd := exec.Command(os.Args[0], append([]string{"-url", server.URL(), "-journal", journal}, args...)...)
		cmd.Env = append(os.Environ(), "RESUME_EXAMPLE=1")
		cmd.Stderr = os.Stderr
		require.NoError(t, cmd.Start())
		return cmd
	}
	kill := func(cmd *exec.Cmd) {
		require.NoError(t, cmd.Process.Kill())
		require.ErrorContains(t, cmd.Wait(), "killed")
	}
	lines := func(path string) []string {
		contents, _ := os.ReadFile(path)
		whole := string(contents[:strings.LastIndexByte(string(contents), '\n')+1])
		return strings.Fields(strings.ReplaceAll(whole, " ", "_"))
	}
	grows := func(path string) {
		before := len(lines(path))
		require.Eventually(t, func() bool { return len(lines(path)) > before+5 }, patience, 5*time.Millisecond, path)
	}
	publisher, reader := start(sent, "-every", "1ms", "publish"), start(got, "read")
	defer func() { kill(publisher); kill(reader) }()
	grows(got)
	for round := range 6 {
		kill(publisher)
		if round == 3 {
			server.Stop()
			server.Start()
		}
		publisher = start(sent, "-every", "1ms", "publish")
		grows(sent)
		kill(reader)
		grows(sent) // while nobody reads
		reader = start(got, "read")
		grows(got)
	}
	kill(publisher)
	accepted, err := strconv.Atoi(lines(sent)[len(lines(sent))-1])
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		return strings.HasSuffix(lines(got)[len(lines(got))-1], "_"+strconv.Itoa(accepted)) ||
			strings.HasSuffix(lines(got)[len(lines(got))-1], "_"+strconv.Itoa(accepted+1))
	}, patience, 5*time.Millisecond)

	var at pubsub.Position
	seen := make(map[int]bool)
	for _, line := range lines(got) {
		position, number, _ := strings.Cut(line, "_")
		p, err := pubsub.ParsePosition(position)
		require.NoError(t, err)
		n, err := strconv.Atoi(number)
		require.NoError(t, err, "nothing is reported lost")
		require.Equal(t, at.Sequence+1, p.Sequence, "each position once, in order")
		at, seen[n] = p, true
	}
	for n := range accepted {
		assert.True(t, seen[n+1], "%d was accepted and has not come", n+1)
	}
	publisher = start(sent, "publish")
}

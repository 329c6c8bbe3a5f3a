package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/nats/natstest"
)

const patience = time.Minute

// The test binary is the program too.
func TestMain(m *testing.M) {
	if os.Getenv("RESUME_EXAMPLE") == "" {
		os.Exit(m.Run())
	}
	main()
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

//go:build unix

package main

import (
	"bufio"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// The program itself, and the signal that a platform ends it with.
func TestSIGTERM(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-outage", "200ms", "-every", "10ms")
	cmd.Env = append(os.Environ(), asProgram+"=1")
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	cmd.Stderr = os.Stderr
	require.NoError(t, cmd.Start())
	var out strings.Builder
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		out.WriteString(lines.Text() + "\n")
		if strings.Contains(lines.Text(), "the broker goes down") {
			require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
		}
	}
	require.NoError(t, lines.Err())
	require.NoError(t, cmd.Wait())
	got := outcomeOf(t, out.String())
	require.Equal(t, got.published, got.placed+got.dead)
	require.Zero(t, got.missing)
}

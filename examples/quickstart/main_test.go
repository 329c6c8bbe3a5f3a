package main

import (
	"io"
	"os/exec"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/memory"
)

func TestQuickstart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // fake time: the pauses cost nothing
		var out strings.Builder
		require.NoError(t, run(t.Context(), nil, &out, io.Discard))
		require.Contains(t, out.String(), "560 quotes published in 1.12s")
		require.Contains(t, out.String(), "0 unaccounted for")
	})
}

// Inside one process nothing is encoded: a backend that carries bytes alone is
// refused.
func TestCarriesGoValues(t *testing.T) {
	backend := memory.New()
	defer backend.Close()
	bytesOnly := struct{ pubsub.Backend }{backend}
	err := over(t.Context(), bytesOnly, 0, io.Discard, io.Discard)
	require.ErrorContains(t, err, "a Go value cannot leave the process")
}

func TestArguments(t *testing.T) {
	var usage strings.Builder
	require.NoError(t, run(t.Context(), []string{"-h"}, io.Discard, &usage))
	require.Contains(t, usage.String(), "default 2ms")
	require.ErrorContains(t, run(t.Context(), []string{"stray"}, io.Discard, io.Discard), "stray")
}

// Whoever tries the library for the first time waits for nothing but the
// standard library and this module to compile.
func TestBuildsFromThisModuleAlone(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", ".").Output()
	require.NoError(t, err)
	deps := strings.Fields(string(out))
	require.Contains(t, deps, "github.com/topicbus/pubsub")
	for _, dep := range deps {
		require.True(t, strings.HasPrefix(dep, "github.com/topicbus/pubsub"), "%s is of another module", dep)
	}
}

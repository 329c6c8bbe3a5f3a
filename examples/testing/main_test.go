package main

import (
	"context"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestRunWithMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out, log strings.Builder
		require.NoError(t, run(t.Context(), nil, &out, &log))
		require.Contains(t, out.String(), "since change 300")
		require.Contains(t, out.String(), "up to date, with 2 snapshots loaded and 100 changes missed on the way")
		require.Contains(t, log.String(), "100 messages lost (reconnect)")
	})
}

func TestRunWithMomento(t *testing.T) {
	var out strings.Builder
	require.NoError(t, run(t.Context(), strings.Fields("-backend momento -local -changes 30"), &out, io.Discard))
	require.Contains(t, out.String(), "since change 30")
	require.Contains(t, out.String(), "up to date")
}

func TestRunIsInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 700*time.Millisecond) // within the outage
		defer cancel()
		begun := time.Now()
		require.NoError(t, run(ctx, nil, io.Discard, io.Discard))
		require.Equal(t, 700*time.Millisecond, time.Since(begun))
	})
}

func TestFlags(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"-backend pigeon", `-backend "pigeon": use memory or momento`},
		{"-backend momento", "-cache NAME, or -local"},
		{"-backend momento -cache c -local", "exclude each other"},
		{"-cache quotes", "need -backend momento"},
		{"-local", "need -backend momento"},
		{"-changes 2", "at least 3"},
		{"-every -1s", "negative"},
		{"-nonsense", "not defined"},
		{"stray", `unexpected argument "stray"`},
	} {
		err := run(t.Context(), strings.Fields(c.args), io.Discard, io.Discard)
		require.ErrorContains(t, err, c.want, c.args)
	}
	var usage strings.Builder
	require.NoError(t, run(t.Context(), []string{"-h"}, io.Discard, &usage))
	require.Contains(t, usage.String(), "-backend")
}

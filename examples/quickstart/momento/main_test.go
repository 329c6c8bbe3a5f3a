package main

import (
	"io"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Over TCP nothing is in step, but whatever is published is delivered or
// reported lost.
func TestMomento(t *testing.T) {
	var out strings.Builder
	require.NoError(t, run(t.Context(), strings.Fields("-local -every 500us"), &out, io.Discard))
	require.Regexp(t, regexp.MustCompile(`560 quotes published in .* to 7 subscribers: \d+ delivered, \d+ reported lost, 0 unaccounted for`), out.String())
}

func TestArguments(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"", "-cache NAME, or -local"},
		{"-cache c -local", "exclude each other"},
		{"-local stray", `unexpected argument "stray"`},
	} {
		require.ErrorContains(t, run(t.Context(), strings.Fields(c.args), io.Discard, io.Discard), c.want, c.args)
	}
	var usage strings.Builder
	require.NoError(t, run(t.Context(), []string{"-h"}, io.Discard, &usage))
	require.Contains(t, usage.String(), "-cache")
}

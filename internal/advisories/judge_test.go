package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	start    = `{"config":{"go_version":"go1.26.8","scan_level":"symbol"}} {"SBOM":{"modules":[{"path":"example.com/ours"},{"path":"example.com/net"}]}}`
	required = `{"finding":{"osv":"GO-2026-1","fixed_version":"v0.60.0","trace":[{"module":"example.com/net","version":"v0.58.0"}]}}`
	imported = `{"finding":{"osv":"GO-2026-1","fixed_version":"v0.60.0","trace":[{"module":"example.com/net","version":"v0.58.0","package":"example.com/net/http2"}]}}`
	reached  = `{"finding":{"osv":"GO-2026-1","fixed_version":"v0.60.0","trace":[
		{"module":"example.com/net","version":"v0.58.0","package":"example.com/net/http2","function":"ReadFrame","receiver":"*Framer"},
		{"module":"example.com/ours","package":"example.com/ours","function":"Dial"}]}}`
	unfixed = `{"finding":{"osv":"GO-2026-2","trace":[{"module":"example.com/net","version":"v0.58.0","package":"example.com/net","function":"Read"}]}}`
	library = `{"finding":{"osv":"GO-2026-3","fixed_version":"v1.26.9","trace":[{"module":"stdlib","version":"v1.26.8","package":"net/http","function":"Serve"}]}}
		{"finding":{"osv":"GO-2026-4","fixed_version":"v1.26.10","trace":[{"module":"stdlib","version":"v1.26.8","package":"os","function":"Open"}]}}`
	accept1 = "# why\n\nGO-2026-1 example.com/net@v0.58.0 only its frames are used\n"
)

// judged runs the command on an output.
func judged(t *testing.T, accepted string, output ...string) (string, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "accepted")
	require.NoError(t, os.WriteFile(file, []byte(accepted), 0o644))
	var out strings.Builder
	err := run([]string{file}, strings.NewReader(strings.Join(output, "\n")), &out)
	return out.String(), err
}

func TestReachableFails(t *testing.T) {
	_, err := judged(t, "", start, required, imported, reached, reached)
	require.ErrorContains(t, err, "1 problems:\nGO-2026-1 in example.com/net@v0.58.0: example.com/ours.Dial leads to example.com/net/http2.*Framer.ReadFrame. Fixed in v0.60.0.")
	_, err = judged(t, "", start, unfixed)
	require.ErrorContains(t, err, "Fixed in no version yet.")
}

func TestHarmlessPasses(t *testing.T) {
	out, err := judged(t, "", start, required, imported)
	require.NoError(t, err, "what is required or imported, and never called, does no harm")
	require.Equal(t, "scanned: example.com/ours\n", out)

	out, err = judged(t, accept1, start, reached)
	require.NoError(t, err)
	require.Contains(t, out, "GO-2026-1 in example.com/net@v0.58.0 is accepted: only its frames are used")

	out, err = judged(t, "", start, library, start)
	require.NoError(t, err)
	require.Contains(t, out, "2 more are in the standard library of go1.26.8: build programs with Go 1.26.10 or later")
	require.Contains(t, out, "scanned: example.com/ours, example.com/ours")
}

func TestAcceptedMustStillApply(t *testing.T) {
	_, err := judged(t, accept1, start)
	require.ErrorContains(t, err, "accepted but not found any more")
	_, err = judged(t, strings.ReplaceAll(accept1, "v0.58.0", "v0.57.0"), start, reached)
	require.ErrorContains(t, err, "2 problems", "another version must be looked at anew")
	for _, line := range []string{"GO-2026-1 example.com/net@v0.58.0", "GO-2026-1 example.com/net why", "why not"} {
		_, err = judged(t, line, start)
		require.ErrorContains(t, err, "line 1: want ADVISORY MODULE@VERSION REASON")
	}
}

// What looks like a scan that found nothing must have been one.
func TestNothingScannedFails(t *testing.T) {
	for _, output := range []string{
		"",
		`{"config":{"scan_level":"symbol"}}`,
		`{"config":{"scan_level":"module"}} {"SBOM":{"modules":[{"path":"example.com/ours"}]}}`,
		start + `{"finding":`,
		"govulncheck: no such database",
	} {
		_, err := judged(t, "", output)
		require.Error(t, err, output)
	}
}

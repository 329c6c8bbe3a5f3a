package pubsub_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/topicbus/pubsub"

// goList runs go list and returns the lines it prints.
func goList(t *testing.T, args ...string) []string {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list"}, args...)...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, stderr.String())
	return strings.Fields(string(out))
}

// under reports whether pkg is the package at path or below it.
func under(pkg, path string) bool { return pkg == path || strings.HasPrefix(pkg, path+"/") }

// What a package may need besides the standard library, tests aside. Whoever
// uses the bus over memory builds no transport, and whoever audits the core
// reads nothing but the core.
func TestDependencies(t *testing.T) {
	for _, c := range []struct {
		pkg     string
		allowed []string
	}{
		{module, []string{module + "/internal/ring", module + "/internal/clean"}},
		{module + "/internal/ring", nil},
		{module + "/internal/clean", nil},
		{module + "/internal/foreign", []string{module + "/internal/clean"}}, // of backends with different client libraries

		{module + "/internal/turns", []string{"github.com/cenkalti/backoff"}},
		{module + "/codec", []string{module}},
		{module + "/codec/protocodec", []string{module, "google.golang.org/protobuf"}},
		{module + "/codec/compress", []string{module, "github.com/klauspost/compress"}},
		{module + "/backend/memory", []string{module}},
		{module + "/consume", []string{module, "golang.org/x/sync", "github.com/cenkalti/backoff"}},
		{module + "/pubsubdebug", []string{module, module + "/internal/hosts", module + "/consume", "golang.org/x/sync", "github.com/cenkalti/backoff"}},
	} {
		deps := goList(t, "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", c.pkg)
		require.Contains(t, deps, c.pkg)
		for _, dep := range deps {
			if dep == c.pkg {
				continue
			}
			ok := slices.ContainsFunc(c.allowed, func(path string) bool {
				if path == module { // the root package and what it is made of, not the whole module
					return dep == module || dep == module+"/internal/ring" || dep == module+"/internal/clean"
				}
				return under(dep, path)
			})
			require.True(t, ok, "%s must not depend on %s, allowed are the standard library and %v", c.pkg, dep, c.allowed)
		}
	}
}

// gRPC and the Momento SDK are imported below backend/momento, nowhere else in
// the library. Benchmarks measure the SDK by itself, and programs (the soak and
// the fleet) may name its types.
func TestTransportStaysInItsBackend(t *testing.T) {
	transports := []string{"google.golang.org/grpc", "github.com/momentohq/client-sdk-go"}
	const format = `{{$pkg := .ImportPath}}{{range .Imports}}{{$pkg}}>{{.}} {{end}}{{range .TestImports}}{{$pkg}}>{{.}} {{end}}{{range .XTestImports}}{{$pkg}}>{{.}} {{end}}`
	imports := goList(t, "-f", format, module+"/...")
	require.Contains(t, imports, module+"/codec>"+module, "go list shows imports in the form this test reads")
	for _, line := range imports {
		pkg, imported, _ := strings.Cut(line, ">")
		if under(pkg, module+"/backend/momento") || under(pkg, module+"/bench") || under(pkg, module+"/examples") || under(pkg, module+"/internal/soak") || under(pkg, module+"/internal/fleet") {
			continue
		}
		for _, transport := range transports {
			require.False(t, under(imported, transport), "%s imports %s; only packages below backend/momento may", pkg, imported)
		}
	}
}

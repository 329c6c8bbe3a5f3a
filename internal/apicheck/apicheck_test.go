package apicheck

import (
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "rewrite the lists in the directory api")

func TestAPI(t *testing.T) {
	lookAtSources(t)
	for dir, file := range map[string]string{".": "pubsub.txt", "otel": "otel.txt"} {
		file = filepath.Join("../../api", file)
		got, err := list(filepath.Join("../..", dir))
		require.NoError(t, err)
		if *update {
			require.NoError(t, os.WriteFile(file, []byte(got), 0o644))
		}
		want, err := os.ReadFile(file)
		require.NoError(t, err)
		if d := diff(string(want), got); len(d) > 0 {
			t.Errorf("the exported API has changed:\n%s\nIf that is intended, run\n\tgo test ./internal/apicheck -update\n"+
				"and commit %s with the change. A line with - may break programs.", strings.Join(d, "\n"), filepath.Base(file))
		}
	}
}

// lookAtSources looks at every file that the lists depend on: go test takes a
// result from its cache unless something that the test itself looked at has
// changed, and what go list looks at does not count.
func lookAtSources(t *testing.T) {
	require.NoError(t, filepath.WalkDir("../..", func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.IsDir() && e.Name() == ".git" {
			return fs.SkipDir
		}
		if err == nil && (filepath.Ext(path) == ".go" || filepath.Ext(path) == ".mod") {
			_, err = os.Stat(path)
		}
		return err
	}))
}

// diff returns the lines of want that got lacks, and the other way round.
func diff(want, got string) []string {
	old, now := strings.Split(want, "\n"), strings.Split(got, "\n")
	var d []string
	for _, line := range old {
		if !slices.Contains(now, line) {
			d = append(d, "- "+line)
		}
	}
	for _, line := range now {
		if !slices.Contains(old, line) {
			d = append(d, "+ "+line)
		}
	}
	return d
}

// A module with one of everything.
func TestList(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		file := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
		require.NoError(t, os.WriteFile(file, []byte(text), 0o644))
	}
	write("go.mod", "module example.com/m\n\ngo 1.25\n")
	write("cmd/main.go", "package main\n\nfunc main() {}\n\nfunc Hidden() {}\n")
	write("internal/i/i.go", "package i\n\ntype Hidden int\n")
	write("m_test.go", "package m\n\nfunc TestOnly() {}\n")
	write("b/b.go", "package b\n\nimport \"example.com/m\"\n\nfunc F(m.S) {}\n")
	write("m.go", `package m

import "io"

const C = 7

const D E = "seven"

type E string

var V io.Reader

type S struct {
	A, B int
	io.Writer
	c int
}

func (S) Value(n int) error { return nil }
func (*S) Pointer()         {}
func (S) hidden()           {}

type G[T any] struct{ X T }

func (g *G[T]) Get() T { return g.X }

type I[K comparable] interface {
	M(k K, more ...string) (n int)
	hidden()
}

type A = map[string]S

type F func(io.Reader) (n int, err error)

func New[T any](v T) *G[T] { return nil }

func hidden() {}
`)
	got, err := list(dir)
	require.NoError(t, err)
	require.Equal(t, strings.TrimLeft(`
pkg example.com/m, type A = map[string]S
pkg example.com/m, const C untyped int = 7
pkg example.com/m, const D E = "seven"
pkg example.com/m, type E string
pkg example.com/m, type F func(io.Reader) (n int, err error)
pkg example.com/m, type G[T any] struct
pkg example.com/m, type G[T any] struct, X T
pkg example.com/m, method (*G[T any]) Get() T
pkg example.com/m, type I[K comparable] interface
pkg example.com/m, type I[K comparable] interface, M(k K, more ...string) (n int)
pkg example.com/m, type I[K comparable] interface, unexported methods
pkg example.com/m, func New[T any](v T) *G[T]
pkg example.com/m, type S struct
pkg example.com/m, type S struct, A int
pkg example.com/m, type S struct, B int
pkg example.com/m, type S struct, embedded io.Writer
pkg example.com/m, type S struct, unexported fields
pkg example.com/m, method (*S) Pointer()
pkg example.com/m, method (S) Value(n int) error
pkg example.com/m, method (S) Write(p []byte) (n int, err error)
pkg example.com/m, var V io.Reader
pkg example.com/m/b, func F(m.S)
`, "\n"), got)
}

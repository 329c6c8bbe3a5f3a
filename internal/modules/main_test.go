package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// repository makes a git repository of files, by name.
func repository(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	out, err := exec.Command("git", "init", "-q", dir).CombinedOutput()
	require.NoError(t, err, string(out))
	for name, text := range files {
		file := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
		require.NoError(t, os.WriteFile(file, []byte(text), 0o644))
	}
	return dir
}

// small is a repository of two modules.
func small() map[string]string {
	return map[string]string{
		"go.mod":         "module " + root + "\n\ngo 1.25\n",
		"a.go":           "package pubsub\n\nfunc A() int { return 1 }\n",
		"a_test.go":      "package pubsub\n\nimport (\"os\"; \"testing\")\n\nfunc TestA(t *testing.T) { if _, err := os.Stat(\"data.txt\"); err != nil { t.Fatal(err) } }\n",
		"data.txt":       "data",
		"otel/go.mod":    "module " + root + "/otel\n\ngo 1.25\n\nrequire " + root + " v0.0.0\n\nreplace " + root + " => ..\n",
		"otel/b.go":      "package otel\n\nimport pubsub \"" + root + "\"\n\nfunc B() int { return pubsub.A() }\n",
		"otel/b_test.go": "package otel\n\nimport \"testing\"\n\nfunc TestB(t *testing.T) { if B() != 1 { t.Fatal(\"not 1\") } }\n",
	}
}

func TestFind(t *testing.T) {
	files := small()
	files["otel/deep/c.go"] = "package deep\n"
	files["oteler/d.go"] = "package oteler\n"
	files["ignored.go"] = "package pubsub\n"
	files[".gitignore"] = "ignored.go\n"
	modules, err := find(repository(t, files))
	require.NoError(t, err)
	require.Len(t, modules, 2)
	require.Equal(t, root, modules[0].path)
	require.Equal(t, []string{".gitignore", "a.go", "a_test.go", "data.txt", "go.mod", "oteler/d.go"}, modules[0].files)
	require.Equal(t, root+"/otel", modules[1].path)
	require.Equal(t, []string{"b.go", "b_test.go", "deep/c.go", "go.mod"}, modules[1].files)
}

func TestRequireRelease(t *testing.T) {
	const mod = `require ` + root + ` v0.0.0

require (
	` + root + `/otel v0.0.1 // indirect
	` + root + `er v0.0.0
	example.com/other v1.2.3
)

replace ` + root + ` => ../..
`
	want := strings.NewReplacer(root+" v0.0.0", root+" v9.0.0", "/otel v0.0.1", "/otel v9.0.0").Replace(mod)
	require.Equal(t, want, string(requireRelease([]byte(mod), "v9.0.0")))
}

func TestTakenAlone(t *testing.T) {
	t.Setenv("GOPROXY", "off") // these need nothing from others
	play := func(t *testing.T, change func(files map[string]string)) (string, error) {
		files := small()
		change(files)
		var out strings.Builder
		err := run([]string{"-tree", repository(t, files)}, &out)
		return out.String(), err
	}
	t.Run("works", func(t *testing.T) {
		out, err := play(t, func(map[string]string) {})
		require.NoError(t, err)
		require.Contains(t, out, root+": resolves and builds, passes the tests of 1 of 1 packages")
		require.Contains(t, out, root+"/otel: resolves and builds, passes the tests of 1 of 1 packages")
	})
	for name, c := range map[string]struct {
		change func(map[string]string)
		want   string
	}{
		"a file that only the repository has": {func(files map[string]string) {
			files[".gitignore"] = "data.txt\n"
		}, "data.txt: no such file"},
		"a package that the main module does not have": {func(files map[string]string) {
			files["otel/b.go"] = "package otel\n\nimport _ \"" + root + "/none\"\n\nfunc B() int { return 1 }\n"
		}, "otel, taken alone"},
		"a module of another name": {func(files map[string]string) {
			files["otel/go.mod"] = "module example.com/otel\n"
		}, "does not begin with the line: module " + root + "/otel"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := play(t, c.change)
			require.ErrorContains(t, err, c.want)
		})
	}
}

// Package docscheck tests the module's Markdown: every block of Go compiles
// and passes go vet, tests among them pass, and every link into the repository
// leads somewhere.
//
// A block is a file if it parses as one, and otherwise the body of a function
// that returns an error. Imports need not be spelled out. What the reader is
// expected to have at hand is given in a comment in front of the block, as
// parameters of that function (ctx is always there):
//
//	<!-- given: bus pubsub.Bus[Quote], quotes <-chan Quote -->
package docscheck

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	module = "github.com/topicbus/pubsub"
	root   = "../.."
)

// document is one Markdown file.
type document struct{ name, text string }

// documents returns those of this module, the ones of nested modules apart.
func documents(t *testing.T) []document {
	t.Helper()
	var docs []document
	require.NoError(t, filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.IsDir() {
			nested := false
			if path != root {
				_, err := os.Stat(filepath.Join(path, "go.mod"))
				nested = err == nil
			}
			if nested || e.Name() == ".git" || e.Name() == "node_modules" {
				return fs.SkipDir
			}
			return nil
		}
		if filepath.Ext(path) != ".md" {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		docs = append(docs, document{filepath.ToSlash(name), string(text)})
		return err
	}))
	require.NotEmpty(t, docs)
	return docs
}

var goBlock = regexp.MustCompile("(?ms)^(?:<!-- given: ([^\n]*) -->\n+)?```go\n(.*?)^```$")

// The blocks become packages of a module of their own, as users' code is.
func TestGoBlocks(t *testing.T) {
	dir := t.TempDir()
	here, err := filepath.Abs(root)
	require.NoError(t, err)
	write := func(name, text string) {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	}
	write("go.mod", fmt.Sprintf("module docs\n\ngo 1.25\n\nrequire %[1]s v0.0.0\n\nreplace %[1]s => %[2]q\n", module, here))
	sums, err := os.ReadFile(filepath.Join(root, "go.sum"))
	require.NoError(t, err)
	write("go.sum", string(sums))

	sources := map[string]string{} // by package, for the report
	for _, doc := range documents(t) {
		for _, m := range goBlock.FindAllStringSubmatchIndex(doc.text, -1) {
			given := ""
			if m[2] >= 0 {
				given = doc.text[m[2]:m[3]]
			}
			place := fmt.Sprintf("%s:%d", doc.name, 1+strings.Count(doc.text[:m[4]], "\n"))
			source, err := complete(doc.text[m[4]:m[5]], given)
			require.NoError(t, err, place)
			name := fmt.Sprintf("block%02d", len(sources))
			file := name + "/block.go"
			if strings.Contains(source, "func Test") {
				file = name + "/block_test.go"
			}
			sources[name] = source
			write(file, "// At "+place+"\n"+source)
		}
	}
	require.NotEmpty(t, sources)

	for _, command := range []string{"vet", "test"} {
		cmd := exec.Command("go", command, "-mod=mod", "./...")
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			for name, source := range sources {
				if strings.Contains(string(out), name) {
					t.Logf("%s:\n%s", name, source)
				}
			}
			require.NoError(t, err, "go %s:\n%s", command, out)
		}
	}
}

// docs/faults.md is written by a program, README.md is not.
func TestNumberOfFaults(t *testing.T) {
	texts := map[string]string{}
	for _, doc := range documents(t) {
		texts[doc.name] = doc.text
	}
	faults := 0
	for line := range strings.Lines(texts["docs/faults.md"]) {
		if strings.HasPrefix(line, "| ") && !strings.HasPrefix(line, "| fault |") {
			faults++
		}
	}
	require.NotZero(t, faults)
	require.Contains(t, texts["README.md"], fmt.Sprintf("[docs/faults.md](docs/faults.md) lists %d faults", faults))
}

var (
	link   = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	fenced = regexp.MustCompile("(?ms)^(?:```|~~~).*?^(?:```|~~~)$") // Go's type arguments look like links
)

func TestLinksLeadSomewhere(t *testing.T) {
	docs := documents(t)
	anchors := map[string]map[string]bool{}
	for _, doc := range docs {
		anchors[doc.name] = anchorsOf(doc.text)
	}
	for _, doc := range docs {
		for _, m := range link.FindAllStringSubmatch(fenced.ReplaceAllString(doc.text, ""), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			path, anchor, _ := strings.Cut(m[1], "#")
			target := doc.name
			if path != "" {
				target = filepath.ToSlash(filepath.Join(filepath.Dir(doc.name), path))
				_, err := os.Stat(filepath.Join(root, target))
				require.NoError(t, err, "%s links to %s", doc.name, m[1])
			}
			if anchor != "" && anchors[target] != nil {
				require.True(t, anchors[target][anchor], "%s links to %s, but %s has no such heading", doc.name, m[1], target)
			}
		}
	}
}

var (
	heading     = regexp.MustCompile(`(?m)^#+ +(.*)$`)
	anchorTag   = regexp.MustCompile(`<a (?:id|name)="([^"]+)">`)
	notInAnchor = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// anchorsOf returns the names that links into text can use.
func anchorsOf(text string) map[string]bool {
	names := map[string]bool{}
	for _, m := range heading.FindAllStringSubmatch(text, -1) {
		name := notInAnchor.ReplaceAllString(strings.ToLower(m[1]), "")
		names[strings.ReplaceAll(name, " ", "-")] = true
	}
	for _, m := range anchorTag.FindAllStringSubmatch(text, -1) {
		names[m[1]] = true
	}
	return names
}

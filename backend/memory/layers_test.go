package memory

import (
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The engine compiles without the faults, and without the Backend that has both.
func TestTheEngineKnowsNoFaults(t *testing.T) {
	engine := []string{"engine.go", "handle.go", "history.go", "pause.go", "selfwait.go", "stream.go", "topic.go", "turn.go"}
	require.Empty(t, undefined(t, engine))
	// What it is that is not found, when something is missing.
	require.Contains(t, strings.Join(undefined(t, engine[1:]), "\n"), "undefined: engine")
	sources, err := filepath.Glob("*.go")
	require.NoError(t, err)
	others := map[string]bool{"doc.go": true, "inspect.go": true, "memory.go": true}
	for _, f := range sources {
		if !strings.HasSuffix(f, "_test.go") && !strings.HasPrefix(f, "faults") && !others[f] {
			require.Contains(t, engine, f, "is it of the engine?")
		}
	}
}

// undefined returns what a compiler that is given these files alone has to say,
// other packages apart.
func undefined(t *testing.T, names []string) (problems []string) {
	fset := token.NewFileSet()
	var files []*ast.File
	for _, name := range names {
		f, err := parser.ParseFile(fset, name, nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		files = append(files, f)
	}
	conf := types.Config{
		Importer: nowhere{},
		Error:    func(err error) { problems = append(problems, err.Error()) },
	}
	_, _ = conf.Check("memory", fset, files, nil)
	n := 0
	for _, p := range problems {
		if !strings.Contains(p, errNowhere.Error()) && !strings.Contains(p, "declared and not used") {
			problems[n] = p
			n++
		}
	}
	return problems[:n]
}

// nowhere finds no package. What comes from one is then not checked.
type nowhere struct{}

type nowhereError struct{}

func (nowhereError) Error() string { return "not looked for" }

var errNowhere error = nowhereError{}

func (nowhere) Import(string) (*types.Package, error) { return nil, errNowhere }

package docscheck

import (
	"fmt"
	"go/parser"
	"go/token"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// imports are the packages that blocks may use without importing them.
var imports = map[string]string{
	"bytes": "bytes", "context": "context", "errors": "errors", "fmt": "fmt", "log": "log",
	"expvar": "expvar", "http": "net/http", "os": "os", "slog": "log/slog", "sync": "sync",
	"synctest": "testing/synctest", "testing": "testing", "time": "time",
	"require":     "github.com/stretchr/testify/require",
	"backoff":     "github.com/cenkalti/backoff/v4",
	"pubsub":      "github.com/topicbus/pubsub",
	"codec":       "github.com/topicbus/pubsub/codec",
	"consume":     "github.com/topicbus/pubsub/consume",
	"compress":    "github.com/topicbus/pubsub/codec/compress",
	"protocodec":  "github.com/topicbus/pubsub/codec/protocodec",
	"memory":      "github.com/topicbus/pubsub/backend/memory",
	"momento":     "github.com/topicbus/pubsub/backend/momento",
	"momentotest": "github.com/topicbus/pubsub/backend/momento/momentotest",
	"pubsubdebug": "github.com/topicbus/pubsub/pubsubdebug",
	"pubsubtest":  "github.com/topicbus/pubsub/pubsubtest",
}

// declarations are those that blocks may use without repeating them.
var declarations = map[string]string{
	"Order": "type Order struct{ Symbol string }\n",
	"Quote": "type Quote struct {\n\tSymbol string\n\tDate time.Time\n\tPrice float64\n}\n",
}

// complete makes a file of a block.
func complete(block, given string) (string, error) {
	if strings.HasPrefix(block, "package ") {
		return block, nil
	}
	body := block
	if _, err := parser.ParseFile(token.NewFileSet(), "", "package block\n"+block, 0); err != nil {
		params := "ctx context.Context"
		if given != "" {
			params += ", " + given
		}
		body = fmt.Sprintf("func _(%s) error {\n{\n%s}\nreturn nil\n}\n", params, block)
	}
	for name, decl := range declarations {
		if slices.Contains(unresolved(body), name) {
			body += decl
		}
	}
	header := "package block\n"
	if _, err := parser.ParseFile(token.NewFileSet(), "", "package block\n"+body, 0); err != nil {
		return "", err
	}
	for _, name := range slices.Sorted(maps.Keys(imports)) {
		if slices.Contains(unresolved(body), name) {
			header += fmt.Sprintf("import %q\n", imports[name])
		}
	}
	return header + body, nil
}

// unresolved returns the names in a file without a package clause that the
// file neither declares nor imports.
func unresolved(body string) []string {
	file, err := parser.ParseFile(token.NewFileSet(), "", "package block\n"+body, 0)
	if err != nil {
		return nil
	}
	imported := map[string]bool{}
	for _, spec := range file.Imports {
		for name, path := range imports {
			if spec.Path.Value == `"`+path+`"` {
				imported[name] = true
			}
		}
	}
	var names []string
	for _, id := range file.Unresolved {
		if !imported[id.Name] {
			names = append(names, id.Name)
		}
	}
	return names
}

func TestComplete(t *testing.T) {
	for _, c := range []struct{ name, block, given, want string }{
		{"file", "package main\n", "", "package main\n"},
		{
			"declarations", "func f(q Quote) { fmt.Println(q) }\n", "",
			"package block\nimport \"fmt\"\nimport \"time\"\nfunc f(q Quote) { fmt.Println(q) }\n" + declarations["Quote"],
		},
		{
			"statements", "return bus.Close()\n", "bus pubsub.Bus[int]",
			"package block\nimport \"context\"\nimport \"github.com/topicbus/pubsub\"\n" +
				"func _(ctx context.Context, bus pubsub.Bus[int]) error {\n{\nreturn bus.Close()\n}\nreturn nil\n}\n",
		},
		{"own import", "import \"fmt\"\n\nvar _ = fmt.Sprint()\n", "", "package block\nimport \"fmt\"\n\nvar _ = fmt.Sprint()\n"},
	} {
		got, err := complete(c.block, c.given)
		require.NoError(t, err, c.name)
		require.Equal(t, c.want, got, c.name)
	}
	_, err := complete("this is not Go\n", "")
	require.Error(t, err)
}

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
)

// pkg is a package and its mutants.
type pkg struct {
	path, name, dir string
	files           map[string][]byte // what each file becomes with the mutants in it, by its path
	mutants         []mutant
}

// load parses the package in dir, checks its types, and plants the mutants.
func load(dir string) (*pkg, error) {
	list := exec.Command("go", "list", "-deps", "-export", "-json=ImportPath,Name,Dir,GoFiles,Export", ".")
	list.Dir = dir
	list.Stderr = os.Stderr
	text, err := list.Output()
	if err != nil {
		return nil, fmt.Errorf("go list in %s: %w", dir, err)
	}
	exports := map[string]string{}
	type listed struct {
		ImportPath, Name, Dir, Export string
		GoFiles                       []string
	}
	var it listed // in the end the package itself, which comes last
	for d := json.NewDecoder(bytes.NewReader(text)); d.More(); {
		it = listed{}
		if err := d.Decode(&it); err != nil {
			return nil, err
		}
		exports[it.ImportPath] = it.Export
	}
	p := &planter{set: token.NewFileSet(), info: &types.Info{
		Types: map[ast.Expr]types.TypeAndValue{},
		Uses:  map[*ast.Ident]types.Object{},
		Defs:  map[*ast.Ident]types.Object{},
	}}
	var files []*ast.File
	for _, name := range it.GoFiles {
		f, err := parser.ParseFile(p.set, filepath.Join(it.Dir, name), nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	config := types.Config{Importer: importer.ForCompiler(p.set, "gc", func(path string) (io.ReadCloser, error) {
		return os.Open(exports[path])
	})}
	if _, err := config.Check(it.ImportPath, p.set, files, p.info); err != nil {
		return nil, err
	}
	loaded := &pkg{path: it.ImportPath, name: it.Name, dir: it.Dir, files: map[string][]byte{}}
	for _, f := range files {
		name := p.set.File(f.Pos()).Name()
		source, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		loaded.files[name] = p.plant(f, source)
	}
	loaded.mutants = p.mutants
	return loaded, nil
}

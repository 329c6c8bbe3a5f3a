// Package apicheck lists the exported API of a module's packages, one line for
// each thing that a user's program can depend on. Its test compares the lists
// with those in the directory api, so that no change of the public surface goes
// unnoticed. To make a change on purpose:
//
//	go test ./internal/apicheck -update
package apicheck

import (
	"fmt"
	"go/importer"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// list returns the API of the module in dir: of all its packages, except for
// commands and internal ones.
func list(dir string) (string, error) {
	cmd := exec.Command("go", "list", "-export", "-deps", "-f", "{{.ImportPath}}\t{{.Export}}\t{{.Name}}\t{{with .Module}}{{.Main}}{{end}}", "./...")
	cmd.Dir = dir
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("go list: %w", err)
	}
	exports := make(map[string]string) // the compiler's summary of each package
	var paths []string
	for line := range strings.Lines(string(out)) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		exports[f[0]] = f[1]
		if f[3] == "true" && f[2] != "main" && f[1] != "" && !slices.Contains(strings.Split(f[0], "/"), "internal") {
			paths = append(paths, f[0])
		}
	}
	slices.Sort(paths)
	imports := importer.ForCompiler(token.NewFileSet(), "gc", func(path string) (io.ReadCloser, error) {
		return os.Open(exports[path])
	})
	var b strings.Builder
	for _, p := range paths {
		pkg, err := imports.Import(p)
		if err != nil {
			return "", err
		}
		for _, line := range packageLines(pkg) {
			fmt.Fprintf(&b, "pkg %s, %s\n", p, line)
		}
	}
	return b.String(), nil
}

func packageLines(pkg *types.Package) []string {
	l := &lister{pkg: pkg}
	for _, name := range pkg.Scope().Names() { // sorted
		if obj := pkg.Scope().Lookup(name); obj.Exported() {
			l.object(obj)
		}
	}
	return l.lines
}

type lister struct {
	pkg   *types.Package
	lines []string
}

func (l *lister) add(format string, args ...any) {
	l.lines = append(l.lines, fmt.Sprintf(format, args...))
}

// text writes a type as a user of the package would.
func (l *lister) text(t types.Type) string {
	return types.TypeString(t, func(p *types.Package) string {
		if p == l.pkg {
			return ""
		}
		return p.Name()
	})
}

func (l *lister) signature(f types.Object) string {
	return strings.TrimPrefix(l.text(f.Type()), "func")
}

func (l *lister) object(obj types.Object) {
	switch obj := obj.(type) {
	case *types.Const:
		l.add("const %s %s = %s", obj.Name(), l.text(obj.Type()), obj.Val())
	case *types.Var:
		l.add("var %s %s", obj.Name(), l.text(obj.Type()))
	case *types.Func:
		l.add("func %s%s", obj.Name(), l.signature(obj))
	case *types.TypeName:
		l.typeName(obj)
	}
}

func (l *lister) typeName(obj *types.TypeName) {
	if obj.IsAlias() {
		l.add("type %s = %s", obj.Name(), l.text(types.Unalias(obj.Type())))
		return
	}
	name := l.text(obj.Type()) // with type parameters
	switch u := obj.Type().Underlying().(type) {
	case *types.Struct:
		l.add("type %s struct", name)
		hidden := false
		for f := range u.Fields() {
			switch {
			case !f.Exported():
				hidden = true
			case f.Embedded():
				l.add("type %s struct, embedded %s", name, l.text(f.Type()))
			default:
				l.add("type %s struct, %s %s", name, f.Name(), l.text(f.Type()))
			}
		}
		if hidden { // then only the package can write it down without field names
			l.add("type %s struct, unexported fields", name)
		}
	case *types.Interface:
		l.add("type %s interface", name)
		for m := range u.Methods() {
			if m.Exported() {
				l.add("type %s interface, %s%s", name, m.Name(), l.signature(m))
			} else { // then only the package can implement it
				l.add("type %s interface, unexported methods", name)
			}
		}
		return
	default:
		l.add("type %s %s", name, l.text(u))
	}
	methods := types.NewMethodSet(types.NewPointer(obj.Type()))
	for m := range methods.Methods() {
		if !m.Obj().Exported() {
			continue
		}
		receiver := "*" + name
		if types.NewMethodSet(obj.Type()).Lookup(nil, m.Obj().Name()) != nil {
			receiver = name
		}
		l.add("method (%s) %s%s", receiver, m.Obj().Name(), l.signature(m.Obj()))
	}
}

// Command modules checks that each module of this repository works for a user
// outside of it, who has none of the others at hand: that it resolves, builds,
// and passes its tests. It makes a release of the modules out of the working
// tree, serves it as a module proxy on the file system, and has a new module
// require one of them at a time.
//
//	go run ./internal/modules
//
// The modules are those whose go.mod git knows or would add. Nested modules
// require the main one at the version of the release, whatever they require in
// the tree: that is what the order of tags in CONTRIBUTING.md brings about.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// root is the path of the main module. Those of the others begin with it.
const root = "github.com/topicbus/pubsub"

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "modules:", err)
		os.Exit(1)
	}
}

func run(args []string, out io.Writer) (err error) {
	flags := flag.NewFlagSet("modules", flag.ContinueOnError)
	tree := flags.String("tree", ".", "the repository's `directory`")
	// No one else's, so that the module cache holds nothing else by that name.
	version := flags.String("version", fmt.Sprintf("v0.1.0-check.%d", time.Now().UnixNano()), "of the release")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return nil
	} else if err != nil {
		return err
	}
	modules, err := find(*tree)
	if err != nil {
		return err
	}
	work, err := os.MkdirTemp("", "modules")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	proxy := filepath.Join(work, "proxy")
	for _, m := range modules {
		if err := m.release(proxy, *version); err != nil {
			return err
		}
	}
	u, err := newUser(filepath.Join(work, "user"), proxy, *version)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, u.forget(modules)) }()
	for _, m := range modules {
		start := time.Now()
		tested, err := u.take(m)
		if err != nil {
			return fmt.Errorf("%s, taken alone: %w", m.path, err)
		}
		fmt.Fprintf(out, "%s: resolves and builds, %s (%ds)\n", m.path, tested, int(time.Since(start).Seconds()))
	}
	return nil
}

// module is one of the repository.
type module struct {
	path  string
	dir   string
	files []string // relative to dir, with slashes
}

// find returns the modules in tree, the main one first.
func find(tree string) ([]module, error) {
	cmd := exec.Command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	cmd.Dir = tree
	cmd.Stderr = os.Stderr
	list, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("git ls-files: %w", err)
	}
	files := slices.Compact(slices.Sorted(strings.SplitSeq(strings.TrimSuffix(string(list), "\x00"), "\x00")))
	var dirs []string
	for _, f := range files {
		if f == "go.mod" || strings.HasSuffix(f, "/go.mod") {
			dirs = append(dirs, strings.TrimSuffix(strings.TrimSuffix(f, "go.mod"), "/"))
		}
	}
	slices.Sort(dirs)
	if len(dirs) == 0 || dirs[0] != "" {
		return nil, fmt.Errorf("no go.mod at the top of %s", tree)
	}
	modules := make([]module, len(dirs))
	for i, dir := range dirs {
		modules[i].dir = filepath.Join(tree, filepath.FromSlash(dir))
		if modules[i].path = strings.TrimSuffix(root+"/"+dir, "/"); dir == "" {
			modules[i].path = root
		}
	}
	for _, f := range files {
		// Of the directories that hold it, the deepest has the module.
		owner := 0
		for i, dir := range dirs {
			if dir != "" && strings.HasPrefix(f, dir+"/") && len(dir) > len(dirs[owner]) {
				owner = i
			}
		}
		m := &modules[owner]
		if info, err := os.Lstat(filepath.Join(tree, f)); err != nil || !info.Mode().IsRegular() {
			continue // deleted, or a link, which modules do not have
		}
		m.files = append(m.files, strings.TrimPrefix(strings.TrimPrefix(f, dirs[owner]), "/"))
	}
	return modules, nil
}

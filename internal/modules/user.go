package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// user is somebody outside of the repository.
type user struct {
	dir     string
	version string
	cache   string // of modules
	env     []string
}

func newUser(dir, proxy, version string) (*user, error) {
	out, err := exec.Command("go", "env", "GOMODCACHE", "GOPROXY").Output()
	if err != nil {
		return nil, err
	}
	lines := strings.Split(string(out), "\n")
	absolute, err := filepath.Abs(proxy)
	if err != nil {
		return nil, err
	}
	return &user{dir: dir, version: version, cache: lines[0], env: append(os.Environ(),
		"GOPROXY=file://"+filepath.ToSlash(absolute)+","+lines[1],
		"GONOSUMDB="+root+","+root+"/*",
		"GOWORK=off",
		// The module cache is writable, so that forget can clean it.
		"GOFLAGS=-mod=mod -modcacherw",
	)}, nil
}

// take starts a new module that requires m, builds m's packages and runs its
// tests, but for those that take long: they have run in the tree. It returns what was tested.
func (u *user) take(m module) (tested string, err error) {
	dir := filepath.Join(u.dir, strings.ReplaceAll(m.path, "/", "_"))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	command := func(name string, args ...string) (string, error) {
		cmd := exec.Command(name, args...)
		cmd.Dir, cmd.Env = dir, u.env
		out, err := cmd.CombinedOutput()
		if err != nil {
			return "", fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, out)
		}
		return string(out), nil
	}
	all := m.path + "/..."
	for _, args := range [][]string{
		{"mod", "init", "example.com/user"},
		{"get", "-t", all + "@" + u.version},
		{"vet", all}, // compiles the tests, too
	} {
		if _, err := command("go", args...); err != nil {
			return "", err
		}
	}
	list, err := command("go", "list", all)
	if err != nil {
		return "", err
	}
	packages := strings.Fields(list)
	var test []string
	for _, p := range packages {
		if forUsers(strings.TrimPrefix(p, root+"/")) {
			test = append(test, p)
		}
	}
	if len(test) == 0 {
		return fmt.Sprintf("%d packages, none of them for users", len(packages)), nil
	}
	if _, err := command("go", append([]string{"test", "-short", "-vet=off"}, test...)...); err != nil {
		return "", err
	}
	return fmt.Sprintf("passes the tests of %d of %d packages", len(test), len(packages)), nil
}

// forUsers reports whether the tests of a package run here. The others are
// compiled: they are of no use to other modules, or, like the fault matrix, take
// long and have run in the tree.
func forUsers(p string) bool {
	for _, part := range []string{"internal", "examples", "bench", "docs", "faults"} {
		if strings.Contains("/"+p+"/", "/"+part+"/") {
			return false
		}
	}
	return true
}

// forget removes the releases of the modules from the module cache.
func (u *user) forget(modules []module) (err error) {
	for _, m := range modules {
		path := filepath.FromSlash(m.path)
		downloads := filepath.Join(u.cache, "cache", "download", path, "@v")
		err = errors.Join(err, os.RemoveAll(filepath.Join(u.cache, path+"@"+u.version)))
		left, globErr := filepath.Glob(filepath.Join(downloads, u.version+".*"))
		err = errors.Join(err, globErr)
		for _, file := range left {
			err = errors.Join(err, os.Remove(file))
		}
		if others, _ := filepath.Glob(filepath.Join(downloads, "v*")); len(others) == 0 {
			err = errors.Join(err, os.RemoveAll(downloads)) // the list of versions
		}
	}
	return err
}

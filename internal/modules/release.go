package main

import (
	"archive/zip"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// release writes the module to a proxy, at that version.
func (m module) release(proxy, version string) error {
	mod, err := os.ReadFile(filepath.Join(m.dir, "go.mod"))
	if err != nil {
		return err
	}
	if !bytes.HasPrefix(mod, []byte("module "+m.path+"\n")) {
		return fmt.Errorf("%s/go.mod does not begin with the line: module %s", m.dir, m.path)
	}
	mod = requireRelease(mod, version)
	var archive bytes.Buffer
	z := zip.NewWriter(&archive)
	for _, name := range m.files {
		data := mod
		if name != "go.mod" {
			if data, err = os.ReadFile(filepath.Join(m.dir, filepath.FromSlash(name))); err != nil {
				return err
			}
		}
		w, err := z.Create(m.path + "@" + version + "/" + name)
		if err != nil {
			return err
		}
		if _, err := w.Write(data); err != nil {
			return err
		}
	}
	if err := z.Close(); err != nil {
		return err
	}
	dir := filepath.Join(proxy, filepath.FromSlash(m.path), "@v")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for name, data := range map[string][]byte{
		"list":            []byte(version + "\n"),
		version + ".info": fmt.Appendf(nil, "{%q: %q}\n", "Version", version),
		version + ".mod":  mod,
		version + ".zip":  archive.Bytes(),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// required is a line of a go.mod that requires one of our modules.
var required = regexp.MustCompile(`(?m)^((?:require )?\s*` + regexp.QuoteMeta(root) + `(?:/\S+)? )v\S+`)

// requireRelease returns a go.mod that requires our other modules at a version.
// What it replaces is of no matter to users.
func requireRelease(mod []byte, version string) []byte {
	return required.ReplaceAll(mod, []byte("${1}"+strings.ReplaceAll(version, "$", "$$")))
}

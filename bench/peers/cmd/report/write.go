package main

import (
	"bufio"
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"text/template"

	"github.com/topicbus/pubsub/bench/peers"
)

// report is what the page is made of.
type report struct {
	Machine machine
	Took    string
	Rounds  int
	Bench   *table
	Peers   *table
}

// machine describes where it ran, without naming it.
type machine struct {
	CPU   string
	Procs int
	Go    string
	OS    string
}

func thisMachine() machine {
	m := machine{CPU: runtime.GOARCH, Procs: runtime.GOMAXPROCS(0), Go: runtime.Version(), OS: runtime.GOOS + "/" + runtime.GOARCH}
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return m // not Linux
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if name, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(name) == "model name" {
			m.CPU = strings.TrimSpace(value)
			break
		}
	}
	return m
}

func (r *report) load(file string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, r)
}

func (r *report) save(file string) error {
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(data, '\n'), 0o644)
}

//go:embed benchmarks.md.tmpl
var page string

func (r *report) write(docs string) error {
	t, err := template.New("benchmarks.md").Parse(page)
	if err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(docs, "benchmarks.md"))
	if err != nil {
		return err
	}
	if err := t.Execute(f, r); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

// Claims renders what the peers can do, us first.
func (*report) Claims() string {
	var b strings.Builder
	b.WriteString("| | version | order | typed | a subscriber that does not read | of lost messages a subscriber learns | going on after a break | `testing/synctest` | remarks |\n")
	b.WriteString("|---|---|---|---|---|---|---|---|---|\n")
	b.WriteString("| this library | | yes | yes | your choice: drops its own, blocks the publisher, or ends | place, count and cause | `ResumeAfter` | yes | |\n")
	for _, p := range peers.All() {
		fmt.Fprintf(&b, "| [%s](https://pkg.go.dev/%s) | %s | %s | %s | %s | %s | %s | %s | %s |\n", p.Name, p.Module, version(p.Module),
			yes(!p.Unordered), yes(p.Typed), p.Stuck, p.Loss, p.Resume, yes(p.Bubble), p.Remarks)
	}
	return b.String()
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// version returns the version of the module that holds the package.
func version(pkg string) string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	found := new(debug.Module)
	for _, m := range info.Deps {
		if (pkg == m.Path || strings.HasPrefix(pkg, m.Path+"/")) && len(m.Path) > len(found.Path) {
			found = m
		}
	}
	v, _, _ := strings.Cut(found.Version, "-0.") // a pseudo-version is long
	if date, _, ok := strings.Cut(strings.TrimPrefix(found.Version, "v0.0.0-"), "-"); ok {
		return date[:4] + "-" + date[4:6] + "-" + date[6:8]
	}
	return v
}

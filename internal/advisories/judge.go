package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// advisory is one advisory about one version of a module, as an entry of the
// accepted ones names it.
type advisory struct {
	id     string // such as GO-2026-6603
	module string // with its version, such as golang.org/x/net@v0.58.0
}

// reach is how we reach an advisory.
type reach struct {
	fixed string // the version that mends it, "" if there is none
	calls string // one of our calls that leads there
}

// found is what govulncheck found.
type found struct {
	modules []string // that were scanned
	library int      // reachable advisories about the standard library
	release string   // of Go that was scanned with
	mended  string   // the Go release that mends the last of them
	reached map[advisory]reach
}

// message is one of govulncheck's output, as far as it matters here.
type message struct {
	Config *struct {
		GoVersion string `json:"go_version"`
		ScanLevel string `json:"scan_level"`
	}
	SBOM *struct {
		Modules []struct{ Path string }
	}
	Finding *struct {
		OSV          string
		FixedVersion string `json:"fixed_version"`
		Trace        []frame
	}
}

// frame is a step of a trace. The first is what the advisory is about, the
// last is our own code.
type frame struct {
	Module, Version, Package, Function, Receiver string
}

func (f frame) String() string {
	if f.Receiver == "" {
		return f.Package + "." + f.Function
	}
	return f.Package + "." + f.Receiver + "." + f.Function
}

// read reads govulncheck's output. An output in which nothing was scanned is an
// error, since it would look like one in which nothing was found.
func read(in io.Reader) (found, error) {
	f := found{reached: make(map[advisory]reach)}
	library := make(map[string]bool)
	scans := 0
	for d := json.NewDecoder(in); ; {
		var m message
		if err := d.Decode(&m); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return f, fmt.Errorf("the output of govulncheck: %w", err)
		}
		switch {
		case m.Config != nil:
			scans++
			f.release = m.Config.GoVersion
			if m.Config.ScanLevel != "symbol" {
				return f, fmt.Errorf("govulncheck looked at each %s, not at each symbol", m.Config.ScanLevel)
			}
		case m.SBOM != nil && len(m.SBOM.Modules) > 0:
			f.modules = append(f.modules, m.SBOM.Modules[0].Path)
		case m.Finding != nil && len(m.Finding.Trace) > 0:
			first, last := m.Finding.Trace[0], m.Finding.Trace[len(m.Finding.Trace)-1]
			if first.Function == "" {
				continue // imported or required only
			}
			if first.Module == "stdlib" {
				library[m.Finding.OSV] = true
				f.mended = maxVersion(f.mended, m.Finding.FixedVersion)
				continue
			}
			a := advisory{m.Finding.OSV, first.Module + "@" + first.Version}
			if _, known := f.reached[a]; !known {
				f.reached[a] = reach{m.Finding.FixedVersion, fmt.Sprintf("%v leads to %v", last, first)}
			}
		}
	}
	f.library = len(library)
	if scans == 0 || scans != len(f.modules) {
		return f, fmt.Errorf("govulncheck began %d scans and listed the modules of %d", scans, len(f.modules))
	}
	return f, nil
}

// maxVersion returns the later of two releases such as v1.26.9 and v1.26.10.
func maxVersion(a, b string) string {
	var na, nb [3]int
	fmt.Sscanf(a, "v%d.%d.%d", &na[0], &na[1], &na[2])
	fmt.Sscanf(b, "v%d.%d.%d", &nb[0], &nb[1], &nb[2])
	if slices.Compare(na[:], nb[:]) < 0 {
		return b
	}
	return a
}

// parseAccepted parses the file of accepted advisories. Each line is an
// advisory, the module with its version, and why it does no harm. Empty lines
// and lines that begin with # say nothing.
func parseAccepted(text string) (map[advisory]string, error) {
	accepted := make(map[advisory]string)
	n := 0
	for line := range strings.Lines(text) {
		n++
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		fields := strings.Fields(line)
		if len(fields) < 3 || !strings.HasPrefix(fields[0], "GO-") || !strings.Contains(fields[1], "@v") {
			return nil, fmt.Errorf("line %d: want ADVISORY MODULE@VERSION REASON, got %q", n, line)
		}
		accepted[advisory{fields[0], fields[1]}] = strings.Join(fields[2:], " ")
	}
	return accepted, nil
}

// verdict is what came of a scan.
type verdict struct {
	notes    []string
	failures []string
}

// judge compares what was found with what is accepted.
func judge(f found, accepted map[advisory]string) (v verdict) {
	fail := func(format string, args ...any) { v.failures = append(v.failures, fmt.Sprintf(format, args...)) }
	note := func(format string, args ...any) { v.notes = append(v.notes, fmt.Sprintf(format, args...)) }
	byID := func(a, b advisory) int { return cmp.Or(cmp.Compare(a.id, b.id), cmp.Compare(a.module, b.module)) }
	for _, a := range slices.SortedFunc(maps.Keys(f.reached), byID) {
		r := f.reached[a]
		if why, ok := accepted[a]; ok {
			note("%s in %s is accepted: %s", a.id, a.module, why)
			continue
		}
		fail("%s in %s: %s. Fixed in %s. https://pkg.go.dev/vuln/%s", a.id, a.module, r.calls, cmp.Or(r.fixed, "no version yet"), a.id)
	}
	for _, a := range slices.SortedFunc(maps.Keys(accepted), byID) {
		if _, ok := f.reached[a]; !ok {
			fail("%s in %s is accepted but not found any more: delete its line", a.id, a.module)
		}
	}
	if f.library > 0 {
		note("%d more are in the standard library of %s: build programs with Go %s or later", f.library, f.release, strings.TrimPrefix(f.mended, "v"))
	}
	note("scanned: %s", strings.Join(f.modules, ", "))
	return v
}

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// module makes a module of files, by name, and returns its directory.
func module(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	files["go.mod"] = "module example.com/small\n\ngo 1.25\n"
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func mutants(t *testing.T, args ...string) string {
	t.Helper()
	var out strings.Builder
	if err := run(args, &out); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func contains(t *testing.T, out string, lines ...string) {
	t.Helper()
	for _, line := range lines {
		if !strings.Contains(out, line) {
			t.Errorf("not in the output: %s", line)
		}
	}
	if t.Failed() {
		t.Log(out)
	}
}

const small = `package small

import "errors"

type Count uint8

const Most Count = 9 + 1

var ErrFull = errors.New("full")

type Counter[T any] struct {
	n    Count
	last T
	log  []string
	on   bool
}

// Add is tested but for its edges.
func (c *Counter[T]) Add(v T, by Count) (err error) {
	defer func() { c.log = append(c.log, "add") }()
	if c.n+by > Most || by == 0 && !c.on {
		return ErrFull
	}
	c.last = v
	c.n += by
	return nil
}

// Reset is not tested at all.
func (c *Counter[T]) Reset() {
	switch {
	case c.on:
		c.n--
	}
	c.on = false
}
`

const smallTest = `package small

import "testing"

func TestAdd(t *testing.T) {
	var c Counter[string]
	if c.Add("a", 9) != nil || c.n != 9 || c.last != "a" {
		t.Fatal(c)
	}
	if c.Add("b", 3) == nil || c.n != 9 {
		t.Fatal(c)
	}
}

func TestOfTheCode(t *testing.T) {
	if testing.AllocsPerRun(10, func() { new(Counter[int]).Add(1, 1) }) > 0 {
		t.Skip()
	}
}

func TestFails(t *testing.T) { t.Fail() }
`

func TestEachMutant(t *testing.T) {
	dir := module(t, map[string]string{"small.go": small, "small_test.go": smallTest})
	out := mutants(t, "-uncovered", dir)
	contains(t, out,
		"left out, as it fails without a mutant: TestFails\n",
		"LIVED small.go:20: defer func() { c.log = append(c.log, \"add\") }() => nothing\n",
		"LIVED small.go:21: c.n+by > Most => c.n+by >= Most\n",
		"NOT COVERED small.go:21: c.on => !c.on\n",
		"NOT COVERED small.go:32: c.on => !c.on\n",
		"NOT COVERED small.go:33: c.n-- => nothing\n",
		"NOT COVERED small.go:33: c.n-- => c.n ++\n",
		"NOT COVERED small.go:35: false => true\n",
		"small: 9 killed, 3 lived, 0 timed out (all 12 that tests reach), 6 not covered, ",
	)
	out = mutants(t, "-n", "4", "-seed", "7", "-skip", "Fails|OfTheCode", "-at", "small.go:22,small.go:25,small.go:21,other.go", dir)
	contains(t, out, "(4 of 9, seed 7 that tests reach), 1 not covered")
	if strings.Contains(out, "left out") {
		t.Error(out)
	}
}

func TestWhatIsRefused(t *testing.T) {
	broken := module(t, map[string]string{"small.go": "package small\n\nfunc f() int { return \"\" }\n"})
	for name, args := range map[string][]string{
		"no package":  {},
		"two":         {".", "."},
		"no Go files": {t.TempDir()},
		"broken":      {broken},
		"pattern":     {"-skip", "(", "."},
	} {
		if err := run(args, new(strings.Builder)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

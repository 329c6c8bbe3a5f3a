package main

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

//go:embed switch.go.txt
var switches string

// binary is the package's test binary with all mutants in it.
type binary struct {
	*pkg
	work  string
	file  string
	tests []test // the quickest first
}

// test is one of the package's, examples and the seeds of fuzz targets included.
type test struct {
	name    string
	takes   time.Duration
	reaches map[int]bool
}

type verdict string

const (
	killed   verdict = "killed"
	lived    verdict = "lived"
	timedOut verdict = "timed out"
)

const quick = time.Second / 2 // of tests are run as one

// build compiles the tests with the mutants laid over the package's files.
func build(p *pkg, work string) (*binary, error) {
	b := &binary{pkg: p, work: work, file: filepath.Join(work, "mutants.test")}
	over := map[string]string{filepath.Join(p.dir, "mutant__switch.go"): filepath.Join(work, "switch.go")}
	text := strings.NewReplacer("PACKAGE", p.name, "COUNT", strconv.Itoa(len(p.mutants))).Replace(switches)
	if err := os.WriteFile(filepath.Join(work, "switch.go"), []byte(text), 0o600); err != nil {
		return nil, err
	}
	for name, text := range p.files {
		to := filepath.Join(work, "over_"+filepath.Base(name))
		if err := os.WriteFile(to, text, 0o600); err != nil {
			return nil, err
		}
		over[name] = to
	}
	overlay, err := json.Marshal(map[string]any{"Replace": over})
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(work, "overlay.json"), overlay, 0o600); err != nil {
		return nil, err
	}
	cmd := exec.Command("go", "test", "-c", "-vet=off", "-overlay", filepath.Join(work, "overlay.json"), "-o", b.file, ".")
	cmd.Dir = p.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("building the mutants: %w\n%s", err, out)
	}
	return b, nil
}

// survey runs each test alone, with no mutant on, and notes what it reaches.
func (b *binary) survey(skipped *regexp.Regexp, out io.Writer) error {
	list, err := b.command(context.Background(), "-test.list", ".").Output()
	if err != nil {
		return fmt.Errorf("listing the tests: %w", err)
	}
	for name := range strings.FieldsSeq(string(list)) {
		if strings.HasPrefix(name, "Benchmark") || skipped.MatchString(name) {
			continue
		}
		t := test{name: name, reaches: map[int]bool{}}
		log := filepath.Join(b.work, name)
		start := time.Now()
		v, err := b.run([]test{t}, 2*time.Minute, "MUTANTS_REACHED="+log)
		if err != nil {
			return err
		}
		t.takes = time.Since(start)
		if v != lived {
			fmt.Fprintf(out, "left out, as it fails without a mutant: %s\n", name)
			continue
		}
		ids, err := os.ReadFile(log)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		for id := range strings.FieldsSeq(string(ids)) {
			n, err := strconv.Atoi(id)
			if err != nil {
				return err
			}
			t.reaches[n] = true
		}
		b.tests = append(b.tests, t)
	}
	slices.SortStableFunc(b.tests, func(a, b test) int { return int(a.takes - b.takes) })
	return nil
}

// reaching returns the tests that reach a mutant.
func (b *binary) reaching(m mutant) (tests []test) {
	for _, t := range b.tests {
		if t.reaches[m.id] {
			tests = append(tests, t)
		}
	}
	return tests
}

// try turns a mutant on for the tests that reach it.
func (b *binary) try(m mutant, out io.Writer) (verdict, error) {
	for tests := b.reaching(m); len(tests) > 0; {
		batch, takes := 0, time.Duration(0)
		for batch == 0 || batch < len(tests) && takes+tests[batch].takes < quick {
			takes += tests[batch].takes
			batch++
		}
		limit := 5*time.Second + 10*takes
		v, err := b.run(tests[:batch], limit, "MUTANT="+strconv.Itoa(m.id))
		if err != nil {
			return "", err
		}
		if v != lived {
			control, err := b.run(tests[:batch], limit)
			if err != nil || control == lived {
				return v, err
			}
			fmt.Fprintf(out, "failed without the mutant too, so this does not count: %s, up to %s\n", tests[0].name, tests[batch-1].name)
		}
		tests = tests[batch:]
	}
	return lived, nil
}

// run runs tests until one fails.
func (b *binary) run(tests []test, limit time.Duration, env ...string) (verdict, error) {
	names := make([]string, len(tests))
	for i, t := range tests {
		names[i] = t.name
	}
	// Dumps of goroutines can take long, so the test binary's own limit comes first.
	ctx, cancel := context.WithTimeout(context.Background(), limit+10*time.Second)
	defer cancel()
	cmd := b.command(ctx, "-test.failfast", "-test.timeout", limit.String(), "-test.run", "^("+strings.Join(names, "|")+")$")
	cmd.Env = append(os.Environ(), env...)
	text, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return lived, nil
	case ctx.Err() != nil || bytes.Contains(text, []byte("panic: test timed out")):
		return timedOut, nil
	case errors.As(err, &exit):
		return killed, nil
	default:
		return "", err
	}
}

// command runs the binary where go test would. A mutant may ask for memory for
// ever, so there is a limit.
func (b *binary) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "sh", append([]string{"-c", `ulimit -v 8000000; exec "$0" "$@"`, b.file}, args...)...)
	cmd.Dir = b.dir
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

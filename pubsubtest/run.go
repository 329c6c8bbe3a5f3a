package pubsubtest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

// Run checks that a backend keeps the contract that is written on
// [pubsub.Backend] and [pubsub.Stream], and that a [pubsub.Bus] over it keeps
// its own. Each case is a subtest named after its clause, and prints the
// clause when it fails.
//
// What is not checked, because the [Target] lacks a capability, is named by
// the cases that are skipped and once more at the end of the run.
func Run(t *testing.T, h Harness) {
	t.Helper()
	if h.New == nil {
		t.Fatal("pubsubtest: Harness.New is nil: Run needs it to make the backend")
	}
	t.Run("Harness", func(t *testing.T) { checkHarness(t, h) })
	var unchecked []string
	for _, c := range cases() {
		t.Run(c.name, func(t *testing.T) {
			defer func() {
				if t.Skipped() {
					unchecked = append(unchecked, c.name)
				}
			}()
			c.test(t, h)
		})
	}
	if len(unchecked) > 0 {
		t.Logf("not checked, for want of %s: %s", strings.Join(h.Without, ", "), strings.Join(unchecked, ", "))
	}
}

// checkHarness fails if the Harness is not accurate about what it lacks.
func checkHarness(t testing.TB, h Harness) {
	target := h.New(t)
	if target.Backend == nil {
		t.Fatal("Target.Backend is nil")
	}
	defer closeBackend(target.Backend)
	have := target.capabilities()
	var missing []string
	for _, c := range slices.Sorted(maps.Keys(have)) {
		if !have[c] && !slices.Contains(h.Without, string(c)) {
			missing = append(missing, fmt.Sprintf("%q", c))
		}
	}
	if len(missing) > 0 {
		t.Errorf("the Target lacks capabilities, and what needs them is not checked; provide them or state it by\n\tWithout: []string{%s}", strings.Join(missing, ", "))
	}
	for _, name := range h.Without {
		if has, known := have[capability(name)]; !known {
			t.Errorf("Harness.Without has %q, which is no field of Target", name)
		} else if has {
			t.Errorf("Harness.Without has %q, but the Target has it", name)
		}
	}
}

// testCase checks one clause of the contract.
type testCase struct {
	name   string
	clause string // in words, for who broke it
	needs  []capability
	run    func(*env)
}

func cases() []testCase {
	return slices.Concat(publishCases(), payloadCases(), subscribeCases(), receiveCases(), faultCases(), closeCases(), busCases(), lawCases())
}

// test runs the case in the test t.
func (c testCase) test(t testing.TB, h Harness) {
	e := &env{TB: t, clause: c.clause, h: h, timeout: h.Timeout, label: uniqueName()}
	if e.timeout <= 0 {
		e.timeout = 10 * time.Second
	}
	e.Cleanup(e.wait) // last: Close and New's own Cleanup set free who is stuck
	e.Target = h.New(t)
	e.Cleanup(func() { e.within("", func() { closeBackend(e.Backend) }) })
	if lacking := e.lacking(c.needs); len(lacking) > 0 {
		t.Skipf("NOT CHECKED, the Target has no %v: %s", lacking, c.clause)
	}
	e.labelled(func() { c.run(e) })
}

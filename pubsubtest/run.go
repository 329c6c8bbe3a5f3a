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
	var left unchecked
	for _, c := range cases() {
		t.Run(c.name, func(t *testing.T) { c.test(t, h, &left) })
	}
	if len(left.cases) > 0 {
		t.Log(left.String())
	}
}

// unchecked are the cases that were skipped, and the capabilities that they
// need and the Target lacks.
type unchecked struct {
	cases   []string
	lacking []capability
}

func (u *unchecked) add(name string, lacking []capability) {
	u.cases = append(u.cases, name)
	for _, c := range lacking {
		if !slices.Contains(u.lacking, c) {
			u.lacking = append(u.lacking, c)
		}
	}
}

func (u *unchecked) String() string {
	slices.Sort(u.lacking)
	return fmt.Sprintf("not checked, because the Target has no %s:\n\t%s", enumerate(u.lacking), strings.Join(u.cases, "\n\t"))
}

// enumerate lists what a Target has none of: "A", "A or B", "A, B or C".
func enumerate(list []capability) string {
	var b strings.Builder
	for i, c := range list {
		switch {
		case i == 0:
		case i < len(list)-1:
			b.WriteString(", ")
		default:
			b.WriteString(" or ")
		}
		b.WriteString(string(c))
	}
	return b.String()
}

// checkHarness fails if the Harness is not accurate about what it lacks.
func checkHarness(t testing.TB, h Harness) {
	e := newEnv(t, h, "a Harness is accurate about what its Target lacks.")
	target := &e.Target
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
		has, known := have[capability(name)]
		if !known {
			has, known = e.optional(capability(name))
		}
		if !known {
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
	return slices.Concat(publishCases(), payloadCases(), subscribeCases(), receiveCases(), faultCases(), closeCases(),
		startCases(), frameCases(), runCases(), topicCases(), batchCases(), valueCases(), holdCases(), outcomeCases(),
		busCases(), endCases(), lawCases())
}

// newEnv makes a Target, which is closed when the test ends.
func newEnv(t testing.TB, h Harness, clause string) *env {
	t.Helper()
	e := &env{TB: t, clause: clause, h: h, timeout: h.Timeout, label: uniqueName()}
	if e.timeout <= 0 {
		e.timeout = 10 * time.Second
	}
	e.Cleanup(e.report)
	e.Cleanup(e.wait) // late: Close and New's own Cleanup set free who is stuck
	e.Target = h.New(t)
	if e.Backend == nil {
		t.Fatal("Target.Backend is nil")
	}
	e.Cleanup(func() { e.within("", func() { closeBackend(e.Backend) }) })
	return e
}

// test runs the case in the test t, and adds it to left if it is skipped.
func (c testCase) test(t testing.TB, h Harness, left *unchecked) {
	e := newEnv(t, h, c.clause)
	e.labelled(func() {
		if lacking := e.lacking(c.needs); len(lacking) > 0 {
			left.add(c.name, lacking)
			t.Skipf("NOT CHECKED, the Target has no %s: %s", enumerate(lacking), c.clause)
		}
		c.run(e)
	})
}

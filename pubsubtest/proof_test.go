package pubsubtest

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/topicbus/pubsub/backend/memory"
)

// maxWait is how long a case may wait for a backend that does not do what it
// should: a few times Harness.Timeout.
const maxWait = 5 * time.Minute

// run runs the suite against the broken backend and returns the cases that
// failed, with what they said.
func (br breakage) run(t *testing.T) map[string]string {
	h := Harness{
		New: func(testing.TB) Target {
			b := &broken{Backend: memory.New(memory.WithHistory(memoryHistory), memory.WithMaxPayload(memoryMaxPayload))}
			br.wreck(b)
			tg := target(b.Backend)
			tg.Backend, tg.Publish = b, b.publishOutside
			return tg
		},
		Seed:   1,
		Rounds: 4,
	}
	failed := make(map[string]string)
	for _, c := range cases() {
		f := rehearse(t, func(tb testing.TB) { c.test(tb, h, new(unchecked)) })
		if f.failed {
			failed[c.name] = f.text()
		} else if f.skipped {
			t.Errorf("%s was skipped", c.name)
		}
		if f.took > maxWait {
			t.Errorf("%s waited for %v", c.name, f.took)
		}
	}
	return failed
}

// Each broken backend fails the case that is meant for it, and no case that
// has nothing to do with it.
func TestBrokenBackends(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long")
	}
	found := make(map[string]bool)
	for _, br := range breakages {
		t.Run(strings.ReplaceAll(br.name, " ", "-"), func(t *testing.T) {
			failed := br.run(t)
			want := append([]string{br.meant}, br.also...)
			for _, c := range cases() {
				output, fails := failed[c.name]
				switch expected := slices.Contains(want, c.name); {
				case fails && !expected && !br.broad && !slices.Contains(br.maybe, c.name):
					t.Errorf("%s failed too:\n%s", c.name, output)
				case !fails && expected:
					t.Errorf("%s passed", c.name)
				case fails && !strings.Contains(output, c.clause):
					t.Errorf("%s does not name its clause:\n%s", c.name, output)
				}
				found[c.name] = found[c.name] || fails
			}
		})
	}
	for _, c := range cases() {
		if !found[c.name] {
			t.Errorf("no broken backend fails %s", c.name)
		}
	}
}

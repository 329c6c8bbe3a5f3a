package pubsubtest

import (
	"bytes"
	"context"
	"fmt"
	"runtime/pprof"
	"strings"
)

const labelKey = "pubsubtest"

// labelled runs f so that the goroutines it starts, and those that they start,
// can be told from all others: labels are inherited.
func (e *env) labelled(f func()) {
	pprof.Do(context.Background(), pprof.Labels(labelKey, e.label), func(context.Context) { f() })
}

// goroutines returns how many goroutines the case and the backend have running
// on its behalf, the case's own included, and their stacks.
func (e *env) goroutines() (int, string) {
	var profile bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&profile, 1); err != nil {
		e.Fatalf("cannot list goroutines: %v", err)
	}
	total, stacks := 0, ""
	_, list, _ := strings.Cut(profile.String(), "\n") // behind the heading
	for stack := range strings.SplitSeq(list, "\n\n") {
		if !strings.Contains(stack, `"`+e.label+`"`) {
			continue
		}
		// "2 @ 0x47d00e 0x47d0a5", of alike goroutines.
		var n int
		if _, err := fmt.Sscanf(stack, "%d @", &n); err != nil {
			e.Fatalf("cannot read the list of goroutines at %q: %v", stack, err)
		}
		total += n
		stacks += stack + "\n\n"
	}
	return total, stacks
}

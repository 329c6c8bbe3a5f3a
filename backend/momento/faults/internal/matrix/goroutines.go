package matrix

import (
	"bytes"
	"context"
	"fmt"
	"runtime/pprof"
	"strings"
	"sync/atomic"
	"time"
)

var labels atomic.Uint64

// Alone runs f and then waits until none of the goroutines that f started,
// directly or not, is left. It returns the stacks of those that stay, "" if
// there are none. They are told from all others by a label, which goroutines
// inherit, so that tests can run in parallel.
func Alone(f func()) (left string) {
	label := fmt.Sprint("row-", labels.Add(1))
	done := make(chan struct{})
	go pprof.Do(context.Background(), pprof.Labels("matrix", label), func(context.Context) {
		defer close(done)
		f()
	})
	<-done
	for end := time.Now().Add(promptly); ; time.Sleep(5 * time.Millisecond) {
		// On a busy machine one look takes long. Only one that began late enough
		// says that something stays.
		last := time.Now().After(end)
		left = stacks(label)
		if left == "" || last {
			return left
		}
	}
}

// stacks returns the stacks of the goroutines with a label.
func stacks(label string) string {
	var profile bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&profile, 1); err != nil {
		return err.Error()
	}
	var found []string
	for stack := range strings.SplitSeq(profile.String(), "\n\n") {
		if strings.Contains(stack, `"`+label+`"`) {
			found = append(found, stack)
		}
	}
	return strings.Join(found, "\n\n")
}

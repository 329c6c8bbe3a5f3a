package pubsubtest

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// fakeTB records what a test does to it.
type fakeTB struct {
	testing.TB // of the real test, for what is not overridden

	mu              sync.Mutex
	failed, skipped bool
	output          []string
	cleanups        []func()
	took            time.Duration
}

func (f *fakeTB) record(failed, skipped bool, s string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failed, f.skipped = f.failed || failed, f.skipped || skipped
	f.output = append(f.output, s)
}

func (f *fakeTB) Helper()                   {}
func (f *fakeTB) Log(a ...any)              { f.record(false, false, fmt.Sprintln(a...)) }
func (f *fakeTB) Logf(s string, a ...any)   { f.record(false, false, fmt.Sprintf(s, a...)) }
func (f *fakeTB) Fail()                     { f.record(true, false, "") }
func (f *fakeTB) FailNow()                  { f.record(true, false, ""); runtime.Goexit() }
func (f *fakeTB) Error(a ...any)            { f.record(true, false, fmt.Sprintln(a...)) }
func (f *fakeTB) Errorf(s string, a ...any) { f.record(true, false, fmt.Sprintf(s, a...)) }
func (f *fakeTB) Fatal(a ...any)            { f.record(true, false, fmt.Sprintln(a...)); runtime.Goexit() }
func (f *fakeTB) Fatalf(s string, a ...any) {
	f.record(true, false, fmt.Sprintf(s, a...))
	runtime.Goexit()
}
func (f *fakeTB) SkipNow()      { f.record(false, true, ""); runtime.Goexit() }
func (f *fakeTB) Skip(a ...any) { f.record(false, true, fmt.Sprintln(a...)); runtime.Goexit() }
func (f *fakeTB) Skipf(s string, a ...any) {
	f.record(false, true, fmt.Sprintf(s, a...))
	runtime.Goexit()
}

func (f *fakeTB) Failed() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.failed
}

func (f *fakeTB) Skipped() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.skipped
}

func (f *fakeTB) Cleanup(c func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cleanups = append(f.cleanups, c)
}

func (f *fakeTB) cleanup() {
	for {
		f.mu.Lock()
		n := len(f.cleanups)
		if n == 0 {
			f.mu.Unlock()
			return
		}
		c := f.cleanups[n-1]
		f.cleanups = f.cleanups[:n-1]
		f.mu.Unlock()
		c()
	}
}

func (f *fakeTB) text() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return strings.Join(f.output, "\n")
}

// rehearse runs a test on a fake in a bubble, where waiting for what will
// never come takes no time.
func rehearse(t *testing.T, test func(testing.TB)) *fakeTB {
	var f *fakeTB
	synctest.Test(t, func(t *testing.T) {
		f = &fakeTB{TB: t}
		done := make(chan struct{})
		start := time.Now()
		go func() {
			defer close(done)
			defer f.cleanup()
			test(f)
		}()
		<-done
		f.took = time.Since(start)
		time.Sleep(time.Hour) // until those have gone who leave late
	})
	return f
}

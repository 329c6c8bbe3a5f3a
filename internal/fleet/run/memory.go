package run

import (
	"fmt"
	"os"
	"runtime"
)

// memory is what a process has, in bytes.
type memory struct {
	Resident uint64 // as the system counts, 0 where there is no /proc
	InUse    uint64 // heap and stacks after a garbage collection
}

func memoryNow() (m memory) {
	if b, err := os.ReadFile("/proc/self/statm"); err == nil {
		var size, resident uint64
		if _, err := fmt.Sscan(string(b), &size, &resident); err == nil {
			m.Resident = resident * uint64(os.Getpagesize())
		}
	}
	runtime.GC()
	var st runtime.MemStats
	runtime.ReadMemStats(&st)
	m.InUse = st.HeapAlloc + st.StackInuse
	return m
}

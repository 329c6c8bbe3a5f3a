package memory

import (
	"fmt"
	"runtime"
	"strings"
	"time"

	"github.com/topicbus/pubsub"
)

// selfWait is how long a publisher that is inside a delivery waits for a turn.
// If it is a delivery of that very topic it would wait for itself.
const selfWait = 5 * time.Second

var errSelfWait = fmt.Errorf("after %v, inside a delivery, which may be what it waits for: a codec or an observer "+
	"that publishes to its own topic must do so on another goroutine: %w", selfWait, pubsub.ErrUnavailable)

// insideDelivery reports whether the caller, a publisher, runs inside a call of
// deliver. Nobody can be asked, so it looks through its own stack: it takes
// microseconds, and is for publishers that wait.
func insideDelivery() bool {
	var pcs [256]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(1, pcs[:])])
	frame, more := frames.Next() // this function
	ours := strings.TrimSuffix(frame.Function, "insideDelivery")
	publishing := true // the publisher's own calls
	for more {
		frame, more = frames.Next()
		name, found := strings.CutPrefix(frame.Function, ours)
		if !found {
			publishing = false
			continue
		}
		switch name {
		case "(*topic).publish", "(*topic).publishAll", "(*topic).publishInTurn", "(*stream).take", "(*stream).drain":
			if !publishing {
				return true
			}
		}
	}
	return false
}

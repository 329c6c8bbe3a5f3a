package momentotest

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
)

// controlCodes are the statuses as control headers spell them.
var controlCodes = map[string]codes.Code{
	"aborted":             codes.Aborted,
	"already-exists":      codes.AlreadyExists,
	"cancelled":           codes.Canceled,
	"data-loss":           codes.DataLoss,
	"deadline-exceeded":   codes.DeadlineExceeded,
	"failed-precondition": codes.FailedPrecondition,
	"internal":            codes.Internal,
	"invalid-argument":    codes.InvalidArgument,
	"not-found":           codes.NotFound,
	"ok":                  codes.OK,
	"out-of-range":        codes.OutOfRange,
	"permission-denied":   codes.PermissionDenied,
	"resource-exhausted":  codes.ResourceExhausted,
	"unauthenticated":     codes.Unauthenticated,
	"unavailable":         codes.Unavailable,
	"unimplemented":       codes.Unimplemented,
	"unknown":             codes.Unknown,
}

// controls counts, per session and rule, the calls that control headers have
// failed or delayed.
type controls struct {
	mu   sync.Mutex
	used map[string]int
}

// control is what the headers of one request ask for.
type control struct {
	delay       time.Duration
	failure     *Failure
	streamLimit uint64 // messages after which the stream ends with streamEnd
	streamEnd   *Failure
}

// read interprets the control headers of a call. rpc is the name that they
// know the method by.
func (c *controls) read(ctx context.Context, rpc string) control {
	session := header(ctx, "request-id")
	if session == "" {
		return control{}
	}
	var out control
	if named(ctx, "delay-rpcs", rpc) && c.take(ctx, session+" delay "+rpc, "delay-count") {
		out.delay = time.Duration(number(ctx, "delay-ms")) * time.Millisecond
	}
	if f := failure(ctx, "return-error"); f != nil && named(ctx, "error-rpcs", rpc) && c.take(ctx, session+" error "+rpc, "error-count") {
		out.failure = f
	}
	if f := failure(ctx, "stream-error"); f != nil && named(ctx, "stream-error-rpcs", rpc) {
		out.streamEnd, out.streamLimit = f, number(ctx, "stream-error-message-limit")
	}
	return out
}

// take reports whether the rule still applies, which it does for as many
// calls as the header says, or always.
func (c *controls) take(ctx context.Context, rule, countHeader string) bool {
	if header(ctx, countHeader) == "" {
		return true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if uint64(c.used[rule]) >= number(ctx, countHeader) {
		return false
	}
	if c.used == nil {
		c.used = make(map[string]int)
	}
	c.used[rule]++
	return true
}

func named(ctx context.Context, key, rpc string) bool {
	return slices.Contains(strings.Fields(header(ctx, key)), rpc)
}

// number is 0 for a header that is missing or not a number.
func number(ctx context.Context, key string) uint64 {
	n, _ := strconv.ParseUint(header(ctx, key), 10, 32)
	return n
}

func failure(ctx context.Context, key string) *Failure {
	code, ok := controlCodes[header(ctx, key)]
	if !ok {
		return nil
	}
	return &Failure{Code: code, Message: "asked for by the header " + key}
}

package momentotest

import (
	"sync"
	"time"

	"google.golang.org/grpc/codes"
)

// tokens are those that the server knows.
type tokens struct {
	required bool // others are refused
	mu       sync.RWMutex
	known    map[string]tokenState
}

type tokenState struct {
	publisher string
	revoked   bool
}

// caller is who makes a call.
type caller struct{ token, publisher string }

func (ts *tokens) set(token string, state tokenState) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	ts.known[token] = state
}

func (ts *tokens) caller(token string) (caller, *Failure) {
	ts.mu.RLock()
	state, known := ts.known[token]
	ts.mu.RUnlock()
	if state.revoked || ts.required && !known {
		return caller{}, &Failure{Code: codes.Unauthenticated, Message: "Invalid authentication credentials"}
	}
	return caller{token, state.publisher}, nil
}

// rate is a token bucket that holds perSecond tokens when full.
type rate struct {
	perSecond float64 // 0: no limit

	mu   sync.Mutex
	left float64
	asOf time.Time
}

func newRate(perSecond int) *rate {
	return &rate{perSecond: float64(perSecond), left: float64(perSecond)}
}

func (r *rate) take(now time.Time) bool {
	if r.perSecond == 0 {
		return true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.asOf.IsZero() {
		r.left = min(r.perSecond, r.left+now.Sub(r.asOf).Seconds()*r.perSecond)
	}
	r.asOf = now
	if r.left < 1 {
		return false
	}
	r.left--
	return true
}

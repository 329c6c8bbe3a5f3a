package momentotest

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// Method is a gRPC method of the server.
type Method string

const (
	Publish     Method = "/cache_client.pubsub.Pubsub/Publish"
	Subscribe   Method = "/cache_client.pubsub.Pubsub/Subscribe"
	CreateCache Method = "/control_client.ScsControl/CreateCache"
	DeleteCache Method = "/control_client.ScsControl/DeleteCache"
)

// What the service states as the reason of a ResourceExhausted; see Failure.
const (
	ReasonSubscriptions  = "topic_subscriptions_limit_exceeded"
	ReasonOperationsRate = "operations_rate_limit_exceeded"
	ReasonThroughputRate = "throughput_rate_limit_exceeded"
	ReasonRequestSize    = "request_size_limit_exceeded"
	ReasonItemSize       = "item_size_limit_exceeded"
	ReasonElementSize    = "element_size_limit_exceeded"
)

// Failure is how a call or a stream ends. With the zero Code, OK, a stream
// ends without an error, and a Publish claims success for a message that it
// drops.
type Failure struct {
	Code    codes.Code
	Message string
	Reason  string // sent as "err" in the trailer unless empty
}

// Fail returns a Failure without a reason.
func Fail(code codes.Code, message string) Failure { return Failure{Code: code, Message: message} }

func (f Failure) err() error { return status.Error(f.Code, f.Message) }

func (f Failure) trailer() metadata.MD {
	if f.Reason == "" {
		return nil
	}
	return metadata.Pairs("err", f.Reason)
}

// Always is the n of a fault that lasts until [Server.ClearFaults].
const Always = -1

// FailNext makes the next n calls of a method fail, in all topics.
func (s *Server) FailNext(m Method, n int, f Failure) {
	s.faults.add(&fault{method: m, left: n, failure: &f})
}

// DelayNext makes the next n calls of a method wait for d before anything
// else is done with them, in all topics.
func (s *Server) DelayNext(m Method, n int, d time.Duration) {
	s.faults.add(&fault{method: m, left: n, delay: d})
}

// ClearFaults withdraws what is left of every FailNext and DelayNext, those
// of topics included.
func (s *Server) ClearFaults() { s.faults.clear() }

// FailNext makes the next n calls of Publish or Subscribe for the topic fail.
func (t *Topic) FailNext(m Method, n int, f Failure) {
	t.srv.faults.add(&fault{method: m, topic: t, left: n, failure: &f})
}

// DelayNext makes the next n calls of Publish or Subscribe for the topic wait
// for d before anything else is done with them.
func (t *Topic) DelayNext(m Method, n int, d time.Duration) {
	t.srv.faults.add(&fault{method: m, topic: t, left: n, delay: d})
}

type fault struct {
	method  Method
	topic   *Topic // nil: any
	left    int    // Always: no end
	failure *Failure
	delay   time.Duration
}

// faults are the scripted faults of calls, the oldest first.
type faults struct {
	armed atomic.Bool // spares calls the lock while there are none
	mu    sync.Mutex
	list  []*fault
}

func (fs *faults) add(f *fault) {
	if f.left == 0 {
		return
	}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.list = append(fs.list, f)
	fs.armed.Store(true)
}

func (fs *faults) clear() {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.list = nil
	fs.armed.Store(false)
}

// take uses up one delay and one failure that are meant for the call.
func (fs *faults) take(m Method, t *Topic) (delay time.Duration, failure *Failure) {
	if !fs.armed.Load() {
		return 0, nil
	}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	for _, f := range fs.list {
		switch {
		case f.method != m || f.topic != nil && f.topic != t:
			continue
		case f.failure != nil && failure == nil:
			failure = f.failure
		case f.failure == nil && delay == 0:
			delay = f.delay
		default:
			continue
		}
		if f.left > 0 {
			f.left--
		}
	}
	fs.list = slices.DeleteFunc(fs.list, func(f *fault) bool { return f.left == 0 })
	fs.armed.Store(len(fs.list) > 0)
	return delay, failure
}

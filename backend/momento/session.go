package momento

import (
	"context"
	"runtime"
	"strings"
	"time"

	sdk "github.com/momentohq/client-sdk-go/momento"
	"github.com/topicbus/pubsub"
)

// session is one SDK stream. The SDK ends a blocked Event only when the ctx of
// Subscribe ends, so one ctx of our own serves Subscribe and every Event.
type session struct {
	sub    sdk.TopicSubscription
	client *client
	ctx    context.Context
	cancel context.CancelCauseFunc
	began  time.Time
	took   time.Duration // to subscribe
	dog    watchdog
	proof  *time.Timer // tells others that the service is back; nil: nobody waits
	ahead  chan frame  // a wait whose end nobody took yet; nil: there is none
}

// frame is what an Event returned.
type frame struct {
	ev  sdk.TopicEvent
	err error
}

// dial makes one attempt to subscribe. again tells that another one, at once,
// can be expected to do better.
func (b *Backend) dial(parent context.Context, topic string, at pubsub.Position) (s *session, again bool, err error) {
	ctx, cancel := context.WithCancelCause(parent)
	defer func() {
		if err != nil {
			cancel(nil) // the SDK would leave the stream open
		}
	}()
	cl, err := b.clients.acquire(ctx)
	if err != nil {
		return nil, false, err
	}
	begun := time.Now()
	timer := time.AfterFunc(b.options.subscribeTimeout, func() { cancel(errMuteStart) })
	defer timer.Stop()
	sub, err := b.clients.subscribe(ctx, cl, &sdk.TopicSubscribeRequest{
		CacheName:                   b.cacheName,
		TopicName:                   topic,
		ResumeAtTopicSequenceNumber: at.Sequence,
		SequencePage:                at.Page,
	})
	if err != nil {
		err = translate(ctx, err)
		if parent.Err() != nil {
			return nil, false, err // that tells nothing of the connection
		}
		// The SDK's pool refuses one stream too many after it was full.
		again = b.clients.failed(cl, err) && !timedOut(err) || exhausted(err)
		return nil, again, err
	}
	now := time.Now()
	s = &session{sub: sub, client: cl, ctx: ctx, cancel: cancel, began: now, took: now.Sub(begun)}
	s.dog.timeout = b.options.stallTimeout
	s.dog.expire = func() { cancel(errStalled) }
	s.dog.start()
	return s, false, nil
}

// next waits for the next frame.
func (s *session) next() (sdk.TopicEvent, error) {
	if s.ahead == nil {
		return s.event()
	}
	f := <-s.ahead
	s.ahead = nil
	return f.ev, f.err
}

// poll waits for the next frame until then, and reports whether there was one.
// If there was not, the wait goes on for the next call of next or poll.
func (s *session) poll(until time.Time) (f frame, ok bool) {
	if s.ahead == nil {
		ahead := make(chan frame, 1)
		s.ahead = ahead
		go func() {
			ev, err := s.event()
			ahead <- frame{ev, err}
		}()
	}
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	select {
	case f = <-s.ahead:
		s.ahead = nil
		return f, true
	case <-timer.C:
		return frame{}, false
	}
}

// event waits for the next frame. An item that the SDK cannot read makes it
// panic; that is errNoValue, and the stream goes on. A panic of somebody else,
// such as a middleware, is not ours to hide: what it interrupted is unknown.
func (s *session) event() (ev sdk.TopicEvent, err error) {
	defer func() {
		s.dog.done()
		if r := recover(); r != nil {
			if _, ok := r.(runtime.Error); !ok || !strings.HasPrefix(panicked(), sdkModule) {
				panic(r)
			}
			ev, err = nil, errNoValue
		}
	}()
	s.dog.wait()
	return s.sub.Event(s.ctx)
}

// sdkModule begins the names of the SDK's functions.
const sdkModule = "github.com/momentohq/client-sdk-go/"

// panicked returns the name of the function whose panic a deferred function
// recovers, of which it is called.
func panicked() string {
	var pcs [16]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs[:])]) // behind the deferred function
	for {
		frame, more := frames.Next()
		if !strings.HasPrefix(frame.Function, "runtime.") {
			return frame.Function
		}
		if !more {
			return ""
		}
	}
}

// end ends the session and gives its place back to the SDK.
func (s *session) end(c *clients) {
	if s.proof != nil {
		s.proof.Stop()
	}
	s.dog.stop()
	s.cancel(nil)
	s.sub.Close()
	if s.ahead != nil {
		<-s.ahead
	}
	c.unsubscribe(s.client, s.sub)
}

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
	dog    watchdog
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
	s = &session{sub: sub, client: cl, ctx: ctx, cancel: cancel, began: time.Now()}
	s.dog.timeout = b.options.stallTimeout
	s.dog.expire = func() { cancel(errStalled) }
	return s, false, nil
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
	s.dog.stop()
	s.cancel(nil)
	s.sub.Close()
	c.unsubscribe(s.client, s.sub)
}

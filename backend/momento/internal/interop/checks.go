package main

import (
	"bytes"
	"fmt"

	"google.golang.org/grpc/codes"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/momento/momentotest"
	"github.com/topicbus/pubsub/codec"
)

var checks = []check{
	{"text and bytes from JavaScript to Go", jsToGo},
	{"text and bytes from Go to JavaScript", goToJS},
	{"JSON both ways", jsonBothWays},
	{"everybody sees one order", oneOrder},
	{"errors of Publish", publishErrors},
	{"errors of Subscribe", subscribeErrors},
	{"the cache is deleted", cacheDeleted},
	{"lost messages and a new page", discontinuities},
	{"all connections are reset", connectionsReset},
	{"the server is away", serverAway},
}

// samples are messages that arrive as they were sent.
var samples = []pubsub.Payload{
	text("plain"),
	text("Grüße, 世界 \U0001f44b"),
	text("two\nlines, a quote \" and a NUL \x00"),
	text(string(bytes.Repeat([]byte("long "), 10_000))),
	binary(0, 1, 2, 0xfe, 0xff),
	binary([]byte("text, sent as bytes")...),
	binary(bytes.Repeat([]byte{0}, 50_000)...),
}

func jsToGo(w *world) {
	s := w.subscribe()
	for i, p := range samples {
		w.jsCall(jsPublish(p))
		w.receives(s, p, uint64(i)+1)
	}
}

func goToJS(w *world) {
	w.jsCall(jsSubscribe())
	for i, p := range samples {
		w.publish(p)
		w.jsReceives(p, uint64(i)+1)
	}
}

func jsonBothWays(w *world) {
	type quote struct {
		Symbol string
		Price  float64
	}
	bus := pubsub.New(w.backend, codec.JSON[quote]())
	defer bus.Close()
	s, err := bus.Subscribe(w.ctx, topic)
	w.fail(err)
	w.jsCall(jsSubscribe())
	w.jsCall(jsPublish(text(`{"Symbol":"IBM","Price":125.55}`))) // as JSON.stringify writes it
	e, err := next(w, s)
	w.fail(err)
	w.expect("in Go", e.Message.Value, quote{"IBM", 125.55})
	w.fail(bus.Publish(w.ctx, topic, quote{"IBM", 126}))
	e, err = next(w, s)
	w.fail(err)
	w.expect("in Go", e.Message.Value, quote{"IBM", 126})
	w.jsReceives(text(`{"Symbol":"IBM","Price":125.55}`), 1)
	w.jsReceives(text(`{"Symbol":"IBM","Price":126}`), 2)
}

func oneOrder(w *world) {
	const each = 200
	s := w.subscribe()
	w.jsCall(jsSubscribe())
	sent := make(chan error, 1)
	go func() {
		for i := range each {
			if err := w.raw.Publish(w.ctx, topic, text(fmt.Sprint("Go ", i))); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	for i := range each {
		w.jsCall(jsPublish(text(fmt.Sprint("JavaScript ", i))))
	}
	w.fail(<-sent)
	for i := range uint64(2 * each) {
		m := w.message(s)
		w.expect("the number in Go", m.Position.Sequence, i+1)
		w.jsReceives(m.Value, i+1)
	}
}

func publishErrors(w *world) {
	for _, c := range []struct {
		failure momentotest.Failure
		want    error
		code    string
	}{
		{momentotest.Failure{Code: codes.ResourceExhausted, Message: "full", Reason: momentotest.ReasonOperationsRate}, pubsub.ErrLimitExceeded, "LIMIT_EXCEEDED_ERROR"},
		{momentotest.Fail(codes.PermissionDenied, "no"), pubsub.ErrPermissionDenied, "PERMISSION_ERROR"},
		{momentotest.Fail(codes.Unauthenticated, "who"), pubsub.ErrUnauthenticated, "AUTHENTICATION_ERROR"},
		{momentotest.Fail(codes.NotFound, "no cache"), pubsub.ErrNotFound, "NOT_FOUND_ERROR"},
	} {
		w.server.FailNext(momentotest.Publish, 1, c.failure)
		w.expectIs(fmt.Sprint(c.failure.Code, " in Go"), w.raw.Publish(w.ctx, topic, text("x")), c.want)
		w.server.FailNext(momentotest.Publish, 1, c.failure)
		w.jsRefused(jsPublish(text("x")), c.code)
	}
}

func subscribeErrors(w *world) {
	w.fail(w.server.DeleteCache(cache))
	_, err := w.raw.Subscribe(w.ctx, topic)
	w.expectIs("without a cache, in Go", err, pubsub.ErrNotFound)
	w.jsRefused(jsSubscribe(), "NOT_FOUND_ERROR")
}

func cacheDeleted(w *world) {
	s := w.subscribe()
	w.jsCall(jsSubscribe())
	w.fail(w.server.DeleteCache(cache))
	_, err := next(w, s)
	w.expectIs("the end in Go", err, pubsub.ErrNotFound)
	w.expect("the end in JavaScript", w.jsNext(), event{Event: "error", Topic: topic, Code: "NOT_FOUND_ERROR"})
}

func discontinuities(w *world) {
	s := w.subscribe()
	w.jsCall(jsSubscribe())
	w.jsCall(jsPublish(text("one")))
	w.receives(s, text("one"), 1)
	w.jsReceives(text("one"), 1)
	t := w.server.Topic(cache, topic)

	page := t.Position().Page
	t.Lose(3, momentotest.Announced)
	w.publish(text("five"))
	hole := w.hole(s)
	w.expect("messages lost in Go", hole.Lost, uint64(3))
	w.expect("counted exactly", hole.Exact, true)
	w.receives(s, text("five"), 5)
	w.expect("the hole in JavaScript", w.jsNext(), event{Event: "discontinuity", Topic: topic, Last: 1, Sequence: 4, Page: page})
	w.jsReceives(text("five"), 5)

	t.Reset(momentotest.Announced)
	w.jsCall(jsPublish(text("anew")))
	w.expect("the cause in Go", w.hole(s).Cause, pubsub.CauseReset)
	w.receives(s, text("anew"), 1)
	w.expect("the new page in JavaScript", w.jsNext(), event{Event: "discontinuity", Topic: topic, Last: 5, Page: t.Position().Page})
	w.jsReceives(text("anew"), 1)
}

func connectionsReset(w *world) { w.comesBack(w.server.ResetConnections, func() error { return nil }) }

func serverAway(w *world) { w.comesBack(w.server.Stop, w.server.Restart) }

// comesBack breaks what there is, mends it, and checks that both subscriptions
// go on where they were.
func (w *world) comesBack(fault func(), mend func() error) {
	s := w.subscribe()
	w.jsCall(jsSubscribe())
	w.jsCall(jsPublish(text("before")))
	w.receives(s, text("before"), 1)
	w.jsReceives(text("before"), 1)

	fault()
	_, err := w.server.Topic(cache, topic).Publish(text("meanwhile"))
	w.fail(err)
	w.fail(mend())
	w.receives(s, text("meanwhile"), 2)
	w.jsReceives(text("meanwhile"), 2)
	if w.err == nil {
		_, err = w.js.take(w.ctx, func(e event) bool { return e.Event == "lost" })
		w.fail(err)
	}

	w.jsCall(jsPublish(text("from JavaScript")))
	w.publish(text("from Go"))
	w.receives(s, text("from JavaScript"), 3)
	w.receives(s, text("from Go"), 4)
	w.jsReceives(text("from JavaScript"), 3)
	w.jsReceives(text("from Go"), 4)
}

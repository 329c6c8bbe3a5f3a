package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/topicbus/pubsub"
)

const (
	// heartbeat is the longest silence towards a viewer. It keeps proxies from
	// cutting the connection, and finds out about viewers who are gone.
	heartbeat = 15 * time.Second
	// writeTimeout is how long a viewer may take no bytes at all. It returns
	// by itself if it is still there.
	writeTimeout = 10 * time.Second
)

// events answers GET and HEAD of /events/{topic} with the topic as Server-Sent Events:
//
//	id: 1/41                     where a new viewer begins
//	event: state
//	data: {"state": "connected"}
//
//	id: 1/42                     the position, which a viewer returns with
//	data: {"symbol": ...}        a message
//
//	event: gap                   messages are missing here
//	data: {"lost": 3, "exact": true, "cause": "overflow", ...}
//
//	event: state                 the server's own stream broke or is back
//	data: {"state": "reconnecting", ...}
//
// A browser that lost its connection returns by itself, with the header
// Last-Event-ID. A page that was reloaded has forgotten that, so it may say
// the same by ?after=1/42.
func events(feeds map[string]*feed) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		f, ok := feeds[r.PathValue("topic")]
		if !ok { // viewers cannot make the server subscribe to anything
			http.Error(w, "no such topic", http.StatusNotFound)
			return
		}
		if r.Method == http.MethodHead { // who asks for no events gets the answer's end at once
			streamHeader(w.Header())
			return
		}
		// r's context ends when the viewer leaves or the program ends.
		after := lastSeen(r)
		sub, err := f.view(r.Context(), after)
		if err != nil {
			w.Header().Set("Retry-After", "2")
			http.Error(w, "the topic is not available now", http.StatusServiceUnavailable)
			return
		}
		defer sub.Close()

		streamHeader(w.Header())
		v := viewer{w: w, conn: http.NewResponseController(w), after: after, start: sub.Start()}
		// At different times, so that a restart does not bring all viewers
		// back in the same moment.
		fmt.Fprintf(&v.out, "retry: %d\n\n", 1000+rand.IntN(2000))
		if after.IsZero() {
			// A viewer whose connection breaks before its first message returns
			// with this. It misses nothing then, or is told. One that returns has
			// a position: another one could hide the gap that it is told of first.
			v.id(v.start)
		}
		v.state(sub.Stats().State) // which may have changed before the viewer came
		if v.flush() == nil {
			v.follow(sub.Events())
		}
	}
}

func streamHeader(h http.Header) {
	h.Set("Content-Type", "text/event-stream")
	// no-transform, since a proxy that compresses would hold events back until
	// it has enough of them.
	h.Set("Cache-Control", "no-store, no-transform")
	h.Set("X-Accel-Buffering", "no") // for nginx in front
}

// lastSeen returns the position that the viewer has seen last, zero if it is
// new. What is not a position counts as one that nobody holds any more: an
// error would end the browser's attempts for good.
func lastSeen(r *http.Request) pubsub.Position {
	id := r.Header.Get("Last-Event-ID") // newer than the URL, which stays the same
	if id == "" {
		id = r.URL.Query().Get("after")
	}
	if id == "" {
		return pubsub.Position{}
	}
	p, err := pubsub.ParsePosition(id)
	if err != nil {
		return pubsub.Position{Page: math.MaxUint64, Sequence: math.MaxUint64}
	}
	return p
}

// viewer writes the events of one connection.
type viewer struct {
	w    http.ResponseWriter
	conn *http.ResponseController
	out  bytes.Buffer // what was not sent yet

	after, start pubsub.Position // what it had seen, and where it begins
}

// follow sends what happens until the viewer or the subscription is gone. If
// the viewer reads slowly it blocks here, and nobody else: its subscription
// falls behind, and then drops the oldest messages and says how many.
func (v *viewer) follow(events <-chan pubsub.Event[Quote]) {
	silence := time.NewTimer(heartbeat)
	defer silence.Stop()
	for {
		select {
		case e, ok := <-events:
			if !ok {
				_ = v.flush() // leaves the server time to write the answer's end
				return
			}
			v.event(e)
			for range len(events) { // together, for fewer and larger packets
				v.event(<-events)
			}
		case <-silence.C:
			v.comment()
		}
		if v.flush() != nil {
			return
		}
		silence.Reset(heartbeat)
	}
}

func (v *viewer) event(e pubsub.Event[Quote]) {
	switch e.Kind {
	case pubsub.KindMessage:
		v.id(e.Message.Position)
		v.data(e.Message.Value)
	case pubsub.KindDiscontinuity:
		v.gap(e.Discontinuity)
	case pubsub.KindState:
		v.state(e.State)
	case pubsub.KindHeartbeat:
		v.comment()
	}
}

// id begins an event that stands at a position, unless that is not known.
func (v *viewer) id(p pubsub.Position) {
	if !p.IsZero() {
		fmt.Fprintf(&v.out, "id: %v\n", p)
	}
}

// gap sends no id: a viewer who leaves here hears of the gap again, which is
// better than not at all. The error is for the server's log, not for viewers.
//
// A viewer with a position of another page, such as one of an earlier process,
// is told of a reset: what it has seen is of another life of the topic.
func (v *viewer) gap(d *pubsub.Discontinuity) {
	cause := d.Cause
	if cause == pubsub.CauseReconnect && d.After == v.after && v.after.Page != v.start.Page {
		cause = pubsub.CauseReset
	}
	v.out.WriteString("event: gap\n")
	v.data(struct {
		Lost  uint64 `json:"lost"`
		Exact bool   `json:"exact"`
		Cause string `json:"cause"`
		After string `json:"after"`
	}{d.Lost, d.Exact, cause.String(), d.After.String()})
}

func (v *viewer) state(s pubsub.StateChange) {
	v.out.WriteString("event: state\n")
	v.data(struct {
		State    string `json:"state"`
		Attempt  int    `json:"attempt,omitempty"`
		Downtime int64  `json:"downtimeMs,omitempty"`
	}{s.State.String(), s.Attempt, s.Downtime.Milliseconds()})
}

// comment sends what a browser ignores.
func (v *viewer) comment() { v.out.WriteString(":\n\n") }

// data ends an event. JSON has no line breaks, so it is one line.
func (v *viewer) data(value any) {
	text, err := json.Marshal(value)
	if err != nil { // only of a price like NaN, which JSON cannot carry to us
		text = []byte("null")
	}
	fmt.Fprintf(&v.out, "data: %s\n\n", text)
}

func (v *viewer) flush() error {
	if err := v.conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	if _, err := v.w.Write(v.out.Bytes()); err != nil {
		return err
	}
	v.out.Reset()
	return v.conn.Flush()
}

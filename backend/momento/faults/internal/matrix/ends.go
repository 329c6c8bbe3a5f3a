package matrix

import (
	"context"
	"errors"
	"slices"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/momento/momentotest"
)

// Action is a way to end a subscription.
type Action string

const (
	Cancel       Action = "cancel"        // of the subscription's ctx
	Close        Action = "Close"         // of the subscription
	Drain        Action = "Drain"         // of the subscription
	CloseBus     Action = "Bus.Close"     //
	CloseBackend Action = "Backend.Close" // TopicClient.Close of the SDK
)

// actions are all of them.
var actions = []Action{Cancel, Close, Drain, CloseBus, CloseBackend}

// Stage is what a subscription is in the middle of.
type Stage string

const (
	Connect Stage = "connecting"
	Stream  Stage = "streaming"
	BackOff Stage = "backing off"
	Resume  Stage = "resuming"
)

var stages = []Stage{Connect, Stream, BackOff, Resume}

// Bring brings the first topic's subscription to a stage.
func (r *Run) Bring(s Stage) {
	const forever = time.Hour
	if s == Connect {
		r.Server.DelayNext(momentotest.Subscribe, momentotest.Always, forever)
		return
	}
	r.Open(1)
	r.Publish(2)
	r.Settle()
	subscribes := r.Server.Stats().Subscribes
	switch s {
	case BackOff:
		r.Server.Stop()
		r.Sleep(2 * heartbeat)
	case Resume:
		r.Server.DelayNext(momentotest.Subscribe, momentotest.Always, forever)
		r.Server.EndStreams(momentotest.Fail(codes.Unavailable, "scripted"))
		if !r.wait(func() bool { return r.Server.Stats().Subscribes > subscribes }) {
			r.check(errors.New("the subscription did not try to resume"))
		}
	}
}

// End brings the subscription to a stage, ends it, and waits for its end. If
// the server is away it then returns, to see who comes back.
func (r *Run) End(s Stage, a Action) {
	r.Bring(s)
	connecting := make(chan struct{})
	if s == Connect {
		go func() {
			defer close(connecting)
			r.Open(1)
		}()
		r.wait(func() bool { return r.Server.Stats().Subscribes > 0 })
	} else {
		close(connecting)
	}
	r.within(string(a)+" does not return", func() { r.act(a) })
	r.within("Subscribe does not return", func() { <-connecting })
	r.AwaitEnd()
	if s == BackOff {
		r.check(r.Server.Restart())
		if r.kind == SDK {
			r.Sleep(3 * time.Second)
		}
	}
}

// act takes an action.
func (r *Run) act(a Action) {
	bus, _ := r.client.(*busClient)
	switch {
	case a == Cancel:
		r.cancel()
	case a == Close:
		for _, s := range r.open() {
			s.reader.close()
		}
	case a == Drain:
		for _, s := range r.open() {
			err := s.reader.(busReader).Drain(context.Background())
			if errors.Is(err, pubsub.ErrClosed) || errors.Is(err, context.Canceled) && r.ctx.Err() != nil {
				err = nil // another end came before it
			}
			r.check(err)
		}
	case a == CloseBus:
		bus.bus.Close()
	case a == CloseBackend && bus != nil:
		bus.backend.Close()
	case a == CloseBackend:
		r.client.close()
	}
}

// endRows are the rows of each action at each stage.
func endRows() []Row {
	// What ends a subscription by itself, and a Subscribe that is under way.
	ended := map[Action]string{Cancel: "context.Canceled", CloseBus: "ErrClosed", CloseBackend: "ErrClosed"}
	var rows []Row
	for _, s := range stages {
		for _, a := range actions {
			if s == Connect && (a == Close || a == Drain) {
				continue // there is nothing yet to call it on
			}
			row := Row{
				Group: "An end while " + string(s),
				Name:  string(a),
				Play:  func(r *Run) { r.End(s, a) },
			}
			switch {
			case s == Connect:
				row.Want.Refused = ended[a]
			default:
				row.Want.Ended = ended[a]
			}
			if slices.Contains([]Action{Drain, CloseBus}, a) {
				row.SDKLacks = "has no such call"
			}
			rows = append(rows, row)
		}
	}
	return rows
}

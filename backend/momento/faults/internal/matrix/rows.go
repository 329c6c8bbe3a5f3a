package matrix

import (
	"fmt"
	"math"
	"net/http"
	"slices"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/momento"
	"github.com/topicbus/pubsub/backend/momento/momentotest"
)

// Rows returns the matrix, with full including what takes half a minute.
func Rows(full bool) []Row {
	return slices.Concat(
		brokenStreamRows(), outageRows(full), silenceRows(), betweenRows(), discontinuityRows(), numberRows(), oddItemRows(),
		oneMessageRows(full), payloadRows(), refusalRows(), limitRows(), startRows(), endRows(), publishRows(), consumerRows(),
	)
}

// Note returns what a reader should know about a group, "" if nothing.
func Note(group string) string {
	switch group {
	case silence:
		return "Here pubsub has a stall timeout of 2 s and a subscribe timeout of 3 s, in place of a\nminute and 5 s. The SDK has no stall timeout.\n\n"
	case away:
		return "Of three times, the slowest counts.\n\n"
	}
	return ""
}

const (
	silence = "Silence"
	away    = "The server is away"
)

var inclusive = []momentotest.Option{momentotest.WithInclusiveAnnouncements()}

// broken is the play of a stream that breaks: f breaks it, and messages are
// accepted before, meanwhile and afterwards.
func broken(f func(*Run)) func(*Run) {
	return func(r *Run) {
		r.Open(1)
		r.Publish(3)
		r.Settle()
		r.Server.DelayNext(momentotest.Subscribe, 1, 50*time.Millisecond)
		f(r)
		r.Publish(3)
		r.Healed()
		r.Publish(1)
	}
}

func brokenStreamRows() []Row {
	const group = "The stream breaks"
	var rows []Row
	for _, code := range []codes.Code{codes.OK, codes.Unavailable, codes.Internal, codes.Unknown, codes.Aborted, codes.ResourceExhausted} {
		rows = append(rows, Row{Group: group, Name: "ended with " + code.String(), Play: broken(func(r *Run) {
			r.Server.EndStreams(momentotest.Fail(code, "scripted"))
		})})
	}
	return append(rows,
		Row{Group: group, Name: "connection reset", Play: broken(func(r *Run) { r.Server.ResetConnections() })},
		Row{Group: group, Name: "GOAWAY, then ended", Play: broken(func(r *Run) {
			r.Server.GoAway()
			r.Publish(1)
			r.Settle()
			r.Server.EndStreams(momentotest.Fail(codes.OK, ""))
		})},
		Row{Group: group, Name: "before the first message", Play: func(r *Run) {
			r.Open(1)
			r.Server.Stop()
			r.Publish(3)
			r.check(r.Server.Restart())
			r.Healed()
			r.wait(func() bool { return r.Server.Stats().Streams == 1 })
			r.Publish(1)
		}, Want: Want{Inexact: true, Cause: pubsub.CauseReconnect}},
	)
}

// Outage is the row of a server that is away for some time.
func Outage(length time.Duration, subscriptions int) Row {
	row := Row{
		Group:  away,
		Name:   fmt.Sprintf("for %v, subscriptions: %d", length, subscriptions),
		Repeat: 3,
		Backend: []momento.Option{
			momento.WithMaxSubscriptions(500),
			// Of many Subscribes, a busy machine gets some of the last done late.
			momento.WithSubscribeTimeout(promptly),
		},
		Play: func(r *Run) {
			r.Open(subscriptions)
			r.Publish(1)
			r.Settle()
			r.Server.Stop()
			r.Publish(1)
			r.Sleep(length)
			r.check(r.Server.Restart())
			r.Healed()
			r.Publish(1)
		},
	}
	if subscriptions > 100 {
		row.Server = []momentotest.Option{momentotest.WithHeartbeatInterval(time.Second)}
	}
	return row
}

func outageRows(full bool) []Row {
	var rows []Row
	for _, length := range []time.Duration{100 * time.Millisecond, 2 * time.Second, 8 * time.Second} {
		for _, n := range []int{1, 40, 450} {
			rows = append(rows, Outage(length, n))
		}
	}
	if full {
		rows = append(rows, Outage(30*time.Second, 1))
	}
	return append(rows, Row{
		Group:  away,
		Name:   "while more passes than it keeps",
		Server: []momentotest.Option{momentotest.WithRetention(4)},
		Play: func(r *Run) {
			r.Open(1)
			r.Publish(3)
			r.Settle()
			r.Server.Stop()
			r.Publish(10)
			r.check(r.Server.Restart())
			r.Healed()
		},
		Want: Want{Lost: 6, Cause: pubsub.CauseReconnect},
	})
}

// impatient are backend options with which silence is noticed soon.
var impatient = []momento.Option{
	momento.WithStallTimeout(2 * time.Second),
	momento.WithSubscribeTimeout(3 * time.Second),
}

func silenceRows() []Row {
	const group = silence
	return []Row{
		{Group: group, Name: "the network swallows everything for 4 s", Backend: impatient, Play: func(r *Run) {
			r.Open(1)
			r.Publish(3)
			r.Settle()
			r.Server.BlackHole(true)
			r.Publish(3)
			r.Sleep(4 * time.Second)
			r.Server.BlackHole(false)
			r.Healed()
			r.Publish(1)
		}},
		{Group: group, Name: "the connection is dead, nothing is reset, new ones work", Backend: impatient, Relay: true, Play: func(r *Run) {
			r.Open(1)
			r.Publish(3)
			r.Settle()
			r.relay.forget()
			r.Healed()
			r.Publish(3)
		}},
		{Group: group, Name: "accepted, then mute, at first", Backend: impatient, Play: func(r *Run) {
			r.Topic(0).Mute(true)
			r.Open(1)
		}, Want: Want{Refused: "ErrUnavailable"}},
		{Group: group, Name: "accepted, then mute, on resume", Backend: impatient, Play: func(r *Run) {
			r.Open(1)
			r.Publish(3)
			r.Settle()
			r.Server.DelayNext(momentotest.Subscribe, 1, time.Hour)
			r.Server.EndStreams(momentotest.Fail(codes.Unavailable, "scripted"))
			r.Healed()
			r.Publish(3)
		}},
		{Group: group, Name: "first frame not a heartbeat, at first", Play: func(r *Run) {
			r.check(r.Topic(0).ScriptOpening(momentotest.Discontinuity(0, 1, 1)))
			r.Open(1)
		}, Want: Want{Refused: "ErrUnavailable (InternalServerError)"}},
		{Group: group, Name: "first frame not a heartbeat, on resume", Play: broken(func(r *Run) {
			at := r.Topic(0).Position()
			r.check(r.Topic(0).ScriptOpening(momentotest.Discontinuity(at.Sequence, at.Sequence, at.Page)))
			r.Server.EndStreams(momentotest.Fail(codes.Unavailable, "scripted"))
		})},
	}
}

// among is the play of something that happens between messages.
func among(f func(*Run)) func(*Run) {
	return func(r *Run) {
		r.Open(1)
		r.Publish(3)
		r.Settle()
		f(r)
		r.Publish(3)
	}
}

func discontinuityRows() []Row {
	const group = "A discontinuity"
	var rows []Row
	for _, at := range []struct {
		name   string
		server []momentotest.Option
	}{{"next item at new+1", nil}, {"next item at new", inclusive}} {
		rows = append(rows,
			Row{Group: group, Name: "same page, " + at.name, Server: at.server,
				Play: among(func(r *Run) { r.Topic(0).Lose(4, momentotest.Announced) }),
				Want: Want{Lost: 4, Cause: pubsub.CauseBackend, Unbroken: true}},
			Row{Group: group, Name: "new page, " + at.name, Server: at.server,
				Play: among(func(r *Run) { r.Reset(momentotest.Announced) }),
				Want: Want{Inexact: true, Cause: pubsub.CauseReset, Unbroken: true}},
			Row{Group: group, Name: "that only names the page, " + at.name, Server: at.server,
				Play: func(r *Run) {
					r.Topic(0)
					r.Publish(5)
					r.Open(1)
					r.Publish(3)
				},
				Want: Want{Unbroken: true}},
		)
	}
	return rows
}

func numberRows() []Row {
	const group = "Numbers"
	return []Row{
		{Group: group, Name: "delivered items are replayed", Want: Want{Unbroken: true}, Play: among(func(r *Run) {
			again, err := r.Topic(0).Retained()
			r.check(err)
			for _, m := range again {
				r.Inject(momentotest.Item(m.Position, m.Value))
			}
		})},
		{Group: group, Name: "gap without a discontinuity", Want: Want{Lost: 4, Cause: pubsub.CauseBackend, Unbroken: true},
			Play: among(func(r *Run) { r.Topic(0).Lose(4, momentotest.Unannounced) })},
		{Group: group, Name: "page change without a discontinuity", Want: Want{Inexact: true, Cause: pubsub.CauseReset, Unbroken: true},
			Play: among(func(r *Run) { r.Reset(momentotest.Unannounced) })},
		{Group: group, Name: "the largest number announced", Want: Want{Inexact: true, Cause: pubsub.CauseReset, Unbroken: true},
			Play: among(func(r *Run) { r.Inject(momentotest.Discontinuity(0, math.MaxUint64, r.Topic(0).Position().Page)) })},
		{Group: group, Name: "the largest page announced", Want: Want{Inexact: true, Cause: pubsub.CauseReset, Unbroken: true},
			Play: among(func(r *Run) { r.Inject(momentotest.Discontinuity(0, 1, math.MaxUint64)) })},
		{Group: group, Name: "item of a lower page", Want: Want{Unbroken: true}, Play: among(func(r *Run) {
			stale := pubsub.Position{Page: r.Topic(0).Position().Page - 1, Sequence: 99}
			r.Inject(momentotest.Item(stale, pubsub.Payload{Format: pubsub.Text, Data: []byte("stale")}))
		})},
	}
}

func oddItemRows() []Row {
	const group = "Odd frames"
	odd := func(f func(pubsub.Position) momentotest.Frame) func(*Run) {
		return among(func(r *Run) {
			r.Topic(0).Lose(1, momentotest.Unannounced)
			r.Inject(f(r.Topic(0).Position()))
		})
	}
	one := Want{Lost: 1, Cause: pubsub.CauseBackend, Unbroken: true}
	return []Row{
		{Group: group, Name: "item without a value", Want: one, Play: odd(momentotest.ItemWithoutValue)},
		{Group: group, Name: "item of an unknown kind of value", Want: one, Play: odd(momentotest.ItemOfUnknownKind)},
		{Group: group, Name: "item without a value, sent again", Want: Want{Lost: 1, InTime: true, Cause: pubsub.CauseBackend}, Play: among(func(r *Run) {
			r.AcceptFrame(momentotest.ItemWithoutValue)
			r.Server.EndStreams(momentotest.Fail(codes.Unavailable, "scripted"))
		})},
		{Group: group, Name: "text that is not UTF-8, sent again and again", Want: Want{Lost: 1, InTime: true, Cause: pubsub.CauseBackend}, Play: among(func(r *Run) {
			r.AcceptFrame(momentotest.ItemOfInvalidText)
		})},
		{Group: group, Name: "three such in a row", Want: Want{Lost: 3, InTime: true, Cause: pubsub.CauseBackend}, Play: among(func(r *Run) {
			for range 3 {
				r.AcceptFrame(momentotest.ItemOfInvalidText)
			}
		})},
		{Group: group, Name: "frame of an unknown kind", Want: Want{Unbroken: true}, Play: among(func(r *Run) { r.Inject(momentotest.UnknownKind()) })},
	}
}

// betweenRows are those of a proxy that answers for half a second itself.
func betweenRows() []Row {
	const group = "Something between answers for half a second"
	heartbeat := []byte{0x1a, 0} // what the service sends first
	var rows []Row
	for _, answer := range []struct {
		name string
		http.HandlerFunc
	}{
		{"an error page: 401", Page(http.StatusUnauthorized)},
		{"an error page: 403", Page(http.StatusForbidden)},
		{"an error page: 404", Page(http.StatusNotFound)},
		{"an error page: 503", Page(http.StatusServiceUnavailable)},
		{"a page that says all is well", Page(http.StatusOK)},
		{"Unimplemented", Status(int(codes.Unimplemented), "unknown service")},
		{"a compression that nobody asked for", Message("br", heartbeat)},
		{"accepts each stream and ends it at once", Message("", heartbeat)},
	} {
		rows = append(rows, Row{Group: group, Name: answer.name, Between: true, Play: broken(func(r *Run) {
			r.between.Answer(answer.HandlerFunc)
			r.Server.EndStreams(momentotest.Fail(codes.Unavailable, "scripted"))
			r.Sleep(500 * time.Millisecond)
			r.between.Answer(nil)
		})})
	}
	return rows
}

// oneMessageRows are those of a service that fails whenever a stream asks for one
// message, which has two behind it. Where the error does not say that it is about
// the message, half a minute goes by.
func oneMessageRows(full bool) []Row {
	answers := []struct {
		name   string
		answer http.HandlerFunc
	}{
		{"InvalidArgument", Status(int(codes.InvalidArgument), "no such number")},
		{"NotFound", Status(int(codes.NotFound), "no such item")},
		{"OutOfRange", Status(int(codes.OutOfRange), "out of range")},
		{"what cannot be decoded", Message("", []byte{0xff})},
	}
	if full {
		answers = append(answers, answers[0])
		answers[len(answers)-1].name, answers[len(answers)-1].answer = "Internal", Status(int(codes.Internal), "internal error")
	}
	var rows []Row
	for _, a := range answers {
		rows = append(rows, Row{Group: "The service fails when it is asked for one message", Name: a.name, Between: true,
			Want: Want{Lost: 1, Cause: pubsub.CauseBackend}, SDKLacks: "asks for another",
			Play: func(r *Run) {
				r.Open(1)
				r.Publish(3)
				r.Settle()
				r.between.AnswerFor(r.Topic(0).Position().Sequence+1, a.answer)
				r.between.Answer(Status(int(codes.Unavailable), "restarting"))
				r.Server.EndStreams(momentotest.Fail(codes.Unavailable, "scripted"))
				r.Publish(3)
				r.between.Answer(nil)
				r.Settle()
				r.Publish(1)
			}})
	}
	return rows
}

// startRows are those of subscriptions that resume where they cannot, or begin
// with what cannot be read.
func startRows() []Row {
	const group = "A start in the past"
	after := func(name string, other func(uint64) uint64) Row {
		return Row{Group: group, Name: name, SDKLacks: "not played",
			Want: Want{Inexact: true, Cause: pubsub.CauseReset, Unbroken: true},
			Play: func(r *Run) {
				r.Topic(0)
				r.Publish(5)
				page := r.Topic(0).Position().Page
				r.OpenWith(pubsub.ResumeAfter(pubsub.Position{Page: other(page), Sequence: 300}))
				r.Publish(3)
			}}
	}
	tooLarge := func(r *Run) { r.Accept(r.book(topicName(0)), pubsub.Payload{Data: make([]byte, 5<<20)}) }
	bad := func(name string, cause pubsub.Cause, option pubsub.SubscribeOption, accept func(*Run)) Row {
		return Row{Group: group, Name: name, SDKLacks: "not played", Want: Want{Inexact: true, Cause: cause},
			Play: func(r *Run) {
				r.Topic(0)
				accept(r)
				r.Publish(3)
				r.OpenBehind(0, option)
				r.Publish(1)
			}}
	}
	return []Row{
		after("of an earlier life of the service", func(page uint64) uint64 { return page - 1 }),
		after("of another service, with a later page", func(page uint64) uint64 { return page + 1 }),
		bad("FromOldest, and the oldest is text that is not UTF-8", pubsub.CauseReconnect, pubsub.FromOldest(), func(r *Run) {
			r.AcceptFrame(momentotest.ItemOfInvalidText)
		}),
		bad("FromOldest, and the oldest is larger than 4 MiB", pubsub.CauseReconnect, pubsub.FromOldest(), tooLarge),
		bad("FromLast(3), and the one before is larger than 4 MiB", pubsub.CauseBackend, pubsub.FromLast(3), tooLarge),
	}
}

func payloadRows() []Row {
	const group = "Payloads"
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	var rows []Row
	for _, p := range []struct {
		name string
		data []byte
		text bool
	}{
		{"empty text", nil, true}, {"empty bytes", nil, false}, {"all 256 byte values", every, false},
		{"4 KB", make([]byte, 4<<10), true}, {"1 MiB", make([]byte, 1<<20), true},
	} {
		rows = append(rows, Row{Group: group, Name: p.name, Want: Want{Unbroken: true}, Play: func(r *Run) {
			r.Open(1)
			r.Send(r.ctx, pubsub.Payload{Format: pubsub.Binary, Data: p.data})
			if p.text {
				r.Send(r.ctx, pubsub.Payload{Format: pubsub.Text, Data: p.data})
			}
			r.Publish(1)
		}})
	}
	return append(rows, Row{Group: group, Name: "larger than the 4 MiB that gRPC takes",
		Want: Want{Lost: 1, Cause: pubsub.CauseBackend},
		Play: among(func(r *Run) {
			r.Accept(r.book(topicName(0)), pubsub.Payload{Data: make([]byte, 5<<20)})
		})})
}

func refusalRows() []Row {
	const group = "Refused in mid-stream"
	refuse := func(code codes.Code) func(*Run) {
		return func(r *Run) {
			r.Open(1)
			r.Publish(3)
			f := momentotest.Fail(code, "scripted")
			r.Topic(0).FailNext(momentotest.Subscribe, momentotest.Always, f)
			r.Server.EndStreams(f)
			r.AwaitEnd()
		}
	}
	return []Row{
		{Group: group, Name: "permission denied", Play: refuse(codes.PermissionDenied), Want: Want{Ended: "ErrPermissionDenied (PermissionError)"}},
		{Group: group, Name: "not authenticated", Play: refuse(codes.Unauthenticated), Want: Want{Ended: "ErrUnauthenticated (AuthenticationError)"}},
		{Group: group, Name: "cache deleted", Want: Want{Ended: "ErrNotFound (NotFoundError)"}, Play: func(r *Run) {
			r.Open(1)
			r.Publish(3)
			r.DeleteCache()
			r.AwaitEnd()
		}},
		{Group: group, Name: "permission denied for a moment",
			Play: broken(func(r *Run) {
				f := momentotest.Fail(codes.PermissionDenied, "scripted")
				r.Topic(0).FailNext(momentotest.Subscribe, 5, f)
				r.Server.EndStreams(f)
			})},
		{Group: group, Name: "token expires, a fresh one can be had", Refresh: true, Play: broken((*Run).NewToken)},
		{Group: group, Name: "token expires, there is no other", Want: Want{Ended: "ErrUnauthenticated (AuthenticationError)"}, Play: func(r *Run) {
			r.Open(1)
			r.Publish(3)
			r.NewToken()
			r.AwaitEnd()
		}},
	}
}

func limitRows() []Row {
	const group = "Limits"
	tooMany := momentotest.Failure{Code: codes.ResourceExhausted, Message: "Too many subscribers (limit: 100)", Reason: momentotest.ReasonSubscriptions}
	return []Row{
		{Group: group, Name: "at first subscribe", Server: []momentotest.Option{momentotest.WithMaxSubscriptions(1)},
			Want: Want{Refused: "ErrLimitExceeded (LimitExceededError)", Unbroken: true},
			Play: func(r *Run) {
				r.Open(1)
				r.Publish(3)
				r.openAside(1)
				r.Publish(3)
			}},
		{Group: group, Name: "when subscribing again", Play: broken(func(r *Run) {
			r.Server.FailNext(momentotest.Subscribe, 2, tooMany)
			r.Server.EndStreams(momentotest.Fail(codes.Unavailable, "scripted"))
		})},
	}
}

func publishRows() []Row {
	const group = "Publish"
	text := func(s string) pubsub.Payload { return pubsub.Payload{Format: pubsub.Text, Data: []byte(s)} }
	return []Row{
		{Group: group, Name: "while the server is down", Want: Want{Unheard: "ErrUnavailable (ServerUnavailableError)"}, Play: func(r *Run) {
			r.Open(1)
			r.Send(r.ctx, text("before"))
			r.Settle()
			r.Server.Stop()
			r.Send(r.ctx, text("meanwhile"))
			r.check(r.Server.Restart())
			r.Healed()
			r.Publish(1)
		}},
		{Group: group, Name: "after the process was frozen, and its connection died (WithFreshConnectionAfter)", Relay: true,
			Backend: slices.Concat(impatient, []momento.Option{momento.WithFreshConnectionAfter(500 * time.Millisecond)}),
			Play: func(r *Run) {
				r.Open(1)
				r.Send(r.ctx, text("before"))
				r.Settle()
				r.relay.forget()
				r.Sleep(time.Second)
				r.Send(r.ctx, text("after"))
				r.Healed()
				r.Publish(1)
			}},
		{Group: group, Name: "throttled", Vague: true, Server: []momentotest.Option{momentotest.WithPublishRate(1)},
			Want: Want{Unheard: "ErrLimitExceeded (LimitExceededError)", Unbroken: true},
			Play: func(r *Run) {
				r.Open(1)
				for i := range 20 {
					r.Send(r.ctx, text(fmt.Sprint(i)))
				}
			}},
		{Group: group, Name: "larger than the service takes", Server: []momentotest.Option{momentotest.WithMaxPayload(4096)},
			Want: Want{Unheard: "ErrPayloadTooLarge (LimitExceededError)", Unbroken: true},
			Play: among(func(r *Run) { r.Send(r.ctx, pubsub.Payload{Data: make([]byte, 4097)}) })},
		{Group: group, Name: "larger than gRPC sends", Want: Want{Unheard: "ErrPayloadTooLarge (LimitExceededError)", Unbroken: true},
			Play: among(func(r *Run) { r.Send(r.ctx, pubsub.Payload{Data: make([]byte, 6<<20)}) })},
		{Group: group, Name: "with a ctx that has expired", Want: Want{Unheard: "context.DeadlineExceeded", Unbroken: true},
			Play: among(func(r *Run) { r.sendWithin(0) })},
		{Group: group, Name: "with a ctx that expires meanwhile", Want: Want{Unheard: "context.DeadlineExceeded (TimeoutError)", Unbroken: true},
			Play: among(func(r *Run) {
				r.Server.DelayNext(momentotest.Publish, 1, time.Hour)
				r.sendWithin(time.Second) // it must be under way by then
			})},
	}
}

func consumerRows() []Row {
	const group = "A consumer"
	const few = 16
	long := pubsub.Payload{Data: make([]byte, 16<<10)}
	return []Row{
		{Group: group, Name: "stops reading (DropOldest)", Bus: []pubsub.Option{pubsub.WithBuffer(few)},
			Want: Want{Lost: 200 - few, Cause: pubsub.CauseOverflow, Unbroken: true},
			Play: func(r *Run) {
				r.OpenWith(pubsub.Overflow(pubsub.DropOldest))
				r.halt()
				r.Publish(200)
				r.allReceived()
				r.open()[0].journal.release()
			}},
		{Group: group, Name: "stops reading (Block), and the server keeps 100", Vague: true, Bus: []pubsub.Option{pubsub.WithBuffer(few)},
			Server: []momentotest.Option{momentotest.WithRetention(100)},
			Want:   Want{Lost: Some, Cause: pubsub.CauseBackend, Unbroken: true},
			Play: func(r *Run) {
				r.OpenWith(pubsub.Overflow(pubsub.Block))
				r.halt()
				for range 1000 {
					r.Accept(r.book(topicName(0)), long)
				}
				r.Sleep(10 * heartbeat)
				r.open()[0].journal.release()
				r.Settle()
				r.Publish(1)
			}},
		{Group: group, Name: "two of different types on one backend", SDKLacks: "has no types", Play: twoTypes},
	}
}

package run

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/internal/soak/check"
)

// reading reads one subscription in one of the ways there are.
type reading struct {
	*node
	subscriber
	finBase uint64
	count   int
}

// open subscribes, again while the service cannot be reached.
func (n *node) open(ctx context.Context, rd *reading, flag string) (*pubsub.Subscription[load], error) {
	opts := []pubsub.SubscribeOption{pubsub.Named(rd.Name), pubsub.OnDiscontinuity(func(d *pubsub.Discontinuity) {
		if rd.Form == "c" || rd.Form == "messages" { // the others are handed it
			rd.gap(d)
		}
	})}
	switch rd.Policy {
	case "block":
		opts = append(opts, pubsub.Overflow(pubsub.Block))
	case "fail":
		opts = append(opts, pubsub.Overflow(pubsub.Fail))
	}
	if rd.Private {
		opts = append(opts, pubsub.Private())
	}
	if rd.Eventually {
		opts = append(opts, pubsub.Eventually())
	}
	switch rd.Begin {
	case "oldest":
		opts = append(opts, pubsub.FromOldest())
	case "last":
		opts = append(opts, pubsub.FromLast(20))
	}
	if rd.Shared {
		opts = append(opts, pubsub.Shared())
	}
	var after pubsub.Position
	if rd.After != "" {
		var err error
		if after, err = pubsub.ParsePosition(rd.After); err != nil {
			return nil, err
		}
		opts = append(opts, pubsub.ResumeAfter(after))
	}
	for tries := 0; ; tries++ {
		sub, err := n.bus.Subscribe(ctx, rd.Topic, opts...)
		if err == nil {
			flags := strings.Join([]string{flag, rd.options()}, ",")
			if rd.After != "" {
				flags += "," + check.Resumed
			} else {
				after = sub.Start()
			}
			n.say("S %s %s %s %v %d %s", rd.Name, rd.Topic, rd.Form, after, time.Now().UnixNano(), flags)
			return sub, nil
		}
		passing := errors.Is(err, pubsub.ErrUnavailable) || errors.Is(err, pubsub.ErrLimitExceeded) || errors.Is(err, context.DeadlineExceeded)
		if !passing || tries == 600 {
			return nil, err
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// options describes the subscription, for whoever looks at a violation.
func (s *subscriber) options() string {
	list := []string{s.Policy}
	for name, is := range map[string]bool{"private": s.Private, "shared": s.Shared, "eventually": s.Eventually, s.Begin: s.Begin != ""} {
		if is {
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return strings.Join(list, ",")
}

// read reads until the topic's last message, which it reports, or the end.
func (rd *reading) read(sub *pubsub.Subscription[load]) (fin bool) {
	switch rd.Form {
	case "all":
		for m, err := range sub.All() {
			var d *pubsub.Discontinuity
			if errors.As(err, &d) {
				rd.gap(d)
			} else if err == nil && rd.message(m) {
				return true
			}
		}
	case "messages":
		for m := range sub.Messages() {
			if rd.message(m) {
				return true
			}
		}
	case "next":
		for {
			e, err := sub.Next(context.Background())
			if err != nil {
				return false
			}
			if rd.event(e) {
				return true
			}
		}
	case "c":
		for m := range sub.C() {
			if rd.message(m) {
				return true
			}
		}
	case "events":
		for e := range sub.Events() {
			if rd.event(e) {
				return true
			}
		}
	}
	return false
}

func (rd *reading) event(e pubsub.Event[load]) (fin bool) {
	switch e.Kind {
	case pubsub.KindMessage:
		return rd.message(e.Message)
	case pubsub.KindDiscontinuity:
		rd.gap(e.Discontinuity)
	}
	return false
}

func (rd *reading) message(m pubsub.Message[load]) (fin bool) {
	rd.say("M %s %s %d %v %d", rd.Name, m.Value.Publisher, m.Value.N, m.Position, m.Value.sum())
	if rd.count++; rd.Stride > 0 && rd.count%rd.Stride == 0 {
		time.Sleep(rd.Pause)
	}
	return m.Value.Publisher == lastPublisher && m.Value.N > rd.finBase // not one of an earlier round
}

func (rd *reading) gap(d *pubsub.Discontinuity) {
	rd.say("G %s %v %d %t %v %v", rd.Name, d.Cause, d.Lost, d.Exact, d.After, d.Resume)
}

func (rd *reading) record(sub *pubsub.Subscription[load], e ending) {
	st, text := sub.Stats(), ""
	if e.err != nil {
		text = e.err.Error()
	}
	rd.say("E %s %s %d %d %d %d %s", rd.Name, e.how, e.at.UnixNano(), st.Delivered, st.Lost.Total(), st.Dropped, strconv.Quote(text))
}

package pubsub

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Position is where a message stands in its topic. Positions of one topic are
// ordered by Page, then by Sequence. The zero Position means "not numbered".
//
// Sequence grows by one from message to message. A new Page begins when the
// backend loses or makes anew the topic, and with it the numbers. Later pages are
// greater, not consecutive.
type Position struct {
	Page     uint64
	Sequence uint64
}

// IsZero reports whether p carries no position.
func (p Position) IsZero() bool { return p == Position{} }

// Compare returns -1, 0 or +1 as p stands before, at or after q.
func (p Position) Compare(q Position) int {
	switch {
	case p == q:
		return 0
	case p.Page < q.Page, p.Page == q.Page && p.Sequence < q.Sequence:
		return -1
	default:
		return +1
	}
}

// String returns "page/sequence", or "-" for the zero Position.
func (p Position) String() string {
	if p.IsZero() {
		return "-"
	}
	return strconv.FormatUint(p.Page, 10) + "/" + strconv.FormatUint(p.Sequence, 10)
}

// ParsePosition is the inverse of [Position.String].
func ParsePosition(s string) (Position, error) {
	if s == "-" {
		return Position{}, nil
	}
	page, sequence, ok := strings.Cut(s, "/")
	p, err1 := strconv.ParseUint(page, 10, 64)
	q, err2 := strconv.ParseUint(sequence, 10, 64)
	if !ok || err1 != nil || err2 != nil {
		return Position{}, fmt.Errorf("%w: %s is not a position, such as 1/42", ErrInvalidArgument, quoted(s))
	}
	return Position{Page: p, Sequence: q}, nil
}

// MarshalText returns what String returns, so that a Position fits into JSON,
// flags and headers.
func (p Position) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText sets p to what [ParsePosition] makes of text.
func (p *Position) UnmarshalText(text []byte) (err error) {
	*p, err = ParsePosition(string(text))
	return err
}

// Message is one value received from a topic.
type Message[T any] struct {
	Value     T
	Topic     string
	Publisher string   // authenticated id of the publisher, "" if the backend knows none
	Position  Position // zero if the backend does not number messages
}

// Kind tells what an [Event] or a [Frame] carries. The zero Kind is none.
type Kind uint8

const (
	KindMessage       Kind = iota + 1 // a message
	KindHeartbeat                     // the stream is alive; nothing else happened
	KindDiscontinuity                 // messages are missing at this place
	KindState                         // the connection to the backend changed
)

var kindNames = [...]string{"", "message", "heartbeat", "discontinuity", "state"}

// String returns the kind's name in lower case.
func (k Kind) String() string { return nameOf(kindNames[:], int(k), "Kind") }

// Event is one thing that happened on a subscription. Kind tells which of the
// other fields is set.
type Event[T any] struct {
	Kind          Kind
	Message       Message[T]     // KindMessage
	Discontinuity *Discontinuity // KindDiscontinuity; shared, do not modify
	State         StateChange    // KindState
}

// Cause tells why messages are missing.
type Cause uint8

const (
	// CauseOverflow: the subscription fell further behind than its buffer.
	CauseOverflow Cause = iota + 1
	// CauseBackend: the backend announced a gap, or its numbers show one.
	CauseBackend
	// CauseReset: the backend lost the topic's numbers and began a new page. Or
	// the position given to [ResumeAfter] is not of the topic's present life.
	CauseReset
	// CauseReconnect: messages passed while the stream was down, or since the
	// position given to [ResumeAfter], and are no longer at hand.
	CauseReconnect
	// CauseDecode: a message arrived that the Codec could not decode.
	CauseDecode
)

var causeNames = [...]string{"", "overflow", "backend", "reset", "reconnect", "decode"}

// String returns the cause's name in lower case.
func (c Cause) String() string { return nameOf(causeNames[:], int(c), "Cause") }

// Discontinuity reports messages that a subscription will not see. It stands
// in the stream at the place where they are missing. It is an error, so that
// [Subscription.All] can yield it, but it never ends a subscription.
//
// If hundreds of holes pile up between two messages, the oldest of them become
// one. That one has no Payload, and is of CauseBackend if their causes differ.
//
// errors.Is finds [ErrOverflow] in one of CauseOverflow and [ErrCodec] in one
// of CauseDecode; errors.As finds what the backend or the codec reported. What a
// codec reports may quote the payload: its text is cut to 512 bytes.
type Discontinuity struct {
	Topic string
	Cause Cause
	// After is the last position before the hole, and Resume the first one
	// behind it. Where another hole adjoins, the message at that position is
	// missing too. Either is zero if it is not known.
	After, Resume Position
	// Lost is how many messages are missing. Unless Exact is true it is a
	// lower bound, and may be 0.
	Lost  uint64
	Exact bool
	// Payload holds the bytes that could not be decoded (CauseDecode only).
	// It is shared; do not modify it.
	Payload *Payload
	// Err is the underlying error, if there is one.
	Err error
}

// join has d, which nobody else has seen yet, begin with an older hole.
func (d *Discontinuity) join(older *Discontinuity) {
	if d.Cause != older.Cause {
		d.Cause = CauseBackend
	}
	d.After = older.After
	d.Lost = plus(d.Lost, older.Lost)
	d.Exact = d.Exact && older.Exact
}

// Error describes the hole in one line, with Err's text if that adds to it.
func (d *Discontinuity) Error() string {
	count := "an unknown number of messages"
	switch {
	case d.Exact && d.Lost == 1:
		count = "1 message"
	case d.Exact:
		count = fmt.Sprintf("%d messages", d.Lost)
	case d.Lost > 0:
		count = fmt.Sprintf("at least %d messages", d.Lost)
	}
	s := fmt.Sprintf("pubsub: topic %s: %s lost (%s)", quoted(d.Topic), count, d.Cause)
	if !d.After.IsZero() {
		s += " after " + d.After.String()
	}
	if !d.Resume.IsZero() {
		s += ", resuming at " + d.Resume.String()
	}
	if d.Err != nil && d.Err != ErrOverflow { // which Cause says
		s += ": " + d.Err.Error()
	}
	return s
}

// Unwrap returns Err.
func (d *Discontinuity) Unwrap() error { return d.Err }

// State is the condition of the stream between a backend and its service.
type State uint8

const (
	Connected    State = iota // no break is known of; it is in Stats, and never told as a change
	Reconnecting              // the stream is down; the backend is trying to get it back
	Resumed                   // the stream is back
)

var stateNames = [...]string{"connected", "reconnecting", "resumed"}

// String returns the state's name in lower case.
func (s State) String() string { return nameOf(stateNames[:], int(s), "State") }

// StateChange reports that the stream behind a subscription changed State.
type StateChange struct {
	State State
	// Err is why the stream broke or why the last attempt failed (Reconnecting).
	Err error
	// Attempt counts the attempts to reconnect since the stream broke, from 1.
	Attempt int
	// Downtime is how long the stream has been down (Reconnecting), or was
	// down (Resumed).
	Downtime time.Duration
}

func nameOf(names []string, i int, typ string) string {
	if i < len(names) && names[i] != "" {
		return names[i]
	}
	return typ + "(" + strconv.Itoa(i) + ")"
}

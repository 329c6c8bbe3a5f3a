package pubsub

import "errors"

// Outcome tells what became of a message whose publishing returned an error.
type Outcome uint8

const (
	// OutcomeUnknown: the message may have been accepted or not. Publishing it
	// again may duplicate it.
	OutcomeUnknown Outcome = iota
	// NotAccepted: nobody will receive the message. Publishing it again cannot
	// duplicate it.
	NotAccepted
	// Accepted: the backend took the message all the same, as after a nil
	// error. Publishing it again duplicates it.
	Accepted
)

var outcomeNames = [...]string{"outcome unknown", "not accepted", "accepted"}

// String returns "outcome unknown", "not accepted" or "accepted".
func (o Outcome) String() string { return nameOf(outcomeNames[:], int(o), "Outcome") }

// OutcomeOf tells what became of the message that err is about. err is an error
// of Publish, PublishAll or Pipe; for the latter two the message is the first
// that is not counted as accepted. A nil err is Accepted. An err that says
// nothing is OutcomeUnknown.
func OutcomeOf(err error) Outcome {
	if err == nil {
		return Accepted
	}
	var o interface{ Outcome() Outcome }
	if errors.As(err, &o) {
		return o.Outcome()
	}
	return OutcomeUnknown
}

// WithOutcome returns err, with its text and its chain, such that [OutcomeOf]
// returns o. It is for backends. A nil err stays nil.
func WithOutcome(err error, o Outcome) error {
	if err == nil {
		return nil
	}
	return &outcomeError{err, o}
}

type outcomeError struct {
	error
	outcome Outcome
}

func (e *outcomeError) Unwrap() error    { return e.error }
func (e *outcomeError) Outcome() Outcome { return e.outcome }

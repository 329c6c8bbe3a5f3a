package nats

import (
	"github.com/nats-io/nats.go/jetstream"
	"github.com/topicbus/pubsub/internal/foreign"
)

// shown returns err, which the client library made, as it may be kept and shown:
// itself where nothing has to be changed. What is known by itself, such as
// nats.ErrNoResponders, stays visible to errors.Is, and the server's answer, a
// *jetstream.APIError, to errors.As. An error that was given its meaning comes
// back as it is: it has been here.
func shown(f *foreign.Filter, err error) error {
	err, _ = change(f, err)
	return err
}

// change is shown. It tells whether anything had to be changed.
func change(f *foreign.Filter, err error) (_ error, changed bool) {
	switch e := err.(type) {
	case nil:
		return nil, false
	case *shownError:
		return err, false
	case *breakError: // of a session, whose end the server explained
		what := f.Text(e.what)
		cause, changed := change(f, e.cause)
		if !changed && what == e.what {
			return err, false
		}
		return &breakError{what, cause}, true
	case *jetstream.APIError:
		description := f.Text(e.Description)
		if description == e.Description {
			return err, false
		}
		answer := *e
		answer.Description = description
		return &shownError{answer.Error(), []error{&answer}}, true
	}
	if translated(err) {
		return err, false
	}
	text := f.Text(err.Error())
	changed = text != err.Error()
	var causes []error
	for _, cause := range unwrap(err) {
		if cause == nil {
			continue
		}
		cause, c := change(f, cause)
		causes = append(causes, cause)
		changed = changed || c
	}
	if !changed {
		return err, false
	}
	return &shownError{text, causes}, true
}

func unwrap(err error) []error {
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		return []error{e.Unwrap()}
	case interface{ Unwrap() []error }:
		return e.Unwrap()
	}
	return nil
}

// shownError stands for an error whose text could not stay.
type shownError struct {
	text   string
	causes []error // changed likewise
}

func (e *shownError) Error() string   { return e.text }
func (e *shownError) Unwrap() []error { return e.causes }

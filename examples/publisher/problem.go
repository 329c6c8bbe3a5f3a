package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/topicbus/pubsub"
)

// problem is why a request was not fulfilled. Code is for programs, Message
// for people.
type problem struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	// Published is "no" or "unknown" where the backend was asked to publish:
	// whether trying again can publish the message twice.
	Published string `json:"published,omitempty"`

	status int
	header map[string]string
	cause  error // for the log, not for clients
}

var (
	notFound         = &problem{status: http.StatusNotFound, Code: "not_found", Message: "There is nothing here: post to /."}
	methodNotAllowed = &problem{status: http.StatusMethodNotAllowed, Code: "method_not_allowed", Message: "Use POST.",
		header: map[string]string{"Allow": http.MethodPost}}
	unauthorized = &problem{status: http.StatusUnauthorized, Code: "unauthorized", Message: "Send the header Authorization: Bearer TOKEN, with the right token.",
		header: map[string]string{"WWW-Authenticate": `Bearer realm="publisher"`}}
	unsupportedMediaType = &problem{status: http.StatusUnsupportedMediaType, Code: "unsupported_media_type", Message: "Send the header Content-Type: application/json, in UTF-8.",
		header: map[string]string{"Accept-Post": "application/json"}}
	compressed = &problem{status: http.StatusUnsupportedMediaType, Code: "unsupported_encoding", Message: "The body is compressed: send it plain, without Content-Encoding.",
		header: map[string]string{"Accept-Encoding": "identity"}}
	unknownHost = &problem{status: http.StatusForbidden, Code: "unknown_host", Message: "The service does not answer to the name in the header Host: start it with -hosts NAME."}
)

func badRequest(code, message string) *problem {
	return &problem{status: http.StatusBadRequest, Code: code, Message: message}
}

func bodyTooLarge(limit int64) *problem {
	return &problem{status: http.StatusRequestEntityTooLarge, Code: "body_too_large", Message: fmt.Sprintf("The body may have %d bytes.", limit)}
}

// publishProblem tells whose fault a failed Publish is, and what became of the
// message, because a client that tries again may duplicate it. It is nil if the
// message was published all the same.
func publishProblem(err error) *problem {
	p := blame(err)
	switch pubsub.OutcomeOf(err) {
	case pubsub.Accepted:
		return nil
	case pubsub.NotAccepted:
		p.Published = "no"
		p.Message += " The message was not published."
	default:
		p.Published = "unknown"
		p.Message += " The message may have been published all the same."
	}
	return p
}

func blame(err error) *problem {
	switch {
	case errors.Is(err, pubsub.ErrInvalidTopic):
		return badRequest("invalid_topic", "The topicName is blank or not valid UTF-8.")
	case errors.Is(err, pubsub.ErrInvalidPayload):
		return badRequest("invalid_value", "The topicValue is not valid UTF-8.")
	case errors.Is(err, pubsub.ErrPayloadTooLarge):
		return &problem{status: http.StatusRequestEntityTooLarge, Code: "value_too_large", Message: "The topicValue is larger than the backend takes."}
	case errors.Is(err, pubsub.ErrLimitExceeded):
		return tryLater("limit_exceeded", "A limit of the backend is exhausted for now.", "10", err)
	case errors.Is(err, pubsub.ErrUnavailable), errors.Is(err, pubsub.ErrClosed), errors.Is(err, context.DeadlineExceeded):
		return tryLater("unavailable", "The backend cannot be reached.", "2", err)
	case errors.Is(err, context.Canceled):
		// The client hung up and will not see this; 499 is what nginx logs.
		return &problem{status: 499, Code: "client_gone", Message: "The client closed the connection."}
	default: // credentials, permissions, the cache: to be mended on our side
		return &problem{status: http.StatusInternalServerError, Code: "internal", Message: "The service is not set up correctly.", cause: err}
	}
}

func tryLater(code, message, seconds string, cause error) *problem {
	return &problem{status: http.StatusServiceUnavailable, Code: code, Message: message,
		header: map[string]string{"Retry-After": seconds}, cause: cause}
}

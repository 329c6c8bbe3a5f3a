package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"unicode/utf8"
)

// request is a message to publish.
type request struct {
	topic, value string
}

// readRequest reads the body, which is to be one JSON object with both fields
// and no others: a misspelt field must not go unnoticed.
func readRequest(w http.ResponseWriter, r *http.Request, maxBody int64) (request, *problem) {
	// Asking for JSON also keeps out the forms that any web page can post.
	kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if charset := params["charset"]; err != nil || kind != "application/json" || charset != "" && !strings.EqualFold(charset, "utf-8") {
		return request{}, unsupportedMediaType
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return request{}, bodyTooLarge(maxBody)
	case err != nil:
		return request{}, badRequest("body_incomplete", "The body ended early or took too long.")
	case !utf8.Valid(body):
		// encoding/json would publish something else, with U+FFFD in it.
		return request{}, badRequest("malformed_json", "The body is not valid UTF-8.")
	}
	var fields struct {
		TopicName  *string `json:"topicName"` // nil if missing
		TopicValue *string `json:"topicValue"`
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&fields); err != nil {
		return request{}, jsonProblem(err)
	}
	if _, err := decoder.Token(); err != io.EOF {
		return request{}, badRequest("malformed_json", "Something follows the JSON object.")
	}
	switch {
	case fields.TopicName == nil:
		return request{}, badRequest("missing_field", "The field topicName is missing.")
	case fields.TopicValue == nil:
		return request{}, badRequest("missing_field", "The field topicValue is missing.")
	}
	return request{topic: *fields.TopicName, value: *fields.TopicValue}, nil
}

// jsonProblem tells what is wrong without quoting the body, except for the
// name of a field.
func jsonProblem(err error) *problem {
	var syntax *json.SyntaxError
	var wrongType *json.UnmarshalTypeError
	switch {
	case errors.As(err, &wrongType) && wrongType.Field != "":
		return badRequest("wrong_type", fmt.Sprintf("The field %s must be a string.", wrongType.Field))
	case errors.As(err, &wrongType):
		return badRequest("wrong_type", "The body must be a JSON object.")
	case errors.As(err, &syntax):
		return badRequest("malformed_json", fmt.Sprintf("The body is not JSON: error at byte %d.", syntax.Offset))
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return badRequest("malformed_json", "The body is empty or ends within the JSON object.")
	}
	// encoding/json has no type for this one.
	name, _ := strings.CutPrefix(err.Error(), "json: unknown field ")
	return badRequest("unknown_field", fmt.Sprintf("There is no field %s: use topicName and topicValue.", name))
}

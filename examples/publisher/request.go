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
// and no others.
func readRequest(w http.ResponseWriter, r *http.Request, maxBody int64) (request, *problem) {
	// Asking for JSON also keeps out the forms that any web page can post.
	kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if charset := params["charset"]; err != nil || kind != "application/json" || charset != "" && !strings.EqualFold(charset, "utf-8") {
		return request{}, unsupportedMediaType
	}
	for _, coding := range r.Header.Values("Content-Encoding") {
		if !strings.EqualFold(strings.TrimSpace(coding), "identity") {
			return request{}, compressed
		}
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return request{}, bodyTooLarge(maxBody)
	case err != nil:
		return request{}, badRequest("body_incomplete", "The body ended early or took too long.")
	case bytes.HasPrefix(body, []byte("\x1f\x8b")): // gzip, and no header says so
		return request{}, compressed
	case !utf8.Valid(body):
		// encoding/json would publish something else, with U+FFFD in it.
		return request{}, badRequest("malformed_json", "The body is not valid UTF-8.")
	}
	return parseRequest(body)
}

// parseRequest reads the object token by token. json.Unmarshal would be shorter
// and take too much: it lets the last of two fields of one name win, takes
// topicname for topicName, and turns half a surrogate pair into U+FFFD. The
// service would then publish something that nobody sent.
func parseRequest(body []byte) (request, *problem) {
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	start, err := decoder.Token()
	if err != nil {
		return request{}, jsonProblem(err)
	}
	if start != json.Delim('{') {
		return request{}, badRequest("wrong_type", "The body must be a JSON object.")
	}
	fields := make(map[string]string, 2)
	for decoder.More() {
		from := decoder.InputOffset()
		token, err := decoder.Token()
		if err != nil {
			return request{}, jsonProblem(err)
		}
		name, _ := token.(string) // Token takes nothing else here
		if p := checkName(name, fields); p != nil {
			return request{}, p
		}
		if token, err = decoder.Token(); err != nil {
			return request{}, jsonProblem(err)
		}
		value, ok := token.(string)
		switch {
		case token == nil:
			return request{}, badRequest("missing_field", fmt.Sprintf("The field %s is null: it must be a string.", name))
		case !ok:
			return request{}, badRequest("wrong_type", fmt.Sprintf("The field %s must be a string.", name))
		case halfPair(body[from:decoder.InputOffset()]):
			return request{}, badRequest("invalid_unicode", fmt.Sprintf(
				`The field %s has half a surrogate pair, such as \ud800, which is no character. Send both halves, or the character itself.`, name))
		}
		fields[name] = value
	}
	if _, err := decoder.Token(); err != nil { // the closing brace
		return request{}, jsonProblem(err)
	}
	if _, err := decoder.Token(); err != io.EOF {
		return request{}, badRequest("malformed_json", "Something follows the JSON object.")
	}
	for _, name := range []string{topicName, topicValue} {
		if _, ok := fields[name]; !ok {
			return request{}, badRequest("missing_field", fmt.Sprintf("The field %s is missing.", name))
		}
	}
	return request{topic: fields[topicName], value: fields[topicValue]}, nil
}

const (
	topicName  = "topicName"
	topicValue = "topicValue"
)

// checkName refuses a field that is unknown, or is there twice. A misspelt field
// must not go unnoticed.
func checkName(name string, seen map[string]string) *problem {
	for _, known := range []string{topicName, topicValue} {
		switch _, twice := seen[name]; {
		case name == known && twice:
			return badRequest("duplicate_field", fmt.Sprintf("The field %s is there twice.", name))
		case name == known:
			return nil
		case strings.EqualFold(name, known):
			return badRequest("unknown_field", fmt.Sprintf("There is no field %s: it is written %s.", quote(name), known))
		}
	}
	return badRequest("unknown_field", fmt.Sprintf("There is no field %s: use topicName and topicValue.", quote(name)))
}

// quote shows a name that may be anything, cut to a length that fits a message.
func quote(name string) string {
	const most = 64
	if runes := []rune(name); len(runes) > most {
		return fmt.Sprintf("%+q…", string(runes[:most]))
	}
	return fmt.Sprintf("%+q", name)
}

// halfPair reports whether JSON text escapes half a surrogate pair without the
// other half. The text is valid JSON.
func halfPair(text []byte) bool {
	unit := func(i int) (u rune) { // of the escape at i, or 0
		if i+6 > len(text) || text[i] != '\\' || text[i+1] != 'u' {
			return 0
		}
		for _, c := range text[i+2 : i+6] {
			u = u<<4 | rune(strings.IndexByte("0123456789abcdef", c|0x20)) // of a digit, |0x20 is the digit
		}
		return u
	}
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' {
			continue
		}
		switch u := unit(i); {
		case u >= 0xdc00 && u < 0xe000:
			return true
		case u >= 0xd800 && u < 0xdc00:
			if low := unit(i + 6); low < 0xdc00 || low >= 0xe000 {
				return true
			}
			i += 11
		default:
			i++ // what is escaped, or the u
		}
	}
	return false
}

// jsonProblem tells what is wrong without quoting the body.
func jsonProblem(err error) *problem {
	var syntax *json.SyntaxError
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return badRequest("malformed_json", "The body is empty or ends within the JSON object.")
	case errors.As(err, &syntax):
		return badRequest("malformed_json", fmt.Sprintf("The body is not JSON: error at byte %d.", syntax.Offset))
	default:
		return badRequest("malformed_json", "The body is not JSON.")
	}
}

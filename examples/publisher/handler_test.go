package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/memory"
	"github.com/topicbus/pubsub/codec"
	"github.com/topicbus/pubsub/internal/hosts"
)

// service is a handler over a memory backend that remembers what it was given.
type service struct {
	*memory.Backend
	*handler
	log bytes.Buffer
}

func newService(t *testing.T, cfg config) *service {
	s := &service{Backend: memory.New(memory.WithHistory(16), memory.WithMaxPayload(100))}
	log := slog.New(slog.NewJSONHandler(&s.log, nil))
	bus := pubsub.New(s.Backend, codec.String(), pubsub.WithLogger(log))
	t.Cleanup(func() { bus.Close(); s.Close() })
	if cfg.maxBody == 0 {
		cfg.maxBody = 1000
	}
	s.handler = newHandler(bus, cfg, log)
	return s
}

// do has the service answer a request, which change may still change.
func (s *service) do(t *testing.T, body string, change func(*http.Request)) *httptest.ResponseRecorder {
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader(body))
	r.Host = "localhost:8080"
	r.Header.Set("Content-Type", "application/json")
	if change != nil {
		change(r)
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

// requireProblem checks that w is an error in the form that clients rely on.
func requireProblem(t *testing.T, w *httptest.ResponseRecorder, status int, code string) (message string) {
	t.Helper()
	require.Equal(t, status, w.Code, w.Body)
	require.Equal(t, "application/json", w.Header().Get("Content-Type"))
	var answer struct {
		Error struct{ Code, Message string }
	}
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &answer), w.Body)
	require.Equal(t, code, answer.Error.Code, answer.Error.Message)
	require.NotEmpty(t, answer.Error.Message)
	return answer.Error.Message
}

const hello = `{"topicName": "greetings", "topicValue": "hello"}`

func TestPublishes(t *testing.T) {
	s := newService(t, config{})
	for _, body := range []string{
		hello,
		`{"topicValue": "", "topicName": "greetings"}`,
		`{"topicName": "greetings", "topicValue": "grüß \u00fc\n"}` + "\n",
		`{"topic\u004eame": "greetings", "topicValue": "\ud83d\uDE00 \\ud800 \\\ud83d\ude00"}`, // whole pairs, and text that only looks like half of one
		`{"topicName": "greetings", "topicValue": "\ufffd"}`,
	} {
		w := s.do(t, body, func(r *http.Request) { r.Header.Set("Content-Type", "application/json; charset=UTF-8") })
		require.Equal(t, http.StatusAccepted, w.Code, w.Body)
		require.Empty(t, w.Body.String())
	}
	var got []string
	for _, m := range s.Published("greetings") {
		require.Equal(t, pubsub.Text, m.Value.Format)
		got = append(got, string(m.Value.Data))
	}
	require.Equal(t, []string{"hello", "", "grüß ü\n", `😀 \ud800 \😀`, "\ufffd"}, got)
}

func TestBadInput(t *testing.T) {
	for _, c := range []struct {
		name, body string
		status     int
		code, says string
	}{
		{"empty", ``, 400, "malformed_json", "empty"},
		{"cut off", `{"topicName": "greet`, 400, "malformed_json", "ends within"},
		{"not JSON", `topicName=greetings`, 400, "malformed_json", "byte"},
		{"not UTF-8", "{\"topicName\": \"g\xff\", \"topicValue\": \"v\"}", 400, "malformed_json", "UTF-8"},
		{"two objects", hello + hello, 400, "malformed_json", "follows"},
		{"garbage behind", hello + "}", 400, "malformed_json", "follows"},
		{"not an object", `["greetings", "hello"]`, 400, "wrong_type", "object"},
		{"number", `{"topicName": "greetings", "topicValue": 1}`, 400, "wrong_type", "topicValue must be a string"},
		{"unknown field", `{"topicName": "greetings", "topicValue": "v", "topicTTL": 1}`, 400, "unknown_field", `"topicTTL"`},
		{"long unknown field", `{"` + strings.Repeat("x", 900) + `": 1}`, 400, "unknown_field", `x"…`},
		{"field twice", `{"topicName": "greetings", "topicValue": "a", "topicValue": "b"}`, 400, "duplicate_field", "topicValue is there twice"},
		{"field twice, escaped", `{"topicName": "greetings", "topic\u004eame": "farewells", "topicValue": "b"}`, 400, "duplicate_field", "topicName is there twice"},
		{"other case", `{"topicname": "greetings", "topicValue": "hello"}`, 400, "unknown_field", "it is written topicName"},
		{"both cases", `{"topicName": "greetings", "topicValue": "a", "TOPICVALUE": "b"}`, 400, "unknown_field", "it is written topicValue"},
		{"a letter that folds to k or s", `{"topicName": "greetings", "topicValue": "a", "topicValue\u017f": "b"}`, 400, "unknown_field", "topicValue"},
		{"half a pair", `{"topicName": "greetings", "topicValue": "\ud800"}`, 400, "invalid_unicode", "topicValue has half a surrogate pair"},
		{"the other half", `{"topicName": "greetings", "topicValue": "x\uDFFFy"}`, 400, "invalid_unicode", "topicValue"},
		{"halves the wrong way round", `{"topicName": "greetings", "topicValue": "\ude00\ud83d"}`, 400, "invalid_unicode", "topicValue"},
		{"half a pair behind a pair", `{"topicName": "greetings", "topicValue": "\ud83d\ude00\ud83d"}`, 400, "invalid_unicode", "topicValue"},
		{"half a pair before another escape", `{"topicName": "greetings", "topicValue": "\ud83d\n\ude00"}`, 400, "invalid_unicode", "topicValue"},
		{"half a pair in the name", `{"topicName": "\ud800", "topicValue": "hello"}`, 400, "invalid_unicode", "topicName"},
		{"compressed", "\x1f\x8b\x08\x00\x00", 415, "unsupported_encoding", "compressed"},
		{"comma behind", `{"topicName": "greetings", "topicValue": "hello",}`, 400, "malformed_json", "byte"},
		{"no colon", `{"topicName" "greetings", "topicValue": "hello"}`, 400, "malformed_json", "byte"},
		{"object", `{"topicName": "greetings", "topicValue": {"topicValue": "hello"}}`, 400, "wrong_type", "topicValue must be a string"},
		{"null", `null`, 400, "wrong_type", "object"},
		{"no name", `{"topicValue": "hello"}`, 400, "missing_field", "topicName"},
		{"no value", `{"topicName": "greetings"}`, 400, "missing_field", "topicValue"},
		{"null value", `{"topicName": "greetings", "topicValue": null}`, 400, "missing_field", "topicValue"},
		{"blank topic", `{"topicName": " \t", "topicValue": "hello"}`, 400, "invalid_topic", "blank"},
		{"large body", strings.Repeat(" ", 1000) + hello, 413, "body_too_large", "1000 bytes"},
		{"large value", `{"topicName": "greetings", "topicValue": "` + strings.Repeat("v", 101) + `"}`, 413, "value_too_large", "larger"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newService(t, config{})
			require.Contains(t, requireProblem(t, s.do(t, c.body, nil), c.status, c.code), c.says)
			require.Empty(t, s.Published("greetings"))
		})
	}
}

func TestWrongRequests(t *testing.T) {
	s := newService(t, config{})
	w := s.do(t, hello, func(r *http.Request) { r.Method = http.MethodGet })
	requireProblem(t, w, 405, "method_not_allowed")
	require.Equal(t, "POST", w.Header().Get("Allow"))

	requireProblem(t, s.do(t, hello, func(r *http.Request) { r.URL.Path = "/greetings" }), 404, "not_found")

	for _, kind := range []string{"", "text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin1", "application/json;"} {
		w := s.do(t, hello, func(r *http.Request) { r.Header.Set("Content-Type", kind) })
		if kind == "application/json;" { // odd, but allowed
			require.Equal(t, http.StatusAccepted, w.Code)
			continue
		}
		requireProblem(t, w, 415, "unsupported_media_type")
	}
	require.Len(t, s.Published("greetings"), 1)
}

func TestCompressedBodies(t *testing.T) {
	s := newService(t, config{})
	for _, coding := range []string{"gzip", "br", "gzip, identity", "x"} {
		w := s.do(t, hello, func(r *http.Request) { r.Header.Set("Content-Encoding", coding) })
		requireProblem(t, w, 415, "unsupported_encoding")
		require.Equal(t, "identity", w.Header().Get("Accept-Encoding"))
	}
	require.Empty(t, s.Published("greetings"))
	w := s.do(t, hello, func(r *http.Request) { r.Header.Set("Content-Encoding", "identity") })
	require.Equal(t, http.StatusAccepted, w.Code)
}

// A page whose name resolves to this machine must not be able to publish, even
// with the right content type: to the browser it is the service's own page.
func TestHosts(t *testing.T) {
	s := newService(t, config{hosts: hosts.Names{"publisher.example"}})
	for host, ok := range map[string]bool{
		"evil.example:8080": false, "localhost.evil.example": false,
		"localhost:8080": true, "127.0.0.1:8080": true, "[::1]:8080": true, "publisher.example": true,
	} {
		w := s.do(t, hello, func(r *http.Request) { r.Host = host })
		if ok {
			require.Equal(t, http.StatusAccepted, w.Code, host)
			continue
		}
		require.Contains(t, requireProblem(t, w, 403, "unknown_host"), "-hosts")
		require.NotContains(t, w.Body.String(), "evil", "what the client sent is not repeated")
	}
	require.Len(t, s.Published("greetings"), 4)
}

// What is accepted is JSON, and is published as it was sent.
func FuzzRequest(f *testing.F) {
	f.Add(hello)
	f.Add(`{"topicName": "a", "topicValue": "\ud800", "topicValue": "b"}`)
	f.Add(`{"topicName": "\\\ud83d\ude00", "topicvalue": 1e999}`)
	f.Add(`{"topicName" : "a","topicValue":"",}` + "\n")
	f.Fuzz(func(t *testing.T, body string) {
		if !utf8.ValidString(body) {
			return // readRequest looks at that
		}
		req, p := parseRequest([]byte(body))
		if p != nil {
			require.NotEmpty(t, p.Code)
			require.Less(t, len(p.Message), 600)
			return
		}
		var fields map[string]string
		require.NoError(t, json.Unmarshal([]byte(body), &fields))
		require.Equal(t, map[string]string{"topicName": req.topic, "topicValue": req.value}, fields)
		if !strings.Contains(strings.ToLower(body), `\ufffd`) { // nobody asked for one
			require.Equal(t, strings.Count(body, "\ufffd"), strings.Count(req.topic+req.value, "\ufffd"))
		}
	})
}

func TestToken(t *testing.T) {
	s := newService(t, config{token: "s3cret"})
	for _, c := range []struct {
		header string
		ok     bool
	}{
		{"Bearer s3cret", true},
		{"bearer  s3cret", true}, // the scheme's case does not matter
		{"", false},
		{"Bearer", false},
		{"Bearer s3cre", false},
		{"Bearer s3cret2", false},
		{"Basic s3cret", false},
		{"s3cret", false},
	} {
		w := s.do(t, hello, func(r *http.Request) { r.Header.Set("Authorization", c.header) })
		if c.ok {
			require.Equal(t, http.StatusAccepted, w.Code, c.header)
			continue
		}
		requireProblem(t, w, 401, "unauthorized")
		require.Contains(t, w.Header().Get("WWW-Authenticate"), "Bearer")
	}
	require.Len(t, s.Published("greetings"), 2)
	require.NotContains(t, s.log.String(), "s3cre")
}

func TestBackendFails(t *testing.T) {
	for _, c := range []struct {
		name       string
		err        error
		status     int
		code       string
		retryAfter string
	}{
		{"down", pubsub.ErrUnavailable, 503, "unavailable", "2"},
		{"limited", pubsub.ErrLimitExceeded, 503, "limit_exceeded", "10"},
		{"shut", pubsub.ErrClosed, 503, "unavailable", "2"},
		{"key refused", pubsub.ErrUnauthenticated, 500, "internal", ""},
		{"no such cache", pubsub.ErrNotFound, 500, "internal", ""},
		{"unknown", errors.New("it broke"), 500, "internal", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newService(t, config{})
			s.FailPublishes(1, fmt.Errorf("node 7 says: %w", c.err))
			w := s.do(t, hello, nil)
			message := requireProblem(t, w, c.status, c.code)
			require.Contains(t, message, "The message was not published.")
			require.Contains(t, w.Body.String(), `"published":"no"`)
			require.Equal(t, c.retryAfter, w.Header().Get("Retry-After"))
			require.NotContains(t, w.Body.String(), "node 7", "clients need not know what is behind the service")
			require.Contains(t, s.log.String(), "node 7 says: "+c.err.Error(), "operators must know")
			require.Contains(t, s.log.String(), `"level":"ERROR"`)

			require.Equal(t, http.StatusAccepted, s.do(t, hello, nil).Code, "afterwards it works")
		})
	}
}

// A client that tries again must know whether it may publish twice.
func TestOutcomeIsTold(t *testing.T) {
	s := newService(t, config{})
	s.FailPublishes(1, pubsub.WithOutcome(pubsub.ErrUnavailable, pubsub.OutcomeUnknown))
	w := s.do(t, hello, nil)
	require.Contains(t, requireProblem(t, w, 503, "unavailable"), "may have been published")
	require.Contains(t, w.Body.String(), `"published":"unknown"`)

	s.FailPublishes(1, pubsub.WithOutcome(pubsub.ErrUnavailable, pubsub.Accepted))
	require.Equal(t, http.StatusAccepted, s.do(t, hello, nil).Code)

	w = s.do(t, `{}`, nil)
	requireProblem(t, w, 400, "missing_field")
	require.NotContains(t, w.Body.String(), "published", "nobody has tried")
}

func TestBackendHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // five seconds, in no time
		s := newService(t, config{})
		s.DelayPublishes(time.Hour)
		start := time.Now()
		w := s.do(t, hello, nil)
		requireProblem(t, w, 503, "unavailable")
		require.Equal(t, publishTimeout, time.Since(start))
	})
}

func TestClientHangsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t, config{})
		s.DelayPublishes(time.Hour)
		ctx, hangUp := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, hangUp)
		start := time.Now()
		s.do(t, hello, func(r *http.Request) { *r = *r.WithContext(ctx) })
		require.Equal(t, time.Second, time.Since(start), "nobody waits for an answer that nobody reads")
		require.Contains(t, s.log.String(), `"code":"client_gone"`)
		require.NotContains(t, s.log.String(), `"level":"ERROR"`, "which is nobody's fault")
	})
}

func TestLogHasNoValues(t *testing.T) {
	s := newService(t, config{})
	secret := "hunter2"
	bodies := []string{
		`{"topicName": "greetings", "topicValue": "` + secret + `"}`,
		`{"topicName": "greetings", "topicValue": "` + secret,
		`{"topicName": "greetings", "topicValue": ["` + secret + `"]}`,
		`{"topicName": " ", "topicValue": "` + secret + `"}`,
		`{"topicName": "greetings", "topicValue": "` + secret + strings.Repeat("v", 101) + `"}`,
	}
	for _, body := range bodies {
		s.do(t, body, nil)
	}
	s.FailPublishes(1, pubsub.ErrUnavailable)
	s.do(t, bodies[0], nil)

	lines := strings.Split(strings.TrimSpace(s.log.String()), "\n")
	require.Len(t, lines, len(bodies)+1, "one line for each request")
	require.NotContains(t, s.log.String(), secret)
	var line struct {
		Topic  string
		Bytes  int
		Status int
	}
	require.NoError(t, json.Unmarshal([]byte(lines[0]), &line))
	require.Equal(t, "greetings", line.Topic)
	require.Equal(t, len(secret), line.Bytes)
	require.Equal(t, http.StatusAccepted, line.Status)
}

package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/memory"
	"github.com/topicbus/pubsub/codec"
	"github.com/topicbus/pubsub/examples/internal/pipes"
	"github.com/topicbus/pubsub/internal/hosts"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// site is the program, serving the topic quotes from a memory backend over
// connections without any buffer, so that a viewer who does not read is felt
// at once.
type site struct {
	*memory.Backend
	bus   pubsub.Bus[Quote] // the publishers', apart from the program's own
	conns *pipes.Listener
	stop  func() error
}

// open starts the program. It is stopped with the test, which runs in a bubble.
func open(t *testing.T) *site {
	return openOver(t, memory.New(memory.WithPage(1), memory.WithHistory(10_000)))
}

// openOver is open with a backend of the test's.
func openOver(t *testing.T, backend *memory.Backend) *site {
	s := &site{Backend: backend, conns: pipes.Listen()}
	s.bus = pubsub.New(s.Backend, codec.JSON[Quote]())
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- serve(ctx, s.conns, s.Backend, config{topics: []string{"quotes"}, hosts: hosts.Names{"quotes.example"}}, slog.New(slog.DiscardHandler))
	}()
	s.stop = sync.OnceValue(func() error {
		cancel()
		return <-ended
	})
	t.Cleanup(func() {
		_ = s.stop() // for the test to look at
		s.bus.Close()
		s.Close()
	})
	synctest.Wait() // until it has subscribed
	return s
}

// publish publishes n quotes, one by one.
func (s *site) publish(t *testing.T, n int) {
	t.Helper()
	for i := range n {
		require.NoError(t, s.bus.Publish(t.Context(), "quotes", Quote{"AAPL", float64(i)}))
	}
}

// event is one block of a stream of Server-Sent Events.
type event struct {
	id, kind, data string
	comment        bool
}

// reader is a client of the stream.
type reader struct {
	*bufio.Scanner
	status int
	header http.Header
	close  func()
	start  string // where it begins
}

// get sends a request and reads the answer's header. The rest is for the test
// to read, or not.
func (s *site) get(t *testing.T, path, lastEventID string) *reader {
	t.Helper()
	head := "GET " + path + " HTTP/1.1\r\nHost: localhost\r\n"
	if lastEventID != "" {
		head += "Last-Event-ID: " + lastEventID + "\r\n"
	}
	return s.request(t, head+"\r\n")
}

// request sends what it is given and reads the answer's header.
func (s *site) request(t *testing.T, text string) *reader {
	t.Helper()
	conn := s.conns.Dial()
	t.Cleanup(func() { conn.Close() })
	_, err := io.WriteString(conn, text)
	require.NoError(t, err)
	res, err := http.ReadResponse(bufio.NewReaderSize(conn, 16), nil)
	require.NoError(t, err)
	return &reader{Scanner: bufio.NewScanner(res.Body), status: res.StatusCode, header: res.Header, close: func() { conn.Close() }}
}

// watch is get for the topic, up to the opening of the stream, whose events it
// returns.
func (s *site) watch(t *testing.T, lastEventID string) *reader {
	t.Helper()
	r := s.get(t, "/events/quotes", lastEventID)
	require.Equal(t, http.StatusOK, r.status)
	e := r.next(t)
	r.start, e.id = e.id, ""
	require.Equal(t, event{kind: "state", data: `{"state":"connected"}`}, e)
	require.Equal(t, lastEventID == "", r.start != "", "a new viewer is told where it begins, and no other")
	return r
}

// next returns the next event, skipping the hint when to retry.
func (r *reader) next(t *testing.T) event {
	t.Helper()
	e, ok := r.read()
	require.True(t, ok, "the stream has ended: %v", r.Err())
	return e
}

func (r *reader) read() (e event, ok bool) {
	for r.Scan() {
		name, value, _ := strings.Cut(r.Text(), ":")
		value = strings.TrimPrefix(value, " ")
		switch name {
		case "id":
			e.id = value
		case "event":
			e.kind = value
		case "data":
			e.data = value
		case "retry":
			r.Scan() // the empty line behind
		case "":
			if r.Text() == ":" {
				e.comment = true
				continue
			}
			return e, true
		}
	}
	return e, false
}

func quote(position, price int) event {
	return event{id: fmt.Sprintf("1/%d", position), data: fmt.Sprintf(`{"symbol":"AAPL","price":%d}`, price)}
}

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/memory"
	"github.com/topicbus/pubsub/codec"
	"github.com/topicbus/pubsub/examples/internal/pipes"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// post sends a request over TCP and returns the status and the body.
func post(t *testing.T, url, body string) (int, string) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 30 * time.Second}
	res, err := client.Post(url, "application/json", strings.NewReader(body))
	require.NoError(t, err)
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return res.StatusCode, string(answer)
}

// start runs the program on a free port. stop ends it, as Ctrl-C does, and
// returns what it logged.
func start(t *testing.T, args ...string) (url string, stop func() string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	stdout, out := io.Pipe()
	var log bytes.Buffer
	ended := make(chan error, 1)
	go func() {
		err := run(ctx, append([]string{"-addr", "127.0.0.1:0"}, args...), out, &log)
		out.CloseWithError(err)
		ended <- err
	}()
	line, err := bufio.NewReader(stdout).ReadString('\n')
	require.NoError(t, err)
	return strings.TrimSpace(strings.TrimPrefix(line, "listening on ")), func() string {
		cancel()
		require.NoError(t, <-ended)
		return log.String()
	}
}

func TestRun(t *testing.T) {
	for _, c := range []struct{ name, args string }{
		{"memory", ""},
		{"momento", "-backend momento -local"},
	} {
		t.Run(c.name, func(t *testing.T) {
			url, stop := start(t, strings.Fields(c.args)...)
			status, answer := post(t, url, hello)
			require.Equal(t, http.StatusAccepted, status, answer)
			status, answer = post(t, url, `{}`)
			require.Equal(t, http.StatusBadRequest, status)
			require.True(t, json.Valid([]byte(answer)), answer)

			log := stop()
			require.Contains(t, log, "shutting down")
			require.Equal(t, 2, strings.Count(log, `"msg":"request"`), log)
		})
	}
}

func TestRunAsksForTheToken(t *testing.T) {
	t.Setenv("PUBLISHER_TOKEN", "s3cret")
	url, stop := start(t)
	status, _ := post(t, url, hello)
	require.Equal(t, http.StatusUnauthorized, status)
	require.NotContains(t, stop(), "s3cret")
}

// held is a backend that publishes when it is told to.
type held struct {
	pubsub.Backend
	called, release chan struct{}
}

func (h held) Publish(ctx context.Context, topic string, p pubsub.Payload) error {
	close(h.called)
	<-h.release
	return h.Backend.Publish(ctx, topic, p)
}

func TestShutdownFinishesRequests(t *testing.T) {
	backend := memory.New(memory.WithHistory(1))
	defer backend.Close()
	h := held{Backend: backend, called: make(chan struct{}), release: make(chan struct{})}
	bus := pubsub.New[string](h, codec.String())
	defer bus.Close()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	shut := &closing{Listener: listener, closed: make(chan struct{})}

	ctx, stop := context.WithCancel(t.Context())
	log := slog.New(slog.DiscardHandler)
	ended := make(chan error, 1)
	go func() { ended <- serve(ctx, shut, newHandler(bus, config{maxBody: 1000}, log), log) }()
	status := make(chan int, 1)
	go func() {
		s, _ := post(t, "http://"+listener.Addr().String(), hello)
		status <- s
	}()

	<-h.called
	stop()
	<-shut.closed
	_, err = net.Dial("tcp", listener.Addr().String())
	require.Error(t, err, "new requests are refused")
	select {
	case err := <-ended:
		require.Fail(t, "it did not wait for the request under way", err)
	case <-status:
		require.Fail(t, "the request was answered too early")
	default:
	}

	close(h.release)
	require.Equal(t, http.StatusAccepted, <-status)
	require.NoError(t, <-ended)
	require.Len(t, backend.Published("greetings"), 1)
}

// Whatever a client does, it does not keep a connection for long.
func TestNoConnectionIsHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t, config{})
		listener := pipes.Listen()
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- serve(ctx, listener, s.handler, slog.New(slog.DiscardHandler)) }()
		pipes.Hold(t, listener, 400, "/")
		stop()
		require.NoError(t, <-ended)
	})
}

// closing tells when it was closed.
type closing struct {
	net.Listener
	closed chan struct{}
}

func (c *closing) Close() error {
	defer close(c.closed)
	return c.Listener.Close()
}

func TestFlags(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"-backend pigeon", `-backend "pigeon": use memory or momento`},
		{"-backend momento", "-cache NAME, or -local"},
		{"-backend momento -cache c -local", "exclude each other"},
		{"-cache quotes", "need -backend momento"},
		{"-local", "need -backend momento"},
		{"-max-body 0", "at least 1"},
		{"-hosts https://a.example", "not a host name"},
		{"-nonsense", "not defined"},
		{"stray", `unexpected argument "stray"`},
		{"-addr 127.0.0.1:-1", "invalid port"},
	} {
		err := run(t.Context(), strings.Fields(c.args), io.Discard, io.Discard)
		require.ErrorContains(t, err, c.want, c.args)
	}
	var usage strings.Builder
	require.NoError(t, run(t.Context(), []string{"-h"}, io.Discard, &usage))
	require.Contains(t, usage.String(), "-backend")
}

func TestNoKeyIsAClearError(t *testing.T) {
	t.Setenv("MOMENTO_API_KEY", "")
	err := run(t.Context(), []string{"-backend", "momento", "-cache", "c"}, io.Discard, io.Discard)
	require.ErrorContains(t, err, "MOMENTO_API_KEY")
}

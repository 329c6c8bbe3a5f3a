package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/memory"
	"github.com/topicbus/pubsub/codec"
)

// webSite is the program over TCP. stop ends it and frees the port.
func webSite(t *testing.T, addr string, backend pubsub.Backend) (url string, stop func()) {
	t.Helper()
	listener, err := net.Listen("tcp", addr)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- serve(ctx, listener, backend, config{topics: []string{"quotes"}}, slog.New(slog.DiscardHandler))
	}()
	return listener.Addr().String(), func() {
		cancel()
		require.NoError(t, <-ended)
	}
}

// TestBrowser looks at the page through Chromium: live quotes, a gap, an
// outage, a reload and a restart of the server.
func TestBrowser(t *testing.T) {
	browser := startChromium(t)
	backend := memory.New(memory.WithHistory(100))
	defer backend.Close()
	bus := pubsub.New(backend, codec.JSON[Quote]())
	defer bus.Close()
	published := 0
	publish := func(n int) {
		for range n {
			for i, symbol := range []string{"AAPL", "IBM", "<b>MSFT"} {
				price := 100 + 100*float64(i) + float64((published*7+i)%11)
				require.NoError(t, bus.Publish(t.Context(), "quotes", Quote{symbol, price}))
			}
			published += 3
		}
	}
	shows := func(id string, text any) string {
		return fmt.Sprintf("document.getElementById(%q)?.textContent === %q", id, fmt.Sprint(text))
	}
	hasState := func(state string) string {
		return fmt.Sprintf("document.getElementById('state')?.dataset.state === %q", state)
	}

	addr, stop := webSite(t, "127.0.0.1:0", backend)
	browser.load("http://" + addr)
	browser.wait(hasState("live"))
	publish(20)
	browser.wait(shows("received", published))
	var rows []string
	browser.eval("[...document.querySelectorAll('#quotes tr')].map(tr => tr.cells[0].textContent + ' ' + tr.cells[1].textContent)", &rows)
	require.Equal(t, []string{"<b>MSFT 305.00", "AAPL 103.00", "IBM 204.00"}, rows, "the last prices, and what looks like HTML is text")
	browser.screenshot("live")

	// A gap is marked, and so is every price, until the next one comes.
	backend.Lose(3)
	browser.wait("document.querySelectorAll('#gaps li').length === 1")
	browser.wait("document.querySelectorAll('tr.stale').length === 3")
	browser.wait(shows("missed", 3))
	require.NoError(t, bus.Publish(t.Context(), "quotes", Quote{"AAPL", 120}))
	published++
	browser.wait("document.querySelectorAll('tr.stale').length === 2")
	browser.screenshot("gap")
	publish(5)
	browser.wait("document.querySelectorAll('tr.stale').length === 0")
	browser.wait(shows("received", published))

	// What is published during a reload is not missed: the page knows where
	// it was, and the server has the rest in its ring.
	browser.eval("source.close()", nil)
	publish(4)
	browser.load("")
	browser.wait(shows("received", published))
	browser.wait(shows("missed", 3))
	browser.wait("document.querySelectorAll('#gaps li').length === 1")
	require.Equal(t, 1, backend.Streams())

	// During an outage of the backend the page says so, and shows what the
	// backend makes up for afterwards.
	backend.Disconnect(nil)
	browser.wait(hasState("delayed"))
	publish(2)
	browser.screenshot("outage")
	backend.Reconnect()
	browser.wait(hasState("live"))
	browser.wait(shows("received", published))

	// After a restart of the server the browser returns by itself, and is
	// told of what it missed.
	stop()
	browser.wait(hasState("offline"))
	browser.screenshot("offline")
	publish(2)
	_, stop = webSite(t, addr, backend)
	browser.wait(hasState("live"))
	browser.wait("document.querySelectorAll('#gaps li').length === 2")
	received := published - 6
	publish(10)
	browser.wait(shows("received", received+30))
	browser.wait(shows("missed", "at least 3"))

	for _, scheme := range []string{"light", "dark"} {
		browser.call("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": scheme}}}, nil)
		browser.screenshot(scheme)
	}
	browser.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": 360, "height": 760, "deviceScaleFactor": 2, "mobile": true}, nil)
	browser.screenshot("phone")

	// Gone, so that stopping the server leaves nothing to complain about but
	// the restart.
	browser.load("about:blank")
	stop()
	require.NotContains(t, browser.complaints(), "exceptionThrown")
	require.NotContains(t, browser.complaints(), "Content Security Policy")
}

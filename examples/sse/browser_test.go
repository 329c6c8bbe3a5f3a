package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/memory"
	"github.com/topicbus/pubsub/codec"
	"github.com/topicbus/pubsub/internal/chromium"
)

// screenshot leaves a picture in the directory that PUBSUB_SCREENSHOTS names,
// if any, to be looked at.
func screenshot(p *chromium.Page, name string) {
	if dir := os.Getenv("PUBSUB_SCREENSHOTS"); dir != "" {
		p.Screenshot(filepath.Join(dir, "sse-"+name+".png"))
	}
}

// webSite starts the program over TCP; stop ends it and frees the address.
func webSite(t *testing.T, addr string, backend pubsub.Backend) (bound string, stop func()) {
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
	browser := chromium.Start(t)
	page := browser.Page(t, 900, 700)
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
	page.Open("http://" + addr)
	page.Await(hasState("live"))
	publish(20)
	page.Await(shows("received", published))
	var rows []string
	page.Eval("[...document.querySelectorAll('#quotes tr')].map(tr => tr.cells[0].textContent + ' ' + tr.cells[1].textContent)", &rows)
	require.Equal(t, []string{"<b>MSFT 305.00", "AAPL 103.00", "IBM 204.00"}, rows, "the last prices, and what looks like HTML is text")
	screenshot(page, "live")

	// A gap is marked, and so is every price, until the next one comes.
	backend.Lose(3)
	page.Await("document.querySelectorAll('#gaps li').length === 1")
	page.Await("document.querySelectorAll('tr.stale').length === 3")
	page.Await(shows("missed", 3))
	require.NoError(t, bus.Publish(t.Context(), "quotes", Quote{"AAPL", 120}))
	published++
	page.Await("document.querySelectorAll('tr.stale').length === 2")
	screenshot(page, "gap")
	publish(5)
	page.Await("document.querySelectorAll('tr.stale').length === 0")
	page.Await(shows("received", published))

	// The topic is lost and made again: the page says that it is another one.
	backend.ResetPage()
	page.Await("document.querySelectorAll('#gaps li.reset').length === 1")
	page.Await("document.querySelectorAll('tr.stale').length === 3")
	page.Await("document.querySelector('#gaps li.reset').textContent.startsWith('The topic began anew. An unknown number of messages missing.')")
	page.Await(shows("missed", "at least 3"))
	publish(5)
	page.Await("document.querySelectorAll('tr.stale').length === 0")
	page.Await(shows("received", published))
	screenshot(page, "reset")

	// A symbol may be anything. One that JavaScript has a meaning for is a row
	// like the others.
	odd := []string{"__proto__", "constructor", "toString"}
	for _, symbol := range odd {
		require.NoError(t, bus.Publish(t.Context(), "quotes", Quote{symbol, 1.5}))
		published++
	}
	page.Await(shows("received", published))
	page.Eval("[...document.querySelectorAll('#quotes tr')].map(tr => tr.cells[0].textContent + ' ' + tr.cells[1].textContent)", &rows)
	require.Len(t, rows, 6)
	for _, symbol := range odd {
		require.Contains(t, rows, symbol+" 1.50")
	}
	var polluted []string
	page.Eval("Object.keys(Object.prototype)", &polluted)
	require.Empty(t, polluted)

	// What is published during a reload is not missed: the page knows where
	// it was, and the server has the rest in its ring.
	page.Eval("source.close()", nil)
	publish(4)
	page.Reload()
	page.Await(shows("received", published))
	page.Await(shows("missed", "at least 3"))
	page.Await("document.querySelectorAll('#gaps li').length === 2")
	page.Await("document.querySelectorAll('#quotes tr').length === 6")
	require.Equal(t, 1, backend.Streams())

	// During an outage of the backend the page says so, and shows what the
	// backend makes up for afterwards.
	backend.Disconnect(nil)
	page.Await(hasState("delayed"))
	publish(2)
	screenshot(page, "outage")
	backend.Reconnect()
	page.Await(hasState("live"))
	page.Await(shows("received", published))

	require.Empty(t, page.Errors())

	// After a restart of the server the browser returns by itself, and is
	// told of what it missed.
	stop()
	page.Await(hasState("offline"))
	screenshot(page, "offline")
	publish(2)
	_, stop = webSite(t, addr, backend)
	page.Await(hasState("live"))
	page.Await("document.querySelectorAll('#gaps li').length === 3")
	received := published - 6
	publish(10)
	page.Await(shows("received", received+30))
	page.Await(shows("missed", "at least 3"))

	page.Dark(true)
	screenshot(page, "dark")
	phone := browser.Page(t, 360, 700)
	phone.Open("http://" + addr + "/?topic=quotes")
	phone.Await(hasState("live"))
	publish(20)
	backend.Lose(3)
	phone.Await(shows("missed", 3))
	var overflows bool
	phone.Eval("document.documentElement.scrollWidth > innerWidth", &overflows)
	require.False(t, overflows, "nothing is cut off")
	screenshot(phone, "phone")
	require.Empty(t, phone.Errors())
	stop()
}

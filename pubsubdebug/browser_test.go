package pubsubdebug_test

import (
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub/internal/chromium"
	"github.com/topicbus/pubsub/pubsubdebug"
)

// screenshot leaves a picture in the directory that PUBSUB_SCREENSHOTS names,
// to be looked at.
func screenshot(t *testing.T, p *chromium.Page, name string) {
	dir := os.Getenv("PUBSUB_SCREENSHOTS")
	if dir == "" {
		dir = t.TempDir()
	}
	file := filepath.Join(dir, name+".png")
	p.Screenshot(file)
	info, err := os.Stat(file)
	require.NoError(t, err)
	require.NotZero(t, info.Size())
}

func TestInTheBrowser(t *testing.T) {
	browser := chromium.Start(t)
	w := newWorld(t)
	server := httptest.NewServer(pubsubdebug.Handler(w.quotes, pubsubdebug.Named("orders", w.orders)))
	t.Cleanup(server.Close)

	t.Run("live", func(t *testing.T) {
		page := browser.Page(t, 1280, 1000)
		page.Open(server.URL + "?refresh=1")
		require.Equal(t, "live", page.Text("#status"))
		require.Contains(t, page.Text("main"), "lost 7")

		page.Eval("window.stayed = true", nil)
		w.publish(t, w.orders, "orders.new", 1234)
		page.Await("document.querySelector('main').innerText.includes('1,236')")
		page.Await("document.querySelector('.rate') !== null")
		var stayed bool
		page.Eval("window.stayed === true", &stayed)
		require.True(t, stayed, "refreshed in place")

		page.Eval("document.getElementById('toggle').click()", nil)
		require.Equal(t, "paused", page.Text("#status"))
		w.publish(t, w.orders, "orders.new", 1)
		before := page.Text("main")
		page.Eval("new Promise(done => setTimeout(done, 1500))", nil)
		require.Equal(t, before, page.Text("main"))
		page.Eval("document.getElementById('toggle').click()", nil)
		page.Await("document.querySelector('main').innerText.includes('1,237')")
		require.Equal(t, "live", page.Text("#status"))

		screenshot(t, page, "light")
		page.Dark(true)
		var background string
		page.Eval("getComputedStyle(document.body).backgroundColor", &background)
		require.Equal(t, "rgb(18, 21, 28)", background, "the style sheet applies, the dark one included")
		screenshot(t, page, "dark")
		require.Empty(t, page.Errors())
	})

	t.Run("narrow", func(t *testing.T) {
		page := browser.Page(t, 400, 900)
		page.Open(server.URL + "?refresh=0")
		var overflows bool
		page.Eval("document.documentElement.scrollWidth > innerWidth", &overflows)
		require.False(t, overflows, "only tables scroll sideways")
		screenshot(t, page, "narrow")
		require.Empty(t, page.Errors())
	})

	t.Run("without JavaScript", func(t *testing.T) {
		page := browser.Page(t, 1280, 1000)
		page.DisableScripts()
		page.Open(server.URL + "?refresh=1")
		require.Contains(t, page.Text("main"), "lost 7")
		w.publish(t, w.orders, "orders.new", 3000)
		page.Await("document.querySelector('main').innerText.includes('4,237')") // reloaded by itself
		var href string
		page.Eval("document.getElementById('toggle').href", &href)
		page.Open(href)
		require.Equal(t, "paused", page.Text("#status"))
		var refreshes bool
		page.Eval("document.querySelector('noscript') !== null", &refreshes)
		require.False(t, refreshes)
		require.Equal(t, "Resume", page.Text("#toggle"))
		require.Empty(t, page.Errors())
	})

	t.Run("server gone and back", func(t *testing.T) {
		stopped := httptest.NewServer(pubsubdebug.Handler(w.orders))
		page := browser.Page(t, 1280, 1000)
		page.Open(stopped.URL + "?refresh=1")
		stopped.Close()
		page.Await("document.getElementById('status').innerText === 'no answer'")
		require.NotEmpty(t, page.Text("main"), "the last snapshot stays")
	})

	t.Run("hostile names", func(t *testing.T) {
		page := browser.Page(t, 1280, 1000)
		page.Open(server.URL + "?topic=" + "%22%3E%3Cscript%3Edocument.title%3D%27owned%27%3C%2Fscript%3E")
		var value string
		page.Eval("document.querySelector('input[type=search]').value", &value)
		require.Equal(t, `"><script>document.title='owned'</script>`, value)

		for i, name := range hostile {
			w.subscribe(t, w.quotes, name, i)
		}
		page.Open(server.URL + "?refresh=1")
		page.Eval("window.stayed = true", nil)
		page.Await("document.querySelector('.rate') !== null") // refreshed by the script as well
		var title string
		page.Eval("document.title", &title)
		require.Equal(t, "pubsub", title, "no markup of a topic's runs")
		var elements int
		page.Eval("document.querySelectorAll('main script, main img, main style, main iframe, main a').length", &elements)
		require.Zero(t, elements, "no markup of a topic's becomes an element")
		var names []string
		page.Eval("[...document.querySelectorAll('section:first-child .topic .name')].map(e => e.textContent)", &names)
		all := strings.Join(names, "\n")
		require.NotContains(t, all, "\u202e", "nothing turns the text around it")
		require.Contains(t, all, `\u202e`, "but it can be seen")
		require.Contains(t, all, hostile[0])
		require.Contains(t, all, "مرحبا")
		var overflows bool
		page.Eval("document.documentElement.scrollWidth > innerWidth", &overflows)
		require.False(t, overflows, "a long name wraps")
		screenshot(t, page, "hostile")
		require.Empty(t, page.Errors())
	})
}

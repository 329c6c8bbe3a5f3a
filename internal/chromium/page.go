package chromium

import (
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"
)

// Page is an open page. Its methods fail the test when the browser does not do
// what it is told.
type Page struct {
	t       testing.TB
	browser *Browser
	session string

	mu     sync.Mutex
	errors []string
}

// Page opens an empty page of that size, for test t.
func (b *Browser) Page(t testing.TB, width, height int) *Page {
	t.Helper()
	p := &Page{t: t, browser: b}
	var target struct{ TargetID string }
	p.check(b.call("", "Target.createTarget", map[string]any{"url": "about:blank"}, &target))
	var attached struct{ SessionID string }
	p.check(b.call("", "Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached))
	p.session = attached.SessionID
	b.mu.Lock()
	b.pages[p.session] = p
	b.mu.Unlock()
	for _, domain := range []string{"Page", "Runtime", "Log"} {
		p.do(domain+".enable", nil)
	}
	p.do("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false})
	return p
}

func (p *Page) check(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatalf("chromium: %v", err)
	}
}

func (p *Page) do(method string, params map[string]any) {
	p.t.Helper()
	p.check(p.browser.call(p.session, method, params, nil))
}

// event notes what went wrong in the page.
func (p *Page) event(m message) {
	var e struct {
		Entry            struct{ Level, Text, URL string }
		ExceptionDetails struct {
			Text      string
			Exception struct{ Description string }
		}
	}
	if json.Unmarshal(m.Params, &e) != nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case m.Method == "Log.entryAdded" && e.Entry.Level == "error":
		p.errors = append(p.errors, e.Entry.Text+" "+e.Entry.URL)
	case m.Method == "Runtime.exceptionThrown":
		p.errors = append(p.errors, e.ExceptionDetails.Text+" "+e.ExceptionDetails.Exception.Description)
	}
}

// Errors returns what the page's console shows in red so far: exceptions,
// violations of the Content-Security-Policy, loads that failed.
func (p *Page) Errors() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.errors
}

// Open goes to an address, and returns when its page can be looked at.
func (p *Page) Open(url string) {
	p.t.Helper()
	p.Eval("window.left = true", nil)
	var result struct{ ErrorText string }
	p.check(p.browser.call(p.session, "Page.navigate", map[string]any{"url": url}, &result))
	if result.ErrorText != "" {
		p.t.Fatalf("chromium: %s: %s", url, result.ErrorText)
	}
	p.Await("!window.left && document.readyState === 'complete'")
}

// Reload reloads the page.
func (p *Page) Reload() {
	p.t.Helper()
	p.Eval("window.left = true", nil)
	p.do("Page.reload", nil)
	p.Await("!window.left && document.readyState === 'complete'")
}

// Eval evaluates a JavaScript expression, waits for it if it is a promise, and
// unmarshals its JSON into result. It works where the page's own scripts are
// disabled, too.
func (p *Page) Eval(expression string, result any) {
	p.t.Helper()
	p.check(p.eval(expression, result))
}

func (p *Page) eval(expression string, result any) error {
	var r struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails *struct {
			Text      string
			Exception struct{ Description string }
		}
	}
	err := p.browser.call(p.session, "Runtime.evaluate", map[string]any{
		"expression": expression, "returnByValue": true, "awaitPromise": true,
	}, &r)
	if err != nil {
		return err
	}
	if d := r.ExceptionDetails; d != nil {
		return fmt.Errorf("%s: %s %s", expression, d.Text, d.Exception.Description)
	}
	if result == nil {
		return nil
	}
	return json.Unmarshal(r.Result.Value, result)
}

// Text returns the visible text of the first element that matches selector.
func (p *Page) Text(selector string) string {
	p.t.Helper()
	quoted, _ := json.Marshal(selector)
	var s string
	p.Eval("document.querySelector("+string(quoted)+").innerText", &s)
	return s
}

// Await waits until a JavaScript expression is true. It may fail meanwhile, as
// it does while the page loads.
func (p *Page) Await(condition string) {
	p.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		var ok bool
		err := p.eval("!!("+condition+")", &ok)
		if ok {
			return
		}
		if time.Now().After(deadline) {
			var text string
			p.Eval("document.body.innerText", &text)
			p.t.Fatalf("chromium: not true after %v: %s (%v)\nThe page:\n%s", patience, condition, err, text)
		}
	}
}

// Dark has the page believe that the user prefers a dark or a light one.
func (p *Page) Dark(dark bool) {
	p.t.Helper()
	scheme := "light"
	if dark {
		scheme = "dark"
	}
	p.do("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": scheme}}})
}

// DisableScripts has later pages do without JavaScript.
func (p *Page) DisableScripts() {
	p.t.Helper()
	p.do("Emulation.setScriptExecutionDisabled", map[string]any{"value": true})
}

// Screenshot writes a PNG of the whole page to a file.
func (p *Page) Screenshot(file string) {
	p.t.Helper()
	var shot struct{ Data []byte }
	p.check(p.browser.call(p.session, "Page.captureScreenshot", map[string]any{"captureBeyondViewport": true}, &shot))
	p.check(os.WriteFile(file, shot.Data, 0o644))
}

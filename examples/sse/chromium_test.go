package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// chromium is a headless browser with one page, driven by the Chrome DevTools
// Protocol through a pair of pipes: no port, no driver, no other package.
type chromium struct {
	t       *testing.T
	in      io.Writer
	session string // of the page

	mu      sync.Mutex
	id      int
	answers map[int]chan answer
	err     error // why no answer will come
	log     bytes.Buffer
}

type answer struct {
	ID     int
	Result json.RawMessage
	Error  *struct{ Message string }
}

// startChromium starts the browser, or fails the test if it is not installed:
// a test of the page that did not look at the page must not pass.
func startChromium(t *testing.T) *chromium {
	t.Helper()
	path := os.Getenv("CHROMIUM")
	if path == "" {
		for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
			if found, err := exec.LookPath(name); err == nil {
				path = found
				break
			}
		}
	}
	if path == "" {
		t.Fatal("Chromium is not installed. Install it (Debian: apt-get install chromium), name it in CHROMIUM, or leave this test out by: go test -skip Browser")
	}
	profile, err := os.MkdirTemp("", "chromium")
	require.NoError(t, err)
	cmd := exec.Command(path, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage",
		"--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars", "--window-size=900,1000",
		"--user-data-dir="+profile, "--remote-debugging-pipe", "about:blank")
	theirIn, in, err := os.Pipe()
	require.NoError(t, err)
	out, theirOut, err := os.Pipe()
	require.NoError(t, err)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	cmd.ExtraFiles = []*os.File{theirIn, theirOut} // 3 and 4, as the flag has it
	require.NoError(t, cmd.Start())
	theirIn.Close()
	theirOut.Close()

	c := &chromium{t: t, in: in, answers: make(map[int]chan answer)}
	var receiving sync.WaitGroup
	receiving.Go(func() { c.receive(out) })
	t.Cleanup(func() {
		in.Close() // upon which it exits
		forced := time.AfterFunc(10*time.Second, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait()
		forced.Stop()
		receiving.Wait()
		out.Close()
		// Its helpers may be at work for a moment longer.
		for deadline := time.Now().Add(5 * time.Second); os.RemoveAll(profile) != nil && time.Now().Before(deadline); {
			time.Sleep(10 * time.Millisecond)
		}
		if t.Failed() {
			t.Logf("the page's console:\n%s\nChromium's stderr:\n%s", c.log.String(), stderr.String())
		}
	})

	var target struct{ TargetID string }
	c.call("Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	var attached struct{ SessionID string }
	c.call("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached)
	c.session = attached.SessionID
	for _, domain := range []string{"Page", "Runtime", "Log", "Network"} {
		c.call(domain+".enable", nil, nil)
	}
	return c
}

// receive hands the answers out and keeps what the page complains about.
func (c *chromium) receive(out io.Reader) {
	r := bufio.NewReader(out)
	for {
		text, err := r.ReadBytes(0)
		if err != nil {
			c.mu.Lock()
			c.err = errors.Join(errors.New("Chromium has ended"), err)
			for id, ch := range c.answers {
				close(ch)
				delete(c.answers, id)
			}
			c.mu.Unlock()
			return
		}
		text = bytes.TrimSuffix(text, []byte{0})
		var m struct {
			answer
			Method string
			Params json.RawMessage
		}
		if json.Unmarshal(text, &m) != nil {
			continue
		}
		c.mu.Lock()
		switch m.Method {
		case "":
			if ch := c.answers[m.ID]; ch != nil {
				ch <- m.answer
				delete(c.answers, m.ID)
			}
		case "Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded":
			fmt.Fprintf(&c.log, "%s %s\n", m.Method, m.Params)
		}
		c.mu.Unlock()
	}
}

// complaints returns what the page has written to its console, exceptions
// and refused resources included.
func (c *chromium) complaints() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.log.String()
}

// call has the browser do something and waits for the answer.
func (c *chromium) call(method string, params map[string]any, result any) {
	c.t.Helper()
	c.mu.Lock()
	c.id++
	request := map[string]any{"id": c.id, "method": method, "params": params}
	if params == nil {
		delete(request, "params")
	}
	if c.session != "" {
		request["sessionId"] = c.session
	}
	ch := make(chan answer, 1)
	if c.err == nil {
		c.answers[c.id] = ch
	} else {
		close(ch)
	}
	c.mu.Unlock()
	text, err := json.Marshal(request)
	require.NoError(c.t, err)
	_, err = c.in.Write(append(text, 0))
	require.NoError(c.t, err)

	timeout := time.NewTimer(30 * time.Second)
	defer timeout.Stop()
	select {
	case a, ok := <-ch:
		require.True(c.t, ok, "%s: Chromium has ended", method)
		require.Nil(c.t, a.Error, method)
		if result != nil {
			require.NoError(c.t, json.Unmarshal(a.Result, result))
		}
	case <-timeout.C:
		require.Fail(c.t, "Chromium does not answer", method)
	}
}

// eval evaluates JavaScript in the page. It waits for a promise. The result
// is decoded into result unless that is nil.
func (c *chromium) eval(script string, result any) {
	c.t.Helper()
	var r struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails *struct {
			Text      string
			Exception struct{ Description string }
		}
	}
	c.call("Runtime.evaluate", map[string]any{"expression": script, "awaitPromise": true, "returnByValue": true}, &r)
	require.Nil(c.t, r.ExceptionDetails, script)
	if result != nil {
		require.NoError(c.t, json.Unmarshal(r.Result.Value, result), script)
	}
}

// wait returns when a JavaScript condition is true of the page, which is
// looked at again whenever the page draws. The page may be loading.
func (c *chromium) wait(condition string) {
	c.t.Helper()
	var met bool
	c.eval(fmt.Sprintf(`new Promise(resolve => {
		const deadline = performance.now() + 20000;
		const look = () => (%s) ? resolve(true) : performance.now() > deadline ? resolve(false) : requestAnimationFrame(look);
		look();
	})`, condition), &met)
	if !met {
		var text string
		c.eval("document.body.innerText", &text)
		require.Fail(c.t, "the page never came to that", "%s, with the page showing:\n%s", condition, text)
	}
}

// load goes to url, or reloads the page if that is empty, and returns when the
// page's own scripts have run.
func (c *chromium) load(url string) {
	c.t.Helper()
	c.eval("window.old = true", nil)
	if url == "" {
		c.call("Page.reload", nil, nil)
	} else {
		c.call("Page.navigate", map[string]any{"url": url}, nil)
	}
	// The old page's world may go while the question is under way.
	deadline := time.Now().Add(20 * time.Second)
	for {
		var r struct {
			Result struct{ Value bool }
		}
		c.call("Runtime.evaluate", map[string]any{"expression": `!window.old && document.readyState === "complete"`, "returnByValue": true}, &r)
		if r.Result.Value {
			return
		}
		require.True(c.t, time.Now().Before(deadline), "the page does not load")
	}
}

// screenshot writes a picture of the page into the directory SCREENSHOTS, if
// that is set.
func (c *chromium) screenshot(name string) {
	c.t.Helper()
	dir := os.Getenv("SCREENSHOTS")
	if dir == "" {
		return
	}
	var picture struct{ Data string }
	c.call("Page.captureScreenshot", map[string]any{"format": "png", "captureBeyondViewport": true}, &picture)
	png, err := base64.StdEncoding.DecodeString(picture.Data)
	require.NoError(c.t, err)
	require.NoError(c.t, os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644))
}

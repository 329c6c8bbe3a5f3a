// Package chromium drives a headless Chromium for tests of web pages. It
// speaks the DevTools protocol over a pipe and needs nothing but the browser
// (Debian's package chromium).
package chromium

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"
)

// Wanted is the environment variable that says what becomes of tests that need
// a browser. By default they run if there is one, and are skipped otherwise.
// With "required" they fail if there is none; with "off" they are skipped.
const Wanted = "PUBSUB_BROWSER"

// patience is how long the browser may take to answer anything.
const patience = 30 * time.Second

// Browser is a running browser. It ends with the test that started it.
type Browser struct {
	in io.Writer

	mu      sync.Mutex
	lastID  int
	answers map[int]chan message
	pages   map[string]*Page // by session
	gone    chan struct{}    // closed when the browser has ended
}

// message is one of the protocol, whatever its direction.
type message struct {
	ID        int             `json:"id,omitempty"`
	SessionID string          `json:"sessionId,omitempty"`
	Method    string          `json:"method,omitempty"`
	Params    json.RawMessage `json:"params,omitempty"`
	Result    json.RawMessage `json:"result,omitempty"`
	Error     *struct {
		Message string `json:"message"`
	} `json:"error,omitempty"`
}

// Named is the environment variable that may name the browser. Without it those
// of the usual names are tried.
const Named = "CHROMIUM"

// Start starts the browser. Without one it skips t, or fails it if the browser
// was required or named.
func Start(t testing.TB) *Browser {
	t.Helper()
	path, skip, err := choose(os.Getenv(Wanted), os.Getenv(Named), "chromium", "chromium-browser", "google-chrome")
	if err != nil {
		t.Fatal(err)
	}
	if skip != "" {
		t.Skip(skip)
	}
	// Not t.TempDir: the browser's helpers may write for a moment after its end,
	// and what is left then is no failure of t's.
	profile, err := os.MkdirTemp("", "chromium")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(profile) })
	args := []string{
		"--headless", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
		"--disable-component-update", "--disable-sync", "--hide-scrollbars", "--remote-debugging-pipe",
		"--user-data-dir=" + profile, "about:blank",
	}
	if os.Getuid() == 0 {
		args = append([]string{"--no-sandbox"}, args...) // Chromium refuses to run as root otherwise
	}
	cmd := exec.Command(path, args...)
	toBrowser, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	out, fromBrowser, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.ExtraFiles = []*os.File{toBrowser, fromBrowser} // descriptors 3 and 4
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	toBrowser.Close()
	fromBrowser.Close()
	b := &Browser{in: in, answers: map[int]chan message{}, pages: map[string]*Page{}, gone: make(chan struct{})}
	go b.read(out)
	t.Cleanup(func() {
		b.call("", "Browser.close", nil, nil)
		late := time.AfterFunc(patience, func() { cmd.Process.Kill() })
		defer late.Stop()
		<-b.gone
		cmd.Wait()
		in.Close()
		out.Close()
	})
	return b
}

// install says how to get what is missing.
const install = "install Chromium (Debian: apt-get install chromium) or name it in " + Named

// choose returns the path of the browser to use: the one that was named, and no
// other then, or else the first that there is. Instead it may return why the
// test is to be skipped.
func choose(wanted, named string, usual ...string) (path, skip string, err error) {
	switch wanted {
	case "", "required":
	case "off":
		return "", "skipped because of " + Wanted + "=off", nil
	default:
		return "", "", fmt.Errorf("%s=%s: use required or off, or leave it unset", Wanted, wanted)
	}
	if named != "" {
		path, err = exec.LookPath(named)
		if err != nil {
			err = fmt.Errorf("%s=%s names a browser that cannot be run: %w", Named, named, err)
		}
		return path, "", err
	}
	for _, name := range usual {
		if path, err = exec.LookPath(name); err == nil {
			return path, "", nil
		}
	}
	if wanted == "required" {
		return "", "", errors.New("there is no browser, and " + Wanted + "=required: " + install)
	}
	return "", "skipped because there is no browser: to run this test " + install + "; " + Wanted + "=required makes it fail instead", nil
}

// read is the goroutine that receives; it ends with the browser.
func (b *Browser) read(out io.Reader) {
	defer close(b.gone)
	r := bufio.NewReader(out)
	for {
		raw, err := r.ReadBytes(0)
		if err != nil {
			return
		}
		var m message
		if json.Unmarshal(raw[:len(raw)-1], &m) != nil {
			return
		}
		b.mu.Lock()
		answer, page := b.answers[m.ID], b.pages[m.SessionID]
		delete(b.answers, m.ID)
		b.mu.Unlock()
		switch {
		case answer != nil:
			answer <- m
		case page != nil && m.Method != "":
			page.event(m)
		}
	}
}

// call calls a method of the protocol and unmarshals its result into result.
func (b *Browser) call(session, method string, params map[string]any, result any) error {
	raw, err := json.Marshal(params)
	if err != nil {
		return err
	}
	answer := make(chan message, 1)
	b.mu.Lock()
	b.lastID++
	m := message{ID: b.lastID, SessionID: session, Method: method}
	if params != nil {
		m.Params = raw
	}
	b.answers[m.ID] = answer
	if raw, err = json.Marshal(m); err == nil {
		_, err = b.in.Write(append(raw, 0))
	}
	b.mu.Unlock()
	if err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	select {
	case m = <-answer:
	case <-b.gone:
		return fmt.Errorf("%s: the browser is gone", method)
	case <-time.After(patience):
		return fmt.Errorf("%s: no answer", method)
	}
	if m.Error != nil {
		return fmt.Errorf("%s: %s", method, m.Error.Message)
	}
	if result == nil {
		return nil
	}
	return json.Unmarshal(m.Result, result)
}

package pipes

import (
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// Patience is how long a server may keep a connection that is no use to
// anybody.
const Patience = 76 * time.Second

// holds are ways to keep a connection busy. PATH stands for the path that is
// asked for.
var holds = []struct {
	name  string
	sends string // at once
	drips string // byte by byte, one in three seconds, again and again
	deaf  bool   // does not read what is answered
}{
	{name: "says nothing"},
	{name: "half a header", sends: "GET PATH HTTP/1.1\r\nHost: local"},
	{name: "a header byte by byte", sends: "GET PATH HTTP/1.1\r\nHost: localhost\r\nX: ", drips: "x"},
	{name: "a body that never comes", sends: "POST PATH HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n"},
	{name: "a body byte by byte", sends: "POST PATH HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n", drips: " "},
	{name: "a body without an end", sends: "POST PATH HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n", drips: "1\r\n \r\n"},
	{name: "GET with a body that never comes", sends: "GET PATH HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n"},
	{name: "GET with a body without an end", sends: "GET PATH HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n", drips: "1\r\n \r\n"},
	{name: "a body when told to go on", sends: "POST PATH HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: 100\r\n\r\n"},
	{name: "no reading of the answer", sends: "GET PATH HTTP/1.1\r\nHost: localhost\r\n\r\n", deaf: true},
	{name: "nothing after HEAD", sends: "HEAD PATH HTTP/1.1\r\nHost: localhost\r\n\r\n"},
	{name: "nothing after an answer", sends: "GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n"},
}

// Hold keeps n connections busy, in every way and for every path, and fails t
// for each way in which one is still open after [Patience]. It must be called in
// a bubble.
func Hold(t *testing.T, l *Listener, n int, paths ...string) {
	t.Helper()
	type held struct {
		net.Conn
		way string
	}
	var conns []held
	var work sync.WaitGroup
	for i := range n {
		h := holds[i%len(holds)]
		path := paths[i/len(holds)%len(paths)]
		c := held{l.Dial(), h.name + ", for " + path}
		conns = append(conns, c)
		work.Go(func() {
			if _, err := io.WriteString(c, strings.ReplaceAll(h.sends, "PATH", path)); err != nil {
				return
			}
			for i := 0; h.drips != ""; i = (i + 1) % len(h.drips) {
				time.Sleep(3 * time.Second)
				if _, err := io.WriteString(c, h.drips[i:i+1]); err != nil {
					return
				}
			}
		})
		if !h.deaf {
			work.Go(func() { _, _ = io.Copy(io.Discard, c) })
		}
	}
	time.Sleep(Patience)
	open := map[string]int{}
	for _, c := range conns {
		if err := c.SetWriteDeadline(time.Now().Add(time.Millisecond)); err == nil {
			if _, err := c.Write([]byte("x")); err == nil || isTimeout(err) {
				open[c.way]++
			}
		}
		c.Close()
	}
	work.Wait()
	for way, n := range open {
		t.Errorf("%s: %d connections are open after %v", way, n, Patience)
	}
}

func isTimeout(err error) bool {
	e, ok := err.(net.Error)
	return ok && e.Timeout()
}

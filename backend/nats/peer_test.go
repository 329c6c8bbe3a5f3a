package nats_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// peer speaks enough of NATS for a client to publish and to subscribe, and says
// what a test wants. What a real server would not say, it can.
type peer struct {
	t        testing.TB
	listener net.Listener
	running  sync.WaitGroup

	mu      sync.Mutex
	conns   []net.Conn
	connect string                                  // said to a client that says who it is, instead of nothing
	answer  func(subject, reply string, c *peering) // to what a client publishes
}

// peering is one connection of a peer's.
type peering struct {
	out  *bufio.Writer
	subs map[string]string // subjects, by their ids
}

func newPeer(t testing.TB) *peer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &peer{t: t, listener: l, answer: func(string, string, *peering) {}}
	p.running.Add(1)
	go p.accept()
	t.Cleanup(func() {
		_ = l.Close()
		p.mu.Lock()
		for _, c := range p.conns {
			_ = c.Close()
		}
		p.mu.Unlock()
		p.running.Wait()
	})
	return p
}

// url returns what clients connect to. user is nothing, or ends with @.
func (p *peer) url(user string) string { return "nats://" + user + p.listener.Addr().String() }

func (p *peer) accept() {
	defer p.running.Done()
	for {
		c, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		p.conns = append(p.conns, c)
		p.mu.Unlock()
		p.running.Add(1)
		go func() {
			defer p.running.Done()
			defer c.Close()
			_ = p.serve(c)
		}()
	}
}

func (p *peer) serve(c net.Conn) error {
	in, pc := bufio.NewReader(c), &peering{out: bufio.NewWriterSize(c, 1<<20), subs: make(map[string]string)}
	pc.say(`INFO {"server_id":"peer","version":"2.14.0","proto":1,"headers":true,"max_payload":1048576,"auth_required":true}`)
	for {
		if in.Buffered() == 0 {
			if err := pc.out.Flush(); err != nil {
				return err
			}
		}
		line, err := in.ReadString('\n')
		if err != nil {
			return err
		}
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		switch words[0] {
		case "CONNECT":
			if p.connect != "" {
				pc.say(p.connect)
			}
		case "PING":
			pc.say("PONG")
		case "SUB":
			pc.subs[words[len(words)-1]] = words[1]
		case "PUB", "HPUB":
			size, err := strconv.Atoi(words[len(words)-1])
			if err != nil {
				return err
			}
			if _, err := io.CopyN(io.Discard, in, int64(size+2)); err != nil {
				return err
			}
			reply := ""
			if numbers := map[string]int{"PUB": 1, "HPUB": 2}[words[0]]; len(words) == 3+numbers {
				reply = words[2]
			}
			p.answer(words[1], reply, pc)
		}
	}
}

func (c *peering) say(line string) { fmt.Fprintf(c.out, "%s\r\n", line) }

// send sends a message with headers, if there are any, and data.
func (c *peering) send(subject, headers, data string) {
	for id, s := range c.subs {
		if s != subject && !(strings.HasSuffix(s, "*") && strings.HasPrefix(subject, strings.TrimSuffix(s, "*"))) {
			continue
		}
		if headers == "" {
			c.say(fmt.Sprintf("MSG %s %s %d\r\n%s", subject, id, len(data), data))
		} else {
			c.say(fmt.Sprintf("HMSG %s %s %d %d\r\n%s%s", subject, id, len(headers), len(headers)+len(data), headers, data))
		}
	}
}

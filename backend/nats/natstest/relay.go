package natstest

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Relay passes the connections of clients on to a server, and breaks them when
// told to. It reads the protocol, so that it can answer in place of the server.
type Relay struct {
	listener net.Listener
	target   string
	running  sync.WaitGroup

	mu        sync.Mutex
	closed    bool
	down      bool
	delay     time.Duration
	gate      chan struct{} // not nil: nothing passes until it is closed
	conns     map[*relayed]struct{}
	intercept func(subject string) *Answer
	drop      func(subject string) bool
	refusals  int
	refusal   string
}

// Answer is what a [Relay] says to a publish in place of the server, which does
// not get it.
type Answer struct {
	// Error is what the server says for everybody to hear, such as
	// "Permissions Violation for Publish to \"a\"".
	Error string
	// Close has the connection closed then.
	Close bool
	// Reply is sent to the reply subject.
	Reply []byte
	// NoResponders answers that nobody listens.
	NoResponders bool
}

// relayed is one connection through a relay.
type relayed struct {
	relay          *Relay
	client, server net.Conn

	mu   sync.Mutex        // one write to the client at a time
	subs map[string]string // the client's subscriptions, by their ids
}

// NewRelay returns a relay to the server at the URL. The caller owes a Close.
func NewRelay(serverURL string) (*Relay, error) {
	u, err := url.Parse(serverURL)
	if err != nil {
		return nil, fmt.Errorf("natstest: %w", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("natstest: %w", err)
	}
	r := &Relay{listener: l, target: u.Host, conns: make(map[*relayed]struct{})}
	r.running.Add(1)
	go r.accept()
	return r, nil
}

// URL returns what clients connect to.
func (r *Relay) URL() string { return "nats://" + r.listener.Addr().String() }

// Down cuts all connections and refuses new ones until Up.
func (r *Relay) Down() {
	r.mu.Lock()
	r.down = true
	r.mu.Unlock()
	r.Cut()
}

// Up ends Down.
func (r *Relay) Up() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.down = false
}

// Cut cuts all connections.
func (r *Relay) Cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for c := range r.conns {
		c.cut()
	}
}

// BlackHole has nothing pass any more, and connections stay open, until it is
// called with false.
func (r *Relay) BlackHole(on bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case on && r.gate == nil:
		r.gate = make(chan struct{})
	case !on && r.gate != nil:
		close(r.gate)
		r.gate = nil
	}
}

// Delay has everything pass later by d, one thing after the other.
func (r *Relay) Delay(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.delay = d
}

// Intercept has f asked about each publish and request of a client, by its
// subject. If it returns an Answer, then the relay answers and the server does
// not get it. A nil f ends that. f is called by several goroutines at once.
func (r *Relay) Intercept(f func(subject string) *Answer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.intercept = f
}

// Drop has f asked about each message to a client, by its subject. If it
// returns true the message is lost on the way. A nil f ends that.
func (r *Relay) Drop(f func(subject string) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.drop = f
}

// Refuse refuses the next n clients that say who they are, with the server's
// error of that text, such as "Authorization Violation".
func (r *Relay) Refuse(n int, text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refusals, r.refusal = n, text
}

// Error has the server seem to send an error to all clients.
func (r *Relay) Error(text string) {
	r.mu.Lock()
	var all []*relayed
	for c := range r.conns {
		all = append(all, c)
	}
	r.mu.Unlock()
	for _, c := range all {
		_ = c.say(errorLine(text))
	}
}

// Conns counts the connections through the relay.
func (r *Relay) Conns() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.conns)
}

// Close cuts all connections and returns when nothing of the relay is left.
func (r *Relay) Close() error {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.BlackHole(false)
	_ = r.listener.Close()
	r.Cut()
	r.running.Wait()
	return nil
}

func (r *Relay) accept() {
	defer r.running.Done()
	for {
		client, err := r.listener.Accept()
		if err != nil {
			return
		}
		r.running.Add(1)
		go r.serve(client)
	}
}

// serve passes one connection on until it breaks.
func (r *Relay) serve(client net.Conn) {
	defer r.running.Done()
	defer client.Close()
	r.mu.Lock()
	refused := r.down || r.closed
	r.mu.Unlock()
	if refused {
		return
	}
	server, err := net.Dial("tcp", r.target)
	if err != nil {
		return
	}
	c := &relayed{relay: r, client: client, server: server, subs: make(map[string]string)}
	r.mu.Lock()
	r.conns[c] = struct{}{}
	if r.down || r.closed {
		c.cut()
	}
	r.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { defer c.cut(); c.fromClient() })
	both.Go(func() { defer c.cut(); c.fromServer() })
	both.Wait()
	r.mu.Lock()
	delete(r.conns, c)
	r.mu.Unlock()
}

func (c *relayed) cut() {
	_ = c.client.Close()
	_ = c.server.Close()
}

// pass waits until something may pass.
func (r *Relay) pass() {
	r.mu.Lock()
	gate, delay := r.gate, r.delay
	r.mu.Unlock()
	if gate != nil {
		<-gate
	}
	if delay > 0 {
		time.Sleep(delay)
	}
}

func (c *relayed) fromServer() {
	in := bufio.NewReaderSize(c.server, 64<<10)
	for {
		unit, args, err := unit(in)
		if err != nil {
			return
		}
		c.relay.pass()
		if strings.HasSuffix(args[0], "MSG") && c.relay.loses(args[1]) {
			continue
		}
		if c.say(unit) != nil {
			return
		}
	}
}

// say writes to the client.
func (c *relayed) say(unit []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, err := c.client.Write(unit)
	return err
}

func (c *relayed) fromClient() {
	in := bufio.NewReaderSize(c.client, 64<<10)
	for {
		unit, args, err := unit(in)
		if err != nil {
			return
		}
		c.relay.pass()
		switch verb := strings.ToUpper(args[0]); {
		case verb == "CONNECT":
			if text := c.relay.refuses(); text != "" {
				_ = c.say(errorLine(text))
				return
			}
		case verb == "SUB" && len(args) >= 3:
			c.mu.Lock()
			c.subs[args[len(args)-1]] = args[1]
			c.mu.Unlock()
		case verb == "PUB" || verb == "HPUB":
			if a := c.relay.answer(args[1]); a != nil {
				if c.reply(a, args) != nil || a.Close {
					return
				}
				continue
			}
		}
		if _, err := c.server.Write(unit); err != nil {
			return
		}
	}
}

func (r *Relay) refuses() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refusals == 0 {
		return ""
	}
	r.refusals--
	return r.refusal
}

func (r *Relay) answer(subject string) *Answer {
	r.mu.Lock()
	f := r.intercept
	r.mu.Unlock()
	if f == nil {
		return nil
	}
	return f(subject)
}

func (r *Relay) loses(subject string) bool {
	r.mu.Lock()
	f := r.drop
	r.mu.Unlock()
	return f != nil && f(subject)
}

// reply answers a publish.
func (c *relayed) reply(a *Answer, args []string) error {
	if a.Error != "" {
		if err := c.say(errorLine(a.Error)); err != nil {
			return err
		}
	}
	numbers := 1
	if strings.EqualFold(args[0], "HPUB") {
		numbers = 2
	}
	if len(args) < 3+numbers {
		return nil // wants no reply
	}
	subject := args[2]
	sid := c.subscription(subject)
	if sid == "" {
		return nil
	}
	switch {
	case a.NoResponders:
		const head = "NATS/1.0 503\r\n\r\n"
		return c.say(fmt.Appendf(nil, "HMSG %s %s %d %d\r\n%s\r\n", subject, sid, len(head), len(head), head))
	case a.Reply != nil:
		return c.say(fmt.Appendf(nil, "MSG %s %s %d\r\n%s\r\n", subject, sid, len(a.Reply), a.Reply))
	}
	return nil
}

// subscription returns the id of the client's subscription to a subject.
func (c *relayed) subscription(subject string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	for sid, pattern := range c.subs {
		if matches(strings.Split(pattern, "."), strings.Split(subject, ".")) {
			return sid
		}
	}
	return ""
}

func matches(pattern, subject []string) bool {
	for i, token := range pattern {
		if token == ">" {
			return len(subject) > i
		}
		if i >= len(subject) || token != "*" && token != subject[i] {
			return false
		}
	}
	return len(pattern) == len(subject)
}

func errorLine(text string) []byte { return []byte("-ERR '" + text + "'\r\n") }

// unit reads one thing that is said: a line, and the payload that it announces.
func unit(in *bufio.Reader) (whole []byte, args []string, err error) {
	whole, err = in.ReadBytes('\n')
	if err != nil {
		return nil, nil, err
	}
	args = strings.Fields(string(whole))
	if len(args) == 0 {
		return whole, []string{""}, nil
	}
	switch strings.ToUpper(args[0]) {
	case "PUB", "HPUB", "MSG", "HMSG":
		n, err := strconv.Atoi(args[len(args)-1])
		if err != nil {
			return nil, nil, fmt.Errorf("natstest: %q has no length", bytes.TrimSpace(whole))
		}
		line := len(whole)
		whole = append(whole, make([]byte, n+2)...)
		if _, err := io.ReadFull(in, whole[line:]); err != nil {
			return nil, nil, err
		}
	}
	return whole, args, nil
}

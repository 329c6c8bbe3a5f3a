package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
)

// command is a line to the JavaScript client.
type command struct {
	Do    string  `json:"do"`
	Cache string  `json:"cache,omitempty"`
	Topic string  `json:"topic"`
	Text  *string `json:"text,omitempty"`
	Bytes []byte  `json:"bytes,omitempty"`
}

// event is a line from it.
type event struct {
	Event    string `json:"event"`
	Topic    string `json:"topic,omitempty"`
	Text     string `json:"text,omitempty"`
	Bytes    []byte `json:"bytes,omitempty"`
	Last     uint64 `json:"last,omitempty"`
	Sequence uint64 `json:"sequence,omitempty"`
	Page     uint64 `json:"page,omitempty"`
	Code     string `json:"code,omitempty"`
}

// client is a running JavaScript client.
type client struct {
	cmd *exec.Cmd
	in  io.WriteCloser

	mu      sync.Mutex
	events  []event // not yet taken
	changed chan struct{}
	ended   error // why there will be no more
}

// start starts the client in dir, where the SDK is installed. It ends with ctx
// or by close.
func start(ctx context.Context, dir, addr string) (*client, error) {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	c := &client{cmd: exec.CommandContext(ctx, "node", filepath.Join(dir, "client.js"), port), changed: make(chan struct{}, 1)}
	c.cmd.Stderr = os.Stderr
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	go c.read(out)
	return c, nil
}

// read is the goroutine that receives. It ends with the client.
func (c *client) read(out io.Reader) {
	ended := errors.New("the JavaScript client has ended")
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			ended = fmt.Errorf("the JavaScript client says %q: %w", lines.Text(), err)
			break
		}
		c.mu.Lock()
		c.events = append(c.events, e)
		c.mu.Unlock()
		c.wake()
	}
	c.mu.Lock()
	c.ended = errors.Join(ended, lines.Err())
	c.mu.Unlock()
	c.wake()
}

func (c *client) wake() {
	select {
	case c.changed <- struct{}{}:
	default:
	}
}

// take waits for the next event that is wanted, and leaves others where they
// are. One goroutine at a time may call it.
func (c *client) take(ctx context.Context, wanted func(event) bool) (event, error) {
	for {
		c.mu.Lock()
		if i := slices.IndexFunc(c.events, wanted); i >= 0 {
			e := c.events[i]
			c.events = slices.Delete(c.events, i, i+1)
			c.mu.Unlock()
			return e, nil
		}
		ended, left := c.ended, fmt.Sprintf("%+v", c.events)
		c.mu.Unlock()
		if ended != nil {
			return event{}, fmt.Errorf("%w; before: %s", ended, left)
		}
		select {
		case <-c.changed:
		case <-ctx.Done():
			return event{}, fmt.Errorf("%w; instead: %s", context.Cause(ctx), left)
		}
	}
}

// call has the client do something. It returns the SDK's error code, "" if that
// worked.
func (c *client) call(ctx context.Context, do command) (code string, err error) {
	line, err := json.Marshal(do)
	if err != nil {
		return "", err
	}
	if _, err := c.in.Write(append(line, '\n')); err != nil {
		return "", err
	}
	e, err := c.take(ctx, func(e event) bool { return e.Event == "done" || e.Event == "failed" })
	if err != nil {
		return "", fmt.Errorf("%s: %w", do.Do, err)
	}
	return e.Code, nil
}

// close ends the client and waits for it.
func (c *client) close() error {
	c.in.Close()
	return c.cmd.Wait()
}

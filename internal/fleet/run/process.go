package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"
)

// What a process is for. It is started with role, engine and, if it is not the
// service, address.
const (
	serviceRole = "fleet-service"
	viewersRole = "fleet-viewers"
)

// order is what the driver asks of a process. Each is answered.
type order struct {
	Open    []viewer // subscribe them
	Shared  bool     // with Open: by the stream that all read
	Await   []uint64 // until each viewer knows of so many messages of its topic
	Memory  bool     // tell how much memory is in use
	Stop    bool     // end the viewers, and tell where they are
	Abrupt  bool     // with Stop: close the bus, do not drain it
	Timeout time.Duration
}

// answer tells how the process is, and what was asked for.
type answer struct {
	Error   string
	CPU     time.Duration // used so far
	Memory  memory
	Address string
	Streams streams
	Viewers []viewer
	Latency []*histogram
	Refused int64 // attempts to subscribe that failed and were made again
}

// streams is what a service counts.
type streams struct {
	Open, Opened int
	Most         int // most that were open since the last answer
}

// process is a child, as the driver sees it.
type process struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	to  *json.Encoder
	out *json.Decoder
}

// start starts this program anew. It ends when ctx does.
func start(ctx context.Context, role, engine, address string, stderr io.Writer) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &process{cmd: exec.CommandContext(ctx, self, role, engine, address)}
	p.cmd.Stderr = stderr
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.to, p.out = json.NewEncoder(p.in), json.NewDecoder(out)
	return p, p.cmd.Start()
}

func (p *process) ask(o order) (a answer, err error) {
	if err := p.to.Encode(o); err != nil {
		return a, err
	}
	if err := p.out.Decode(&a); err != nil {
		return a, fmt.Errorf("a process gave no answer: %w", err)
	}
	if a.Error != "" {
		return a, errors.New(a.Error)
	}
	return a, nil
}

// end ends the process and returns the CPU time that it used in all.
func (p *process) end() (time.Duration, error) {
	p.in.Close()
	var err error
	if p.cmd.ProcessState == nil { // else somebody waited for it before
		err = p.cmd.Wait()
	}
	return p.cmd.ProcessState.UserTime() + p.cmd.ProcessState.SystemTime(), err
}

// answerOrders is the life of a child: it ends with the driver, at the latest.
func answerOrders(in io.Reader, out io.Writer, do func(order, *answer) error) error {
	orders, answers := json.NewDecoder(in), json.NewEncoder(out)
	for {
		var o order
		if err := orders.Decode(&o); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		var a answer
		if err := do(o, &a); err != nil {
			a.Error = err.Error()
		}
		a.CPU = cpuTime()
		if err := answers.Encode(&a); err != nil {
			return err
		}
	}
}

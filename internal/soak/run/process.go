package run

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
)

// process is a node, as the driver sees it.
type process struct {
	index, generation int
	cmd               *exec.Cmd
	in                io.WriteCloser
	stderr            bytes.Buffer
	subs              []subscriber // of this round
	idles             []idle
}

// idle is how a node was between two rounds.
type idle struct {
	goroutines, heap uint64
	streams, subs    int
}

// line is what a process wrote. An empty text is its end.
type line struct {
	from *process
	text string
}

// start starts a node. Its lines go to lines until it has ended.
func start(engine, address string, index, generation int, lines chan<- line) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &process{index: index, generation: generation, cmd: exec.Command(self, nodeCommand, engine, address)}
	p.cmd.Stderr = &p.stderr
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { // ends with the process, and says so
		text := bufio.NewReaderSize(out, 1<<20)
		for {
			s, err := text.ReadString('\n')
			if err != nil { // what a killed process left half is nothing
				break
			}
			lines <- line{p, strings.TrimSuffix(s, "\n")}
		}
		_ = p.cmd.Wait() // stderr and the driver tell more
		lines <- line{from: p}
	}()
	return p, nil
}

func (p *process) send(o order) error { return json.NewEncoder(p.in).Encode(o) }

// kill ends a process the hard way.
func (p *process) kill() { _ = p.cmd.Process.Kill() }

// died describes the unexpected end of a process.
func (p *process) died() string {
	text := p.stderr.String()
	if most := 4000; len(text) > most {
		text = text[:most]
	}
	return fmt.Sprintf("node %d ended by itself: %v\n%s", p.index, p.cmd.ProcessState, text)
}

// grew says what a process has more of than it should, after many rounds.
func (p *process) grew() string {
	const settled = 3 // rounds in which caches and connections come to be
	if len(p.idles) < 2*settled {
		return ""
	}
	var early idle
	for _, i := range p.idles[:settled] {
		early.goroutines, early.heap = max(early.goroutines, i.goroutines), max(early.heap, i.heap)
	}
	last := p.idles[len(p.idles)-1]
	switch {
	case last.goroutines > early.goroutines+16:
		return fmt.Sprintf("node %d has %d goroutines after %d rounds, %d at first", p.index, last.goroutines, len(p.idles), early.goroutines)
	case last.heap > 2*early.heap+16<<20:
		return fmt.Sprintf("node %d has %d bytes of heap after %d rounds, %d at first", p.index, last.heap, len(p.idles), early.heap)
	}
	return ""
}

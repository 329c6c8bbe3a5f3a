package run

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/topicbus/pubsub/internal/soak/check"
	"github.com/topicbus/pubsub/internal/soak/engine"
)

// nodes is how many processes publish and subscribe, where there is a service.
const nodes = 5

// ripe is how long the last message of a topic may take to reach everybody.
const ripe = 90 * time.Second

// remembered is how many accepted messages of a topic are remembered for the
// rounds that follow, more than an engine keeps.
const remembered = 1000

// driver runs the rounds of one engine.
type driver struct {
	config
	engine  engine.Engine
	service engine.Service // or nil
	out     io.Writer
	r       *rand.Rand
	topics  []string

	lines  chan line
	nodes  []*process
	ending map[*process]bool // on purpose
	ended  map[*process]bool
	past   map[string][]string // P lines of earlier rounds, by topic, the newest last

	result
}

// result is what became of an engine's rounds.
type result struct {
	engine     string
	took       time.Duration
	rounds     int
	kills      int
	faults     map[string]int
	tally      check.Tally
	first      idle // the most that a node had after its first round
	last       idle // the most that one had after its last
	violations int
}

func runEngine(ctx context.Context, e engine.Engine, c config, length time.Duration, out io.Writer) (res result, err error) {
	d := &driver{config: c, engine: e, out: out, r: rand.New(rand.NewPCG(c.seed, uint64(len(e.Name)))), lines: make(chan line, 4096), past: make(map[string][]string), ending: make(map[*process]bool), ended: make(map[*process]bool)}
	d.result = result{engine: e.Name, faults: make(map[string]int)}
	begun := time.Now()
	for i := range c.topics {
		d.topics = append(d.topics, fmt.Sprintf("soak.%d", i))
	}
	address, n := "", 1
	if e.Serve != nil {
		if d.service, err = e.Serve(); err != nil {
			return d.result, err
		}
		defer d.service.Close()
		address, n = d.service.Address(), nodes
	}
	defer d.stop()
	for i := range n {
		p, err := start(e.Name, address, i, 0, d.lines)
		if err != nil {
			return d.result, err
		}
		d.nodes = append(d.nodes, p)
	}
	for ctx.Err() == nil && (d.rounds == 0 || time.Since(begun)+c.round < length) {
		if err := d.runRound(ctx, address); err != nil {
			return d.result, err
		}
		d.rounds++
	}
	for _, p := range d.nodes {
		if s := p.grew(); s != "" {
			d.violated(s)
		}
		if len(p.idles) > 0 {
			d.first.max(p.idles[0])
			d.last.max(p.idles[len(p.idles)-1])
		}
	}
	d.took = time.Since(begun)
	return d.result, nil
}

func (i *idle) max(o idle) {
	i.goroutines, i.heap = max(i.goroutines, o.goroutines), max(i.heap, o.heap)
}

// violated reports a violation that the checker does not see.
func (d *driver) violated(text string) {
	d.violations++
	fmt.Fprintf(d.out, "VIOLATION %s, seed %d, round %d: %s\n", d.engine.Name, d.seed, d.rounds+1, text)
}

// stop ends the nodes, and waits for them.
func (d *driver) stop() {
	for _, p := range d.nodes {
		p.in.Close() // they end when there is no more to read
		d.ending[p] = true
	}
	limit := time.After(20 * time.Second)
	for slices.ContainsFunc(d.nodes, func(p *process) bool { return !d.ended[p] }) {
		select {
		case l := <-d.lines:
			d.ended[l.from] = d.ended[l.from] || l.text == ""
		case <-limit:
			d.violated("nodes do not end")
			for _, p := range d.nodes {
				p.kill()
			}
			limit = nil
		}
	}
}

// roundState is what the driver knows of the round that is on.
type roundState struct {
	checker   *check.Checker
	records   []string
	began     map[string]bool // subscriptions
	waiting   map[*process]bool
	reading   map[*process]bool
	idle      map[*process]bool
	finned    int
	problems  []string
	abandoned bool
}

func (d *driver) runRound(ctx context.Context, address string) error {
	number := d.rounds + 1
	st := &roundState{checker: check.New(lastPublisher), began: make(map[string]bool),
		waiting: make(map[*process]bool), reading: make(map[*process]bool), idle: make(map[*process]bool)}
	for _, topic := range d.topics {
		for _, l := range d.past[topic] {
			d.record(st, "O"+strings.TrimPrefix(l, "P"))
		}
	}
	rounds := plan(d.r, number, len(d.nodes), d.topics, d.round, d.rate)
	for i, p := range d.nodes {
		rd := rounds[i]
		rd.Flag = "-"
		if d.service == nil {
			rd.Faults, rd.Flag = true, check.Direct
		}
		p.subs = rd.Subs
		st.waiting[p], st.reading[p] = true, true
		d.send(st, p, order{Round: rd})
	}
	stop := make(chan struct{})
	injected := make(chan []string, 1)
	if d.service != nil {
		r := rand.New(rand.NewPCG(d.r.Uint64(), 2))
		go func() {
			var names []string
			inject(stop, r, d.service.Faults(), d.topics, func(name string) { names = append(names, name) })
			injected <- names
		}()
	} else {
		injected <- nil
	}
	var kill <-chan time.Time
	if d.service != nil && d.r.IntN(2) == 0 {
		kill = time.After(between(d.r, d.round/5, d.round*4/5))
	}
	limit := time.After(d.round + ripe)
	for len(st.waiting) > 0 && !st.abandoned {
		select {
		case l := <-d.lines:
			d.take(st, l)
		case <-kill:
			if err := d.killOne(st, address); err != nil {
				return err
			}
		case <-limit:
			d.abandon(st, "publishing does not end")
		}
	}
	close(stop)
	for _, name := range d.await(st, injected) {
		d.faults[name]++
	}

	// All is well again: the last message of each topic must reach everybody.
	limit = time.After(ripe)
	again := time.NewTimer(0)
	defer again.Stop()
	for len(st.reading) > 0 && !st.abandoned {
		select {
		case l := <-d.lines:
			d.take(st, l)
		case <-again.C:
			if st.finned%len(d.topics) == 0 { // the last ones were accepted
				for _, topic := range d.topics {
					d.send(st, d.nodes[0], order{Fin: topic})
				}
			}
			again.Reset(3 * time.Second)
		case <-limit: // who has not read it by now is told to stop, and says that it was stuck
			limit = nil
			st.reading = nil
		}
	}
	for _, p := range d.nodes {
		d.send(st, p, order{End: true})
	}
	limit = time.After(ripe)
	for len(st.idle) < len(d.nodes) && !st.abandoned {
		select {
		case l := <-d.lines:
			d.take(st, l)
		case <-limit:
			d.abandon(st, "nodes do not come to rest")
		}
	}
	d.finish(st, number)
	for topic, lines := range d.past {
		d.past[topic] = slices.Clone(newest(lines, remembered))
	}
	if st.abandoned {
		return errors.New("the soak cannot go on")
	}
	return ctx.Err()
}

// newest returns the last of the P lines, from the nth accepted message on. A
// killed publisher has left hundreds of others behind these.
func newest(lines []string, n int) []string {
	for i, line := range slices.Backward(lines) {
		if strings.Fields(line)[4] == "ok" {
			if n--; n == 0 {
				return lines[i:]
			}
		}
	}
	return lines
}

// send tells a node what to do. One that does not listen has died, and has said
// why.
func (d *driver) send(st *roundState, p *process, o order) {
	if p.send(o) == nil || st.abandoned {
		return
	}
	p.kill() // if it has not
	for !d.ended[p] {
		d.take(st, <-d.lines)
	}
}

// await waits for the faults' end, and takes what comes meanwhile.
func (d *driver) await(st *roundState, injected <-chan []string) []string {
	for {
		select {
		case names := <-injected:
			return names
		case l := <-d.lines:
			d.take(st, l)
		}
	}
}

func (d *driver) abandon(st *roundState, why string) {
	st.problems = append(st.problems, why)
	st.abandoned = true
}

// take takes a line of a node.
func (d *driver) take(st *roundState, l line) {
	switch name, rest, _ := strings.Cut(l.text, " "); name {
	case "":
		d.ended[l.from] = true
		if !d.ending[l.from] {
			d.abandon(st, l.from.died())
		}
	case "#published":
		delete(st.waiting, l.from)
	case "#read":
		delete(st.reading, l.from)
	case "#fin":
		st.finned++
	case "#fault":
		d.faults[rest]++
	case "#error":
		st.problems = append(st.problems, rest)
	case "#idle":
		var i idle
		if _, err := fmt.Sscan(rest, &i.goroutines, &i.heap, &i.streams, &i.subs); err != nil {
			d.abandon(st, "not understood: "+l.text)
		}
		if i.streams != 0 || i.subs != 0 {
			st.problems = append(st.problems, fmt.Sprintf("node %d has %d streams and %d subscriptions when all have ended", l.from.index, i.streams, i.subs))
		}
		l.from.idles = append(l.from.idles, i)
		st.idle[l.from] = true
	default:
		d.record(st, l.text)
	}
}

func (d *driver) record(st *roundState, text string) {
	st.records = append(st.records, text)
	if err := st.checker.Add(text); err != nil {
		st.problems = append(st.problems, err.Error())
	}
	f := strings.Fields(text)
	switch {
	case f[0] == "S":
		st.began[f[1]] = true
	case f[0] == "P" && f[4] != "no": // which nobody receives
		d.past[f[1]] = append(d.past[f[1]], text)
	}
}

// killOne kills a node that subscribes, and has another one go on where it was.
func (d *driver) killOne(st *roundState, address string) error {
	i := 1 + d.r.IntN(len(d.nodes)-1)
	for i%3 == 0 {
		i = 1 + d.r.IntN(len(d.nodes)-1)
	}
	old := d.nodes[i]
	d.ending[old] = true
	old.kill()
	for !d.ended[old] {
		d.take(st, <-d.lines)
	}
	delete(st.waiting, old)
	delete(st.reading, old)
	d.kills++
	mine := make(map[string]bool)
	for _, s := range old.subs {
		mine[s.Name] = true
	}
	for _, name := range st.checker.Open() {
		if mine[name] {
			d.record(st, fmt.Sprintf(`E %s killed 0 0 0 - ""`, name))
		}
	}
	p, err := start(d.engine.Name, address, i, old.generation+1, d.lines)
	if err != nil {
		return err
	}
	d.nodes[i] = p
	p.subs = heirs(d.r, old.subs, p.generation, st.checker.Last, func(name string) bool { return st.began[name] })
	st.waiting[p], st.reading[p] = true, true
	d.send(st, p, order{Round: &round{Number: uint64(d.rounds + 1), Flag: "-", Topics: d.topics, Subs: p.subs}})
	return nil
}

// finish checks the round and reports.
func (d *driver) finish(st *roundState, number int) {
	if d.service != nil && !st.abandoned {
		for until := time.Now().Add(10 * time.Second); d.service.Streams() > 0; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(until) {
				st.problems = append(st.problems, fmt.Sprintf("the service has %d streams when all have ended", d.service.Streams()))
				break
			}
		}
	}
	violations, tally := st.checker.Finish()
	violations = append(violations, st.problems...)
	d.tally.Add(tally)
	fmt.Fprintf(d.out, "%s round %d: %d accepted, %d subscriptions, %d received, %d lost in %d gaps (%d uncounted), %d violations\n",
		d.engine.Name, number, tally.Accepted, tally.Subscriptions, tally.Received, tally.Lost, tally.Gaps, tally.Uncounted, len(violations))
	const shown = 20
	for i, v := range violations {
		if i == shown {
			fmt.Fprintf(d.out, "and %d more\n", len(violations)-shown)
			d.violations += len(violations) - shown
			break
		}
		d.violated(v)
	}
	if len(violations) > 0 {
		file := filepath.Join(d.keep, fmt.Sprintf("soak-%s-%d-%d.txt", d.engine.Name, d.seed, number))
		if err := os.WriteFile(file, []byte(strings.Join(st.records, "\n")+"\n"), 0o600); err != nil {
			fmt.Fprintln(d.out, err)
		} else {
			fmt.Fprintln(d.out, "the round's records are in", file)
		}
	}
}

// faultNames lists faults with how often they happened.
func (res result) faultNames() string {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(res.faults)) {
		list = append(list, fmt.Sprintf("%s %d", name, res.faults[name]))
	}
	return strings.Join(list, ", ")
}

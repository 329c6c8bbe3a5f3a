package run

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"time"
)

// driver is the process that all others are children of. It is the only one that
// knows all, and does one thing after the other.
type driver struct {
	config
	engine  Engine
	stderr  io.Writer
	service *process
	relay   *relay
	fleet   []*process
	viewers [][]viewer // of each process, when it was stopped last
	gone    spent      // of processes that ended
	report  *report
}

// spent is what has been used so far.
type spent struct {
	viewers, service, driver time.Duration // CPU
	up, down                 int64         // bytes from viewers, and to them
}

func (s spent) minus(o spent) spent {
	return spent{s.viewers - o.viewers, s.service - o.service, s.driver - o.driver, s.up - o.up, s.down - o.down}
}

func drive(ctx context.Context, e Engine, c config, stderr io.Writer) (_ *report, err error) {
	ctx, cancel := context.WithCancel(ctx)
	d := &driver{
		config: c, engine: e, stderr: stderr, report: newReport(e.Name, c),
		fleet: make([]*process, c.processes), viewers: make([][]viewer, c.processes),
	}
	defer d.close()
	defer cancel() // first: whatever still runs is killed
	if d.service, err = start(ctx, serviceRole, e.Name, "-", stderr); err != nil {
		return nil, err
	}
	served, err := d.service.ask(order{})
	if err != nil {
		return nil, err
	}
	if d.relay, err = newRelay(served.Address); err != nil {
		return nil, err
	}
	backend, err := e.Open(served.Address) // past the relay
	if err != nil {
		return nil, err
	}
	defer backend.Close()
	if err := d.run(ctx, backend); err != nil {
		return nil, err
	}
	return d.report, nil
}

// close waits for all that ran.
func (d *driver) close() {
	for _, p := range append(d.fleet, d.service) {
		if p != nil {
			_, _ = p.end() // what matters was returned before
		}
	}
	if d.relay != nil {
		d.relay.close()
	}
}

func (d *driver) run(ctx context.Context, backend Backend) error {
	for i := range d.viewers {
		d.viewers[i] = make([]viewer, d.config.viewers)
		for j := range d.viewers[i] {
			d.viewers[i][j].Topic = j % d.topics
		}
		if err := d.start(ctx, i, &d.report.starts); err != nil {
			return err
		}
	}
	if err := d.measure(&d.report.idle, func() error { return wait(ctx, d.idle) }); err != nil {
		return err
	}
	p := publish(ctx, backend, d.config)
	defer p.stop()
	if err := d.measure(&d.report.steady, func() error {
		defer p.phase.Store(weighPhase)
		return wait(ctx, d.steady)
	}); err != nil {
		return err
	}
	weighed, err := d.askAll(order{Memory: true})
	if err != nil {
		return err
	}
	for _, a := range weighed {
		d.report.full.add(a.Memory)
	}
	p.phase.Store(deployPhase)
	if err := d.measure(&d.report.deploy, func() error { return d.deploy(ctx, p) }); err != nil {
		return err
	}
	// Those who came last need not know what they missed before a message comes.
	if err := wait(ctx, time.Duration(2*float64(time.Second)/d.rate)); err != nil {
		return err
	}
	if err := p.stop(); err != nil {
		return err
	}
	return d.settle(p.counts())
}

// settle has all viewers see the last message, and takes stock.
func (d *driver) settle(accepted []uint64) error {
	d.report.accepted = accepted
	if _, err := d.askAll(order{Await: accepted, Timeout: d.timeout}); err != nil {
		return err
	}
	a, err := d.service.ask(order{})
	if err != nil {
		return err
	}
	d.report.after = a.Streams
	for i := range d.fleet {
		if err := d.stop(i); err != nil {
			return err
		}
		for _, v := range d.viewers[i] {
			d.report.viewer(v)
		}
	}
	return nil
}

// wait waits for d, or for the end of ctx.
func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// start starts a process and has its viewers subscribe, from where they are.
func (d *driver) start(ctx context.Context, i int, took *durations) (err error) {
	began := time.Now()
	if d.fleet[i], err = start(ctx, viewersRole, d.engine.Name, d.relay.address(), d.stderr); err != nil {
		return err
	}
	empty, err := d.fleet[i].ask(order{Memory: true})
	if err != nil {
		return err
	}
	d.report.empty.add(empty.Memory)
	_, err = d.fleet[i].ask(order{Open: d.viewers[i], Shared: d.shared, Timeout: d.timeout})
	took.add(time.Since(began))
	return err
}

// stop ends a process, and keeps where its viewers are.
func (d *driver) stop(i int) error {
	a, err := d.fleet[i].ask(order{Stop: true, Abrupt: d.abrupt, Timeout: d.timeout})
	if err != nil {
		return err
	}
	d.viewers[i] = a.Viewers
	d.report.refused += a.Refused
	for k, h := range a.Latency {
		d.report.latency[k].merge(h)
	}
	cpu, err := d.fleet[i].end()
	d.gone.viewers += cpu
	return err
}

// deploy restarts all, one after the other.
func (d *driver) deploy(ctx context.Context, p *publisher) error {
	began := time.Now()
	for _, i := range rand.New(rand.NewPCG(d.seed, 1)).Perm(d.processes) {
		restart := time.Now()
		if err := d.stop(i); err != nil {
			return err
		}
		d.report.stops.add(time.Since(restart))
		if err := d.start(ctx, i, &d.report.restarts); err != nil {
			return err
		}
		a, err := d.fleet[i].ask(order{Await: p.counts(), Timeout: d.timeout})
		if err != nil {
			return err
		}
		d.report.back.add(time.Since(restart))
		d.report.backCPU.add(a.CPU)
	}
	d.report.allBack = time.Since(began)
	return nil
}

// measure does something and notes what it took.
func (d *driver) measure(into *phase, do func() error) error {
	before, _, err := d.spent()
	if err != nil {
		return err
	}
	began := time.Now()
	if err := do(); err != nil {
		return err
	}
	into.took = time.Since(began)
	after, streams, err := d.spent()
	into.spent, into.streams = after.minus(before), streams
	return err
}

// spent asks all. The service's peak of streams begins anew.
func (d *driver) spent() (s spent, _ streams, err error) {
	a, err := d.service.ask(order{})
	s = d.gone
	s.service, s.driver, s.up, s.down = a.CPU, cpuTime(), d.relay.up.Load(), d.relay.down.Load()
	all, failed := d.askAll(order{})
	for _, v := range all {
		s.viewers += v.CPU
	}
	return s, a.Streams, errors.Join(err, failed)
}

// askAll asks all processes of viewers at once.
func (d *driver) askAll(o order) ([]answer, error) {
	answers, errs := make([]answer, len(d.fleet)), make([]error, len(d.fleet))
	var wait sync.WaitGroup
	for i, p := range d.fleet {
		wait.Go(func() { answers[i], errs[i] = p.ask(o) })
	}
	wait.Wait()
	return answers, errors.Join(errs...)
}

package shape

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// Run is one run of a contender: Start, then one of the methods that publish,
// then Close.
type Run[T any] struct {
	fleet     Fleet
	load      *Load[T]
	system    System[T]
	unordered bool
	each      uint64 // messages per publisher and topic
	sinks     []*Sink[T]
	open      atomic.Int64  // sinks that wait for more
	drained   chan struct{} // closed when there are none
	timer     timer
	began     time.Time
}

// timer is told when the measured part of a run starts and stops. The other
// parts must not count when a benchmark decides how many messages to send.
type timer interface {
	StartTimer()
	StopTimer()
}

type noTimer struct{}

func (noTimer) StartTimer() {}
func (noTimer) StopTimer()  {}

func (r *Run[T]) begin() {
	r.timer.StartTimer()
	r.began = time.Now()
}

func (r *Run[T]) end() time.Duration {
	elapsed := time.Since(r.began)
	r.timer.StopTimer()
	return elapsed
}

// Result is what a run measured.
type Result struct {
	Published  uint64
	Deliveries uint64 // those that were reported lost do not count
	Lost       uint64
	Elapsed    time.Duration
	Latency    *Histogram // where it was measured
}

// patience is how long a run waits for messages after the last was published,
// and for publishers that wait. Whoever takes longer has lost some.
const patience = 30 * time.Second

// Start opens c and subscribes. Some messages more than asked for will be
// published, so that each publisher sends equally many to each topic. t, a
// [testing.B] or nil, is told when the measured part starts and stops.
func Start[T any](c Contender[T], l *Load[T], f Fleet, messages int, t timer) (*Run[T], error) {
	f.Publishers, f.Topics = max(f.Publishers, 1), max(f.Topics, 1)
	if f.Publishers > len(l.messages) || f.Publishers > maxPublishers {
		return nil, fmt.Errorf("%d publishers; the load is for %d", f.Publishers, len(l.messages))
	}
	system, err := c.Open(f)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", c.Name, err)
	}
	if t == nil {
		t = noTimer{}
	}
	lanes := f.Publishers * f.Topics
	r := &Run[T]{
		fleet:     f,
		load:      l,
		system:    system,
		unordered: c.Unordered,
		each:      uint64((messages + lanes - 1) / lanes),
		drained:   make(chan struct{}),
		timer:     t,
	}
	r.open.Store(int64(f.Topics * f.Subscribers))
	if f.Subscribers == 0 {
		close(r.drained)
	}
	for topic := range f.Topics {
		for range f.Subscribers {
			s := l.sink(r.each*uint64(f.Publishers), r.finished)
			r.sinks = append(r.sinks, s)
			if err := system.Subscribe(topic, s); err != nil {
				return nil, errors.Join(fmt.Errorf("subscribe to topic %d: %w", topic, err), system.Close())
			}
		}
	}
	return r, nil
}

func (r *Run[T]) finished() {
	if r.open.Add(-1) == 0 {
		close(r.drained)
	}
}

// Close ends the run and tells what was wrong with it.
func (r *Run[T]) Close() error {
	if err := r.system.Close(); err != nil {
		return fmt.Errorf("close: %w", err)
	}
	for i, s := range r.sinks {
		if err := s.books.check(r.fleet.Publishers, r.each, r.unordered); err != nil {
			return fmt.Errorf("subscriber %d of %d: %w", i+1, len(r.sinks), err)
		}
	}
	return nil
}

// Flood publishes as fast as the system takes it, until every subscriber has
// everything.
func (r *Run[T]) Flood() (Result, error) {
	r.begin()
	if err := r.publishAll(); err != nil {
		return Result{}, err
	}
	if err := await(r.drained); err != nil {
		return Result{}, err
	}
	return r.result(r.end()), nil
}

// publishAll has all publishers send everything. They go round the topics,
// each from a place of its own.
func (r *Run[T]) publishAll() error {
	errs := make(chan error, r.fleet.Publishers)
	for p := range r.fleet.Publishers {
		go func() { errs <- r.publish(p) }()
	}
	timeout := time.NewTimer(patience * 4)
	defer timeout.Stop()
	for range r.fleet.Publishers {
		select {
		case err := <-errs:
			if err != nil {
				return err
			}
		case <-timeout.C:
			return fmt.Errorf("publishers are stuck")
		}
	}
	return nil
}

func (r *Run[T]) publish(publisher int) error {
	if b, ok := r.system.(Batcher[T]); ok && b.BatchSize() > 1 {
		return r.publishBatches(publisher, b)
	}
	first := publisher * r.fleet.Topics / r.fleet.Publishers
	messages := r.load.messages[publisher]
	for i := range r.each {
		v := messages[i%window]
		for k := range r.fleet.Topics {
			topic := first + k
			if topic >= r.fleet.Topics {
				topic -= r.fleet.Topics
			}
			if err := r.system.Publish(topic, v); err != nil {
				return fmt.Errorf("publish: %w", err)
			}
		}
	}
	return nil
}

// publishBatches is publish for batches.
func (r *Run[T]) publishBatches(publisher int, b Batcher[T]) error {
	first := publisher * r.fleet.Topics / r.fleet.Publishers
	messages := r.load.messages[publisher]
	for i := uint64(0); i < r.each; {
		vs := messages[i%window:]
		vs = vs[:min(uint64(len(vs)), uint64(b.BatchSize()), r.each-i)]
		for k := range r.fleet.Topics {
			if err := b.PublishAll((first+k)%r.fleet.Topics, vs); err != nil {
				return fmt.Errorf("publish: %w", err)
			}
		}
		i += uint64(len(vs))
	}
	return nil
}

// OneByOne publishes a message, waits until all subscribers have it, and goes
// on with the next. Latency is from before the publish until the last
// subscriber has the message. The fleet must have one publisher and topic.
func (r *Run[T]) OneByOne() (Result, error) {
	var (
		latency = new(Histogram)
		base    = time.Now()
		missing atomic.Int64
		last    time.Duration // when the last subscriber had it; ordered by complete
	)
	complete := make(chan struct{}, 1)
	for _, s := range r.sinks {
		s.books.watch(func(uint64) {
			if missing.Add(-1) == 0 {
				last = time.Since(base)
				complete <- struct{}{}
			}
		})
	}
	timeout := time.NewTimer(patience * 4)
	defer timeout.Stop()
	r.begin()
	for i := range r.each {
		missing.Store(int64(len(r.sinks)))
		start := time.Since(base)
		if err := r.system.Publish(0, r.load.messages[0][i%window]); err != nil {
			return Result{}, fmt.Errorf("publish: %w", err)
		}
		select {
		case <-complete:
		case <-timeout.C:
			return Result{}, fmt.Errorf("message %d: %d of %d subscribers still wait for it", i, missing.Load(), len(r.sinks))
		}
		latency.Record(last - start)
	}
	if err := await(r.drained); err != nil {
		return Result{}, err
	}
	res := r.result(r.end())
	res.Latency = latency
	return res, nil
}

// Paced publishes at a fixed rate, come what may (an open loop). Latency is
// from when a message was due, not from when the system took it, until a
// subscriber has it; every delivery counts. So a system that makes the
// publisher wait is charged for all the messages that come late by it. The
// fleet must have one publisher and topic.
func (r *Run[T]) Paced(perSecond int) (Result, error) {
	interval := time.Second / time.Duration(perSecond)
	latencies := make([]Histogram, len(r.sinks))
	base := time.Now().Add(time.Millisecond)
	for i, s := range r.sinks {
		s.books.watch(func(n uint64) {
			latencies[i].Record(time.Since(base) - time.Duration(n)*interval)
		})
	}
	r.begin()
	for i := range r.each {
		waitUntil(base.Add(time.Duration(i) * interval))
		if err := r.system.Publish(0, r.load.messages[0][i%window]); err != nil {
			return Result{}, fmt.Errorf("publish: %w", err)
		}
	}
	if err := await(r.drained); err != nil {
		return Result{}, err
	}
	res := r.result(r.end())
	res.Latency = new(Histogram)
	for i := range latencies {
		res.Latency.Add(&latencies[i])
	}
	return res, nil
}

// Overrun publishes everything while no subscriber takes more than the first
// message; they are stuck in it. Elapsed is the publishing of the others. Then
// they are let go, to take the rest or the report of its loss. The fleet must
// have one publisher and topic.
func (r *Run[T]) Overrun() (Result, error) {
	var stuck sync.WaitGroup
	release := make(chan struct{})
	stuck.Add(len(r.sinks))
	for _, s := range r.sinks {
		s.books.watch(func(i uint64) {
			if i == 0 {
				stuck.Done()
				<-release
			}
		})
	}
	elapsed, err := r.overrun(&stuck)
	close(release)
	if err != nil {
		return Result{}, err
	}
	if err := await(r.drained); err != nil {
		return Result{}, err
	}
	res := r.result(elapsed)
	res.Published--    // the first is not in Elapsed,
	res.Deliveries = 0 // and neither is any of these
	return res, nil
}

func (r *Run[T]) overrun(stuck *sync.WaitGroup) (elapsed time.Duration, err error) {
	for i := range r.each {
		if i == 1 {
			stuck.Wait()
			r.begin()
		}
		if err := r.system.Publish(0, r.load.messages[0][i%window]); err != nil {
			return 0, fmt.Errorf("publish: %w", err)
		}
	}
	return r.end(), nil
}

// Jam publishes everything while one subscriber is stuck in its first message,
// until the system has made the publisher wait for that long. It returns how
// many messages the system took by then. Then it lets the subscriber go, and
// waits until all have everything. The fleet must have one publisher and topic.
func (r *Run[T]) Jam(wait time.Duration) (taken uint64, err error) {
	release := make(chan struct{})
	r.sinks[0].books.watch(func(i uint64) {
		if i == 0 {
			<-release
		}
	})
	var published atomic.Uint64
	done := make(chan error, 1)
	go func() {
		for i := range r.each {
			if err := r.system.Publish(0, r.load.messages[0][i%window]); err != nil {
				done <- fmt.Errorf("publish: %w", err)
				return
			}
			published.Add(1)
		}
		done <- nil
	}()
	for before := uint64(0); taken < r.each; before = taken {
		time.Sleep(wait)
		if taken = published.Load(); taken == before {
			break
		}
	}
	close(release)
	if err := <-done; err != nil {
		return taken, err
	}
	return taken, await(r.drained)
}

func (r *Run[T]) result(elapsed time.Duration) Result {
	res := Result{
		Published: r.each * uint64(r.fleet.Publishers*r.fleet.Topics),
		Elapsed:   elapsed,
	}
	for _, s := range r.sinks {
		res.Deliveries += s.books.got()
		res.Lost += s.books.lost
	}
	return res
}

func await(drained <-chan struct{}) error {
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	select {
	case <-drained:
		return nil
	case <-timeout.C:
		return fmt.Errorf("subscribers still wait for messages after %v", patience)
	}
}

// waitUntil returns at t, to the microsecond. Sleeping is not that exact, so
// it yields instead: others run meanwhile, if there are any.
func waitUntil(t time.Time) {
	const coarse = 2 * time.Millisecond
	if d := time.Until(t); d > coarse {
		time.Sleep(d - coarse)
	}
	for time.Now().Before(t) {
		runtime.Gosched()
	}
}

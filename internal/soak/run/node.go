package run

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/codec"
	"github.com/topicbus/pubsub/internal/soak/engine"
)

// load is what is published.
type load struct {
	Publisher string
	N         uint64
	Filler    string
}

func (l load) sum() uint64 {
	h := fnv.New64a()
	io.WriteString(h, l.Filler)
	return h.Sum64()
}

// newLoad makes a message up.
func newLoad(r *rand.Rand, publisher string, n uint64) load {
	size := r.IntN(40)
	if r.IntN(50) == 0 {
		size = r.IntN(20_000)
	}
	return load{publisher, n, strings.Repeat(string(rune('a'+r.IntN(26))), size)}
}

// node is a process that publishes and subscribes as the driver says. It writes
// what happens to out, in the format of package check; lines that begin with #
// are for the driver.
type node struct {
	backend engine.Backend
	bus     pubsub.Bus[load]
	faults  []engine.Fault

	mu  sync.Mutex
	out *bufio.Writer
}

// patience is how long a stream may be mute before a backend looks for another.
const patience = 2 * time.Second

// buffer is small, so that slow readers overflow.
const buffer = 64

func runNode(e engine.Engine, address string, in io.Reader, out, stderr io.Writer) error {
	log := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	backend, err := e.Open(address, patience, log)
	if err != nil {
		return err
	}
	defer backend.Close()
	n := &node{backend: backend, bus: pubsub.New(backend, codec.JSON[load](), pubsub.WithBuffer(buffer), pubsub.WithLogger(log)), out: bufio.NewWriterSize(out, 64<<10)}
	defer n.bus.Close()
	if e.Faults != nil {
		n.faults = e.Faults(backend)
	}
	var work *work
	orders := json.NewDecoder(in)
	for {
		var o order
		if err := orders.Decode(&o); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		switch {
		case o.Round != nil:
			work = n.begin(o.Round)
		case o.Fin != "":
			n.fin(work, o.Fin)
		case o.End:
			work.end()
			n.report()
		}
	}
}

// say writes a line.
func (n *node) say(format string, args ...any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	fmt.Fprintf(n.out, format+"\n", args...)
}

// sayNow also sends it.
func (n *node) sayNow(format string, args ...any) {
	n.say(format, args...)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.out.Flush()
}

// work is what a node does in a round.
type work struct {
	*round
	ctx     context.Context
	cancel  context.CancelFunc
	pubs    sync.WaitGroup
	subs    sync.WaitGroup
	others  sync.WaitGroup
	fins    map[string]uint64 // last messages published so far, by topic
	stopped chan struct{}     // closed when publishing is over
}

func (n *node) begin(rd *round) *work {
	w := &work{round: rd, fins: make(map[string]uint64), stopped: make(chan struct{})}
	w.ctx, w.cancel = context.WithCancel(context.Background())
	for i, p := range rd.Pubs {
		w.pubs.Go(func() { n.publish(w, p, rand.New(rand.NewPCG(rd.Seed, uint64(i)))) })
	}
	for _, s := range rd.Subs {
		w.subs.Go(func() { n.subscribe(w, s) })
	}
	if rd.Faults {
		w.others.Go(func() { n.breaks(w, rand.New(rand.NewPCG(rd.Seed, 1<<32))) })
	}
	w.others.Go(func() { // what was written does not wait for more
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				n.mu.Lock()
				n.out.Flush()
				n.mu.Unlock()
			case <-w.ctx.Done():
				return
			}
		}
	})
	w.others.Go(func() {
		w.pubs.Wait()
		close(w.stopped)
		n.sayNow("#published")
		w.subs.Wait()
		n.sayNow("#read")
	})
	return w
}

// end ends what has not ended, and waits for it.
func (w *work) end() {
	w.cancel()
	w.pubs.Wait()
	w.subs.Wait()
	w.others.Wait()
}

// report tells the driver what is left of a round: nothing, if all is well.
func (n *node) report() {
	st := n.bus.Stats()
	var m runtime.MemStats
	for range 2 { // what ended may take a moment to be gone
		runtime.GC()
		time.Sleep(50 * time.Millisecond)
	}
	runtime.ReadMemStats(&m)
	n.sayNow("#idle %d %d %d %d", runtime.NumGoroutine(), m.HeapAlloc, st.Streams, st.Subscriptions)
}

// publish publishes until the round's length has passed.
func (n *node) publish(w *work, p publisher, r *rand.Rand) {
	until := time.Now().Add(w.Length)
	topic := n.bus.Topic(p.Topic)
	for i := uint64(1); time.Now().Before(until) && w.ctx.Err() == nil; {
		batch := 1 + r.IntN(p.Batch)
		loads := make([]load, batch)
		for j := range loads {
			loads[j] = newLoad(r, p.Name, i)
			i++
		}
		switch p.Way {
		case "all":
			n.publishAll(w.ctx, topic, loads, p.Patience)
		case "handle":
			for _, l := range loads {
				n.publishOne(w.ctx, p.Topic, l, p.Patience, topic.Publish)
			}
		default:
			for _, l := range loads {
				n.publishOne(w.ctx, p.Topic, l, p.Patience, n.byName(p.Topic))
			}
		}
		pause := time.Duration(float64(batch) * r.ExpFloat64() * float64(p.Every))
		select {
		case <-time.After(min(pause, time.Until(until))):
		case <-w.ctx.Done():
		}
	}
}

// publishOne publishes a message and records what became of it.
func (n *node) publishOne(ctx context.Context, topic string, l load, patience time.Duration, publish func(context.Context, load) error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	begin := time.Now().UnixNano()
	err := publish(ctx, l)
	n.published(topic, l, outcome(err), begin)
	return err
}

func (n *node) published(topic string, l load, outcome string, begin int64) {
	n.say("P %s %s %d %s %d %d %d", topic, l.Publisher, l.N, outcome, l.sum(), begin, time.Now().UnixNano())
}

func (n *node) byName(topic string) func(context.Context, load) error {
	return func(ctx context.Context, l load) error { return n.bus.Publish(ctx, topic, l) }
}

// publishAll publishes messages as a batch.
func (n *node) publishAll(ctx context.Context, topic *pubsub.Topic[load], loads []load, patience time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	begin := time.Now().UnixNano()
	accepted, err := topic.PublishAll(ctx, loads)
	for i, l := range loads {
		became := "ok"
		if i == accepted {
			became = outcome(err)
		} else if i > accepted { // those behind were not sent, unless nobody knows
			became = "no"
			if pubsub.OutcomeOf(err) == pubsub.OutcomeUnknown {
				became = "unknown"
			}
		}
		n.published(topic.Name(), l, became, begin)
	}
}

func outcome(err error) string {
	switch pubsub.OutcomeOf(err) {
	case pubsub.Accepted:
		return "ok"
	case pubsub.NotAccepted:
		return "no"
	default:
		return "unknown"
	}
}

// fin publishes the last message of a topic, again until it was accepted.
func (n *node) fin(w *work, topic string) {
	for {
		w.fins[topic]++
		l := load{Publisher: lastPublisher, N: w.finBase() + w.fins[topic]}
		if err := n.publishOne(context.Background(), topic, l, 5*time.Second, n.byName(topic)); err == nil {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	n.sayNow("#fin %s", topic)
}

// breaks makes faults until publishing is over, and mends them.
func (n *node) breaks(w *work, r *rand.Rand) {
	inject(w.stopped, r, n.faults, w.Topics, func(name string) { n.say("#fault %s", name) })
}

// inject makes faults until stop closes. All are mended when it returns.
func inject(stop <-chan struct{}, r *rand.Rand, faults []engine.Fault, topics []string, told func(name string)) {
	for len(faults) > 0 {
		select {
		case <-time.After(between(r, 20*time.Millisecond, 1200*time.Millisecond)):
		case <-stop:
			return
		}
		f := engine.Choose(r, faults)
		undo := f.Do(r, topics[r.IntN(len(topics))])
		told(f.Name)
		if undo == nil {
			continue
		}
		select {
		case <-time.After(between(r, 10*time.Millisecond, 1500*time.Millisecond)):
		case <-stop:
		}
		undo()
	}
}

// subscribe reads a topic and records what comes.
func (n *node) subscribe(w *work, s subscriber) {
	if s.From > 0 {
		select {
		case <-time.After(s.From):
		case <-w.ctx.Done():
			return
		}
	}
	rd := &reading{node: n, subscriber: s, finBase: w.finBase()}
	ctx, cancel := context.WithCancel(w.ctx)
	defer cancel()
	sub, err := n.open(ctx, rd, w.Flag)
	if err != nil {
		if ctx.Err() == nil {
			n.sayNow("#error %s does not come to subscribe: %v", s.Name, err)
		}
		return
	}
	how := make(chan ending, 1)
	if s.Life > 0 {
		w.others.Go(func() {
			select {
			case <-time.After(s.Life):
			case <-ctx.Done():
			}
			how <- end(sub, s.End, cancel)
		})
	}
	fin := rd.read(sub)
	sub.Close()
	e := ending{how: "fin", at: time.Now()}
	switch err := sub.Err(); {
	case fin:
	case s.Life > 0:
		cancel()
		e = <-how
	case errors.Is(err, pubsub.ErrOverflow) && s.Policy == "fail":
		e.how = "overflow"
	case w.ctx.Err() != nil:
		e = ending{how: "stuck", at: time.Now(), err: errors.New("waited long")}
	default:
		e = ending{how: "failed", at: time.Now(), err: err}
	}
	rd.record(sub, e)
}

// ending is how a subscription ended.
type ending struct {
	how string
	at  time.Time
	err error
}

// end ends a subscription that is being read.
func end(sub *pubsub.Subscription[load], how string, cancel context.CancelFunc) ending {
	e := ending{at: time.Now()}
	switch how {
	case "close":
		e.how = "closed"
		sub.Close()
	case "drain":
		e.how = "drained"
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		e.err = sub.Drain(ctx)
	default:
		e.how = "ctx"
		cancel()
	}
	return e
}

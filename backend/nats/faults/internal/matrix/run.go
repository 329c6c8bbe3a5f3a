package matrix

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/nats"
	"github.com/topicbus/pubsub/backend/nats/natstest"
)

// Patience is how long a row waits for what does not come.
const Patience = 40 * time.Second

// limit is how long a row may take that does not say.
const limit = 2 * time.Minute

// Run is a row under way.
type Run struct {
	topics  []*topic
	kind    Kind
	server  *natstest.Server  // nil in a cluster
	relay   *natstest.Relay   // likewise
	cluster *natstest.Cluster // nil if there is one server
	url     string            // what the client connects to
	past    string            // what others connect to
	admin   jetstream.JetStream
	client  client
	out     Outcome
	healed  time.Time
	options []nats.Option
	ctx     context.Context
}

// topic is one topic and its reader.
type topic struct {
	run    *Run
	name   string
	stream jetstream.Stream

	mu       sync.Mutex
	accepted int // the messages 1 to accepted
	got      []int
	told     int
	resets   int
	first    time.Time // of a message after healed
	changed  chan struct{}
	gate     chan struct{} // not nil: the reader waits
}

// failure is what check panics with; Play recovers it.
type failure struct{ err error }

func (r *Run) check(err error) {
	if err != nil {
		panic(failure{err})
	}
}

// Play plays a row and returns what came of it.
func Play(row Row, on Kind) (out Outcome) {
	before := goroutines()
	r := &Run{kind: on}
	var cancel context.CancelFunc
	r.ctx, cancel = context.WithTimeout(context.Background(), max(limit, row.limit))
	defer cancel()
	defer func() {
		if f, ok := recover().(failure); ok {
			out = r.out
			out.Failed = f.err.Error()
		}
	}()
	stop := r.serve(row.Cluster)
	defer stop()
	nc, err := natsgo.Connect(r.past, natsgo.MaxReconnects(-1), natsgo.ReconnectWait(10*time.Millisecond))
	r.check(err)
	defer nc.Close()
	r.admin, err = jetstream.New(nc)
	r.check(err)
	r.options = append(r.options, nats.WithLogger(slog.New(slog.DiscardHandler)))
	for i := range max(1, row.Topics) {
		r.topics = append(r.topics, &topic{run: r, name: "topic" + strconv.Itoa(i), changed: make(chan struct{})})
	}
	row.Play(r)
	r.finish()
	r.client.close()
	r.audit()
	// What is left at the server, and in the process when the server is gone.
	deadline := time.Now().Add(10 * time.Second)
	for r.left() != "" && time.Now().Before(deadline) {
		time.Sleep(20 * time.Millisecond)
	}
	r.out.Left = r.left()
	nc.Close()
	r.check(stop())
	for goroutines() > before && time.Now().Before(deadline) {
		time.Sleep(20 * time.Millisecond)
	}
	if n := goroutines(); n > before {
		r.out.Left = strings.TrimPrefix(fmt.Sprintf("%s; %d goroutines", r.out.Left, n-before), "; ")
		if on == Bus {
			r.out.Left += "\n" + stacks()
		}
	}
	return r.out
}

// serve starts what the row is played against. A cluster has no relay: its
// client knows all servers.
func (r *Run) serve(cluster bool) (stop func() error) {
	var err error
	if cluster {
		r.cluster, err = natstest.NewCluster()
		r.check(err)
		r.url, r.past = r.cluster.URL(), r.cluster.URL()
		r.options = append(r.options, nats.WithReplicas(len(r.cluster.Servers)))
		return r.cluster.Close
	}
	r.server, err = natstest.NewServer()
	r.check(err)
	r.relay, err = natstest.NewRelay(r.server.URL())
	if err != nil {
		r.check(errors.Join(err, r.server.Close()))
	}
	r.url, r.past = r.relay.URL(), r.server.URL()
	return func() error { return errors.Join(r.relay.Close(), r.server.Close()) }
}

// connections counts the connections of the client.
func (r *Run) connections() (n int) {
	if r.cluster == nil {
		return r.relay.Conns()
	}
	for _, s := range r.cluster.Servers {
		n += s.Clients()
	}
	return n - 1 // ours
}

func stacks() string {
	b := make([]byte, 8<<20)
	return string(b[:runtime.Stack(b, true)])
}

// goroutines counts those that are not the server's: one of a cluster that is
// stopped leaves some behind.
func goroutines() (n int) {
	for one := range strings.SplitSeq(stacks(), "\n\n") {
		if !strings.Contains(one, "github.com/nats-io/nats-server/") {
			n++
		}
	}
	return n
}

// left says what is left at the server.
func (r *Run) left() string {
	var say []string
	consumers := 0
	for _, t := range r.topics {
		s, err := r.admin.Stream(r.ctx, t.stream.CachedInfo().Config.Name)
		if err == nil {
			consumers += s.CachedInfo().State.Consumers
		}
	}
	switch {
	case consumers == 1:
		say = append(say, "1 consumer")
	case consumers > 1:
		say = append(say, fmt.Sprintf("%d consumers", consumers))
	}
	if n := r.connections(); n > 0 {
		say = append(say, fmt.Sprintf("%d connections", n))
	}
	return strings.Join(say, ", ")
}

// open makes the topics' streams and subscribes to them all.
func (r *Run) open(edits ...func(*jetstream.StreamConfig)) {
	var opts []nats.Option
	for _, edit := range edits {
		opts = append(opts, nats.WithStreamConfig(edit))
	}
	r.options = append(r.options, opts...)
	for _, t := range r.topics {
		t.create()
	}
	var err error
	if r.kind == Bus {
		r.client, err = newBusClient(r.url, r.options)
	} else {
		r.client, err = newOrderedClient(r.url)
	}
	r.check(err)
	for _, t := range r.topics {
		r.check(r.client.subscribe(r.ctx, t))
	}
}

// create has a Backend make the topic's stream, as another process would.
func (t *topic) create() {
	b, err := nats.New(t.run.past, t.run.options...)
	t.run.check(err)
	defer b.Close()
	ctx, cancel := context.WithCancel(t.run.ctx)
	defer cancel()
	s, err := b.Subscribe(ctx, t.name, start)
	for errors.Is(err, pubsub.ErrUnavailable) && t.run.ctx.Err() == nil {
		time.Sleep(10 * time.Millisecond) // a deleted stream's files are not gone yet
		s, err = b.Subscribe(ctx, t.name, start)
	}
	t.run.check(err)
	cancel()
	t.run.check(s.Receive(ignore))
	name := ""
	for info := range t.run.admin.ListStreams(t.run.ctx, jetstream.WithStreamListSubject("pubsub."+t.name)).Info() {
		name = info.Config.Name
	}
	t.stream, err = t.run.admin.Stream(t.run.ctx, name)
	t.run.check(err)
}

// publish has n messages accepted by each topic's stream, past the client.
func (r *Run) publish(n int) {
	for range n {
		for _, t := range r.topics {
			t.publish()
		}
	}
}

// publish publishes the next message. It reports whether it was accepted. An
// attempt whose outcome is unknown is made again: the server knows the message
// by its id.
func (t *topic) publish() bool {
	t.mu.Lock()
	next := t.accepted + 1
	t.mu.Unlock()
	m := &natsgo.Msg{Subject: "pubsub." + t.name, Data: strconv.AppendInt(nil, int64(next), 10)}
	for {
		ctx, cancel := context.WithTimeout(t.run.ctx, 2*time.Second)
		_, err := t.run.admin.PublishMsg(ctx, m, jetstream.WithMsgID(string(m.Data)))
		cancel()
		var refused *jetstream.APIError
		switch {
		case err == nil:
			t.mu.Lock()
			defer t.mu.Unlock()
			t.accepted = next
			return true
		case errors.As(err, &refused) && refused.ErrorCode == 10077:
			return false
		}
		t.run.check(t.run.ctx.Err())
		time.Sleep(20 * time.Millisecond)
	}
}

// heal notes that the fault is over.
func (r *Run) heal() {
	r.healed = time.Now()
	for _, t := range r.topics {
		t.mu.Lock()
		t.first = time.Time{}
		t.mu.Unlock()
	}
}

// message is called by readers.
func (t *topic) message(data []byte) {
	t.mu.Lock()
	gate := t.gate
	t.mu.Unlock()
	if gate != nil {
		<-gate
	}
	n, _ := strconv.Atoi(string(data))
	t.mu.Lock()
	defer t.mu.Unlock()
	t.got = append(t.got, n)
	if t.first.IsZero() {
		t.first = time.Now()
	}
	close(t.changed)
	t.changed = make(chan struct{})
}

// hole is called by readers.
func (t *topic) hole(lost int, reset bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.told += lost
	if reset {
		t.resets++
	}
}

// hold has all readers wait with their next message until release.
func (r *Run) hold() (release func()) {
	gate := make(chan struct{})
	for _, t := range r.topics {
		t.mu.Lock()
		t.gate = gate
		t.mu.Unlock()
	}
	return func() {
		for _, t := range r.topics {
			t.mu.Lock()
			t.gate = nil
			t.mu.Unlock()
		}
		close(gate)
	}
}

// arrive waits until each topic's newest message has come, or for Patience.
func (r *Run) arrive() (stuck int) {
	timeout := time.NewTimer(Patience)
	defer timeout.Stop()
	late := false
	for _, t := range r.topics {
		for {
			t.mu.Lock()
			there, changed := len(t.got) > 0 && t.got[len(t.got)-1] >= t.accepted, t.changed
			t.mu.Unlock()
			if there {
				break
			}
			if late {
				stuck++
				break
			}
			select {
			case <-changed:
			case <-timeout.C:
				late = true
			}
		}
	}
	return stuck
}

// finish publishes a last message to each topic, behind which nothing can be
// missing any more, and waits for it.
func (r *Run) finish() {
	r.publish(1)
	r.out.Stuck = r.arrive()
}

// audit compares what was accepted with what came.
func (r *Run) audit() {
	o := &r.out
	for _, t := range r.topics {
		t.mu.Lock()
		seen := make(map[int]bool)
		last := 0
		for _, n := range t.got {
			switch {
			case seen[n]:
				o.Duplicates++
				continue
			case n < last:
				o.Disorder++
			}
			seen[n] = true
			last = max(last, n)
		}
		o.Accepted += t.accepted
		o.Delivered += len(seen)
		o.Told += t.told
		o.Resets += t.resets
		if !r.healed.IsZero() && t.first.After(r.healed) {
			o.Recovered = max(o.Recovered, t.first.Sub(r.healed))
		}
		t.mu.Unlock()
	}
	o.Missing = o.Accepted - o.Delivered
}

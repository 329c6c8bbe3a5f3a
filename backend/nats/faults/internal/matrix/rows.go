package matrix

import (
	"fmt"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
)

// Rows returns the matrix.
func Rows() []Row {
	var rows []Row
	for _, down := range []time.Duration{100 * time.Millisecond, 2 * time.Second, 8 * time.Second} {
		for _, topics := range []int{1, 40, 450} {
			name := fmt.Sprintf("the server is down for %v, 1 topic", down)
			if topics > 1 {
				name = fmt.Sprintf("the server is down for %v, %d topics", down, topics)
			}
			rows = append(rows, Row{
				Group: "Server", Name: name, Topics: topics, Long: topics == 450 || down > 2*time.Second,
				Play: func(r *Run) {
					r.begin()
					r.server.Stop()
					time.Sleep(down)
					r.heal()
					r.server.Start()
				},
			})
		}
	}
	return append(rows, Row{
		Group: "Server", Name: "it leaves as a lame duck, and comes back",
		Play: func(r *Run) {
			r.begin()
			r.server.LameDuck()
			r.heal()
			r.server.Start()
		},
	}, Row{
		Group: "Server", Name: "its streams are in memory, and it is started anew", Want: Want{Reset: true},
		Play: func(r *Run) {
			r.begin(func(c *jetstream.StreamConfig) { c.Storage = jetstream.MemoryStorage })
			r.server.Stop()
			r.heal()
			r.server.Start()
			for _, t := range r.topics { // by another process
				t.create()
			}
		},
	}, Row{
		Group: "Server", Name: "its store is full",
		Play: func(r *Run) {
			r.begin(func(c *jetstream.StreamConfig) { c.MaxBytes, c.Discard = 2000, jetstream.DiscardNew })
			for range 100 {
				for _, t := range r.topics {
					if !t.publish() {
						r.out.Refused++
					}
				}
			}
			for _, t := range r.topics {
				c := t.stream.CachedInfo().Config
				c.MaxBytes = 1 << 20
				_, err := r.admin.UpdateStream(r.ctx, c)
				r.check(err)
			}
		},
	}, Row{
		Group: "Server", Name: "the leader of a cluster of three is killed every second under load, 10 times", Cluster: true, Long: true, limit: 5 * time.Minute,
		Play: func(r *Run) {
			r.begin()
			over := make(chan struct{})
			go func() {
				defer close(over)
				for range 10 {
					r.killLeader()
				}
			}()
			for loaded := true; loaded; {
				select {
				case <-over:
					loaded = false
				default:
					r.publish(1)
				}
			}
		},
	}, Row{
		Group: "Connection", Name: "cut", Topics: 40,
		Play: func(r *Run) {
			r.begin()
			r.heal()
			r.relay.Cut()
		},
	}, Row{
		Group: "Connection", Name: "cut, and refused for 2 s while 10 messages pass", Topics: 40,
		Play: func(r *Run) {
			r.begin()
			r.relay.Down()
			r.publish(10)
			time.Sleep(2 * time.Second)
			r.heal()
			r.relay.Up()
		},
	}, Row{
		Group: "Connection", Name: "cut 20 times under load", Topics: 4,
		Play: func(r *Run) {
			r.begin()
			for range 20 {
				r.publish(20)
				r.relay.Cut()
				time.Sleep(20 * time.Millisecond)
			}
			r.heal()
		},
	}, Row{
		Group: "Connection", Name: "passes nothing for 3 s while 10 messages pass", Topics: 4,
		Play: func(r *Run) {
			r.begin()
			r.relay.BlackHole(true)
			r.publish(10)
			time.Sleep(3 * time.Second)
			r.heal()
			r.relay.BlackHole(false)
		},
	}, Row{
		Group: "Connection", Name: "passes nothing for 40 s while 10 messages pass", Long: true,
		Play: func(r *Run) {
			r.begin()
			r.relay.BlackHole(true)
			r.publish(10)
			time.Sleep(40 * time.Second)
			r.heal()
			r.relay.BlackHole(false)
		},
	}, Row{
		Group: "Connection", Name: "slow: everything passes 5 ms later",
		Play: func(r *Run) {
			r.relay.Delay(5 * time.Millisecond)
			r.begin()
		},
	}, Row{
		Group: "Stream", Name: "a message is lost between server and client",
		Play: func(r *Run) {
			r.begin()
			dropped := make(chan struct{}, 1)
			r.relay.Drop(func(subject string) bool {
				select {
				case dropped <- struct{}{}:
					return subject == "pubsub.topic0"
				default:
					return false
				}
			})
			r.publish(10)
		},
	}, Row{
		Group: "Stream", Name: "messages are deleted while the reader is slow", Want: Want{Lost: true},
		Play: func(r *Run) {
			r.begin()
			release := r.hold()
			r.publish(3000)
			for _, t := range r.topics {
				for n := uint64(2900); n < 2950; n++ {
					r.check(t.stream.DeleteMsg(r.ctx, n))
				}
			}
			release()
		},
	}, Row{
		Group: "Stream", Name: "it is purged while the reader is slow", Want: Want{Lost: true},
		Play: func(r *Run) {
			r.begin()
			release := r.hold()
			r.publish(3000)
			for _, t := range r.topics {
				r.check(t.stream.Purge(r.ctx))
			}
			release()
		},
	}, Row{
		Group: "Stream", Name: "its limit overtakes a slow reader", Want: Want{Lost: true},
		Play: func(r *Run) {
			r.begin(func(c *jetstream.StreamConfig) { c.MaxMsgs = 100 })
			release := r.hold()
			r.publish(3000)
			release()
		},
	}, Row{
		Group: "Stream", Name: "its limit overtakes a reader that is cut off", Want: Want{Lost: true},
		Play: func(r *Run) {
			r.begin(func(c *jetstream.StreamConfig) { c.MaxMsgs = 100 })
			r.relay.Down()
			r.publish(300)
			r.heal()
			r.relay.Up()
		},
	}, Row{
		Group: "Stream", Name: "its consumers are deleted", Topics: 4,
		Play: func(r *Run) {
			r.begin()
			r.heal()
			for _, t := range r.topics {
				var names []string
				for name := range t.stream.ConsumerNames(r.ctx).Name() {
					names = append(names, name)
				}
				for _, name := range names {
					r.check(t.stream.DeleteConsumer(r.ctx, name))
				}
			}
		},
	}, Row{
		Group: "Stream", Name: "it is deleted, and made again at once", Topics: 4, Want: Want{Reset: true},
		Play: func(r *Run) {
			r.begin()
			r.heal()
			r.again()
		},
	}, Row{
		Group: "Stream", Name: "it is deleted, and made again with more messages, while the reader is cut off", Topics: 4, Want: Want{Reset: true},
		Play: func(r *Run) {
			r.begin()
			r.relay.Down()
			r.again()
			r.publish(100)
			r.heal()
			r.relay.Up()
		},
	}, Row{
		Group: "Stream", Name: "a limit of the server changes while it runs", Racy: true,
		Play: func(r *Run) {
			r.begin()
			r.check(r.server.Reload(func(o *server.Options) { o.MaxPayload = 1 << 19 }))
			r.publish(10)
		},
	})
}

// begin subscribes, and has some messages come.
func (r *Run) begin(edits ...func(*jetstream.StreamConfig)) {
	r.open(edits...)
	r.publish(10)
	if stuck := r.arrive(); stuck > 0 {
		r.check(fmt.Errorf("nothing came before the fault to %d topics", stuck))
	}
}

// killLeader stops the server that leads the first topic's stream, when there is
// one, and starts it again half a second later. It takes a second at least.
func (r *Run) killLeader() {
	name := r.topics[0].stream.CachedInfo().Config.Name
	leader := r.cluster.Leader(name)
	for leader == nil && r.ctx.Err() == nil {
		time.Sleep(10 * time.Millisecond)
		leader = r.cluster.Leader(name)
	}
	if leader == nil {
		return
	}
	leader.Stop()
	time.Sleep(time.Second / 2)
	r.heal()
	leader.Start()
	time.Sleep(time.Second / 2)
}

// again deletes the topics' streams and makes them again.
func (r *Run) again() {
	for _, t := range r.topics {
		r.check(r.admin.DeleteStream(r.ctx, t.stream.CachedInfo().Config.Name))
		t.create()
	}
}

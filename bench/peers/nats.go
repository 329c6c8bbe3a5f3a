package peers

import (
	"errors"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/topicbus/pubsub/bench/shape"
)

func natsEmbedded() Peer {
	return Peer{
		Contender: shape.Contender[[]byte]{Name: "nats", Open: openNATS},
		Module:    "github.com/nats-io/nats.go",
		Stuck:     Unbounded,
		Bubble:    true,
		Loss:      "a count, by callback, not where",
		Resume:    "JetStream",
		Remarks: "Server in the process, connected by net.Pipe; one connection publishes, one subscribes. Made to do more than this: " +
			"messages are serialised. Pending limits are off here; with those of the default a slow consumer loses messages.",
	}
}

type natsSystem struct {
	server   *server.Server
	out, in  *nats.Conn
	subjects []string
}

func openNATS(f shape.Fleet) (shape.System[[]byte], error) {
	s, err := server.NewServer(&server.Options{
		DontListen:    true,
		NoSigs:        true,
		NoLog:         true,
		MaxPending:    8 << 30,
		WriteDeadline: time.Minute,
	})
	if err != nil {
		return nil, err
	}
	s.Start()
	if !s.ReadyForConnections(10 * time.Second) {
		return nil, errors.New("server does not start")
	}
	n := &natsSystem{server: s, subjects: f.TopicNames()}
	if n.out, err = nats.Connect("", nats.InProcessServer(s)); err != nil {
		return nil, err
	}
	if n.in, err = nats.Connect("", nats.InProcessServer(s)); err != nil {
		return nil, err
	}
	return n, nil
}

func (n *natsSystem) Subscribe(topic int, s *shape.Sink[[]byte]) error {
	sub, err := n.in.Subscribe(n.subjects[topic], func(m *nats.Msg) { s.Take(m.Data) })
	if err != nil {
		return err
	}
	if err := sub.SetPendingLimits(-1, -1); err != nil {
		return err
	}
	return n.in.Flush() // the server knows of it
}

func (n *natsSystem) Publish(topic int, v []byte) error {
	return n.out.Publish(n.subjects[topic], v)
}

func (n *natsSystem) Close() error {
	n.out.Close()
	closed := make(chan struct{})
	n.in.SetClosedHandler(func(*nats.Conn) { close(closed) })
	n.in.Close()
	<-closed
	n.server.Shutdown()
	n.server.WaitForShutdown()
	return nil
}

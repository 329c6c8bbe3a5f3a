// Package momentoengine has the soak run over backend/momento. It stands apart, so
// that modules with an engine of their own do not need Momento's SDK.
package momentoengine

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"strconv"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/momentohq/client-sdk-go/auth"
	"google.golang.org/grpc/codes"

	"github.com/topicbus/pubsub/backend/momento"
	"github.com/topicbus/pubsub/backend/momento/momentotest"
	"github.com/topicbus/pubsub/internal/soak/engine"
)

const cacheName = "soak"

// Engine is backend/momento, over a server of momentotest.
func Engine() engine.Engine {
	return engine.Engine{
		Name: "momento",
		Serve: func() (engine.Service, error) {
			server, err := momentotest.NewServer(momentotest.WithCaches(cacheName), momentotest.WithRetention(256), momentotest.WithHeartbeatInterval(200*time.Millisecond))
			if err != nil {
				return nil, err
			}
			return service{server}, nil
		},
		Open: open,
	}
}

func open(address string, patience time.Duration, log *slog.Logger) (engine.Backend, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, err
	}
	credentials, err := auth.NewMomentoLocalProvider(&auth.MomentoLocalConfig{Hostname: host, Port: uint(n)})
	if err != nil {
		return nil, err
	}
	return momento.New(cacheName, momento.WithCredentials(credentials), momento.WithLogger(log), momento.WithStallTimeout(patience),
		momento.WithSubscribeTimeout(patience), momento.WithBackoff(func() backoff.BackOff {
			return backoff.NewExponentialBackOff(backoff.WithInitialInterval(20*time.Millisecond), backoff.WithMaxInterval(300*time.Millisecond), backoff.WithMaxElapsedTime(0))
		}))
}

type service struct{ *momentotest.Server }

func (s service) Address() string { return s.Addr() }
func (s service) Streams() int    { return s.Stats().Streams }

// passing are codes of failures that pass.
var passing = [...]codes.Code{codes.Unavailable, codes.Internal, codes.Unknown, codes.Aborted, codes.DeadlineExceeded, codes.ResourceExhausted, codes.Canceled}

func failure(r *rand.Rand) momentotest.Failure {
	return momentotest.Fail(passing[r.IntN(len(passing))], "soak: broken on purpose")
}

func (s service) Faults() []engine.Fault {
	notice := func(r *rand.Rand) momentotest.Notice { return momentotest.Notice(r.IntN(2) == 0) }
	topicOf := func(name string) *momentotest.Topic { return s.Topic(cacheName, name) }
	return []engine.Fault{
		{Name: "connections reset", Every: 3, Do: func(*rand.Rand, string) func() { s.ResetConnections(); return nil }},
		{Name: "go away", Do: func(*rand.Rand, string) func() { s.GoAway(); return nil }},
		{Name: "server away", Every: 2, Do: func(*rand.Rand, string) func() {
			s.Stop()
			return func() {
				if err := s.Restart(); err != nil {
					panic(fmt.Sprintf("the server did not come back: %v", err)) // nothing can go on
				}
			}
		}},
		{Name: "black hole", Do: func(*rand.Rand, string) func() { s.BlackHole(true); return func() { s.BlackHole(false) } }},
		{Name: "streams ended", Every: 2, Do: func(r *rand.Rand, _ string) func() { s.EndStreams(failure(r)); return nil }},
		{Name: "a topic's streams ended", Every: 2, Do: func(r *rand.Rand, topic string) func() {
			topicOf(topic).EndStreams(failure(r))
			return nil
		}},
		{Name: "a topic's streams ended with OK", Do: func(r *rand.Rand, topic string) func() {
			topicOf(topic).EndStreams(momentotest.Failure{})
			return nil
		}},
		{Name: "numbers lost", Every: 3, Do: func(r *rand.Rand, topic string) func() {
			topicOf(topic).Lose(1+r.Uint64N(40), notice(r))
			return nil
		}},
		{Name: "topic reset", Every: 0.5, Do: func(r *rand.Rand, topic string) func() { topicOf(topic).Reset(notice(r)); return nil }},
		{Name: "topic mute", Do: func(_ *rand.Rand, topic string) func() {
			t := topicOf(topic)
			t.Mute(true)
			return func() { t.Mute(false) }
		}},
		{Name: "topic pauses", Do: func(r *rand.Rand, topic string) func() {
			topicOf(topic).Pause(time.Duration(r.IntN(1000)) * time.Millisecond)
			return nil
		}},
		{Name: "failed publishes", Do: func(r *rand.Rand, _ string) func() {
			s.FailNext(momentotest.Publish, 1+r.IntN(20), failure(r))
			return nil
		}},
		{Name: "slow publishes", Do: func(r *rand.Rand, topic string) func() {
			topicOf(topic).DelayNext(momentotest.Publish, 1+r.IntN(20), time.Duration(r.IntN(400))*time.Millisecond)
			return nil
		}},
		{Name: "failed subscribes", Do: func(r *rand.Rand, _ string) func() {
			s.FailNext(momentotest.Subscribe, 1+r.IntN(5), momentotest.Fail(codes.Unavailable, "soak: broken on purpose"))
			return nil
		}},
		{Name: "slow subscribes", Do: func(r *rand.Rand, topic string) func() {
			topicOf(topic).DelayNext(momentotest.Subscribe, 1+r.IntN(5), time.Duration(r.IntN(400))*time.Millisecond)
			return nil
		}},
		{Name: "unknown frames", Do: func(r *rand.Rand, topic string) func() {
			_ = topicOf(topic).Send(momentotest.UnknownKind(), momentotest.Heartbeat()) // fails while nobody listens
			return nil
		}},
	}
}

package nats_test

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/nats"
	"github.com/topicbus/pubsub/backend/nats/natstest"
	"github.com/topicbus/pubsub/codec"
)

// The benchmarks come in pairs: the client library alone, as its documentation
// shows, and this module, on one server each. Every message is of 100 bytes.

type rig struct {
	server *natstest.Server
	nc     *natsgo.Conn
	js     jetstream.JetStream
	b      *nats.Backend
}

func newRig(b *testing.B) *rig {
	r := &rig{}
	var err error
	r.server, err = natstest.NewServer()
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, r.server.Close()) })
	r.nc, err = r.server.Connect()
	require.NoError(b, err)
	b.Cleanup(r.nc.Close)
	r.js, err = jetstream.New(r.nc)
	require.NoError(b, err)
	r.b, err = nats.New(r.server.URL(), nats.WithStorage(jetstream.MemoryStorage), nats.WithMaxMessages(-1), nats.WithLogger(slog.New(slog.DiscardHandler)))
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, r.b.Close()) })
	require.NoError(b, r.b.Publish(context.Background(), "topic", pubsub.Payload{}))
	return r
}

// rawStream makes a stream for the client library alone.
func (r *rig) rawStream(b *testing.B) jetstream.Stream {
	s, err := r.js.CreateStream(context.Background(), jetstream.StreamConfig{Name: "raw", Subjects: []string{"raw.topic"}, Storage: jetstream.MemoryStorage, AllowDirect: true})
	require.NoError(b, err)
	return s
}

var hundred = make([]byte, 100)

func BenchmarkPublish(b *testing.B) {
	b.Run("raw", func(b *testing.B) {
		r := newRig(b)
		r.rawStream(b)
		for b.Loop() {
			_, err := r.js.Publish(context.Background(), "raw.topic", hundred)
			require.NoError(b, err)
		}
	})
	b.Run("backend", func(b *testing.B) {
		r := newRig(b)
		t := r.b.Topic(r.b, "topic")
		for b.Loop() {
			require.NoError(b, t.Publish(context.Background(), pubsub.Payload{Data: hundred}))
		}
	})
}

const batchSize = 1000

func BenchmarkPublishAll(b *testing.B) {
	b.Run("raw", func(b *testing.B) {
		r := newRig(b)
		r.rawStream(b)
		for range perBatch(b) {
			futures := make([]jetstream.PubAckFuture, 0, batchSize)
			for range batchSize {
				f, err := r.js.PublishAsync("raw.topic", hundred)
				require.NoError(b, err)
				futures = append(futures, f)
			}
			for _, f := range futures {
				select {
				case <-f.Ok():
				case err := <-f.Err():
					b.Fatal(err)
				}
			}
		}
	})
	b.Run("backend", func(b *testing.B) {
		r := newRig(b)
		t := r.b.Topic(r.b, "topic").(pubsub.BatchPublisher)
		ps := make([]pubsub.Payload, batchSize)
		for i := range ps {
			ps[i].Data = hundred
		}
		for range perBatch(b) {
			_, err := t.PublishBatch(context.Background(), ps)
			require.NoError(b, err)
		}
	})
}

// perBatch counts batches such that ns/op is that of a message.
func perBatch(b *testing.B) int {
	b.ResetTimer()
	return (b.N + batchSize - 1) / batchSize
}

// fill stores n messages in both streams.
func (r *rig) fill(b *testing.B, n int) {
	r.rawStream(b)
	t := r.b.Topic(r.b, "topic").(pubsub.BatchPublisher)
	ps := make([]pubsub.Payload, min(n, batchSize))
	for i := range ps {
		ps[i].Data = hundred
	}
	for left := n; left > 0; left -= len(ps) {
		ps = ps[:min(left, len(ps))]
		_, err := t.PublishBatch(context.Background(), ps)
		require.NoError(b, err)
	}
}

func BenchmarkReceive(b *testing.B) {
	b.Run("raw", func(b *testing.B) {
		r := newRig(b)
		r.fill(b, b.N) // the same stream for both, with the same headers
		s, err := r.js.Stream(context.Background(), streamOf(b, r))
		require.NoError(b, err)
		c, err := s.CreateConsumer(context.Background(), jetstream.ConsumerConfig{AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true})
		require.NoError(b, err)
		b.ResetTimer()
		it, err := c.Messages()
		require.NoError(b, err)
		for range b.N {
			m, err := it.Next()
			require.NoError(b, err)
			if _, err := m.Metadata(); err != nil { // for the position
				b.Fatal(err)
			}
		}
		it.Stop()
	})
	b.Run("backend", func(b *testing.B) {
		r := newRig(b)
		r.fill(b, b.N)
		ctx, cancel := context.WithCancel(context.Background())
		s, err := r.b.Subscribe(ctx, "topic", pubsub.Start{Oldest: true})
		require.NoError(b, err)
		b.ResetTimer()
		n := 0
		require.NoError(b, s.Receive(func(_ context.Context, f pubsub.Frame) error {
			if f.Kind == pubsub.KindMessage {
				if n++; n == b.N {
					cancel()
				}
			}
			return nil
		}))
		cancel()
	})
}

func streamOf(b *testing.B, r *rig) string {
	found := ""
	for name := range r.js.StreamNames(context.Background()).Name() { // to its end, or it leaves a goroutine
		if name != "raw" {
			found = name
		}
	}
	require.NotEmpty(b, found)
	return found
}

// BenchmarkFanOut: a hundred readers of one topic in one process. An operation
// is one delivery.
func BenchmarkFanOut(b *testing.B) {
	const readers = 100
	b.Run("raw consumers", func(b *testing.B) {
		r := newRig(b)
		s := r.rawStream(b)
		each := (b.N + readers - 1) / readers
		var done sync.WaitGroup
		for range readers {
			c, err := s.CreateConsumer(context.Background(), jetstream.ConsumerConfig{AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true})
			require.NoError(b, err)
			it, err := c.Messages()
			require.NoError(b, err)
			b.Cleanup(it.Stop)
			done.Go(func() {
				for range each {
					if _, err := it.Next(); err != nil {
						b.Error(err)
						return
					}
				}
			})
		}
		b.ResetTimer()
		for i := range each {
			f, err := r.js.PublishAsync("raw.topic", hundred)
			require.NoError(b, err)
			if i%batchSize == batchSize-1 || i == each-1 {
				<-f.Ok()
			}
		}
		done.Wait()
	})
	b.Run("subscriptions", func(b *testing.B) {
		r := newRig(b)
		bus := pubsub.New(r.b, codec.Bytes(), pubsub.WithBuffer(1<<16))
		each := (b.N + readers - 1) / readers
		var done sync.WaitGroup
		var lost atomic.Uint64
		for range readers {
			sub, err := bus.Subscribe(context.Background(), "topic")
			require.NoError(b, err)
			done.Go(func() {
				seen := 0
				for _, err := range sub.All() {
					if err != nil {
						lost.Add(1)
					}
					if seen++; seen == each {
						break
					}
				}
			})
		}
		ps := make([]pubsub.Payload, 0, batchSize)
		t := r.b.Topic(r.b, "topic").(pubsub.BatchPublisher)
		b.ResetTimer()
		for left := each; left > 0; left -= len(ps) {
			ps = ps[:0]
			for range min(left, batchSize) {
				ps = append(ps, pubsub.Payload{Data: hundred})
			}
			_, err := t.PublishBatch(context.Background(), ps)
			require.NoError(b, err)
		}
		done.Wait()
		b.StopTimer()
		require.Zero(b, lost.Load())
		require.NoError(b, bus.Close())
	})
}

// BenchmarkRestart: from a server's Start to the first message that is
// delivered, which was stored before it stopped.
func BenchmarkRestart(b *testing.B) {
	for _, raw := range []bool{true, false} {
		b.Run(map[bool]string{true: "OrderedConsumer", false: "backend"}[raw], func(b *testing.B) {
			server, err := natstest.NewServer()
			require.NoError(b, err)
			b.Cleanup(func() { require.NoError(b, server.Close()) })
			back, err := nats.New(server.URL(), nats.WithLogger(slog.New(slog.DiscardHandler)))
			require.NoError(b, err)
			b.Cleanup(func() { require.NoError(b, back.Close()) })
			got := make(chan struct{}, 10_000)
			ctx, cancel := context.WithCancel(context.Background())
			b.Cleanup(cancel)
			if raw {
				nc, err := natsgo.Connect(server.URL(), natsgo.MaxReconnects(-1))
				require.NoError(b, err)
				b.Cleanup(nc.Close)
				js, err := jetstream.New(nc)
				require.NoError(b, err)
				require.NoError(b, back.Publish(ctx, "topic", pubsub.Payload{}))
				var name string
				for n := range js.StreamNames(ctx).Name() {
					name = n
				}
				c, err := js.OrderedConsumer(ctx, name, jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverNewPolicy})
				require.NoError(b, err)
				cc, err := c.Consume(func(jetstream.Msg) { got <- struct{}{} })
				require.NoError(b, err)
				b.Cleanup(cc.Stop)
			} else {
				s, err := back.Subscribe(ctx, "topic", pubsub.Start{})
				require.NoError(b, err)
				done := make(chan struct{})
				go func() {
					defer close(done)
					_ = s.Receive(func(_ context.Context, f pubsub.Frame) error {
						if f.Kind == pubsub.KindMessage {
							got <- struct{}{}
						}
						return nil
					})
				}()
				b.Cleanup(func() { cancel(); <-done })
			}
			publish := func() {
				for back.Publish(ctx, "topic", pubsub.Payload{Data: fmt.Append(nil, time.Now())}) != nil {
					time.Sleep(time.Millisecond)
				}
			}
			publish()
			<-got
			for b.Loop() {
				server.Stop()
				server.Start()
				publish()
				<-got
			}
		})
	}
}

// BenchmarkIdle tells what a topic costs that nobody publishes to: b.N streams
// at the server, and then a subscription to each, the server's part included.
func BenchmarkIdle(b *testing.B) {
	server, err := natstest.NewServer()
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, server.Close()) })
	back, err := nats.New(server.URL(), nats.WithLogger(slog.New(slog.DiscardHandler)))
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, back.Close()) })
	require.NoError(b, back.Publish(context.Background(), "topic", pubsub.Payload{}))
	measure := func() (heap, goroutines float64) {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return float64(m.HeapAlloc + m.StackInuse), float64(runtime.NumGoroutine())
	}
	n := float64(b.N)
	before, goroutines := measure()
	for i := range b.N {
		require.NoError(b, back.Publish(context.Background(), fmt.Sprint(i), pubsub.Payload{}))
	}
	after, more := measure()
	b.ReportMetric((after-before)/n, "stream-B")
	b.ReportMetric((more-goroutines)/n, "stream-goroutines")
	before, goroutines = after, more
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	for i := range b.N {
		s, err := back.Subscribe(ctx, fmt.Sprint(i), pubsub.Start{})
		require.NoError(b, err)
		done.Go(func() { _ = s.Receive(func(context.Context, pubsub.Frame) error { return nil }) })
	}
	after, more = measure()
	b.ReportMetric((after-before)/n, "subscription-B")
	b.ReportMetric((more-goroutines)/n, "subscription-goroutines")
	cancel()
	done.Wait()
}

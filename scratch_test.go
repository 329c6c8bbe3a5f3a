package pubsub

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"
)

type fakeBackend struct {
	mu      sync.Mutex
	streams []*fakeStream
	seq     uint64
}
type fakeStream struct {
	ctx     context.Context
	ready   chan struct{}
	deliver func(context.Context, Frame) error
}

func (b *fakeBackend) Publish(ctx context.Context, topic string, p Payload) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.seq++
	for _, s := range b.streams {
		<-s.ready
		s.deliver(ctx, Frame{Payload: p, Position: Position{1, b.seq}})
	}
	return nil
}
func (b *fakeBackend) Subscribe(ctx context.Context, topic string, after Position) (Stream, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := &fakeStream{ctx: ctx, ready: make(chan struct{})}
	b.streams = append(b.streams, s)
	return s, nil
}
func (s *fakeStream) Receive(d func(context.Context, Frame) error) error {
	s.deliver = d
	close(s.ready)
	<-s.ctx.Done()
	return nil
}

type bytesCodec struct{}

func (bytesCodec) Encode(b []byte) (Payload, error) { return Payload{Binary, b}, nil }
func (bytesCodec) Decode(p Payload) ([]byte, error) { return p.Data, nil }

func BenchmarkScratch(b *testing.B) {
	for _, form := range []string{"raw", "All", "C", "Next"} {
		for _, n := range []int{1, 10, 100, 1000} {
			b.Run(fmt.Sprintf("%s/%d", form, n), func(b *testing.B) {
				p := make([]byte, 128)
				var wg sync.WaitGroup
				if form == "raw" {
					chs := make([]chan []byte, n)
					for i := range chs {
						chs[i] = make(chan []byte, 256)
						wg.Add(1)
						go func(c chan []byte) {
							defer wg.Done()
							for range c {
							}
						}(chs[i])
					}
					b.ResetTimer()
					for i := 0; i < b.N; i++ {
						for _, c := range chs {
							c <- p
						}
					}
					for _, c := range chs {
						close(c)
					}
					wg.Wait()
				} else {
					bus := New[[]byte](&fakeBackend{}, bytesCodec{})
					ctx := context.Background()
					for range n {
						s, err := bus.Subscribe(ctx, "t", Overflow(Block))
						if err != nil {
							b.Fatal(err)
						}
						wg.Add(1)
						go func() {
							defer wg.Done()
							k := 0
							switch form {
							case "All":
								for range s.All() {
									if k++; k == b.N {
										return
									}
								}
							case "Next":
								for {
									s.Next(ctx)
									if k++; k == b.N {
										return
									}
								}
							case "C":
								for range s.C() {
									if k++; k == b.N {
										return
									}
								}
							}
						}()
					}
					time.Sleep(10 * time.Millisecond)
					b.ResetTimer()
					for i := 0; i < b.N; i++ {
						if err := bus.Publish(ctx, "t", p); err != nil {
							b.Fatal(err)
						}
					}
					wg.Wait()
					b.StopTimer()
					bus.Close()
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/delivery")
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}

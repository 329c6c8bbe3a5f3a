package momentotest

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// BenchmarkPublish is the server's share, and plain gRPC's, of a call: what a
// client of momentotest cannot be faster than. One operation is one message
// published by one of 8 callers and received by all subscribers.
func BenchmarkPublish(b *testing.B) {
	for _, subscribers := range []int{0, 1, 100} {
		b.Run(fmt.Sprintf("subscribers=%d", subscribers), func(b *testing.B) { benchmarkPublish(b, subscribers) })
	}
}

func benchmarkPublish(b *testing.B, subscribers int) {
	srv, err := NewServer(WithCaches(cache), WithHeartbeatInterval(0), WithRetention(1<<20))
	require.NoError(b, err)
	defer srv.Close()
	cc, err := grpc.NewClient(srv.Addr(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(b, err)
	defer cc.Close()

	ctx, w := b.Context(), srv.wire
	request := w.subscribe.New()
	request.Set(w.subscribe.cache, protoreflect.ValueOfString(cache))
	request.Set(w.subscribe.topic, protoreflect.ValueOfString(topic))
	streams := make([]grpc.ClientStream, subscribers)
	for i := range streams {
		s, err := cc.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, string(Subscribe))
		require.NoError(b, err)
		require.NoError(b, s.SendMsg(request.Interface()))
		require.NoError(b, s.CloseSend())
		require.NoError(b, s.RecvMsg(w.frame.New().Interface()))
		streams[i] = s
	}
	message := w.publish.New()
	message.Set(w.publish.cache, protoreflect.ValueOfString(cache))
	message.Set(w.publish.topic, protoreflect.ValueOfString(topic))
	message.Set(w.publish.value, protoreflect.ValueOfMessage(w.newValue(text(strings.Repeat("x", 100)))))

	b.ReportAllocs()
	b.ResetTimer()
	var wg sync.WaitGroup
	for _, s := range streams {
		wg.Go(func() {
			for range b.N {
				if err := s.RecvMsg(w.frame.New().Interface()); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	calls := make(chan struct{}, 8)
	for range 8 {
		wg.Go(func() {
			reply := w.publish.New().Interface()
			for range calls {
				if err := cc.Invoke(ctx, string(Publish), message.Interface(), reply); err != nil {
					b.Error(err)
				}
			}
		})
	}
	for range b.N {
		calls <- struct{}{}
	}
	close(calls)
	wg.Wait()
	b.ReportMetric(float64(b.N)*float64(subscribers)/b.Elapsed().Seconds(), "deliveries/s")
}

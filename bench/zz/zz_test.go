package zz

import (
	"context"
	"testing"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/memory"
	"github.com/topicbus/pubsub/codec"
)

func setup(b *testing.B, subs int) *pubsub.Topic[[]byte] {
	bus := pubsub.New(memory.New(), codec.Bytes())
	b.Cleanup(func() { bus.Close() })
	t := bus.Topic("orders")
	for range subs {
		if _, err := t.Subscribe(context.Background(), pubsub.Named("x")); err != nil {
			b.Fatal(err)
		}
	}
	for range 1000 {
		t.Publish(context.Background(), []byte("a"))
	}
	return t
}

func BenchmarkNobody(b *testing.B) {
	t := setup(b, 0)
	v := make([]byte, 128)
	ctx := context.Background()
	for b.Loop() {
		t.Publish(ctx, v)
	}
}

func BenchmarkNobodyByName(b *testing.B) {
	bus := pubsub.New(memory.New(), codec.Bytes())
	v := make([]byte, 128)
	ctx := context.Background()
	for b.Loop() {
		bus.Publish(ctx, "orders", v)
	}
}

func BenchmarkStalled(b *testing.B) {
	t := setup(b, 1)
	v := make([]byte, 128)
	ctx := context.Background()
	for b.Loop() {
		t.Publish(ctx, v)
	}
}

func BenchmarkStalledBatch64(b *testing.B) {
	t := setup(b, 1)
	vs := make([][]byte, 64)
	for i := range vs {
		vs[i] = make([]byte, 128)
	}
	ctx := context.Background()
	n := 0
	for b.Loop() {
		if n++; n%64 == 0 {
			t.PublishAll(ctx, vs)
		}
	}
}

type fields struct {
	Value     []byte
	Topic     string
	Publisher string
	Page, Seq uint64
}

func BenchmarkChanSendRecv(b *testing.B) {
	ch := make(chan fields, 256)
	v := fields{Value: make([]byte, 128), Topic: "a"}
	for b.Loop() {
		ch <- v
		<-ch
	}
}

func BenchmarkReadAll(b *testing.B) {
	bus := pubsub.New(memory.New(), codec.Bytes(), pubsub.WithBuffer(1<<22))
	t := bus.Topic("orders")
	s, _ := t.Subscribe(context.Background())
	v := make([]byte, 128)
	n := 0
	for n < b.N && n < 1<<22 {
		t.Publish(context.Background(), v)
		n++
	}
	b.ResetTimer()
	n = 0
	for range s.Messages() {
		if n++; n >= b.N || n >= 1<<22 {
			break
		}
	}
}

package shape

import (
	"errors"
	"testing"
	"time"
)

// The benchmarks. Each reports ns/op for a message published, ns/delivery and
// deliveries/s where there are deliveries, and quantiles of the latency where
// it is measured.

// Flood measures [Run.Flood].
func Flood[T any](b *testing.B, c Contender[T], l *Load[T], f Fleet) {
	measure(b, c, l, f, b.N, (*Run[T]).Flood)
}

// OneByOne measures [Run.OneByOne].
func OneByOne[T any](b *testing.B, c Contender[T], l *Load[T], subscribers int) {
	measure(b, c, l, Fleet{Subscribers: subscribers}, b.N, (*Run[T]).OneByOne)
}

// Paced measures [Run.Paced].
func Paced[T any](b *testing.B, c Contender[T], l *Load[T], subscribers, perSecond int) {
	measure(b, c, l, Fleet{Subscribers: subscribers}, b.N, func(r *Run[T]) (Result, error) {
		return r.Paced(perSecond)
	})
}

// Overrun measures [Run.Overrun].
func Overrun[T any](b *testing.B, c Contender[T], l *Load[T], subscribers int) {
	measure(b, c, l, Fleet{Subscribers: subscribers}, b.N+1, (*Run[T]).Overrun)
}

func measure[T any](b *testing.B, c Contender[T], l *Load[T], f Fleet, messages int, drive func(*Run[T]) (Result, error)) {
	b.ReportAllocs()
	b.StopTimer()
	b.ResetTimer()
	r, err := Start(c, l, f, messages, b)
	if err != nil {
		b.Fatal(err)
	}
	res, err := drive(r)
	if err := errors.Join(err, r.Close()); err != nil {
		b.Fatalf("%s: %v", c.Name, err)
	}
	report(b, res)
}

func report(b *testing.B, r Result) {
	b.ReportMetric(per(r.Elapsed, r.Published), "ns/op")
	if h := r.Latency; h != nil {
		b.ReportMetric(float64(h.Quantile(0.5)), "p50-ns")
		b.ReportMetric(float64(h.Quantile(0.9)), "p90-ns")
		b.ReportMetric(float64(h.Quantile(0.99)), "p99-ns")
		b.ReportMetric(float64(h.Quantile(0.999)), "p99.9-ns")
		b.ReportMetric(float64(h.Quantile(1)), "max-ns")
	}
	if r.Deliveries > 0 {
		b.ReportMetric(per(r.Elapsed, r.Deliveries), "ns/delivery")
		b.ReportMetric(float64(r.Deliveries)/r.Elapsed.Seconds(), "deliveries/s")
	}
	if r.Lost > 0 {
		b.ReportMetric(float64(r.Lost)/float64(r.Published), "lost/op")
	}
}

func per(d time.Duration, n uint64) float64 { return float64(d) / float64(n) }

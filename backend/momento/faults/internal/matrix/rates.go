package matrix

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/momento"
	"github.com/topicbus/pubsub/backend/momento/momentotest"
)

const (
	// RateStreams is how many streams are open when a service begins to
	// misbehave.
	RateStreams = 50
	// RateTime is how long it goes on.
	RateTime = 20 * time.Second
	// rateLater is the last part of that.
	rateLater = 5 * time.Second
)

// Misbehaviour is a way in which a service can answer each Subscribe.
type Misbehaviour struct {
	Name    string
	answer  http.HandlerFunc
	backend []momento.Option
}

// Misbehaviours are the ways.
func Misbehaviours() []Misbehaviour {
	heartbeat := []byte{0x1a, 0}
	after := func(d time.Duration) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			Message("", heartbeat)(flushed{w}, r)
			select {
			case <-time.After(d):
			case <-r.Context().Done():
			}
		}
	}
	patient := []momento.Option{momento.WithRefusalPatience(time.Hour)}
	return []Misbehaviour{
		{"accepts and ends at once", Message("", heartbeat), nil},
		{"accepts and ends after a quarter of a second", after(250 * time.Millisecond), nil},
		{"accepts and ends after a second", after(time.Second), nil},
		{"accepts, then sends what cannot be decoded", Message("", append(heartbeat, 0xff)), nil},
		{"is unavailable", Status(int(codes.Unavailable), "overloaded"), nil},
		{"fails", Status(int(codes.Internal), "internal error"), nil},
		{"names a limit", Status(int(codes.ResourceExhausted), "Too many subscribers (limit: 100)"), nil},
		{"refuses (WithRefusalPatience)", Status(int(codes.PermissionDenied), "no permission"), patient},
		{"answers with an error page", Page(http.StatusForbidden), nil},
	}
}

// flushed sends what is written at once.
type flushed struct{ http.ResponseWriter }

func (w flushed) Write(p []byte) (int, error) {
	n, err := w.ResponseWriter.Write(p)
	w.ResponseWriter.(http.Flusher).Flush()
	return n, err
}

// Rate is how often a service was asked for a stream.
type Rate struct {
	Worst int     // times in the worst second
	Later float64 // times a second in the last quarter
}

// String describes the rate.
func (r Rate) String() string { return fmt.Sprintf("%d | %.1f", r.Worst, r.Later) }

// Measure has the service behind RateStreams streams misbehave for RateTime.
func (m Misbehaviour) Measure(ctx context.Context) (Rate, error) {
	srv, err := momentotest.NewServer(momentotest.WithCaches(cacheName))
	if err != nil {
		return Rate{}, err
	}
	defer srv.Close()
	between, err := NewBetween(srv.Addr())
	if err != nil {
		return Rate{}, err
	}
	defer between.Close()
	r := &Run{Server: srv, between: between, token: "token"}
	p, err := r.credentials(ctx)
	if err != nil {
		return Rate{}, err
	}
	b, err := momento.New(cacheName, append([]momento.Option{
		momento.WithCredentials(p), momento.WithLogger(discard), momento.WithSubscribeTimeout(promptly),
	}, m.backend...)...)
	if err != nil {
		return Rate{}, err
	}
	defer b.Close()
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for i := range RateStreams {
		s, err := b.Subscribe(ctx, topicName(i), pubsub.Start{})
		if err != nil {
			return Rate{}, err
		}
		wg.Go(func() { _ = s.Receive(func(context.Context, pubsub.Frame) error { return nil }) })
	}

	var mu sync.Mutex
	var asked []time.Duration
	begun := time.Now()
	between.Answer(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		asked = append(asked, time.Since(begun))
		mu.Unlock()
		m.answer(w, r)
	})
	srv.EndStreams(momentotest.Fail(codes.Unavailable, "scripted"))
	time.Sleep(RateTime)
	mu.Lock()
	defer mu.Unlock()
	return rateOf(asked), nil
}

// rateOf returns the rate of requests at these times, which are in order.
func rateOf(asked []time.Duration) (r Rate) {
	first := 0
	for i, at := range asked {
		for at-asked[first] >= time.Second {
			first++
		}
		r.Worst = max(r.Worst, i+1-first)
		if at >= RateTime-rateLater && at < RateTime {
			r.Later++
		}
	}
	r.Later /= rateLater.Seconds()
	return r
}

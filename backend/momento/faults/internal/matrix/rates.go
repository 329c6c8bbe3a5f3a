package matrix

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v4"
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
	// RateLater is the last part of that.
	RateLater = 10 * time.Second
)

// Misbehaviour is a way in which a service can answer each Subscribe, or each
// Publish.
type Misbehaviour struct {
	Name    string
	answer  http.HandlerFunc
	backend []momento.Option
	fresh   bool // credentials can be asked for anew
	publish bool // there are publishers in place of streams
}

// Misbehaviours are the ways.
func Misbehaviours() []Misbehaviour {
	heartbeat := []byte{0x1a, 0}
	// accepts accepts a stream, and ends it after some time with a status.
	accepts := func(d time.Duration, code codes.Code) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			Message("", heartbeat)(flushed{w}, r)
			w.Header().Set("Grpc-Status", fmt.Sprint(int(code)))
			select {
			case <-time.After(d):
			case <-r.Context().Done():
			}
		}
	}
	// sends accepts a stream, and sends bytes: the length of a frame, and the frame.
	// Of one that is too large nobody reads more than the length.
	sends := func(frame ...byte) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			Message("", heartbeat)(flushed{w}, r)
			w.Write(frame)
		}
	}
	unavailable := Status(int(codes.Unavailable), "overloaded")
	var n atomic.Int64
	oneInTen := func(w http.ResponseWriter, r *http.Request) {
		if n.Add(1)%10 == 0 {
			accepts(210*time.Millisecond, codes.Unavailable)(w, r)
			return
		}
		unavailable(w, r)
	}
	patient := momento.WithRefusalPatience(time.Hour)
	again := momento.WithPublishRetry(func() backoff.BackOff { return backoff.NewExponentialBackOff() })
	return []Misbehaviour{
		{Name: "accepts and ends at once", answer: accepts(0, codes.Unavailable)},
		{Name: "accepts and ends at once, without an error", answer: accepts(0, codes.OK)},
		{Name: "accepts and ends after a quarter of a second", answer: accepts(250*time.Millisecond, codes.Unavailable)},
		{Name: "accepts and ends after almost a second", answer: accepts(950*time.Millisecond, codes.Unavailable)},
		{Name: "accepts and ends after a second", answer: accepts(time.Second, codes.Unavailable)},
		{Name: "accepts and ends after ten seconds", answer: accepts(10*time.Second, codes.Unavailable)},
		{Name: "accepts, then sends what cannot be decoded", answer: sends(0, 0, 0, 0, 1, 0xff)},
		{Name: "accepts, then sends what is too large", answer: sends(0, 0, 0x50, 0, 0)},
		{Name: "accepts one in ten, and ends that soon", answer: oneInTen},
		{Name: "is unavailable", answer: unavailable},
		{Name: "fails", answer: Status(int(codes.Internal), "internal error")},
		{Name: "names a limit", answer: Status(int(codes.ResourceExhausted), "Too many subscribers (limit: 100)")},
		{Name: "refuses (WithRefusalPatience)", answer: Status(int(codes.PermissionDenied), "no permission"), backend: []momento.Option{patient}},
		{Name: "refuses every token (WithCredentialsFunc, WithRefusalPatience)", answer: Status(int(codes.Unauthenticated), "expired"),
			backend: []momento.Option{patient}, fresh: true},
		{Name: "answers with an error page", answer: Page(http.StatusForbidden)},
		{Name: "is unavailable, for Publish (WithPublishRetry, the default policy of backoff)", answer: unavailable,
			backend: []momento.Option{again}, publish: true},
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
	Later float64 // times a second in the last part
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
	options := append([]momento.Option{
		momento.WithCredentials(p), momento.WithLogger(discard), momento.WithSubscribeTimeout(promptly),
	}, m.backend...)
	if m.fresh {
		options = append(options, momento.WithCredentialsFunc(r.credentials))
	}
	b, err := momento.New(cacheName, options...)
	if err != nil {
		return Rate{}, err
	}
	defer b.Close()
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if m.publish {
		return m.publishers(ctx, &wg, b, between), nil
	}
	for i := range RateStreams {
		s, err := b.Subscribe(ctx, topicName(i), pubsub.Start{})
		if err != nil {
			return Rate{}, err
		}
		wg.Go(func() { _ = s.Receive(func(context.Context, pubsub.Frame) error { return nil }) })
	}

	rate := m.count(between)
	srv.EndStreams(momentotest.Fail(codes.Unavailable, "scripted"))
	time.Sleep(RateTime)
	return rate(), nil
}

// publishers has as many publish one message each.
func (m Misbehaviour) publishers(ctx context.Context, wg *sync.WaitGroup, b *momento.Backend, between *Between) Rate {
	rate := m.count(between)
	for i := range RateStreams {
		wg.Go(func() { _ = b.Publish(ctx, topicName(i), pubsub.Payload{}) })
	}
	time.Sleep(RateTime)
	return rate()
}

// count has the service misbehave from now on, and returns what tells the rate of
// requests.
func (m Misbehaviour) count(between *Between) func() Rate {
	var mu sync.Mutex
	var asked []time.Duration
	begun := time.Now()
	between.Answer(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		asked = append(asked, time.Since(begun))
		mu.Unlock()
		m.answer(w, r)
	})
	return func() Rate {
		mu.Lock()
		defer mu.Unlock()
		return rateOf(asked)
	}
}

// rateOf returns the rate of requests at these times, which are in order.
func rateOf(asked []time.Duration) (r Rate) {
	first := 0
	for i, at := range asked {
		for at-asked[first] >= time.Second {
			first++
		}
		r.Worst = max(r.Worst, i+1-first)
		if at >= RateTime-RateLater && at < RateTime {
			r.Later++
		}
	}
	r.Later /= RateLater.Seconds()
	return r
}

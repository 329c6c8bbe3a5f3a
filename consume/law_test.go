package consume_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/memory"
	"github.com/topicbus/pubsub/codec"
	"github.com/topicbus/pubsub/consume"
)

type unhandledError = consume.UnhandledError[order]

var (
	lawSeed = flag.Uint64("law.seed", 0, "run TestLaw with this seed only")
	lawTime = flag.Duration("law.time", 2*time.Second, "how long TestLaw tries new seeds, in bubbles and outside")
)

// TestLaw checks what Each promises of its accounts: every message is handled,
// given up, dropped at the end, reported lost, or left in the subscription,
// once; those of a key in order, never two at a time. Each seed is another
// schedule, in fake time and in real time.
func TestLaw(t *testing.T) {
	for name, run := range map[string]func(t *testing.T, seed uint64){
		"fake time": func(t *testing.T, seed uint64) {
			synctest.Test(t, func(t *testing.T) { law(t, seed, time.Millisecond) })
		},
		"real time": func(t *testing.T, seed uint64) { law(t, seed, time.Microsecond) },
	} {
		t.Run(name, func(t *testing.T) {
			if *lawSeed != 0 {
				run(t, *lawSeed)
				return
			}
			end := time.Now().Add(*lawTime / 2)
			for n := 0; n == 0 || time.Now().Before(end); n++ {
				seed := rand.Uint64()
				if !t.Run(fmt.Sprint(seed), func(t *testing.T) { run(t, seed) }) {
					t.Fatalf("reproduce with: go test -run 'TestLaw/%s' -law.seed %d", name, seed)
				}
			}
		})
	}
}

var (
	errHandler = errors.New("handler")
	errGiveUp  = errors.New("no dead letters today")
	errOut     = errors.New("told to end")
)

// ledger is what the handlers of a law saw.
type ledger struct {
	t       *testing.T
	ordered bool // one order for all
	byKey   bool // one for each key
	entries map[uint64]*entry
	mu      sync.Mutex
	last    map[string]*entry // started, by key
	first   uint64            // the newest that was started
	starts  int
	problem string
}

type entry struct {
	tries   int
	running bool
	done    string
}

func (l *ledger) failf(format string, args ...any) {
	if l.problem == "" {
		l.problem = fmt.Sprintf(format, args...)
	}
}

func (l *ledger) key(m pubsub.Message[order]) string {
	switch {
	case l.byKey:
		return m.Value.Key
	case l.ordered:
		return ""
	default:
		return m.Position.String()
	}
}

func (l *ledger) start(ctx context.Context, m pubsub.Message[order]) (e *entry, starts int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := m.Position.Sequence
	e = l.entries[n]
	if e == nil {
		e = new(entry)
		l.entries[n] = e
		if before := l.last[l.key(m)]; before != nil && before.done == "" {
			l.failf("%v was started before the one before it was done", m)
		}
		for other, o := range l.entries {
			if other > n && o.tries > 0 && l.ordered && !l.byKey {
				l.failf("%v was started behind %d", m, other)
			}
		}
		l.last[l.key(m)] = e
	} else if l.last[l.key(m)] != e {
		l.failf("%v was tried again behind a later one of its key", m)
	}
	if e.running || e.done != "" {
		l.failf("%v was started though it is %+v", m, *e)
	}
	e.running = true
	e.tries++
	if try := consume.Try(ctx); try != e.tries {
		l.failf("%v: Try says %d at try %d", m, try, e.tries)
	}
	l.first = max(l.first, n)
	l.starts++
	return e, l.starts
}

func (l *ledger) stop(e *entry, done string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e.running = false; e.done != "" {
		l.failf("%s behind %s", done, e.done)
	}
	e.done = done
}

func (l *ledger) gaveUp(m pubsub.Message[order], done string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.entries[m.Position.Sequence]
	if e == nil || e.running || e.done != "" || e.tries == 0 {
		l.failf("%v was given up though it is %+v", m, e)
		return
	}
	e.done = done
}

func law(t *testing.T, seed uint64, unit time.Duration) {
	r := rand.New(rand.NewPCG(seed, 1))
	chance := func(n int) bool { return r.IntN(n) == 0 }
	backend := memory.New()
	policy := pubsub.OverflowPolicy(r.IntN(3))
	bus := pubsub.New(backend, codec.JSON[order](), pubsub.WithBuffer(1+r.IntN(100)),
		pubsub.WithLogger(slog.New(slog.NewTextHandler(io.Discard, nil))))
	defer bus.Close()
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	subscribeCtx := context.Background()
	if chance(3) {
		subscribeCtx = ctx
	}
	sub, err := bus.Subscribe(subscribeCtx, "orders", pubsub.Overflow(policy))
	require.NoError(t, err)

	// How the handlers behave, by the message.
	messages, keys := 1+r.IntN(300), 1+r.IntN(8)
	type behaviour struct {
		fails     int // tries
		permanent bool
		panics    bool
		takes     time.Duration
		obeys     bool // the end of its ctx
	}
	trouble, slow := r.IntN(20), r.IntN(20)
	behaviours := make([]behaviour, 2*messages+2)
	for i := range behaviours {
		b := &behaviours[i]
		if r.IntN(100) < trouble {
			b.fails, b.permanent, b.panics = 1+r.IntN(6), chance(4), chance(3)
		}
		if r.IntN(100) < slow {
			b.takes = time.Duration(r.IntN(30)) * unit
		}
		b.obeys = chance(2)
	}

	monitor := new(consume.Monitor)
	o := consume.Options[order]{
		Workers:  r.IntN(6),
		InFlight: r.IntN(3) * r.IntN(20),
		Grace:    time.Duration(r.IntN(100)-10) * unit,
		Monitor:  monitor,
		Logger:   slog.New(slog.NewTextHandler(io.Discard, nil)),
	}
	l := &ledger{t: t, ordered: o.Workers <= 1, entries: make(map[uint64]*entry), last: make(map[string]*entry)}
	if chance(2) {
		o.OrderBy = byKey
		l.byKey = true
	}
	switch r.IntN(4) {
	case 0:
	case 1:
		o.Retry = func() backoff.BackOff {
			return backoff.WithMaxRetries(backoff.NewConstantBackOff(5*unit), 3)
		}
	case 2:
		o.Retry = func() backoff.BackOff { return backoff.WithMaxRetries(&backoff.ZeroBackOff{}, 2) }
	case 3:
		o.Retry = func() backoff.BackOff {
			return backoff.NewExponentialBackOff(backoff.WithInitialInterval(unit), backoff.WithMaxElapsedTime(100*unit))
		}
	}
	if !chance(4) {
		bad := chance(6)
		o.GiveUp = func(ctx context.Context, m pubsub.Message[order], err error) error {
			if err == nil {
				l.failf("GiveUp without an error")
			}
			if bad && m.Position.Sequence%3 == 0 {
				if m.Position.Sequence%2 == 0 {
					panic(errGiveUp)
				}
				return errGiveUp
			}
			l.gaveUp(m, "given up")
			return nil
		}
	}
	if chance(2) {
		end := chance(6)
		o.OnLoss = func(d *pubsub.Discontinuity) error {
			l.mu.Lock()
			defer l.mu.Unlock()
			if !d.Resume.IsZero() && l.first >= d.Resume.Sequence {
				l.failf("%d was started before OnLoss was told of %v", l.first, d)
			}
			if end {
				return errOut
			}
			return nil
		}
	}

	// The end comes in the middle, or behind all.
	published := make(chan struct{})
	endAt := r.IntN(2 * messages)
	endKind := r.IntN(7)
	behind := false // all messages
	ending := sync.OnceFunc(func() {
		select {
		case <-published:
			behind = true
		default:
		}
		switch endKind {
		case 0, 1:
			go drain(sub)
		case 2:
			cancel(errOut)
		case 3:
			go sub.Close()
		case 4:
			backend.EndStreams(pubsub.ErrPermissionDenied, "orders")
		case 5:
			go bus.Close()
		case 6:
			go bus.Drain(context.Background())
		}
	})

	handler := func(ctx context.Context, m pubsub.Message[order]) error {
		e, starts := l.start(ctx, m)
		if starts >= endAt {
			ending()
		}
		b := behaviours[m.Position.Sequence]
		if b.takes > 0 {
			timer := time.NewTimer(b.takes)
			defer timer.Stop()
			if b.obeys {
				select {
				case <-timer.C:
				case <-ctx.Done():
					l.stop(e, "")
					return context.Cause(ctx)
				}
			} else {
				<-timer.C
			}
		}
		if e.tries > b.fails {
			l.stop(e, "handled")
			return nil
		}
		l.stop(e, "")
		switch {
		case b.permanent:
			return backoff.Permanent(errHandler)
		case b.panics:
			panic(errHandler)
		default:
			return fmt.Errorf("try %d: %w", e.tries, errHandler)
		}
	}

	// One publisher, which stops when nobody takes what it sends.
	publishCtx, stopPublishing := context.WithCancel(context.Background())
	defer stopPublishing()
	pace := r.IntN(4)
	go func() {
		defer close(published)
		r := rand.New(rand.NewPCG(seed, 2))
		for i := range messages {
			if r.IntN(1+4*pace) == 1 {
				time.Sleep(time.Duration(r.IntN(20)) * unit)
			}
			switch {
			case r.IntN(50) == 0:
				backend.Heartbeat("orders")
			case r.IntN(50) == 0:
				backend.Lose(1, "orders")
			case r.IntN(50) == 0:
				_ = backend.Publish(publishCtx, "orders", pubsub.Payload{Data: []byte("{")})
			}
			_ = bus.Publish(publishCtx, "orders", order{fmt.Sprint(r.IntN(keys)), i})
		}
	}()

	done := start(func() error { return consume.Each(ctx, sub, handler, o) })
	var out error
	select {
	case out = <-done:
	case <-published:
		ending()
		out = <-done
	}

	// What is left in the subscription.
	var rest, restLost uint64
	left := start(func() error { return drain(sub) })
	for {
		e, err := sub.Next(context.Background())
		if err != nil {
			break
		}
		switch e.Kind {
		case pubsub.KindMessage:
			rest++
			if l.entries[e.Message.Position.Sequence] != nil {
				t.Fatalf("%v was left in the subscription though it had been started", e.Message)
			}
		case pubsub.KindDiscontinuity:
			restLost += e.Discontinuity.Lost
		}
	}
	<-left
	stopPublishing()
	<-published

	l.mu.Lock()
	defer l.mu.Unlock()
	require.Empty(t, l.problem)
	st := monitor.Stats()
	var unhandled *unhandledError
	if errors.As(out, &unhandled) {
		require.Same(t, out, unhandled)
		before := uint64(0)
		for _, u := range unhandled.Unhandled {
			n := u.Message.Position.Sequence
			require.Greater(t, n, before, "unhandled messages are in order")
			before = n
			e := l.entries[n]
			if e == nil {
				e = new(entry)
				l.entries[n] = e
			}
			require.Empty(t, e.done, "%v is unhandled", u.Message)
			require.Equal(t, e.tries, u.Tries, "%v", u.Message)
			e.done = "dropped"
		}
	}
	var sum consume.Stats
	for n, e := range l.entries {
		require.False(t, e.running, "%d", n)
		switch e.done {
		case "handled":
			sum.Handled++
		case "given up":
			sum.GivenUp++
		case "dropped":
			sum.Dropped++
		default:
			t.Fatalf("nobody knows what became of %d: %+v; %v", n, *e, out)
		}
		sum.Taken++
		sum.Retried += uint64(max(0, e.tries-1))
	}
	sum.Failed, sum.Holes, sum.Lost = st.Failed, st.Holes, st.Lost
	require.Equal(t, sum, st, "Stats")
	bs := sub.Stats()
	require.Equal(t, bs.Delivered, st.Taken+rest)
	require.Equal(t, bs.Lost.Total(), st.Lost+restLost)
	if behind && !errors.Is(sub.Err(), pubsub.ErrOverflow) { // which ended it before
		require.Equal(t, backend.Stats("orders").Accepted, st.Taken+rest+st.Lost+restLost+bs.Dropped, "what was accepted")
	}
	lawOfErrors(t, o, endKind, out, sub.Err(), st)
}

// lawOfErrors checks why Each says that it ended.
func lawOfErrors(t *testing.T, o consume.Options[order], endKind int, out, subErr error, st consume.Stats) {
	own := errors.Is(out, errHandler) || errors.Is(out, errGiveUp)
	switch {
	case out == nil:
		require.Zero(t, st.Dropped)
		require.NoError(t, subErr)
	case own:
		require.NotZero(t, st.Dropped)
	case errors.Is(out, errOut):
	case errors.Is(out, pubsub.ErrOverflow), errors.Is(out, pubsub.ErrPermissionDenied), errors.Is(out, pubsub.ErrClosed):
		require.ErrorIs(t, out, subErr)
	case errors.Is(out, context.Canceled) || errors.Is(out, context.DeadlineExceeded):
		require.NotZero(t, st.Dropped, "a handler obeyed the end of its ctx")
	default:
		t.Fatalf("unexpected: %v", out)
	}
	if o.GiveUp == nil && st.GivenUp > 0 {
		t.Fatal("given up without GiveUp")
	}
	if endKind == 2 && out == nil {
		t.Fatalf("Each ended with nil though ctx ended it: %+v %v %+v", o, subErr, st)
	}
}

package run

import (
	"context"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/memory"
	"github.com/topicbus/pubsub/internal/soak/engine"
	"github.com/topicbus/pubsub/internal/soak/momentoengine"
)

// The nodes of the tests are this program, as those of the soak are the soak.
func TestMain(m *testing.M) {
	if len(os.Args) == 4 && os.Args[1] == nodeCommand {
		os.Exit(Main(engine.Memory(), momentoengine.Engine(), broken("loses"), broken("doubles")))
	}
	goleak.VerifyTestMain(m)
}

// broken is an engine that breaks the promise: of the messages that a stream
// delivers, each seventh is left out or comes twice.
func broken(how string) engine.Engine {
	return engine.Engine{Name: how, Open: func(string, time.Duration, *slog.Logger) (engine.Backend, error) {
		return brokenBackend{memory.New(), how}, nil
	}}
}

type brokenBackend struct {
	engine.Backend
	how string
}

// Topic keeps the Bus from publishing past this backend.
func (b brokenBackend) Topic(pubsub.Backend, string) pubsub.TopicPublisher { return nil }

func (b brokenBackend) Subscribe(ctx context.Context, topic string, from pubsub.Start) (pubsub.Stream, error) {
	s, err := b.Backend.Subscribe(ctx, topic, from)
	if err != nil {
		return nil, err
	}
	return &brokenStream{Stream: s, how: b.how}, nil
}

type brokenStream struct {
	pubsub.Stream
	how string
	n   atomic.Int64
}

func (s *brokenStream) Receive(deliver func(context.Context, pubsub.Frame) error) error {
	return s.Stream.Receive(func(ctx context.Context, f pubsub.Frame) error {
		if f.Kind == pubsub.KindMessage && s.n.Add(1)%7 == 0 {
			if s.how == "loses" {
				return nil
			}
			_ = deliver(ctx, f)
		}
		return deliver(ctx, f)
	})
}

// soak runs a short one.
func soak(t *testing.T, args string, engines ...engine.Engine) (clean bool, out, keep string) {
	t.Helper()
	var text strings.Builder
	keep = t.TempDir()
	clean, err := drive(t.Context(), append(strings.Fields(args), "-keep", keep), &text, io.Discard, engines)
	require.NoError(t, err, text.String())
	return clean, text.String(), keep
}

func TestSoak(t *testing.T) {
	clean, out, keep := soak(t, "-minutes 0.01 -round 2s -topics 2 -rate 200 -seed 1", engine.Memory(), momentoengine.Engine())
	require.True(t, clean, out)
	for _, want := range []string{"seed ", "memory round 1: ", "momento round 1: ", "| **violations** | 0 | 0 |", "Faults of momento: "} {
		require.Contains(t, out, want)
	}
	files, err := os.ReadDir(keep)
	require.NoError(t, err)
	require.Empty(t, files)
}

// A soak that finds nothing must be able to find something.
func TestSoakFindsWhatIsBroken(t *testing.T) {
	for how, want := range map[string]string{"loses": "nothing was reported", "doubles": " twice"} {
		t.Run(how, func(t *testing.T) {
			clean, out, keep := soak(t, "-minutes 0.01 -round 2s -topics 1 -rate 300 -seed 1", broken(how))
			require.False(t, clean, out)
			require.Contains(t, out, "VIOLATION "+how+", seed 1, round 1: ")
			require.Contains(t, out, want)
			records, err := os.ReadFile(filepath.Join(keep, "soak-"+how+"-1-1.txt"))
			require.NoError(t, err)
			require.Contains(t, string(records), "\nM r1.n0.")
		})
	}
}

func TestArguments(t *testing.T) {
	for args, want := range map[string]string{
		"-engines pigeon": "there are memory",
		"-minutes 0":      "positive",
		"-rate -1":        "positive",
		"-round 10ms":     "at least 1s",
		"stray":           "no arguments",
		"-nonsense":       "not defined",
	} {
		_, err := drive(t.Context(), strings.Fields(args), io.Discard, io.Discard, []engine.Engine{engine.Memory()})
		require.ErrorContains(t, err, want, args)
	}
}

func TestPlan(t *testing.T) {
	draw := func(seed uint64) []*round {
		return plan(rand.New(rand.NewPCG(seed, 0)), 1, nodes, []string{"a", "b"}, time.Second, 100)
	}
	require.Equal(t, draw(1), draw(1), "the seed makes the plan")
	require.NotEqual(t, draw(1), draw(2))
	names := map[string]bool{}
	for _, rd := range draw(3) {
		for _, p := range rd.Pubs {
			require.False(t, names[p.Name], "%s is there twice", p.Name)
			names[p.Name] = true
		}
		for _, s := range rd.Subs {
			require.False(t, names[s.Name], "%s is there twice", s.Name)
			names[s.Name] = true
		}
	}
}

func TestHeirsGoOnWhereTheOthersWere(t *testing.T) {
	subs := []subscriber{{Name: "began", Private: true, Begin: "oldest"}, {Name: "received nothing"}, {Name: "did not begin", From: time.Second}, {Name: "visitor", Life: 1}, {Name: "fails", Policy: "fail"}}
	last := func(name string) string {
		return map[string]string{"began": "1/7", "received nothing": "-"}[name]
	}
	require.Equal(t, []subscriber{{Name: "began.g1", Private: true, After: "1/7"}, {Name: "received nothing.g1"}, {Name: "did not begin.g1"}},
		heirs(rand.New(rand.NewPCG(1, 1)), subs, 1, last, func(name string) bool { return name != "did not begin" }))
}

func TestGrowthIsFound(t *testing.T) {
	p := &process{}
	for range 6 {
		p.idles = append(p.idles, idle{goroutines: 10, heap: 1 << 20})
	}
	require.Empty(t, p.grew())
	p.idles = append(p.idles, idle{goroutines: 27, heap: 1 << 20})
	require.Contains(t, p.grew(), "27 goroutines")
	p.idles = append(p.idles, idle{goroutines: 10, heap: 40 << 20})
	require.Contains(t, p.grew(), "bytes of heap")
}

func TestFaultsAreMended(t *testing.T) {
	mended, stop := 0, make(chan struct{})
	inject(stop, rand.New(rand.NewPCG(1, 1)), []engine.Fault{{Name: "x", Do: func(*rand.Rand, string) func() {
		close(stop)
		return func() { mended++ }
	}}}, []string{"t"}, func(string) {})
	require.Equal(t, 1, mended)
}

func TestWhatAKilledPublisherLeftIsNotCounted(t *testing.T) {
	ok, unknown := "P t p 1 ok 1 1 2", "P t p 2 unknown 1 1 2"
	lines := []string{ok, ok, unknown, ok, unknown, unknown, unknown}
	require.Equal(t, lines[1:], newest(lines, 2))
	require.Equal(t, lines, newest(lines, 9))
}

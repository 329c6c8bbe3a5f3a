package peers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sync"
	"testing"
	"time"

	wm "github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/message/router/middleware"
	"github.com/ThreeDotsLabs/watermill/pubsub/gochannel"
	"github.com/cenkalti/backoff/v4"
	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/memory"
	"github.com/topicbus/pubsub/codec"
	"github.com/topicbus/pubsub/consume"
)

// Blocks of docs/consume.md in ~~~ are those that the pubsub module itself cannot
// compile.
func TestBlocksCompile(t *testing.T) {
	text, err := os.ReadFile("../../docs/consume.md")
	require.NoError(t, err)
	blocks := regexp.MustCompile(`(?ms)^~~~go\n(.*?)^~~~$`).FindAllStringSubmatch(string(text), -1)
	require.NotEmpty(t, blocks)
	for i, b := range blocks {
		dir, err := os.MkdirTemp(".", "block") // inside the module, for its dependencies
		require.NoError(t, err)
		t.Cleanup(func() { os.RemoveAll(dir) })
		source := "package block\n\n" + b[1] + "\ntype Order struct{ Symbol string }\n"
		require.NoError(t, os.WriteFile(filepath.Join(dir, "block.go"), []byte(source), 0o600))
		out, err := exec.Command("go", "vet", "./"+dir).CombinedOutput()
		require.NoError(t, err, "block %d: %s", i, out)
	}
}

var errDown = errors.New("down")

// flaky is a handler that fails once for one message in so many, and tells when
// it has handled n.
type flaky struct {
	every   int
	n       int
	handled sync.WaitGroup

	mu      sync.Mutex
	calls   int
	failing map[string]bool
}

func newFlaky(n, every int) *flaky {
	f := &flaky{n: n, every: every, failing: make(map[string]bool)}
	f.handled.Add(n)
	return f
}

func (f *flaky) handle(id string) error {
	if f.every > 0 {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.calls++; f.calls%f.every == 0 && !f.failing[id] {
			f.failing[id] = true
			return errDown
		}
		delete(f.failing, id)
	}
	f.handled.Done()
	return nil
}

const retryWait = time.Microsecond

// Handlers with retries: what is measured is a message from Publish until its
// handler has returned nil. "in order" handles one at a time; "parallel" is eight
// workers here, and a goroutine for each message there.
func BenchmarkHandlers(b *testing.B) {
	for _, every := range []int{0, 100} {
		for _, c := range []struct {
			name string
			run  func(b *testing.B, f *flaky) error
		}{
			{"in-order/Each", func(b *testing.B, f *flaky) error { return runEach(b, f, 1) }},
			{"in-order/watermill", func(b *testing.B, f *flaky) error { return runRouter(b, f, true) }},
			{"parallel/Each", func(b *testing.B, f *flaky) error { return runEach(b, f, 8) }},
			{"parallel/watermill", func(b *testing.B, f *flaky) error { return runRouter(b, f, false) }},
		} {
			b.Run(fmt.Sprintf("fail=1in%d/%s", every, c.name), func(b *testing.B) {
				b.ReportAllocs()
				if err := c.run(b, newFlaky(b.N, every)); err != nil {
					b.Fatal(err)
				}
			})
		}
	}
}

func runEach(b *testing.B, f *flaky, workers int) error {
	ctx := context.Background()
	bus := pubsub.New(memory.New(), codec.String())
	defer bus.Close()
	sub, err := bus.Subscribe(ctx, "t", pubsub.Overflow(pubsub.Block))
	if err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() {
		done <- consume.Each(ctx, sub, func(_ context.Context, m pubsub.Message[string]) error { return f.handle(m.Value) },
			consume.Options[string]{
				Workers: workers,
				Retry: func() backoff.BackOff {
					return backoff.WithMaxRetries(backoff.NewConstantBackOff(retryWait), 3)
				},
			})
	}()
	b.ResetTimer()
	for i := range f.n {
		if err := bus.Publish(ctx, "t", ids[i%len(ids)]); err != nil {
			return err
		}
	}
	f.handled.Wait()
	b.StopTimer()
	if err := sub.Close(); err != nil {
		return err
	}
	return <-done
}

func runRouter(b *testing.B, f *flaky, inOrder bool) error {
	logger := wm.NopLogger{}
	bus := gochannel.NewGoChannel(gochannel.Config{OutputChannelBuffer: buffer, BlockPublishUntilSubscriberAck: inOrder}, logger)
	router, err := message.NewRouter(message.RouterConfig{}, logger)
	if err != nil {
		return err
	}
	router.AddMiddleware(middleware.Recoverer, middleware.Retry{
		MaxRetries: 3, InitialInterval: retryWait, MaxInterval: retryWait, Multiplier: 1,
	}.Middleware)
	router.AddConsumerHandler("t", "t", bus, func(m *message.Message) error { return f.handle(string(m.Payload)) })
	done := make(chan error, 1)
	go func() { done <- router.Run(context.Background()) }()
	<-router.Running()
	b.ResetTimer()
	for i := range f.n {
		if err := bus.Publish("t", message.NewMessage("", []byte(ids[i%len(ids)]))); err != nil {
			return err
		}
	}
	f.handled.Wait()
	b.StopTimer()
	return errors.Join(router.Close(), <-done, bus.Close())
}

// ids are more than may be under way at once.
var ids = func() (list [1 << 16]string) {
	for i := range list {
		list[i] = fmt.Sprint("message-", i)
	}
	return list
}()

// Command quickstart publishes ten years of stock quotes as typed messages and
// reads them with several subscribers, one of them too slow on purpose. It runs
// in memory, so the quotes are not encoded. What it does is in
// internal/quickstart, which the command beside it, momento, runs as JSON over
// Momento Topics.
//
//	go run ./examples/quickstart
//
// Ctrl-C stops publishing, drains and prints the summary; a second one ends
// the program at once.
package main

import (
	"cmp"
	"context"
	"io"
	"time"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/memory"
	"github.com/topicbus/pubsub/codec"
	"github.com/topicbus/pubsub/internal/quickstart"
)

const pause = 2 * time.Millisecond

func main() { quickstart.Main(run) }

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := quickstart.NewFlags(stderr, pause.String())
	if ok, err := flags.Parse(args); !ok {
		return err
	}
	backend := memory.New(memory.WithPage(1)) // so that positions are the same in every run
	defer backend.Close()
	return over(ctx, backend, cmp.Or(flags.Every, pause), stdout, stderr)
}

// over publishes the Go values themselves: nothing leaves the process.
func over(ctx context.Context, backend pubsub.Backend, every time.Duration, stdout, stderr io.Writer) error {
	return quickstart.Run(ctx, backend, codec.Value[quickstart.Quote](), every, stdout, stderr)
}

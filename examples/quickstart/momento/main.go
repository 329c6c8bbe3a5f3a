// Command momento is the quick start over Momento Topics, with quotes as JSON.
//
//	MOMENTO_API_KEY=... go run ./examples/quickstart/momento -cache NAME
//	go run ./examples/quickstart/momento -local
//
// With -local it talks to a server inside the program, no account needed.
package main

import (
	"context"
	"io"
	"log/slog"
	"time"

	"github.com/topicbus/pubsub/codec"
	"github.com/topicbus/pubsub/examples/internal/backends"
	"github.com/topicbus/pubsub/internal/quickstart"
)

func main() { quickstart.Main(run) }

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := quickstart.NewFlags(stderr, "2ms with -local, 250ms with -cache")
	choice := backends.Choice{Name: "momento"}
	flags.StringVar(&choice.Cache, "cache", "", "the Momento cache, by `name` (needs MOMENTO_API_KEY)")
	flags.BoolVar(&choice.Local, "local", false, "run a Momento server for tests inside this program, no account needed")
	if ok, err := flags.Parse(args); !ok {
		return err
	}
	if err := choice.Check(); err != nil {
		return err
	}
	every := flags.Every
	switch {
	case every > 0:
	case choice.Local:
		every = 2 * time.Millisecond
	default:
		every = 250 * time.Millisecond // an account starts with ten operations a second
	}
	backend, err := choice.Open(slog.Default())
	if err != nil {
		return err
	}
	defer backend.Close()
	return quickstart.Run(ctx, backend, codec.JSON[quickstart.Quote](), every, stdout, stderr)
}

// Command publisher is a microservice that publishes what it is sent by HTTP:
//
//	go run ./examples/publisher
//	curl -i localhost:8080 -H 'Content-Type: application/json' -d '{"topicName": "greetings", "topicValue": "hello"}'
//
// See README.md for its answers and its flags.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/codec"
	"github.com/topicbus/pubsub/examples/internal/backends"
	"github.com/topicbus/pubsub/internal/hosts"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "publisher:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	cfg, err := parseFlags(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	log := slog.New(slog.NewJSONHandler(stderr, nil))
	backend, err := cfg.backend.Open(log)
	if err != nil {
		return err
	}
	defer backend.Close()
	bus := pubsub.New(backend, codec.String(), pubsub.WithLogger(log))
	defer bus.Close()

	listener, err := net.Listen("tcp", cfg.addr)
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "listening on http://%s\n", listener.Addr())
	return serve(ctx, listener, newHandler(bus, cfg, log), log)
}

// grace is how long requests may take to finish once the program is to end.
// It is longer than publishTimeout, so they can.
const grace = 15 * time.Second

// serve answers requests until ctx ends, and then finishes those under way.
func serve(ctx context.Context, listener net.Listener, h http.Handler, log *slog.Logger) error {
	server := &http.Server{
		Handler: h,
		// Without these, a client that sends or reads nothing holds a
		// connection forever.
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      10*time.Second + publishTimeout,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	log.Info("shutting down")
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	err := server.Shutdown(limit)
	if err != nil {
		err = fmt.Errorf("requests were cut off: %w", errors.Join(err, server.Close()))
	}
	<-failed // http.ErrServerClosed
	return err
}

type config struct {
	addr    string
	backend backends.Choice
	maxBody int64
	token   string // "" admits everybody
	hosts   hosts.Names
}

func parseFlags(args []string, stderr io.Writer) (config, error) {
	// Not a flag: everybody on the machine can read a program's arguments.
	cfg := config{token: os.Getenv("PUBLISHER_TOKEN")}
	flags := flag.NewFlagSet("publisher", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&cfg.addr, "addr", "127.0.0.1:8080", "`address` to listen on; port 0 takes a free one")
	cfg.backend.Flags(flags)
	flags.Int64Var(&cfg.maxBody, "max-body", 64<<10, "largest request body, in `bytes`")
	names := flags.String("hosts", "", "host `names` to answer to, separated by commas, besides localhost and addresses")
	if err := flags.Parse(args); err != nil {
		return config{}, err
	}
	var err error
	if cfg.hosts, err = hosts.Parse(*names); err != nil {
		return config{}, fmt.Errorf("-hosts: %w", err)
	}
	switch {
	case flags.NArg() > 0:
		return config{}, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case cfg.maxBody < 1:
		return config{}, fmt.Errorf("-max-body %d: must be at least 1", cfg.maxBody)
	}
	return cfg, cfg.backend.Check()
}

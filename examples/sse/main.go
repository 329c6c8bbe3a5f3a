// Command sse shows topics in browsers, live, as Server-Sent Events:
//
//	go run ./examples/sse
//
// and open http://127.0.0.1:8080. See README.md.
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
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

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
		fmt.Fprintln(os.Stderr, "sse:", err)
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
	log := slog.New(slog.NewTextHandler(stderr, nil))
	backend, err := cfg.backend.Open(log)
	if err != nil {
		return err
	}
	defer backend.Close()
	listener, err := net.Listen("tcp", cfg.addr)
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "open http://%s\n", listener.Addr())
	return serve(ctx, listener, backend, cfg, log)
}

// serve shows the topics of backend until ctx ends or a topic is lost for good.
func serve(ctx context.Context, listener net.Listener, backend pubsub.Backend, cfg config, log *slog.Logger) error {
	bus := pubsub.New(backend, codec.JSON[Quote](), pubsub.WithBuffer(buffer), pubsub.WithLogger(log))
	defer bus.Close()
	defer listener.Close() // if the server does not come to do it
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	work, ctx := errgroup.WithContext(ctx)

	feeds := make(map[string]*feed)
	for _, topic := range cfg.topics {
		f, err := openFeed(ctx, bus, topic)
		if err != nil {
			return err
		}
		feeds[topic] = f
	}
	for _, f := range feeds {
		work.Go(func() error { return f.run(ctx) })
	}
	if cfg.every > 0 {
		work.Go(func() error { invent(ctx, bus, cfg.topics[0], cfg.every, log); return nil })
	}

	mux := http.NewServeMux()
	mux.Handle("GET /events/{topic...}", events(feeds))
	mux.Handle("GET /", pages())
	server := &http.Server{
		Handler: guard(cfg.hosts, mux),
		// Without these, a client that sends or reads nothing holds a connection
		// for ever. ReadTimeout ends with the request. An answer may go on for
		// hours: events sets WriteTimeout anew for each write.
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
		// Viewers never leave by themselves, so Shutdown would wait in vain
		// if their requests did not end with ctx.
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	work.Go(func() error {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	work.Go(func() error {
		<-ctx.Done()
		limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*writeTimeout)
		defer cancel()
		return server.Shutdown(limit)
	})
	return work.Wait()
}

type config struct {
	addr    string
	backend backends.Choice
	topics  []string
	every   time.Duration
	hosts   hosts.Names
}

func parseFlags(args []string, stderr io.Writer) (config, error) {
	var cfg config
	var topics string
	flags := flag.NewFlagSet("sse", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&cfg.addr, "addr", "127.0.0.1:8080", "`address` to listen on; port 0 takes a free one")
	cfg.backend.Flags(flags)
	flags.StringVar(&topics, "topics", "quotes", "the topics to show, by `name`, separated by commas")
	flags.DurationVar(&cfg.every, "every", 400*time.Millisecond, "pause between two invented quotes, published to the first topic; 0 leaves publishing to others")
	names := flags.String("hosts", "", "host `names` to answer to, separated by commas, besides localhost and addresses")
	if err := flags.Parse(args); err != nil {
		return config{}, err
	}
	var err error
	if cfg.hosts, err = hosts.Parse(*names); err != nil {
		return config{}, fmt.Errorf("-hosts: %w", err)
	}
	for topic := range strings.SplitSeq(topics, ",") {
		if topic = strings.TrimSpace(topic); topic != "" {
			cfg.topics = append(cfg.topics, topic)
		}
	}
	switch {
	case flags.NArg() > 0:
		return config{}, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case len(cfg.topics) == 0:
		return config{}, errors.New("-topics names none")
	case cfg.every < 0:
		return config{}, fmt.Errorf("-every %v is negative", cfg.every)
	}
	return cfg, cfg.backend.Check()
}

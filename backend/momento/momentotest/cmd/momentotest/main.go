// Command momentotest runs a Momento Topics service on this machine, without
// TLS, until it is interrupted. The official SDKs connect to it with their
// credentials for momento-local.
//
//	momentotest -addr 127.0.0.1:8080 -caches cache,other
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/topicbus/pubsub/backend/momento/momentotest"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "TCP `address` to listen on")
	caches := flag.String("caches", "cache", "comma-separated `names` of the caches that exist from the start")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Stdout, *addr, *caches); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer, addr, caches string) error {
	names := strings.FieldsFunc(caches, func(r rune) bool { return r == ',' })
	srv, err := momentotest.NewServer(momentotest.WithAddr(addr), momentotest.WithCaches(names...))
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "listening on", srv.Addr())
	<-ctx.Done()
	return srv.Close()
}
